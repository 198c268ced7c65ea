package servicetoken

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/oauth"
)

func own(t *testing.T, p *provider) *Own {
	t.Helper()
	o := NewOwn(Options{Client: client(), Scope: "orders.read orders.write", Audience: []string{"orders"}, Resource: []string{"https://orders.example"}})
	o.ask = p.ask
	t.Cleanup(o.Stop)
	return o
}

// TestOwn follows a token through its life: requests wait for the first one, all others are fetched ahead of need.
func TestOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{life: 10 * time.Minute, takes: time.Second}
		o := own(t, p)
		if got := shown(o, 200, ""); got != "503" || o.Unready() == "" {
			t.Errorf("before the start: %s, %q", got, o.Unready())
		}
		o.Start()
		o.Start()
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if got := shown(o, 200, ""); got != "Bearer token-1" {
					t.Errorf("while the first one is fetched: %s", got)
				}
			})
		}
		group.Wait()
		if form := p.forms[0].Encode(); p.count() != 1 || form != "audience=orders&grant_type=client_credentials&resource=https%3A%2F%2Forders.example&scope=orders.read+orders.write" {
			t.Errorf("asked %d times, for %s", p.count(), form)
		}
		for range 1000 {
			time.Sleep(10 * time.Second)
			start := time.Now()
			if got := shown(o, 200, ""); !strings.HasPrefix(got, "Bearer token-") || time.Since(start) != 0 {
				t.Fatalf("later: %s after %s", got, time.Since(start))
			}
		}
		if n := p.count(); n < 10000/450 || n > 10000/390 {
			t.Errorf("in 10,000 seconds %d tokens of 600 seconds were fetched", n)
		}
		if s := o.Status(); s.Refused != 1 || s.Failed != 0 || s.Fetched != uint64(p.count()) || time.Until(s.Ends) <= 0 || o.Unready() != "" {
			t.Errorf("the status is %+v", s)
		}
	})
}

// TestOwnProviderDown tries that the last token serves until it ends, that the routes are closed then, and open again as soon as they can.
func TestOwnProviderDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{life: 10 * time.Minute}
		o := own(t, p)
		o.Start()
		synctest.Wait()
		p.set(func() { p.broken = errDown })
		start := time.Now()
		for shown(o, 200, "") == "Bearer token-1" {
			time.Sleep(time.Second)
		}
		if lasted := time.Since(start); lasted < 585*time.Second || lasted > 592*time.Second {
			t.Errorf("a token of 600 seconds serves for %s", lasted)
		}
		if start := time.Now(); shown(o, 200, "") != "503" || time.Since(start) != 0 || !strings.Contains(o.Unready(), "https://id.example/token") {
			t.Errorf("without a token requests wait for %s, and unready is %q", time.Since(start), o.Unready())
		}
		time.Sleep(time.Hour)
		if n := p.count(); n < 60 || n > 90 {
			t.Errorf("a provider that is down was asked %d times in 70 minutes", n)
		}
		p.set(func() { p.broken = nil })
		time.Sleep(retryMax + time.Second)
		if got := shown(o, 200, ""); !strings.HasPrefix(got, "Bearer token-") || o.Unready() != "" {
			t.Errorf("when it is there again: %s, %q", got, o.Unready())
		}
	})
}

// TestOwnNever tries a provider that hangs: requests wait for a while, and no longer than they have.
func TestOwnNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{takes: time.Hour}
		o := own(t, p)
		o.Start()
		start := time.Now()
		if got := shown(o, 200, ""); got != "503" || time.Since(start) != waitFirst {
			t.Errorf("got %s after %s", got, time.Since(start))
		}
		x := proxy.Acquire()
		defer x.Release()
		x.Cancel(proxy.ErrClientGone)
		start = time.Now()
		if err := o.Serve(x, nil); err != ErrUnavailable || time.Since(start) != 0 {
			t.Errorf("a client that has gone: %v after %s", err, time.Since(start))
		}
	})
}

// TestOwnRejected tries that a token which services refuse is replaced, at most once in a while, and shown on if there is no better one.
func TestOwnRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{life: 10 * time.Hour}
		o := own(t, p)
		o.Start()
		synctest.Wait()
		if got := shown(o, 401, ""); got != "Bearer token-1" {
			t.Fatal(got)
		}
		if shown(o, 200, ""); p.count() != 1 {
			t.Error("one that is new was fetched anew at once")
		}
		time.Sleep(rejectedAfter)
		if got := shown(o, 401, ""); got != "Bearer token-1" {
			t.Fatal(got)
		}
		if got := shown(o, 200, ""); got != "Bearer token-2" {
			t.Errorf("after it was refused: %s", got)
		}
		// A service that refuses every token.
		for range 1000 {
			shown(o, 401, "")
			time.Sleep(100 * time.Millisecond)
		}
		if n := p.count(); n < 10 || n > 12 {
			t.Errorf("in 100 seconds of refusals %d tokens were fetched", n)
		}
		// The provider is down as well: the old one is better than none, and nobody waits for long.
		p.set(func() { p.broken, p.takes = errDown, time.Hour })
		time.Sleep(rejectedAfter)
		before := shown(o, 401, "")
		start := time.Now()
		if got := shown(o, 200, ""); got != before || time.Since(start) > waitBetter {
			t.Errorf("without a better one: %s after %s, not %s", got, time.Since(start), before)
		}
		time.Sleep(time.Minute)
		start = time.Now()
		if got := shown(o, 200, ""); got != before || time.Since(start) != 0 {
			t.Errorf("later: %s after %s, not %s", got, time.Since(start), before)
		}
		if s := o.Status(); s.Rejected != 1003 || s.Failed == 0 {
			t.Errorf("the status is %+v", s)
		}
	})
}

// TestOwnLives tries tokens that last for very long, for a moment, or for nobody knows how long.
func TestOwnLives(t *testing.T) {
	f := func(life time.Duration, perHour int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			p := &provider{life: life}
			o := own(t, p)
			o.Start()
			time.Sleep(time.Hour)
			if n := p.count(); n < perHour*8/10 || n > perHour*12/10+1 {
				t.Errorf("of %s: %d were fetched in an hour, want about %d", life, n, perHour)
			}
			o.Stop()
			n := p.count()
			time.Sleep(time.Hour)
			if p.count() != n {
				t.Error("it fetches after its end")
			}
		})
	}
	f(100*time.Hour, 1)
	f(time.Minute, 83)
	f(0, 12)
	f(time.Second, 3600)
	f(time.Nanosecond, 3600)
}

// TestOwnStopped tries that an end breaks a fetch off, and that what waits goes on.
func TestOwnStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := own(t, &provider{takes: time.Hour})
		o.ask = func(ctx context.Context, _ url.Values) (*oauth.Token, error) { <-ctx.Done(); return nil, ctx.Err() }
		o.Start()
		var group sync.WaitGroup
		group.Go(func() {
			if got := shown(o, 200, ""); got != "503" {
				t.Errorf("got %s", got)
			}
		})
		synctest.Wait()
		start := time.Now()
		o.Stop()
		group.Wait()
		if time.Since(start) != 0 || o.Status().Failed != 0 {
			t.Errorf("it took %s, and %+v", time.Since(start), o.Status())
		}
	})
}
