package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// capacityCommand measures how the cost of a request grows, for CAPACITY.md.
type capacityCommand struct {
	Sluice     string   `default:"bin/sluice" help:"The build that is measured."`
	Tables     []string `placeholder:"NAME,..." help:"Some of connections, idle, routes, bodies, cores."`
	Rounds     int      `default:"5" help:"How often each is measured."`
	Seconds    int      `default:"1" help:"How long a round takes."`
	ProxyCores string   `default:"0" help:"The cores of the proxy."`
	LoadCores  string   `default:"1" help:"The cores of load and origin."`
	Write      string   `placeholder:"FILE" help:"Bring the tables in this Markdown file up to date instead of printing them."`
}

// growth is a table: a situation, and what becomes of it when one thing grows.
type growth struct {
	name  string
	grows string
	rows  []growthRow
	base  int // the row that the others are compared with
	cores bool
}

type growthRow struct {
	label string
	entrant
}

// proxied is the situation that most tables begin with.
func proxied(connections int) scenario {
	return scenario{name: "proxy-1k", path: "/1k", load: wrk{connections: connections}}
}

// growths are the tables of CAPACITY.md.
func growths(build peer, threads []int) []growth {
	connections := growth{name: "connections", grows: "connections that work", base: 2}
	for _, n := range []int{1, 8, 64, 512, 4096} {
		connections.add(build, number(n), entrant{does: proxied(n)})
		if n > 1024 { // more than pool.connections allows
			e := entrant{does: proxied(n)}
			e.who.word = "pool"
			connections.add(build, number(n)+", with a larger pool", e)
		}
	}
	idle := growth{name: "idle", grows: "connections that wait beside 64 that work"}
	for _, n := range []int{0, 1_000, 10_000, 18_000} {
		idle.add(build, number(n), entrant{does: proxied(64), idle: n})
	}
	routes := growth{name: "routes", grows: "routes"}
	for _, n := range []int{1, 100, 1_000, 10_000} {
		e := entrant{does: scenario{name: "routes", path: "/tenants/t0/items/1k"}}
		e.who.word = fmt.Sprintf("routes=%d", n)
		routes.add(build, number(n), e)
	}
	bodies := growth{name: "bodies", grows: "body", base: 1}
	bodies.add(build, "100 B down", entrant{does: scenario{path: "/100"}})
	bodies.add(build, "1 KiB down", entrant{does: scenario{path: "/1k"}})
	bodies.add(build, "100 KiB down", entrant{does: scenario{path: "/100k"}})
	bodies.add(build, "1 MiB down", entrant{does: scenario{path: "/1m"}})
	bodies.add(build, "4 KiB up", entrant{does: scenario{path: "/upload", load: wrk{body: 4 << 10}, answer: `{"received":4096}`}})
	bodies.add(build, "1 MiB up", entrant{does: scenario{path: "/upload", load: wrk{body: 1 << 20}, answer: `{"received":1048576}`}})

	cores := growth{name: "cores", grows: "cores", cores: true}
	for _, n := range threads {
		cores.add(build, fmt.Sprintf("%d, proxied", n), entrant{does: proxied(64), threads: n})
	}
	for _, n := range threads {
		e := entrant{does: proxied(64), threads: n}
		e.who.word = "log"
		cores.add(build, fmt.Sprintf("%d, proxied, access log", n), e)
	}
	for _, n := range threads {
		cores.add(build, fmt.Sprintf("%d, a fixed answer", n), entrant{does: scenario{path: "/static", answer: `{"ok":true}`}, threads: n})
	}
	return []growth{connections, idle, routes, bodies, cores}
}

func (g *growth) add(build peer, label string, e entrant) {
	e.who.peer = build
	e.does.name = g.name
	e.threads = max(1, e.threads)
	g.rows = append(g.rows, growthRow{label, e})
}

// number writes 18000 as 18,000.
func number(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", number(n/1000), n%1000)
}

func (c *capacityCommand) Run(ctx context.Context, to *console) error {
	program, err := filepath.Abs(c.Sluice)
	if err != nil {
		return err
	}
	if c.Rounds < 1 || c.Seconds < 1 || runtime.NumCPU() < 2 {
		return fmt.Errorf("--rounds and --seconds want positive numbers, and two cores are needed")
	}
	build := sluice("sluice", program)
	p := plan{peers: []peer{build}, rounds: c.Rounds, seconds: c.Seconds, threads: 1, proxy: c.ProxyCores, load: c.LoadCores, progress: to.err}
	spread, threads, err := p.spread()
	if err != nil {
		return err
	}
	all := growths(build, threads)
	if len(c.Tables) > 0 {
		for _, name := range c.Tables {
			if !slices.ContainsFunc(all, func(g growth) bool { return g.name == name }) {
				return fmt.Errorf("there is no table %q", name)
			}
		}
		all = slices.DeleteFunc(all, func(g growth) bool { return !slices.Contains(c.Tables, g.name) })
	}
	scratch, err := folder("", "sluice-loadtest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	about, err := p.describe()
	if err != nil {
		return err
	}
	tables := map[string]string{}
	for _, g := range all {
		fmt.Fprintf(to.err, "%s\n", g.name)
		on := p
		if g.cores {
			on = spread
		}
		text, err := on.grow(ctx, g, scratch)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		tables[g.name] = text
	}
	tables["host"] = fmt.Sprintf("Measured %s on %s; %d rounds of %d s, Sluice %s.\n", about.Taken.Format(time.DateOnly), about.Host, c.Rounds, c.Seconds, about.Versions["sluice"])
	if c.Write == "" {
		for _, name := range append(growthNames(all), "host") {
			if _, err := fmt.Fprintf(to.out, "\n%s", tables[name]); err != nil {
				return err
			}
		}
		return nil
	}
	return update(c.Write, tables)
}

func growthNames(all []growth) []string {
	var names []string
	for _, g := range all {
		names = append(names, g.name)
	}
	return names
}

// spread is a plan for the table of cores, and how many threads its rows have: 1, 2, 4 and so on. On two cores the
// load has to share those of the proxy; all rows do that alike, so that their ratio says what threads cost each other.
func (p plan) spread() (plan, []int, error) {
	names, err := coreNames(p.proxy)
	if err != nil {
		return p, nil, err
	}
	if len(names) == 1 {
		p.proxy = p.proxy + "," + p.load
		p.load = p.proxy
		p.shared = true
		if names, err = coreNames(p.proxy); err != nil {
			return p, nil, err
		}
	}
	var threads []int
	for n := 1; n < len(names); n *= 2 {
		threads = append(threads, n)
	}
	return p, append(threads, len(names)), nil
}

// grow measures one table.
func (p plan) grow(ctx context.Context, g growth, scratch string) (string, error) {
	address, backend, err := startOrigin(ctx, p.load, scratch)
	if err != nil {
		return "", err
	}
	defer backend.stop()
	var all []entrant
	for _, row := range g.rows {
		all = append(all, row.entrant)
	}
	samples, err := p.sideBySide(ctx, all, p.rounds, address, scratch, func(int, target) error { return nil })
	if err != nil {
		return "", err
	}
	return g.table(samples), nil
}

// table is Markdown, in ratios to the base. Cores are compared within each situation.
func (g growth) table(samples [][]sample) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | CPU per request | requests per second | p99 | RSS, MiB |\n|---|--:|--:|--:|--:|\n", g.grows)
	base := g.base
	for i, row := range g.rows {
		if _, situation, ok := strings.Cut(row.label, ", "); ok && g.cores && strings.HasPrefix(row.label, "1, ") {
			base = slices.IndexFunc(g.rows, func(r growthRow) bool { return r.label == "1, "+situation })
		}
		one, first := subjectResult{Rounds: samples[i]}, subjectResult{Rounds: samples[base]}
		rate := func(s sample) float64 { return s.PerSecond }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.0f |\n", row.label, times(medianRatio(one.costs(), first.costs())),
			times(medianRatio(one.each(rate), first.each(rate))), times(medianRatio(one.p99s(), first.p99s())), one.medians().RSS/1024)
	}
	return b.String()
}

// times writes a ratio with three digits or so.
func times(f float64) string {
	if f < 0.1 {
		return fmt.Sprintf("%.3f", f)
	}
	return fmt.Sprintf("%.*f", decimals(f), f)
}

// update replaces what stands between <!-- NAME --> and <!-- end --> in a file. A table whose place is missing is an error: it
// would be lost.
func update(path string, tables map[string]string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read the page: %w", err)
	}
	page := string(text)
	for name, table := range tables {
		begin, end := "<!-- "+name+" -->\n", "<!-- end -->"
		before, rest, ok := strings.Cut(page, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			return fmt.Errorf("%s has no place for the table %s: it goes between %q and %q", path, name, strings.TrimSpace(begin), end)
		}
		page = before + begin + table + end + after
	}
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		return fmt.Errorf("cannot write the page: %w", err)
	}
	return nil
}
