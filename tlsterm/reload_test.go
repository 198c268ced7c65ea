package tlsterm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reloading is a Terminator whose files a test changes.
type reloading struct {
	*testing.T
	*authority
	*Terminator
	clock *clock
	dir   string
	logs  *logs
}

func newReloading(t *testing.T, certificates func(a *authority, dir string) []Source) *reloading {
	t.Helper()
	r := &reloading{T: t, authority: newAuthority(t, "ca"), clock: newClock(epoch), dir: t.TempDir(), logs: logging(t)}
	r.Terminator = openAt(t, r.clock, Options{Name: "web", Certificates: certificates(r.authority, r.dir)})
	return r
}

// shows looks, and compares what a client of that name gets then.
func (r *reloading) shows(name string, want issued) {
	r.Helper()
	r.look()
	s := shake(r.Config(), trusting(r.authority, r.clock, name, nil))
	if s.err() != nil || serialOf(s) != want.cert.SerialNumber.Int64() {
		r.Fatalf("%s gets certificate %d, want %d (%v)", name, serialOf(s), want.cert.SerialNumber, s.err())
	}
}

func (r *reloading) logged(want ...string) {
	r.Helper()
	expect(r.T, r.logs.take(), want...)
}

func (r *reloading) issueFor(names string) issued { return r.authority.server(r.T, names) }

func TestReload(t *testing.T) {
	var first, other issued
	r := newReloading(t, func(a *authority, dir string) []Source {
		first, other = a.server(t, "a.test"), a.server(t, "b.test")
		return []Source{put(t, dir, "a", first), put(t, dir, "b", other)}
	})
	crt, key := filepath.Join(r.dir, "a.crt"), filepath.Join(r.dir, "a.key")
	r.shows("a.test", first)
	r.logged()

	// A rename over each file.
	second := r.issueFor("a.test")
	put(t, r.dir, "a", second)
	r.shows("a.test", second)
	r.logged("is in force & web & a.crt")

	// Half of a pair: what was in force stays, and it is told once.
	third := r.issueFor("a.test")
	write(t, r.dir, "a.crt", third.certs)
	r.shows("a.test", second)
	r.logged("stays & web & " + key + ": the private key does not belong to the certificate in " + crt)
	r.shows("a.test", second)
	r.logged()

	// Other pairs do not wait for this one.
	other2 := r.issueFor("b.test")
	put(t, r.dir, "b", other2)
	r.shows("b.test", other2)
	r.shows("a.test", second)
	r.logged("is in force & b.crt")

	// The other half.
	write(t, r.dir, "a.key", third.keys)
	r.shows("a.test", third)
	r.logged("is in force & a.crt")

	// Garbage, other garbage, no file, a folder: each is a change.
	write(t, r.dir, "a.crt", "no PEM")
	r.shows("a.test", third)
	r.logged(crt + ": it is not PEM")
	write(t, r.dir, "a.crt", "still no PEM")
	r.shows("a.test", third)
	r.logged(crt + ": it is not PEM")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	write(t, r.dir, "a.crt", third.certs)
	r.shows("a.test", third)
	r.logged(key + ": it cannot be read: no such file")
	if err := os.Mkdir(key, 0o700); err != nil {
		t.Fatal(err)
	}
	r.shows("a.test", third)
	r.logged(key + ": it is not a regular file")
	r.shows("a.test", third)
	r.logged()

	// Written in place, with the same size perhaps: the time differs.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	write(t, r.dir, "a.key", third.keys)
	r.shows("a.test", third)
	r.logs.take()
	fourth := r.issueFor("a.test")
	for path, text := range map[string]string{crt: fourth.certs, key: fourth.keys} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, epoch, epoch); err != nil {
			t.Fatal(err)
		}
	}
	r.shows("a.test", fourth)
	r.logged("is in force & a.crt")

	// A certificate that clients will refuse replaces another one, but not silently.
	expired := r.authority.issue(t, order{names: "a.test", to: epoch.Add(-time.Hour)})
	put(t, r.dir, "a", expired)
	r.look()
	r.logged("level=WARN & a.crt & it expired at 2026-03-01T05:00:00Z")
	if got := r.Certificates()[0].Serial; got != fmt.Sprintf("%x", expired.cert.SerialNumber) {
		t.Errorf("certificate %s is in force", got)
	}
}

// TestReloadLinks: Kubernetes keeps each state in a folder of its own and exchanges one link.
func TestReloadLinks(t *testing.T) {
	var first issued
	state := func(dir, name string, i issued) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), "tls.crt", i.certs)
		write(t, filepath.Join(dir, name), "tls.key", i.keys)
	}
	link := func(dir, target, name string) {
		if err := os.Symlink(target, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	f := func(source func(dir string) Source) {
		t.Helper()
		r := newReloading(t, func(a *authority, dir string) []Source {
			first = a.server(t, "a.test")
			state(dir, "..1", first)
			link(dir, "..1", "..data")
			link(dir, "..data/tls.crt", "tls.crt")
			link(dir, "..data/tls.key", "tls.key")
			return []Source{source(dir)}
		})
		r.shows("a.test", first)
		second := r.issueFor("a.test")
		state(r.dir, "..2", second)
		r.shows("a.test", first)
		link(r.dir, "..2", "..data")
		r.shows("a.test", second)
		r.logged("is in force & tls.crt")
	}
	f(func(dir string) Source {
		return Source{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	})
	f(func(dir string) Source { return Source{Dir: dir} })
}

func TestReloadFolder(t *testing.T) {
	var a1, b1 issued
	r := newReloading(t, func(a *authority, dir string) []Source {
		a1, b1 = a.server(t, "a.test"), a.server(t, "b.test")
		put(t, dir, "a", a1)
		write(t, dir, "b.pem", b1.both())
		// What is no pair is left out without a word.
		write(t, dir, "ca.crt", a.pem())
		write(t, dir, "chain.pem", a.pem())
		write(t, dir, "lonely.key", a1.keys)
		write(t, dir, "privkey.pem", a1.keys)
		write(t, dir, ".hidden.pem", "no PEM")
		write(t, dir, "README", "no PEM")
		return []Source{{Dir: dir}}
	})
	r.shows("a.test", a1)
	r.shows("b.test", b1)
	r.logged()
	sources := func(want string) {
		t.Helper()
		var got []string
		for _, info := range r.Certificates() {
			got = append(got, filepath.Base(info.Source))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v are in force, want %s", got, want)
		}
	}
	sources("a.crt b.pem")

	// One more, in its place.
	write(t, r.dir, "aa.crt", a1.certs)
	r.look()
	sources("a.crt b.pem")
	aa := r.issueFor("aa.test")
	put(t, r.dir, "aa", aa)
	r.shows("aa.test", aa)
	r.logged("is in force & aa.crt")
	sources("a.crt aa.crt b.pem")

	// One that is wrong from the beginning changes nothing.
	write(t, r.dir, "0.pem", b1.certs+a1.keys)
	r.look()
	r.look()
	r.logged("0.pem: the private key does not belong")
	sources("a.crt aa.crt b.pem")
	remove := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove("0.pem")

	// One whose key is missing for a while, and one that is missing altogether for a moment, stay.
	remove("aa.key")
	r.shows("aa.test", aa)
	r.shows("aa.test", aa)
	r.logged("aa.key: it cannot be read")
	write(t, r.dir, "aa.key", aa.keys)
	remove("a.crt", "a.key")
	r.shows("aa.test", aa)
	r.logged("is in force & aa.crt")
	a2 := r.issueFor("a.test")
	put(t, r.dir, "a", a2)
	r.shows("a.test", a2)
	r.logged("is in force & a.crt")

	// One that is gone for longer goes.
	remove("a.crt", "a.key")
	r.look()
	sources("a.crt aa.crt b.pem")
	r.look()
	sources("aa.crt b.pem")
	r.logged("no longer in its folder & a.crt")

	// The key moves out of the file.
	b2 := r.issueFor("b.test")
	write(t, r.dir, "b.pem", b2.certs)
	write(t, r.dir, "b.key", b2.keys)
	r.shows("b.test", b2)
	r.logged("is in force & b.pem")

	// The last ones stay, since there has to be one.
	remove("aa.crt", "aa.key", "b.pem", "b.key")
	for range 5 {
		r.look()
	}
	sources("aa.crt b.pem")
	r.logged(r.dir + ": it holds no certificate with its key any more")
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	r.look()
	r.look()
	sources("aa.crt b.pem")
	r.logged(r.dir + ": it cannot be read")
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := r.issueFor("c.test")
	put(t, r.dir, "c", c)
	r.look()
	r.look()
	sources("c.crt")
	r.shows("c.test", c)
}

// TestSwap: nobody sees half a pair, and no handshake fails, while certificates are replaced by people who do not take care.
func TestSwap(t *testing.T) {
	var last issued
	r := newReloading(t, func(a *authority, dir string) []Source {
		last = a.server(t, "a.test")
		return []Source{put(t, dir, "a", last)}
	})
	const clients, swaps = 8, 15
	stop, results := make(chan struct{}), make(chan shaken)
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for {
				s := shake(r.Config(), trusting(r.authority, r.clock, "a.test", nil))
				select {
				case results <- s:
				case <-stop:
					return
				}
			}
		})
	}
	seen := map[int64]bool{}
	take := func(n int) {
		for range n {
			s := <-results
			seen[serialOf(s)] = true
			if s.err() != nil {
				t.Errorf("a handshake failed: server %v, client %v", s.serverErr, s.clientErr)
			}
		}
	}
	for range swaps {
		last = r.issueFor("a.test")
		write(t, r.dir, "a.crt", last.certs)
		r.look()
		take(clients)
		write(t, r.dir, "a.key", last.keys)
		r.look()
		take(clients)
	}
	take(2 * clients)
	close(stop)
	work.Wait()
	if !seen[last.cert.SerialNumber.Int64()] || len(seen) < swaps/2 {
		t.Errorf("clients saw %d certificates of %d, the last one: %v", len(seen), swaps+1, seen[last.cert.SerialNumber.Int64()])
	}
}

// TestRun: a change is noticed within a second or so, and Run ends with its context.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c, dir := newAuthority(t, "ca"), newClock(epoch), t.TempDir()
		term := openAt(t, c, Options{Certificates: []Source{put(t, dir, "a", a.server(t, "a.test"))}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			term.Run(ctx)
		}()
		second := a.server(t, "a.test")
		put(t, dir, "a", second)
		time.Sleep(2 * time.Second) // of the bubble
		synctest.Wait()
		if got := term.Certificates()[0].Serial; got != second.cert.SerialNumber.Text(16) {
			t.Errorf("certificate %s is in force", got)
		}
		cancel()
		<-ended
	})
}
