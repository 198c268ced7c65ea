package main

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// buildFlags make the binary one of the same kind as the test.
var buildFlags []string

// binary is the real program, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		// Those that say so wait most of the time: how many processors there are is not what bounds them.
		if err := flag.Set("test.parallel", "4"); err != nil {
			panic(err)
		}
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(withBinary(m.Run))
}

func withBinary(run func() int) int {
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is the temporary folder
	binary = filepath.Join(dir, "sluice")
	args := append([]string{"build", "-o", binary}, buildFlags...)
	changes, err := exec.Command("go", "run", "../../profiles/overlay", filepath.Join(dir, "overlay")).Output()
	if err != nil {
		fmt.Fprintf(os.Stderr, "cannot prepare what the binary is built with: %v\n", err)
		return 1
	}
	args = append(args, strings.Fields(string(changes))...) // as make build does
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build the binary: %v\n%s", err, out)
		return 1
	}
	return run()
}

// sluice runs the binary in a folder of its own.
func sluice(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("cannot run %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		writeFile(t, file, got)
	}
	if want := readText(t, file); got != want {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", file, got, want)
	}
}
