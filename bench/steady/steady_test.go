package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A module whose tests do as their names say. Those that fail beside others find out by the file that their first round left.
const tests = `package p

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func first(t *testing.T) bool {
	_, err := os.Stat(t.Name())
	_ = os.WriteFile(t.Name(), nil, 0o600)
	return err != nil
}

func once(t *testing.T) {
	if first(t) {
		t.Error("too late by a hair")
	}
}

func TestGood(t *testing.T)   { fmt.Println("a good test wrote this"); t.Run("sub", func(*testing.T) {}) }
func TestOnce(t *testing.T)   { once(t) }
func TestTwice(t *testing.T)  { once(t) }
func TestThrice(t *testing.T) { once(t) }
func TestInner(t *testing.T) {
	late := first(t)
	t.Run("sub", func(t *testing.T) {
		if late {
			t.Error("too late inside")
		}
	})
}
func TestAlways(t *testing.T) { t.Error("wrong each time") }
func TestPanic(t *testing.T) {
	if first(t) {
		panic("seen once")
	}
}
func TestSaysPanic(t *testing.T) {
	if first(t) {
		t.Error("the gateway said: panic: seen once")
	}
}
func TestBug(t *testing.T) {
	if first(t) {
		t.Error("500: ERROR BUG: panic while serving a request")
	}
}
func TestExit(t *testing.T) {
	if first(t) {
		os.Exit(3)
	}
}
func TestStuck(t *testing.T) {
	if first(t) {
		time.Sleep(time.Minute)
	}
}
func TestSkipped(t *testing.T) {
	if !first(t) {
		t.Skip("not again")
	}
	t.Error("failed before it was skipped")
}
`

// TestRun: who is forgiven, with the real go command.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module m\n\ngo 1.26\n")
	write("p/p_test.go", tests)
	write("broken/broken_test.go", "package broken\n\nfunc f() { nothing() }\n")
	t.Chdir(dir)
	for _, tt := range []struct {
		name, tests, packages string
		code                  int
		says                  string
		not                   string
	}{
		{"all pass", "TestGood", "./p", 0, "ok  \tm/p", "wrote this"},
		{"one is late", "TestGood|TestOnce", "./p", 0, "UNSTEADY: TestOnce of m/p", "wrote this"},
		{"what it said", "TestOnce", "./p", 0, "too late by a hair", "TestGood"},
		{"late inside", "TestInner", "./p", 0, "UNSTEADY: TestInner of m/p", "TestInner/sub of"},
		{"two are late", "TestOnce|TestTwice", "./p", 0, "UNSTEADY: TestTwice of m/p", "fails"},
		{"three are late", "TestOnce|TestTwice|TestThrice", "./p", 1, "3 tests failed", "UNSTEADY"},
		{"wrong each time", "TestAlways", "./p", 1, "TestAlways of m/p fails", "UNSTEADY"},
		{"one wrong, one late", "TestOnce|TestAlways", "./p", 1, "TestAlways of m/p fails", "UNSTEADY"},
		{"a panic", "TestPanic", "./p", 1, "steady: ", "UNSTEADY"},
		{"a panic of something else", "TestSaysPanic", "./p", 1, "steady: a panic", "UNSTEADY"},
		{"a bug that the gateway caught", "TestBug", "./p", 1, "steady: a bug", "UNSTEADY"},
		{"a process that ends", "TestExit", "./p", 1, "failed outside of its tests", "UNSTEADY"},
		{"stuck", "TestStuck", "./p", 1, "steady: ", "UNSTEADY"},
		{"skipped when it is looked at", "TestSkipped", "./p", 1, "passed 0 times, not 3", "UNSTEADY"},
		{"does not build", "Test", "./broken", 1, "undefined: nothing", "UNSTEADY"},
		{"one builds", "TestGood", "./...", 1, "it does not build", "UNSTEADY"},
		{"no packages", "Test", "", 2, "no packages", "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			left, err := filepath.Glob("p/Test*")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range left {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
			// What stops TestStuck leaves the others time on a busy machine.
			args := []string{"-count=1", "-timeout", "5s", "-run", "^(" + tt.tests + ")$"}
			if tt.name == "does not build" {
				args = args[:1]
			}
			if tt.packages != "" {
				args = append(args, tt.packages)
			}
			var out strings.Builder
			if code := run(t.Context(), args, goTest, &out); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if got := out.String(); !strings.Contains(got, tt.says) || tt.not != "" && strings.Contains(got, tt.not) {
				t.Errorf("got %q, want %q in it and %q not", got, tt.says, tt.not)
			}
		})
	}
}

// TestFailsWithout: a run that failed and names no test that did is not a good one.
func TestFailsWithout(t *testing.T) {
	var out strings.Builder
	missing := func(context.Context, []string, func([]byte)) error { return os.ErrNotExist }
	if code := run(t.Context(), []string{"./..."}, missing, &out); code != 1 || !strings.Contains(out.String(), os.ErrNotExist.Error()) {
		t.Errorf("got %d and %q", code, out.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := func(context.Context, []string, func([]byte)) error { cancel(); return nil }
	if code := run(ctx, []string{"./..."}, stopped, &out); code != 130 {
		t.Errorf("interrupted: got %d", code)
	}
}

// TestRaces: a race counts even where the test that it was seen in failed for something else, and what follows a test's end is
// not taken for a test that did not end.
func TestRaces(t *testing.T) {
	const end = `{"Action":"output","Package":"p","Test":"TestA","Output":"--- FAIL: TestA (0.1s)\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"late words\n"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p"}
`
	for text, want := range map[string]bool{
		`{"Action":"output","Package":"p","Test":"TestA","Output":"WARNING: DATA RACE\n"}`: false,
		`{"Action":"output","Package":"p","Output":"WARNING: DATA RACE\n"}`:                false,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"x_test.go:1: late\n"}`:  true,
		`{"Action":"run","Package":"p","Test":"TestB"}` + "\n" +
			`{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}`: false,
	} {
		r := newReport(&strings.Builder{})
		if err := lines(strings.NewReader(text+"\n"+end), r.event); err != nil {
			t.Fatal(err)
		}
		if why := r.unforgivable(nil); (why == "") != want || len(r.failed) != 1 {
			t.Errorf("%s: %q, failed %v", text, why, r.failed)
		}
	}
}
