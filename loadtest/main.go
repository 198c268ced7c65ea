// Command loadtest measures Sluice: beside other proxies, and on hosts of its users.
//
//	make loadtest                                  Sluice, nginx and HAProxy in turn, about six minutes
//	make loadtest ARGS='--thorough'                everything, with Varnish
//	make qualify TARGET=http://... RATE=1000       a gateway that runs somewhere, against an objective
//
// How it compares: each proxy runs on one core with one thread, load and origin on another, the proxies are loaded in turn
// (A B C A B C), and the figure is the CPU time of the proxy's processes per completed request. What a proxy does with
// a request is written in its configuration, in peers/. scenario.go lists the situations.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Compare compareCommand `cmd:"" default:"withargs" help:"Measure Sluice beside other proxies."`
	Qualify qualifyCommand `cmd:"" help:"Send a constant rate of requests to a running gateway, and say whether it meets an objective."`

	Capacity capacityCommand `cmd:"" help:"Measure how the cost of a request grows (CAPACITY.md)."`
	Pgo      pgoCommand      `cmd:"" help:"Make the profile that Sluice is built with."`

	Origin originCommand `cmd:"" hidden:""`
	Hold   holdCommand   `cmd:"" hidden:""`
	Echo   echoCommand   `cmd:"" hidden:""`
	H3load h3loadCommand `cmd:"" name:"h3load" hidden:""`
}

// exit is an error with an exit code of its own.
type exit struct {
	code int
	error
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:], &console{os.Stdout, os.Stderr}))
}

// console is where results and messages go.
type console struct{ out, err io.Writer }

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, args []string, to *console) int {
	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("loadtest"), kong.Description("Measures Sluice."),
		kong.Writers(to.out, to.err), kong.Bind(to), kong.BindTo(ctx, (*context.Context)(nil)), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		panic("BUG: the command line is not well defined: " + err.Error())
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited // help was printed
	}
	if err != nil {
		fmt.Fprintln(to.err, "loadtest:", err)
		return exitCannotRun
	}
	err = parsed.Run()
	var own exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		fmt.Fprintln(to.err, "loadtest:", own.error)
		return own.code
	}
	fmt.Fprintln(to.err, "loadtest:", err)
	return 1
}

type compareCommand struct {
	Sluice     []string `default:"bin/sluice" help:"Builds of Sluice: PATH or NAME=PATH, several to compare them."`
	Peers      []string `placeholder:"NAME,..." help:"Who else is measured (see --list; or none)."`
	Scenarios  []string `placeholder:"NAME,..." help:"What is measured; NAME* for all that begin so."`
	Thorough   bool     `help:"Everything, with more and longer rounds."`
	Rounds     int      `help:"How often each is measured (3; thorough: 9)."`
	Seconds    int      `help:"How long a round takes (1; thorough: 3)."`
	Threads    int      `default:"1" help:"Threads of each proxy."`
	ProxyCores string   `default:"0" help:"The cores of the proxies."`
	LoadCores  string   `default:"1" help:"The cores of load and origin."`
	Syscalls   bool     `help:"Count system calls in every scenario (else where they are of interest)."`
	Out        string   `default:"bin/loadtest.out" help:"The folder for result.json and chart.svg."`
	List       bool     `help:"List scenarios and peers."`
}

func (c *compareCommand) Run(ctx context.Context, to *console) error {
	if c.List {
		for _, s := range scenarios {
			fmt.Fprintf(to.out, "%-14s %s\n", s.name, s.about)
		}
		fmt.Fprintln(to.out, "peers:", strings.Join(namesOf(peers), ", "))
		return nil
	}
	p, err := c.plan()
	if err != nil {
		return err
	}
	p.progress = to.err
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fmt.Errorf("cannot make the folder for the result: %w", err)
	}
	r, err := p.compare(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(to.out)
	if err := r.table(to.out); err != nil {
		return err
	}
	if err := r.write(filepath.Join(c.Out, "result.json")); err != nil {
		return err
	}
	if err := r.chart(filepath.Join(c.Out, "chart.svg")); err != nil {
		return err
	}
	fmt.Fprintf(to.out, "%s; %d rounds of %d s, %d thread(s).\nresult.json and chart.svg are in %s.\n", r.Host, r.Rounds, r.Seconds, r.Threads, c.Out)
	if failed := r.failed(); len(failed) > 0 {
		return fmt.Errorf("%s failed, see above", strings.Join(failed, ", "))
	}
	return nil
}

// plan makes sense of the command line.
func (c *compareCommand) plan() (plan, error) {
	p := plan{rounds: 3, seconds: 1, threads: c.Threads, proxy: c.ProxyCores, load: c.LoadCores, calls: c.Syscalls}
	others := []string{"nginx", "haproxy"}
	p.more, p.thorough = len(c.Peers) == 0, c.Thorough
	if c.Thorough {
		p.rounds, p.seconds = 9, 3
		others = append(others, "varnish")
	}
	if c.Rounds > 0 {
		p.rounds = c.Rounds
	}
	if c.Seconds > 0 {
		p.seconds = c.Seconds
	}
	switch {
	case c.Rounds < 0 || c.Seconds < 0 || c.Threads < 1:
		return p, fmt.Errorf("--rounds, --seconds and --threads want positive numbers")
	case runtime.NumCPU() < 2:
		return p, fmt.Errorf("two cores are needed: one for the proxy, one for load and origin")
	}
	if len(c.Peers) == 1 && c.Peers[0] == "none" {
		others = nil
	} else if len(c.Peers) > 0 {
		others = c.Peers
	}
	for i, build := range c.Sluice {
		name, path, named := strings.Cut(build, "=")
		if !named {
			name, path = "sluice", build
			if i > 0 {
				name = fmt.Sprintf("sluice-%d", i+1)
			}
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return p, err
		}
		p.peers = append(p.peers, sluice(name, path))
	}
	chosen, err := choose(peers, others)
	if err != nil {
		return p, err
	}
	p.peers = append(p.peers, chosen...)
	p.scenarios, err = pick(c.Scenarios, c.Thorough)
	return p, err
}
