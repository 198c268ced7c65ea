// Gate compares the benchmarks of the working tree with those of an earlier commit, and fails if a request has become slower
// or allocates more. `make bench-gate` runs it; package bench says how to read what it prints.
//
// Exit codes: 0 nothing is worse; 1 something is; 2 the working tree does not build, a benchmark of it fails, or the gate
// was used wrongly; 3 there is nothing to compare with: the base is not here, does not build or has no benchmarks; 130 it
// was interrupted. (`go run` makes a 1 of all of them.)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// A first signal stops what runs and cleans up.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, log io.Writer) int {
	var o options
	if err := o.parse(args, log); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprintln(log, "bench-gate:", err)
		return codeBroken
	}
	o.log = log
	limited, cancel := context.WithTimeout(ctx, o.limit())
	defer cancel()
	err := perform(limited, &o, out)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(log, "bench-gate: interrupted; what it had made is removed")
		return codeInterrupted
	case limited.Err() != nil:
		err = &failure{codeBroken, fmt.Errorf("not done within %s (see -budget): %w", o.limit(), err)}
	}
	fmt.Fprintln(log, "bench-gate:", err)
	var f *failure
	if errors.As(err, &f) {
		return f.code
	}
	return codeBroken
}

// The exit codes.
const (
	codeWorse       = 1
	codeBroken      = 2
	codeNoBase      = 3
	codeInterrupted = 130
)

// failure is an error with an exit code.
type failure struct {
	code int
	error
}

func (f *failure) Unwrap() error { return f.error }

// options are the command line.
type options struct {
	dir       string // of the repository
	base      string
	bench     string
	skip      string
	json      string
	budget    time.Duration
	rounds    int
	slice     time.Duration
	repeat    int
	identical bool
	accept    bool
	because   string
	selftest  string
	runs      int
	log       io.Writer
}

// neverCompared are benchmarks of what no request waits for, of other people's code, and of contention, which one core does
// not have.
const neverCompared = "^BenchmarkNew$|^BenchmarkScrape$|Parallel$|/-parallel$|/^fasthttp$"

func (o *options) parse(args []string, log io.Writer) error {
	f := flag.NewFlagSet("bench-gate", flag.ContinueOnError)
	f.SetOutput(log)
	f.StringVar(&o.dir, "C", ".", "a `folder` of the repository")
	f.StringVar(&o.base, "base", "", "the `commit` to compare with (default: what bench/BASE says)")
	f.StringVar(&o.bench, "bench", ".", "benchmarks to compare, as of go test -bench")
	f.StringVar(&o.skip, "skip", neverCompared, "benchmarks not to compare, as of go test -skip")
	f.StringVar(&o.json, "json", "bin/bench-gate.json", "`file` for the results, within the repository unless absolute")
	f.DurationVar(&o.budget, "budget", 7*time.Minute+30*time.Second, "how long a comparison may take, builds included")
	f.IntVar(&o.rounds, "rounds", 12, "processes per side, at most; as many of them as the budget allows, at least 6")
	f.DurationVar(&o.slice, "slice", 10*time.Millisecond, "how long a benchmark runs to measure it once")
	f.IntVar(&o.repeat, "repeat", 5, "slices per benchmark and process, of which the fastest counts")
	f.BoolVar(&o.identical, "identical", false, "also run benchmarks whose binaries are the same on both sides")
	f.BoolVar(&o.accept, "accept", false, "if nothing is worse, add a line to bench/history.csv and make HEAD the base")
	f.StringVar(&o.because, "because", "", "with -accept: accept what is worse, for this `reason`, which the history keeps")
	f.StringVar(&o.selftest, "selftest", "", "compare the working tree with itself: `slow` plants 10 % in it, alloc an allocation, same nothing; pgo takes the profile away from the other side")
	f.IntVar(&o.runs, "runs", 1, "with -selftest same: how often")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("there is no argument %q", f.Arg(0))
	case o.rounds < roundsMin || o.repeat < 1 || o.slice <= 0 || o.runs < 1:
		return fmt.Errorf("-rounds must be at least %d, and -repeat, -slice and -runs above 0", roundsMin)
	case o.because != "" && !o.accept:
		return errors.New("-because goes with -accept")
	case o.selftest != "" && o.accept:
		return errors.New("-selftest accepts nothing")
	}
	return nil
}

// limit is when the gate gives up. A self test is several comparisons and, before, something to measure out.
func (o *options) limit() time.Duration {
	if o.selftest != "" {
		return time.Duration(o.runs)*o.budget + 3*time.Minute
	}
	return o.budget
}

func (o *options) say(format string, args ...any) { fmt.Fprintf(o.log, format+"\n", args...) }

// perform does what the options ask for.
func perform(ctx context.Context, o *options, out io.Writer) error {
	root, err := repository(ctx, o.dir)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "bench-gate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if o.selftest != "" {
		return selftest(ctx, o, root, scratch, out)
	}
	if o.accept {
		if err := clean(ctx, root); err != nil {
			return err
		}
	}
	if o.base == "" {
		if o.base, err = readBase(root); err != nil {
			return err
		}
	}
	r, err := compareWith(ctx, o, root, o.base, scratch)
	if err != nil {
		return err
	}
	if err := r.write(out, o.json, root); err != nil {
		return err
	}
	if err := r.err(); err != nil && o.because == "" {
		return err
	}
	if o.accept {
		return accept(root, r, o.because, out)
	}
	return nil
}
