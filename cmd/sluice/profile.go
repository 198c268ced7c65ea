package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/control/profiling"
)

type profileCommand struct {
	Kinds []string `arg:"" optional:"" name:"kind" help:"What to fetch: cpu, heap, allocs, mutex, block, goroutine, trace; all of them by default."`
	reach
	For    time.Duration `default:"10s" placeholder:"TIME" help:"How long cpu, mutex, block and trace are taken (${default}; a trace 5s at most)."`
	Out    string        `short:"o" default:"." placeholder:"PATH" help:"The folder to write to, or the file if one kind is fetched (${default})."`
	Recent bool          `help:"Fetch the last profiles that continuous profiling has taken, captures included, instead of taking some."`
	Count  int           `default:"1" placeholder:"N" help:"With --recent: how many of each kind (${default})."`
}

func (profileCommand) Help() string {
	return example("The gateway takes one profile at a time; this command waits for another one to end. The files can be read by nobody but you. "+
		"A token is never an argument: others see the command line of a process.",
		"sluice profile\nsluice profile cpu --for 30s -o cpu.pprof\nsluice profile --admin unix:/run/sluice/admin.sock --token-file /run/secrets/admin --recent")
}

// kind is one that can be fetched.
type kind struct {
	name, path string
	longest    time.Duration // of one that takes time
	whole      bool          // the other side wants whole seconds
	ending     string        // of the file
	read       string        // the command that reads it
}

// kinds are in the order in which they are fetched: those that take time come first, one after the other.
var kinds = []kind{
	{name: "cpu", path: "profile", longest: profileForMax, ending: ".cpu.pprof", read: pprofTop},
	{name: "mutex", path: "mutex", longest: profileForMax, whole: true, ending: ".mutex.pprof", read: pprofTop},
	{name: "block", path: "block", longest: profileForMax, whole: true, ending: ".block.pprof", read: pprofTop},
	{name: "trace", path: "trace", longest: 5 * time.Second, ending: ".trace", read: traceView},
	{name: "heap", path: "heap", ending: ".heap.pprof", read: pprofTop},
	{name: "allocs", path: "allocs", ending: ".allocs.pprof", read: pprofTop},
	{name: "goroutine", path: "goroutine", ending: ".goroutine.pprof", read: pprofTop},
}

const (
	pprofTop  = "go tool pprof -top"
	traceView = "go tool trace"
)

// storedKinds are what continuous profiling has.
var storedKinds = []string{"cpu", "heap", "goroutine", "trace", "reason"}

const (
	profileForMin = 100 * time.Millisecond
	profileForMax = time.Minute // the admin listener's limit
	recentMax     = 1000        // files of each kind
	// busyMax is how long another profile is waited for: the longest one there is, and a little.
	busyMax = profileForMax + 5*time.Second
)

func (c *profileCommand) Run(t *terminal) error {
	if err := c.validate(); err != nil {
		return err
	}
	client, err := reachAdmin(t, c.Admin, c.TokenFile)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	f := &fetching{t: t, client: client, out: c.Out}
	if c.Recent {
		err = f.recent(ctx, c.Kinds, c.Count)
	} else {
		err = f.now(ctx, c.Kinds, c.For)
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

func (c *profileCommand) validate() error {
	known := storedKinds
	if !c.Recent {
		known = nil
		for _, k := range kinds {
			known = append(known, k.name)
		}
	}
	for _, kind := range c.Kinds {
		if !slices.Contains(known, kind) {
			return fmt.Errorf("there is no profile %q: %s", kind, strings.Join(known, ", "))
		}
	}
	if c.For < profileForMin || c.For > profileForMax {
		return fmt.Errorf("--for wants a time from %v to %v, got %v", profileForMin, profileForMax, c.For)
	}
	if c.Count < 1 || c.Count > recentMax {
		return fmt.Errorf("--count wants a number from 1 to %d, got %d", recentMax, c.Count)
	}
	return nil
}

// fetching is one run of the command.
type fetching struct {
	t      *terminal
	client *adminClient
	out    string
}

// now takes profiles. One that somebody else's is in the way of is left out, and is an error in the end.
func (f *fetching) now(ctx context.Context, wanted []string, d time.Duration) error {
	all := len(wanted) == 0
	file, err := f.target(len(wanted) == 1)
	if err != nil {
		return err
	}
	began := time.Now().UTC().Format("20060102T150405Z")
	var late []error
	for _, k := range kinds {
		if !all && !slices.Contains(wanted, k.name) {
			continue
		}
		path, took := k.request(d)
		if took > 0 {
			f.t.note(fmt.Sprintf("Taking %s for %v.", k.name, took))
		}
		name := file
		if name == "" {
			name = filepath.Join(f.out, "sluice-"+began+k.ending)
		}
		err := f.fetch(ctx, k.name, path, took, name, k.read)
		var other *busy
		if errors.As(err, &other) {
			late = append(late, fmt.Errorf("%s: %w", k.name, err))
			continue
		}
		if err != nil {
			return errors.Join(append(late, fmt.Errorf("%s: %w", k.name, err))...)
		}
	}
	return errors.Join(late...)
}

// request is the path to ask for, and the time that the answer takes by itself.
func (k kind) request(d time.Duration) (path string, took time.Duration) {
	path, took = "/debug/pprof/"+k.path, min(d, k.longest)
	if k.whole {
		took = (took + time.Second - 1).Truncate(time.Second)
	}
	if took > 0 {
		path += "?seconds=" + strconv.FormatFloat(took.Seconds(), 'f', -1, 64)
	}
	return path, took
}

// recent fetches the newest files of each kind from the gateway's disk.
func (f *fetching) recent(ctx context.Context, wanted []string, count int) error {
	var answer struct {
		On       bool
		Folder   string
		Profiles []profiling.File
	}
	if err := f.client.getJSON(ctx, "/v1/profiles", &answer); err != nil {
		return err
	}
	if !answer.On {
		return fmt.Errorf("continuous profiling is off at %s: see admin.profiling in its configuration", f.client.shown)
	}
	chosen := choose(answer.Profiles, wanted, count)
	if len(chosen) == 0 {
		return fmt.Errorf("there is no such profile yet in %s of %s", printable(answer.Folder), f.client.shown)
	}
	file, err := f.target(len(chosen) == 1)
	if err != nil {
		return err
	}
	for _, p := range chosen {
		name := file
		if name == "" {
			name = filepath.Join(f.out, p.Name)
		}
		read := pprofTop
		switch p.Kind {
		case "trace":
			read = traceView
		case "reason":
			read = "cat"
		}
		err := f.fetch(ctx, p.Kind, "/v1/profiles/"+url.PathEscape(p.Name), 0, name, read)
		if errors.Is(err, errNotFound) {
			f.t.note(p.Name + " was removed in the meantime: newer ones have taken its place.")
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// choose takes the newest count of each kind, captures and others apart. A name becomes the name of a file here, so that
// only what is surely the name of a profile counts.
func choose(files []profiling.File, wanted []string, count int) []profiling.File {
	type class struct {
		kind    string
		capture bool
	}
	taken := map[class]int{}
	var chosen []profiling.File
	for _, f := range files {
		p, ok := profiling.ParseName(f.Name)
		c := class{p.Kind, p.Capture}
		if !ok || len(wanted) > 0 && !slices.Contains(wanted, p.Kind) || taken[c] >= count {
			continue
		}
		taken[c]++
		chosen = append(chosen, p)
	}
	return chosen
}

// target says which file to write, or "" for names of our own in the folder, which is made if need be.
func (f *fetching) target(one bool) (file string, err error) {
	info, err := os.Stat(f.out)
	isFolder := err == nil && info.IsDir()
	if one && !isFolder && !strings.HasSuffix(f.out, string(filepath.Separator)) {
		return f.out, nil
	}
	if err == nil && !isFolder {
		return "", fmt.Errorf("%s is a file, and several profiles need a folder", f.out)
	}
	if err := os.MkdirAll(f.out, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the folder for the profiles: %w", err)
	}
	return "", nil
}

// fetch writes one profile to a file and says how to read it. It waits while the gateway takes another one.
func (f *fetching) fetch(ctx context.Context, kind, path string, took time.Duration, file, read string) error {
	err := f.store(ctx, path, took, file)
	var other *busy
	for begin := time.Now(); errors.As(err, &other) && time.Since(begin)+other.after < busyMax; {
		f.t.note(fmt.Sprintf("Waiting up to %v: the gateway takes another profile.", other.after))
		select {
		case <-time.After(other.after):
		case <-ctx.Done():
			return ctx.Err()
		}
		err = f.store(ctx, path, took, file)
	}
	if err != nil {
		return err
	}
	if f.t.color {
		kind = fmt.Sprintf("%-9s", kind) // a line at a time: the longest kind is known
	}
	return f.t.write(f.t.table([]string{bold, "", faint}, [][]string{{kind, file, read + " " + shellQuoted(file)}}))
}

// store writes an answer to a file. An error of the other side is not one of the file.
func (f *fetching) store(ctx context.Context, path string, took time.Duration, file string) error {
	var answer, disk error
	err := fillAtomically(file, 0o600, func(w io.Writer) error {
		answer = f.client.get(ctx, path, took, adminBodyMax, writerFunc(func(p []byte) (n int, err error) {
			n, disk = w.Write(p)
			return n, disk
		}))
		return answer
	})
	if answer != nil && disk == nil {
		return answer
	}
	return err
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// shellQuoted is text as one word of a POSIX shell.
func shellQuoted(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@%", r)
	}
	if s != "" && strings.TrimFunc(s, safe) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
