package main

import (
	"fmt"
	"html"
	"os"
	"strings"
)

// Sizes of the chart, in pixels.
const (
	chartWidth = 960
	chartBegin = 330 // of the bars
	chartUnit  = 230 // the length of 1.0
	chartMost  = 2.4 // longer bars are cut off, and say so
	barHeight  = 15
	barGap     = 3
	groupGap   = 16
	chartHead  = 92
)

// colors by the beginning of a peer's name.
var colors = []struct{ name, color string }{{"sluice", "#0b7a75"}, {"nginx", "#8fb98b"}, {"haproxy", "#8fa8d6"}, {"varnish", "#d9b26f"}}

// chart draws what each costs beside nginx, or beside the first of the scenario where nginx is not there. Everything
// is relative, because a bar for an upload of 1 MiB beside one for a redirect says nothing.
func (r *result) chart(path string) error {
	var bars strings.Builder
	y := chartHead
	for _, s := range r.Scenarios {
		if s.Failed != "" {
			continue
		}
		base := s.find("nginx", "")
		if base == nil {
			base = &s.Subjects[0]
		}
		fmt.Fprintf(&bars, `<text x="16" y="%d" class="name">%s</text><text x="16" y="%d" class="about">%s</text>`+"\n",
			y+12, html.EscapeString(s.Name), y+28, html.EscapeString(s.About))
		bottom := y + 2*(barHeight+barGap)
		for _, one := range s.Subjects {
			of := medianRatio(one.costs(), base.costs())
			length, cut := of, ""
			if of > chartMost {
				length, cut = chartMost, " ▸"
			}
			fmt.Fprintf(&bars, `<text x="%d" y="%d" class="peer">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" class="value">%.2f%s (%.*f %s)</text>`+"\n",
				chartBegin-8, y+12, html.EscapeString(one.label()), chartBegin, y, length*chartUnit, barHeight, color(one.Peer),
				chartBegin+length*chartUnit+6, y+12, of, cut, decimals(one.Median.Cost), one.Median.Cost, html.EscapeString(s.Unit))
			y += barHeight + barGap
		}
		y = max(y, bottom) + groupGap
	}
	height := y + 10
	line := chartBegin + chartUnit
	svg := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="DejaVu Sans, Verdana, Arial, sans-serif">
<style>.title{font-size:20px;font-weight:bold}.note{font-size:12px;fill:#555}.name{font-size:13px;font-weight:bold}.about{font-size:10.5px;fill:#666}.peer{font-size:11.5px;text-anchor:end}.value{font-size:11px;fill:#333;paint-order:stroke;stroke:#fff;stroke-width:3px}</style>
<rect width="100%%" height="100%%" fill="#fff"/>
<text x="16" y="30" class="title">What a request costs beside nginx</text>
<text x="16" y="50" class="note">CPU time of the proxy per request, nginx = 1, shorter is better; median of %d rounds of %d s, %d thread(s).</text>
<text x="16" y="67" class="note">%s</text>
<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#999" stroke-dasharray="3,3"/>
%s</svg>
`, chartWidth, height, chartWidth, height, r.Rounds, r.Seconds, r.Threads, html.EscapeString(r.Host), line, chartHead-8, line, y-groupGap+4, bars.String())
	if err := os.WriteFile(path, []byte(svg), 0o644); err != nil {
		return fmt.Errorf("cannot write the chart: %w", err)
	}
	return nil
}

func color(peer string) string {
	for _, c := range colors {
		if strings.HasPrefix(peer, c.name) {
			return c.color
		}
	}
	return "#0b7a75" // a build of Sluice with a name of its own
}

// decimals keeps three digits or so.
func decimals(f float64) int {
	switch {
	case f < 10:
		return 2
	case f < 100:
		return 1
	}
	return 0
}
