package jwt

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/wire"
)

// issuer answers fetches in a bubble.
type issuer struct {
	mu      sync.Mutex
	set     *jose.Set
	hold    time.Duration
	err     error
	slow    time.Duration
	fetches atomic.Int64
}

func (i *issuer) publish(signers ...*signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.set, i.err = setOf(signers...), nil
}

func (i *issuer) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

func (i *issuer) fetch(ctx context.Context) (*jose.Set, time.Duration, error) {
	i.fetches.Add(1)
	i.mu.Lock()
	set, hold, err, slow := i.set, i.hold, i.err, i.slow
	i.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	return set, hold, err
}

func keysOf(i *issuer) *Keys {
	k := NewKeys(KeysOptions{Issuer: "https://id.example"})
	k.fetch = i.fetch
	return k
}

// oneThread lets goroutines run one at a time, where they have to.
var oneThread = func() (restore func()) { return func() {} }

// bubble runs f with an issuer, keys that were started, and a guard that uses them.
func bubble(t *testing.T, f func(i *issuer, k *Keys, g *Guard)) {
	t.Helper()
	defer oneThread()()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{hold: 10 * time.Minute, slow: 50 * time.Millisecond}
		k := keysOf(i)
		defer k.Stop()
		f(i, k, guard(t, Options{Keys: k, Remember: 100}))
	})
}

// TestFetchedMeanwhile: who has looked a moment before the keys came waits for nothing more, and lets nobody be asked again.
func TestFetchedMeanwhile(t *testing.T) {
	one, two := newSigner("a"), newSigner("b")
	bubble(t, func(i *issuer, k *Keys, _ *Guard) {
		i.publish(one)
		k.Start()
		time.Sleep(time.Minute)
		x := proxy.Acquire()
		defer x.Release()
		f := func(known *jose.Set, good func(*jose.Set) bool, waited bool, fetches int64) {
			t.Helper()
			begin, before := time.Now(), i.fetches.Load()
			if k.await(x, known, good) != k.current() || (time.Since(begin) > 0) != waited || i.fetches.Load() != before+fetches {
				t.Errorf("it waits for %s, and asks %d times", time.Since(begin), i.fetches.Load()-before)
			}
		}
		f(nil, isThere, false, 0)
		f(setOf(two), isThere, false, 0)
		f(k.current(), isThere, true, 1) // nothing has come
		time.Sleep(time.Minute)
		f(setOf(two), func(*jose.Set) bool { return false }, true, 1) // what has come is not what is wanted
	})
}

func TestRefresh(t *testing.T) {
	one, two := newSigner("a"), newSigner("b")
	bubble(t, func(i *issuer, k *Keys, _ *Guard) {
		// next waits for the next fetch, and wants that it comes after this time, or up to a tenth earlier.
		next := func(want time.Duration) {
			t.Helper()
			begin, before := time.Now(), i.fetches.Load()
			for i.fetches.Load() == before {
				time.Sleep(time.Second)
			}
			if d := time.Since(begin); d > want+2*time.Second || d < want-want/10-2*time.Second {
				t.Errorf("it was fetched after %s, want %s", d, want)
			}
			time.Sleep(100 * time.Millisecond)
		}
		i.publish(one)
		time.Sleep(time.Hour)
		if i.fetches.Load() != 0 {
			t.Error("it is fetched before Start")
		}
		k.Start()
		k.Start()
		next(0)
		set := k.current()
		next(10 * time.Minute)
		if k.current() != set {
			t.Error("the same keys are another set: everything would be verified anew")
		}
		i.publish(two)
		next(10 * time.Minute)
		if k.current() == set || k.Status().Keys != 1 || k.Status().Fetched != 3 {
			t.Errorf("got %+v", k.Status())
		}
		// It says that they hold for no time, or for ever.
		hold := func(d time.Duration) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.hold = d
		}
		hold(0)
		next(10 * time.Minute)
		next(refreshMin)
		hold(10000 * time.Hour)
		next(refreshMin)
		next(refreshMax)
	})
}

// TestIssuerDown tries that the last good keys stay, and how often a broken issuer is asked.
func TestIssuerDown(t *testing.T) {
	one := newSigner("a")
	bubble(t, func(i *issuer, k *Keys, g *Guard) {
		i.publish(one)
		k.Start()
		time.Sleep(time.Second)
		i.fail(errors.New("it is down"))
		time.Sleep(2 * time.Hour)
		if n := i.fetches.Load(); n < 24 || n > 40 {
			t.Errorf("in two hours it was asked %d times", n)
		}
		if s := k.Status(); s.Problem != "it is down" || s.Failed == 0 || s.Keys != 1 {
			t.Errorf("got %+v", s)
		}
		if k.Unready() != "" {
			t.Error("the gateway is not ready although it has keys")
		}
		if got := outcome(g, one.token(claims())); got != "200" {
			t.Errorf("with the last good keys: %s", got)
		}
		i.publish(one)
		time.Sleep(retryMax + time.Second)
		if s := k.Status(); s.Problem != "" {
			t.Errorf("got %+v", s)
		}
	})
}

// TestNoKeys tries that nobody gets in before there are keys, that who comes first waits for them, and that nobody waits while it is
// known to be of no use.
func TestNoKeys(t *testing.T) {
	one := newSigner("a")
	bubble(t, func(i *issuer, k *Keys, g *Guard) {
		i.fail(errors.New("it is down"))
		i.slow = time.Second
		k.Start()
		if !strings.Contains(k.Unready(), "https://id.example") {
			t.Errorf("unready is %q", k.Unready())
		}
		token := one.token(claims("exp", time.Now().Unix()+3600))
		took := func(want time.Duration, says string) {
			t.Helper()
			begin := time.Now()
			if got := outcome(g, token); got != says {
				t.Errorf("got %s, want %s", got, says)
			}
			if d := time.Since(begin); d != want {
				t.Errorf("it took %s, want %s", d, want)
			}
		}
		took(time.Second, "503") // the first fetch is under way
		took(0, "503")
		time.Sleep(time.Minute)
		took(0, "503")
		i.publish(one)
		time.Sleep(retryMax + 2*time.Second)
		took(0, "200")
		if k.Unready() != "" {
			t.Error("the gateway is not ready although it has keys")
		}
	})
	bubble(t, func(i *issuer, k *Keys, g *Guard) {
		i.publish(one)
		i.slow = time.Second
		k.Start()
		if got := outcome(g, one.token(claims())); got != "200" {
			t.Errorf("who comes before the keys: got %s", got)
		}
		// Without a token nobody waits.
		if got := said(g.Check(proxy.Acquire())); got != "401" {
			t.Errorf("got %s", got)
		}
	})
}

// TestUnknownKey tries that a new key is fetched when it is needed, once for all who wait, and that nobody can make it be fetched more
// often than once per cool-down.
func TestUnknownKey(t *testing.T) {
	one, two, evil := newSigner("a"), newSigner("b"), newSigner("c")
	bubble(t, func(i *issuer, k *Keys, g *Guard) {
		i.publish(one)
		k.Start()
		time.Sleep(time.Minute)
		// A key that was made a moment ago.
		i.publish(one, two)
		token := two.token(claims())
		var group sync.WaitGroup
		begin := time.Now()
		for range 100 {
			group.Go(func() {
				if got := outcome(g, token); got != "200" {
					t.Errorf("a token of a new key: %s", got)
				}
			})
		}
		group.Wait()
		if n, d := i.fetches.Load(), time.Since(begin); n != 2 || d != 50*time.Millisecond {
			t.Errorf("it was asked %d times, and it took %s", n, d)
		}
		// A flood of tokens that nobody has signed, and in the middle of it one of a key that was made a moment ago.
		before := i.fetches.Load()
		three := newSigner("d")
		for second := range 60 {
			for range 20 {
				group.Go(func() {
					if got := outcome(g, evil.token(claims())); !strings.HasPrefix(got, "401 the token is signed with a key that is not known") {
						t.Errorf("got %s", got)
					}
				})
			}
			if second == 30 {
				i.publish(one, two, three)
				group.Go(func() {
					if got := outcome(g, three.token(claims())); got != "200" {
						t.Errorf("a token of a new key, in a flood: %s", got)
					}
				})
			}
			time.Sleep(time.Second)
		}
		group.Wait()
		if n := i.fetches.Load() - before; n > 31 || n < 20 {
			t.Errorf("in a flood of a minute the issuer was asked %d times", n)
		}
		time.Sleep(time.Minute)
		quiet := i.fetches.Load()
		time.Sleep(time.Minute)
		if n := i.fetches.Load() - quiet; n != 0 {
			t.Errorf("after the flood it was asked %d times", n)
		}
		// A wrong signature under a name that is known is no reason to ask.
		forged := newSigner("a")
		if got := outcome(g, forged.token(claims())); got != "401 the token's signature is wrong" || i.fetches.Load() != quiet {
			t.Errorf("got %s, and the issuer was asked", got)
		}
	})
}

// TestPatience tries that a request waits no longer than the bound, than its route allows, and than its client does, and that only so
// many wait.
func TestPatience(t *testing.T) {
	one, evil := newSigner("a"), newSigner("c")
	bubble(t, func(i *issuer, k *Keys, g *Guard) {
		i.publish(one)
		k.Start()
		time.Sleep(time.Minute)
		i.mu.Lock()
		i.slow = time.Hour
		i.mu.Unlock()
		var leaving sync.WaitGroup
		f := func(want time.Duration, change func(x *proxy.Exchange)) {
			t.Helper()
			time.Sleep(time.Minute)
			x := bearing(evil.token(claims()))
			defer x.Release()
			defer leaving.Wait()
			change(x)
			begin := time.Now()
			if got := said(g.Check(x)); !strings.HasPrefix(got, "401") {
				t.Errorf("got %s", got)
			}
			if d := time.Since(begin); d != want {
				t.Errorf("it waited for %s, want %s", d, want)
			}
			if !x.Waited {
				t.Error("nobody knows that it has waited")
			}
		}
		f(waitMax, func(*proxy.Exchange) {})
		f(time.Second, func(x *proxy.Exchange) { x.Deadline = wire.Now() + int64(time.Second) })
		f(0, func(x *proxy.Exchange) { x.Deadline = wire.Now() - int64(time.Second) })
		f(2*time.Second, func(x *proxy.Exchange) {
			leaving.Go(func() { time.Sleep(2 * time.Second); x.Cancel(proxy.ErrClientGone) })
		})

		var group sync.WaitGroup
		var atOnce atomic.Int64
		for range waitersMax + 100 {
			group.Go(func() {
				begin := time.Now()
				outcome(g, evil.token(claims()))
				if time.Since(begin) == 0 {
					atOnce.Add(1)
				}
			})
		}
		group.Wait()
		if n := atOnce.Load(); n != 100 {
			t.Errorf("%d were refused at once, want 100", n)
		}
		if got := outcome(g, one.token(claims())); got != "200" {
			t.Errorf("meanwhile: %s", got)
		}
		// Who waits when the gateway is told to stop does not hold it up.
		group.Go(func() { outcome(g, evil.token(claims())) })
		synctest.Wait()
		begin := time.Now()
		k.Stop()
		group.Wait()
		if d := time.Since(begin); d != 0 {
			t.Errorf("stopping took %s", d)
		}
	})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeys(KeysOptions{Issuer: "https://id.example", Idle: true})
		k.Start()
		begin := time.Now()
		if got := outcome(guard(t, Options{Keys: k}), "x"); got != "503" || time.Since(begin) != 0 {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
		k.Stop()
	})
}
