package servicetoken

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/oauth"
)

func exchanged(t *testing.T, p *provider, remember, questions int) *Exchanged {
	t.Helper()
	e := NewExchanged(Options{Client: client(), Scope: "orders.read", Audience: []string{"orders"}}, remember, questions)
	e.ask = p.ask
	t.Cleanup(e.Stop)
	return e
}

// TestExchanged tries that each client's token is exchanged once, for its own, until what was got ends.
func TestExchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{life: 10 * time.Minute, takes: time.Second}
		e := exchanged(t, p, 100, 100)
		e.Start()
		if got := shown(e, 200, ""); got != "401" || p.count() != 0 {
			t.Errorf("without a token: %s, and the provider was asked %d times", got, p.count())
		}
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if got := shown(e, 200, "ann"); got != "Bearer token-1-for-ann" {
					t.Errorf("got %s", got)
				}
			})
		}
		group.Wait()
		if form := p.forms[0].Encode(); p.count() != 1 || form != "audience=orders&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&scope=orders.read&"+
			"subject_token=ann&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token" {
			t.Errorf("asked %d times, for %s", p.count(), form)
		}
		if got := shown(e, 200, "bob"); got != "Bearer token-2-for-bob" {
			t.Errorf("another client: %s", got)
		}
		time.Sleep(580 * time.Second)
		if got := shown(e, 200, "ann"); got != "Bearer token-1-for-ann" {
			t.Errorf("later: %s", got)
		}
		time.Sleep(10 * time.Second)
		if got := shown(e, 200, "ann"); got != "Bearer token-3-for-ann" {
			t.Errorf("after its end: %s", got)
		}
		// A service that refuses the token: it is exchanged anew, but for one that is new.
		if got := shown(e, 401, "ann"); got != "Bearer token-3-for-ann" {
			t.Fatal(got)
		}
		if got := shown(e, 401, "ann"); got != "Bearer token-3-for-ann" {
			t.Errorf("one that is new and was refused: %s", got)
		}
		time.Sleep(rejectedAfter)
		shown(e, 401, "ann")
		if got := shown(e, 200, "ann"); got != "Bearer token-4-for-ann" {
			t.Errorf("one that was refused: %s", got)
		}
		if s := e.Status(); s.Exchanged != 4 || s.Rejected != 3 || s.Denied != 0 || s.Failed != 0 || s.Remembered != 2 || e.Unready() != "" {
			t.Errorf("the status is %+v", s)
		}
	})
}

// TestExchangedRefusals tries what clients are told, and that who is refused does not make the provider be asked again at once.
func TestExchangedRefusals(t *testing.T) {
	f := func(err error, want string, ready bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			p := &provider{broken: err}
			e := exchanged(t, p, 100, 100)
			e.Start()
			for range 3 {
				if got := shown(e, 200, "ann"); got != want {
					t.Errorf("%v: got %s, want %s", err, got, want)
				}
			}
			asked := 1
			if want == "503" {
				asked = 3
			}
			synctest.Wait()
			if p.of("ann") != asked || ready != (e.Unready() == "") {
				t.Errorf("%v: the provider was asked %d times, and unready is %q", err, p.of("ann"), e.Unready())
			}
			if strings.Contains(e.Unready(), "planted") {
				t.Error("a secret shows")
			}
			p.set(func() { p.broken = nil })
			time.Sleep(badFor)
			if got := shown(e, 200, "ann"); !strings.HasPrefix(got, "Bearer token") || e.Unready() != "" {
				t.Errorf("%v: later: %s, %q", err, got, e.Unready())
			}
		})
	}
	refusal := func(status int, code string) error { return &oauth.Refusal{Status: status, Code: code} }
	f(refusal(400, "invalid_grant"), "401", true)
	f(refusal(400, "invalid_request"), "401", true)
	f(refusal(400, "invalid_target"), "403", true)
	f(refusal(400, "invalid_scope"), "403", true)
	f(refusal(403, "access_denied"), "403", true)
	f(refusal(401, "invalid_client"), "503", false)
	f(refusal(400, "unauthorized_client"), "503", false)
	f(refusal(400, "unsupported_grant_type"), "503", false)
	f(refusal(400, ""), "503", false)
	f(refusal(302, "invalid_grant"), "503", false)
	f(refusal(500, "invalid_grant"), "503", false)
	f(refusal(http.StatusTooManyRequests, "invalid_request"), "503", false)
	f(errDown, "503", false)
	f(oauth.ErrCooling, "503", false)
	f(fmt.Errorf("wrapped: %w", errDown), "503", false)
}

// TestExchangedProbe tries that a gateway which gets no requests finds out that the provider answers again.
func TestExchangedProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{broken: errDown, life: 10 * time.Hour}
		e := exchanged(t, p, 100, 100)
		e.Start()
		e.Start()
		shown(e, 200, "ann")
		time.Sleep(time.Hour)
		if n := p.count(); n < 120 || n > 130 || e.Unready() == "" {
			t.Errorf("in an hour it was asked %d times, and unready is %q", n, e.Unready())
		}
		for _, form := range p.forms[1:] {
			if form.Get("subject_token") == "ann" {
				t.Fatal("it was asked with a token of somebody")
			}
		}
		p.set(func() { p.broken = &oauth.Refusal{Status: 400, Code: "invalid_request"} }) // which is what nobody's token deserves
		time.Sleep(30 * time.Second)                                                      // oauth's longest pause
		if e.Unready() != "" {
			t.Errorf("unready is %q", e.Unready())
		}
		n := p.count()
		time.Sleep(time.Hour)
		if p.count() != n {
			t.Error("it is asked for nothing")
		}
		p.set(func() { p.broken = errDown })
		shown(e, 200, "bob")
		time.Sleep(time.Minute)
		if p.count() <= n+2 {
			t.Error("it is not tried a second time")
		}
		e.Stop()
		n = p.count()
		time.Sleep(time.Hour)
		if p.count() != n {
			t.Error("it is tried after the end")
		}
	})
}

// TestExchangedOne tries that a token on which the provider fails closes nothing for others, and makes it be tried no more than once a second.
func TestExchangedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{life: time.Hour}
		e := exchanged(t, p, 100, 100)
		e.ask = func(ctx context.Context, form url.Values) (*oauth.Token, error) {
			if form.Get("subject_token") == "evil" {
				return nil, &oauth.Refusal{Status: 500, Code: "server_error"}
			}
			return p.ask(ctx, form)
		}
		e.Start()
		for range 100 {
			if got := shown(e, 200, "evil"); got != "503" || e.Unready() != "" {
				t.Fatalf("got %s, and unready is %q", got, e.Unready())
			}
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		if got := shown(e, 200, "ann"); !strings.HasPrefix(got, "Bearer token-") || p.count() > 13 {
			t.Errorf("another token: %s, and the provider was asked %d times", got, p.count())
		}
	})
}

// TestExchangedBounds tries that many tokens take no more memory and no more questions than there may be.
func TestExchangedBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{life: 10 * time.Minute, takes: time.Second}
		e := exchanged(t, p, 100, 10)
		var group sync.WaitGroup
		var mu sync.Mutex
		got := map[string]int{}
		for i := range 50 {
			group.Go(func() {
				s := shown(e, 200, fmt.Sprint("client-", i))
				mu.Lock()
				defer mu.Unlock()
				got[s[:3]]++
			})
		}
		group.Wait()
		if got["503"] != 40 || got["Bea"] != 10 {
			t.Errorf("got %v", got)
		}
		p.set(func() { p.takes = 0 })
		for i := range 1000 {
			shown(e, 200, fmt.Sprint("client-", i))
		}
		if n := e.Status().Remembered; n > 256 {
			t.Errorf("%d are remembered, of 100", n)
		}
		x := proxy.Acquire()
		defer x.Release()
		x.Token = []byte("gone")
		x.Cancel(proxy.ErrClientGone)
		p.set(func() { p.takes = time.Hour })
		start := time.Now()
		if err := e.Serve(x, nil); proxy.AsError(err).Status != 503 || time.Since(start) != 0 {
			t.Errorf("a client that has gone: %v after %s", err, time.Since(start))
		}
		time.Sleep(time.Hour)
	})
}
