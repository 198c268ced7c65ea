package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table prints the result as one table, and what its columns mean.
func (r *result) table(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "scenario\tpeer\tcost\t\t÷ cost\t÷ p99\t+ cost\tper second\tp50\tp99\tp99.9\tRSS\treads\twrites\t")
	disturbed := 0
	for _, s := range r.Scenarios {
		if s.Failed != "" {
			fmt.Fprintf(w, "%s\tFAILED\t\t\t\t\t\t\t\t\t\t\t\t\t\n", s.Name)
			continue
		}
		for i, one := range s.Subjects {
			name := s.Name
			if i > 0 {
				name = ""
			}
			m := one.Median
			fmt.Fprintf(w, "%s\t%s\t%.*f\t%s\t%s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%.0f\t", name, one.label(), decimals(m.Cost), m.Cost, s.Unit,
				ratio(one.Ratio), ratio(one.RatioP99), ratio(one.Added), m.PerSecond, ms(m.P50), ms(m.P99), ms(m.P999), m.RSS/1024)
			if one.Calls != nil {
				fmt.Fprintf(w, "%.2f\t%.2f\t\n", one.Calls.Reads, one.Calls.Writes)
			} else {
				fmt.Fprintf(w, "\t\t\n")
			}
			for _, sample := range one.Rounds {
				if sample.Others > disturbance {
					disturbed++
				}
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	first := "the first peer"
	if len(r.Order) > 0 {
		first = r.Order[0]
	}
	_, err := fmt.Fprintf(to, `
cost is the CPU time of the proxy per completed request, or its memory per connection that waits.
÷ is what %s costs beside this peer (below 1: %[1]s is cheaper), + what the scenario's word adds: medians of each round's ratio.
Latencies are milliseconds under full load, RSS is MiB, reads and writes are system calls per request (strace, in a run of their own).
`, first)
	if err == nil && disturbed > 0 {
		_, err = fmt.Fprintf(to, "In %d samples others had the proxy's core for more than %.0f %% of the time, even when repeated: the machine is not quiet.\n", disturbed, disturbance*100)
	}
	return err
}

// A figure that there is not is left out.
func ratio(f float64) string {
	if f == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", f)
}

func ms(f float64) string {
	if f == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f", decimals(f), f)
}
