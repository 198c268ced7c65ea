package observe

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sluice/proxy"
)

func TestAccessLogOptions(t *testing.T) {
	f := func(o AccessLogOptions, want string) {
		t.Helper()
		l, err := NewAccessLog(o)
		if err == nil {
			l.Close(context.Background())
			t.Errorf("accepted, want %s", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	out := to(new(buffer))
	f(AccessLogOptions{Sample: 1}, "nowhere to go")
	f(AccessLogOptions{Open: out}, "cannot sample 0")
	f(AccessLogOptions{Open: out, Sample: -1}, "cannot sample -1")
	f(AccessLogOptions{Open: out, Sample: 1.5}, "cannot sample 1.5")
	f(AccessLogOptions{Open: out, Sample: math.NaN()}, "cannot sample NaN")
	f(AccessLogOptions{Open: out, Sample: 1, Format: "$nope"}, "$nope is not a variable")
	f(AccessLogOptions{Open: out, Sample: 1, Headers: []string{"a b"}}, `"a b"`)
	f(AccessLogOptions{Open: out, Sample: 1, Headers: []string{`a":"`}}, "no name of a header field")
	f(AccessLogOptions{Open: out, Sample: 1, Headers: make([]string, headersMax+1)}, "at most 32")
	f(AccessLogOptions{Open: Output(filepath.Join(t.TempDir(), "missing", "log")), Sample: 1}, "cannot open the access log")
}

// TestAccessLogConcurrent: every line is there once and whole, in the order of each goroutine.
func TestAccessLogConcurrent(t *testing.T) {
	const workers, rounds = 8, 3000 // some 4 MB: several blocks
	var out buffer
	l, err := NewAccessLog(AccessLogOptions{Open: to(&out), Sample: 1, Format: "$service $bytes_out " + strings.Repeat("x", 150)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			x := &proxy.Exchange{Service: string(rune('a' + i))}
			for n := range rounds {
				x.BytesOut = int64(n)
				l.Finish(x)
			}
		})
	}
	wg.Wait()
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	last := map[string]string{}
	lines := 0
	for text := range strings.Lines(out.String()) {
		words := strings.Fields(text)
		if len(words) != 3 || len(words[2]) != 150 || !strings.HasSuffix(text, "\n") {
			t.Fatalf("torn: %q", text)
		}
		if before := last[words[0]]; len(before) > len(words[1]) || len(before) == len(words[1]) && before >= words[1] {
			t.Fatalf("%s after %s", words[1], before)
		}
		last[words[0]] = words[1]
		lines++
	}
	if lines+int(l.Dropped()) != workers*rounds || lines == 0 {
		t.Errorf("%d lines written and %d dropped of %d", lines, l.Dropped(), workers*rounds)
	}
}

func TestSample(t *testing.T) {
	f := func(share float64, least, most int) {
		t.Helper()
		var out buffer
		l, err := NewAccessLog(AccessLogOptions{Open: to(&out), Sample: share, Format: "x"})
		if err != nil {
			t.Fatal(err)
		}
		for range 10_000 {
			l.Finish(&proxy.Exchange{})
		}
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "x\n"); n < least || n > most {
			t.Errorf("%v: %d of 10000 lines", share, n)
		}
		if l.Dropped() != 0 {
			t.Errorf("%v: lines that were left out count as dropped", share)
		}
	}
	f(1, 10_000, 10_000)
	f(0.5, 4650, 5350) // outside of this is one run of 10^11
	f(0.01, 30, 180)   // of 10^12
	f(1e-12, 0, 1)
}

func TestReopenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	l, err := NewAccessLog(AccessLogOptions{Open: Output(path), Sample: 1, Format: "$service"})
	if err != nil {
		t.Fatal(err)
	}
	l.Finish(&proxy.Exchange{Service: "before"})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	<-waitSwapped(l)
	l.Finish(&proxy.Exchange{Service: "after"})
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	f := func(path, want string) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", filepath.Base(path), got, err, want)
		}
	}
	f(path+".1", "before\n")
	f(path, "after\n")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("%v, %v: the log is open to everyone", info.Mode(), err)
	}
}

// waitSwapped is closed once the writer has taken the next output.
func waitSwapped(l *AccessLog) <-chan struct{} {
	swapped := make(chan struct{})
	go func() {
		defer close(swapped)
		for {
			l.blocks.mu.Lock()
			pending := l.blocks.next != nil
			l.blocks.mu.Unlock()
			if !pending {
				return
			}
		}
	}()
	return swapped
}

func TestReopenFails(t *testing.T) {
	var out buffer
	broken := errors.New("too many open files")
	fail := false
	l, err := NewAccessLog(AccessLogOptions{Sample: 1, Format: "$service", Open: func() (io.WriteCloser, error) {
		if fail {
			return nil, broken
		}
		return &out, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	fail = true
	if err := l.Reopen(); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	l.Finish(&proxy.Exchange{Service: "still"})
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "still\n" || out.closed != 1 {
		t.Errorf("got %q, closed %d times", got, out.closed)
	}
}

func TestChange(t *testing.T) {
	var first, second buffer
	l, err := NewAccessLog(AccessLogOptions{Open: to(&first), Sample: 1, Format: "first $service"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Change(AccessLogOptions{Open: to(&second), Sample: 1, Format: "$nope"}); err == nil {
		t.Error("a broken format was taken")
	}
	l.Finish(&proxy.Exchange{Service: "a"})
	if err := l.Change(AccessLogOptions{Open: to(&second), Sample: 1, Format: "second $service"}); err != nil {
		t.Fatal(err)
	}
	<-waitSwapped(l)
	l.Finish(&proxy.Exchange{Service: "b"})
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if first.String() != "first a\n" || second.String() != "second b\n" || first.closed != 1 || second.closed != 1 {
		t.Errorf("%q closed %d times, %q closed %d times", first.String(), first.closed, second.String(), second.closed)
	}
}

func TestClosed(t *testing.T) {
	var outs []*buffer
	l, err := NewAccessLog(AccessLogOptions{Sample: 1, Format: "x", Open: func() (io.WriteCloser, error) {
		outs = append(outs, new(buffer))
		return outs[len(outs)-1], nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	l.Finish(&proxy.Exchange{})
	if n := l.Dropped(); n != 1 {
		t.Errorf("dropped %d", n)
	}
	if err := l.Reopen(); err == nil {
		t.Error("a closed log was opened again")
	}
	if len(outs) != 2 || outs[0].closed != 1 || outs[1].closed != 1 || outs[0].writes != 0 {
		t.Errorf("outputs: %v", outs)
	}
}

func TestOutputStreams(t *testing.T) {
	f := func(to string, want *os.File) {
		t.Helper()
		w, err := Output(to)()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if w.(stream).Writer != want {
			t.Errorf("%s goes elsewhere", to)
		}
		if _, err := want.Stat(); err != nil {
			t.Errorf("%s was closed: %v", to, err)
		}
	}
	f("stdout", os.Stdout)
	f("stderr", os.Stderr)
}
