package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table prints the result as one table. The first peer of a scenario is Sluice; the ratios of the others' rows are what
// Sluice costs beside them.
func (r *result) table(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "scenario\tpeer\tcost\tunit\tsluice ÷ it\tp99: sluice ÷ it\twith ÷ without\tper second\tp50 ms\tp99 ms\tp99.9 ms\tRSS MiB\treads\twrites\t")
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
			fmt.Fprintf(w, "%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%.1f\t%.2f\t%.2f\t\n", name, one.label(), m.Cost, s.Unit,
				ratio(one.Ratio), ratio(one.RatioP99), ratio(one.Added), m.PerSecond, ms(m.P50), ms(m.P99), ms(m.P999), m.RSS/1024, m.Reads, m.Writes)
		}
	}
	return w.Flush()
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
	return fmt.Sprintf("%.2f", f)
}
