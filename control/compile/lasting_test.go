package compile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/limit/ledger"
)

// TestUnreadyModes: what an enforcing policy misses keeps traffic away, as it has closed its routes. What one misses that is tried out, or
// switched off, does not: it has closed nothing.
func TestUnreadyModes(t *testing.T) {
	f := func(policy string) {
		t.Run(policy[:8], func(t *testing.T) {
			t.Parallel()
			state := t.TempDir()
			r := newRuntime(t)
			for _, name := range []string{quotaFile, membersFile} {
				if err := os.Mkdir(filepath.Join(state, name), 0o700); err != nil { // which is no file that could be opened
					t.Fatal(err)
				}
			}
			commit := func(mode string) {
				r.Commit(mustCompile(t, r, fmt.Sprintf(`
state: %s
stores: { redis: "redis://127.0.0.1:1" }
services: { auth: { to: http://127.0.0.1:1 } }
consumers: { partners: { stored: true }, others: { a: { keys: [{ hash: "sha256:00000000000000000000000000000000000000000000000000000000000000aa" }] } } }
policies: { key: { api_key: { consumers: others, header: X-Key } } }
routes: { a: { match: /a, use: [key, { %s, mode: %s } }], respond: { status: 204 } } }
`, state, policy, mode)))
			}
			commit("enforce")
			eventually(t, "a reason", func() bool { return r.Unready() != "" })
			for _, mode := range []string{"report", "off"} {
				commit(mode)
				if why := r.Unready(); why != "" {
					t.Errorf("in mode %s: %s", mode, why)
				}
			}
			commit("enforce")
			eventually(t, "a reason again", func() bool { return r.Unready() != "" })
		})
	}
	f("jwt: { issuer: 'http://127.0.0.1:1', audience: a")
	f("introspection: { issuer: 'http://127.0.0.1:1', client_id: a, client_secret: b")
	f("rate_limit: { allow: 1/s, across: redis, if_store_down: deny")
	f("quota: { allow: 5/day")
	f("api_key: { consumers: partners, header: X-Other")
}

// endsBy is a lasting thing whose Stop is what it holds.
type endsBy func()

func (endsBy) Start()  {}
func (f endsBy) Stop() { f() }

// writesBy is a lasting thing with a name, whose Close is what it holds.
type writesBy func() error

func (writesBy) Start()         {}
func (writesBy) Stop()          { panic("Close is what says whether it worked") }
func (f writesBy) Close() error { return f() }
func (writesBy) String() string { return "the quotas in a file" }

var _ closer = (*ledger.Ledger)(nil)

// TestCloseNames: an error at the end says of what, and no definition is told: it may hold secrets.
func TestCloseNames(t *testing.T) {
	f := func(want string, lasts lasting) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := New(Options{})
			r.lasting = map[string]lasting{"hunter2": lasts}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := r.Close(ctx); err == nil || err.Error() != want {
				t.Errorf("got %v", err)
			}
			time.Sleep(time.Minute)
		})
	}
	f("the quotas in a file did not end in time: context deadline exceeded", writesBy(func() error { time.Sleep(time.Minute); return nil }))
	f("the disk is full", writesBy(func() error { return errors.New("the disk is full") }))
	f("what policies keep (compile.endsBy) did not end in time: context deadline exceeded", endsBy(func() { time.Sleep(time.Minute) }))
}

// TestClose: what lasts is stopped side by side, and waited for, but no longer than there is time.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		other, written := make(chan struct{}), false
		r.lasting = map[string]lasting{
			"one":     endsBy(func() { close(other) }),
			"another": endsBy(func() { <-other }),
			"slow":    endsBy(func() { time.Sleep(2 * time.Second); written = true }),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil || !written {
			t.Errorf("what could be written in time was: %v, %v", written, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{})
		never, written := make(chan struct{}), false
		r.lasting = map[string]lasting{
			"stuck": endsBy(func() { <-never }),
			"slow":  endsBy(func() { time.Sleep(2 * time.Second); written = true }),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second || !written {
			t.Errorf("after %v: %v; what could be written was: %v", time.Since(began), err, written)
		}
		close(never)
	})
}

// TestDiscardAfterClose: what a plan shares with what ran ends once, even if the plan is dropped after the end.
func TestDiscardAfterClose(t *testing.T) {
	r, stops := newRuntime(t), 0
	r.Commit(mustCompile(t, r, "routes: { a: { match: /a, respond: { status: 204 } } }\n"))
	plan := mustCompile(t, r, "routes: { b: { match: /b, respond: { status: 204 } } }\n")
	plan.prepared, plan.lasting = true, map[string]lasting{"one": endsBy(func() { stops++ })}
	r.lasting = plan.lasting
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	r.Discard(plan)
	if stops != 1 {
		t.Errorf("it was stopped %d times", stops)
	}
}
