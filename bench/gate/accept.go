package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const historyFile = "bench/history.csv"

// historyHead names the columns: ratios of the new commit to its base, never times, which are those of a machine.
var historyHead = []string{"date", "base", "commit", "path", "all", "worst", "worst_ratio", "allocations", "because"}

// accept adds a line to the history and makes the commit the base of later ones.
func accept(root string, r *report, because string, out io.Writer) error {
	file := filepath.Join(root, historyFile)
	head := !exists(file)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	w := csv.NewWriter(f)
	if head {
		err = w.Write(historyHead)
	}
	if err == nil {
		err = w.Write(r.historyLine(because))
	}
	w.Flush()
	if err == nil {
		err = w.Error()
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot add a line to %s: %w", historyFile, err)
	}
	if err := os.WriteFile(filepath.Join(root, baseFile), []byte(r.Commit+"\n"), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%.12s is the base from now on: commit %s and %s\n", r.Commit, historyFile, baseFile)
	return nil
}

func (r *report) historyLine(because string) []string {
	worst, ratio := "", 0.0
	var changed []string
	for _, e := range r.Benchmarks {
		if e.Change.Ratio > ratio {
			worst, ratio = e.name().String(), e.Change.Ratio
		}
		if more := e.more(); more != "" {
			changed = append(changed, e.name().String()+" "+more)
		}
	}
	if len(r.Benchmarks) == 0 {
		ratio = 1 // the same binaries
	}
	return []string{
		r.Date.Format("2006-01-02"), fmt.Sprintf("%.12s", r.Base), fmt.Sprintf("%.12s", r.Commit),
		fmt.Sprintf("%.3f", r.geomean(wholePath)), fmt.Sprintf("%.3f", r.geomean(all)), worst, fmt.Sprintf("%.3f", ratio), strings.Join(changed, "; "), because,
	}
}
