// Steady runs the tests as go test does, and those that failed a second time, by themselves. `make test` calls it:
//
//	go run ./bench/steady [flags of go test] packages
//
// Many of these tests start gateways, origins and browsers and ask them over sockets, two packages at a time on a machine that has other
// work, too. One of a thousand that is late by more than it allows for says nothing about a change, and would hide what the others say.
// So a test that failed is run three times more with nothing beside it. If it passes each time it is named as unsteady, at the very end and
// with what it printed above, for somebody to mend, and does not fail the run. What does fail it:
//
//   - a test that fails again, even once;
//   - a data race, a panic, a crash, a test that did not end: they are found by chance, and are no less true for that;
//   - what does not build, or fails outside of a test;
//   - more than two unsteady tests in a run: that is no accident of the machine.
//
// Exit codes: 0 all passed, or were unsteady as above; 1 something failed; 2 it was used wrongly; 130 it was interrupted.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	again        = 3 // rounds that a test has to pass by itself
	mostUnsteady = 2 // unsteady tests in a run
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], goTest, os.Stdout)
	stop()
	os.Exit(code)
}

// runner runs go test with the arguments and gives what it writes with -json to each. The error is what is left to say when
// tests did not pass, an *exec.ExitError mostly.
type runner func(ctx context.Context, args []string, each func(line []byte)) error

func run(ctx context.Context, args []string, test runner, out io.Writer) int {
	flags, packages := split(args)
	if len(packages) == 0 {
		fmt.Fprintln(out, "steady: no packages: steady [flags of go test] packages")
		return 2
	}
	first := newReport(out)
	err := test(ctx, args, first.event)
	if ctx.Err() != nil {
		return 130
	}
	if err == nil && first.good() {
		return 0
	}
	if why := first.unforgivable(err); why != "" {
		fmt.Fprintln(out, "steady:", why)
		return 1
	}
	for _, f := range first.failed {
		fmt.Fprintf(out, "steady: %s of %s failed; %d times more, by itself\n", f.test, f.pkg, again)
		second := newReport(out)
		err := test(ctx, rerun(flags, f), second.event)
		switch {
		case ctx.Err() != nil:
			return 130
		case err != nil || !second.good():
			fmt.Fprintf(out, "steady: %s of %s fails\n", f.test, f.pkg)
			return 1
		case second.passed[f] < again:
			fmt.Fprintf(out, "steady: %s of %s passed %d times, not %d\n", f.test, f.pkg, second.passed[f], again)
			return 1
		}
	}
	for _, f := range first.failed {
		fmt.Fprintf(out, "steady: UNSTEADY: %s of %s failed beside others and passed %d times by itself. See above; it wants mending.\n", f.test, f.pkg, again)
	}
	return 0
}

// rerun are the arguments that run one test by itself. Earlier ones of the same name are overridden.
func rerun(flags []string, f failure) []string {
	return append(slices.Clone(flags), "-run=^"+regexp.QuoteMeta(f.test)+"$", "-count="+strconv.Itoa(again), f.pkg)
}

// split takes the packages, which come last, off the flags.
func split(args []string) (flags, packages []string) {
	n := len(args)
	for n > 0 && (strings.HasPrefix(args[n-1], "./") || args[n-1] == ".") {
		n--
	}
	return args[:n], args[n:]
}

// goTest is the runner that runs the go command of the PATH, or the one in $GO.
func goTest(ctx context.Context, args []string, each func(line []byte)) error {
	tool := os.Getenv("GO")
	if tool == "" {
		tool = "go"
	}
	cmd := exec.CommandContext(ctx, tool, append([]string{"test", "-json"}, args...)...)
	// go test ends its tests when it is interrupted, and leaves them alone when it is killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := lines(pipe, each); err != nil {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // the first error is the one to tell
		return err
	}
	return cmd.Wait()
}
