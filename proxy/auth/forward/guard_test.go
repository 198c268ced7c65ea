package forward

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// TestKey: whatever the service is told, and may decide by, makes another key, and nothing else does.
func TestKey(t *testing.T) {
	g := guard(says(200, ""), Options{Key: AllFacts, Send: []string{"Authorization", "X-Tenant"}, Cookies: []string{"session"}})
	keys := map[[32]byte]string{}
	f := func(what string, differs bool, change func(r *proxy.Request)) {
		t.Helper()
		x := request(t, "Bearer 1")
		change(&x.Request)
		key := g.key(x)
		other, known := keys[key]
		if known == differs {
			t.Errorf("%s: known as %q", what, other)
		}
		keys[key] = what
	}
	f("as it is", true, func(*proxy.Request) {})
	f("again", false, func(*proxy.Request) {})
	f("method", true, func(r *proxy.Request) { r.Method = "GETS" })
	f("path", true, func(r *proxy.Request) { r.Path = []byte("/orders") })
	f("path and query", true, func(r *proxy.Request) { r.Path, r.Query, r.HasQuery = []byte("/orders"), []byte("/7"), true })
	f("an empty query", true, func(r *proxy.Request) { r.HasQuery = true })
	f("scheme", true, func(r *proxy.Request) { r.Scheme = "http" })
	f("host", true, func(r *proxy.Request) { r.Host = []byte("a") })
	f("what somebody else says about the scheme", false, func(r *proxy.Request) { r.Head.SetString("X-Forwarded-Proto", "http") })
	f("what somebody else says about the host", false, func(r *proxy.Request) { r.Head.SetString("X-Forwarded-Host", "a") })
	f("address", true, func(r *proxy.Request) { r.Head.SetString("X-Forwarded-For", "192.0.2.2") })
	f("token", true, func(r *proxy.Request) { r.Head.SetString("Authorization", "Bearer 2") })
	f("no token", true, func(r *proxy.Request) { r.Head.Del("Authorization") })
	f("two tokens", true, func(r *proxy.Request) { r.Head.AddString("Authorization", "") })
	f("token as tenant", true, func(r *proxy.Request) { r.Head.Del("Authorization"); r.Head.AddString("X-Tenant", "Bearer 1") })
	f("session", true, func(r *proxy.Request) { r.Head.SetString("Cookie", "session=8") })
	f("another cookie", false, func(r *proxy.Request) { r.Head.SetString("Cookie", "theme=light; session=7") })
	f("another field", false, func(r *proxy.Request) { r.Head.AddString("X-Other", "1") })

	one, two := guard(says(200, ""), Options{Key: Host, Send: []string{"Authorization"}}), request(t, "Bearer 1")
	x := request(t, "Bearer 1")
	x.Request.Path = []byte("/others")
	if one.key(x) != one.key(two) {
		t.Error("the path counts, which is not to")
	}
	two.Request.Head.SetString("Authorization", "Bearer 2")
	if one.key(x) == one.key(two) {
		t.Error("what a client shows does not count")
	}
}

// TestDecisions: what answers mean.
func TestDecisions(t *testing.T) {
	f := func(s service, want string) {
		t.Helper()
		g := guard(s, Options{Name: "asked", Identity: "X-User", Forward: []string{"X-User"}, Respond: []string{"Set-Cookie"}})
		x := request(t, "")
		err := g.Check(x)
		var answer proxy.Answer
		got := ""
		switch {
		case err == nil:
			got = fmt.Sprintf("%s %s %s", x.Identity.Kind(), x.Identity.Subject(), x.Request.Head.Get("X-User"))
		case errors.As(err, &answer):
			if err := answer.Answer(x); err != nil {
				t.Fatal(err)
			}
			r := &x.Response
			got = fmt.Sprintf("%d %s%s", r.Status, r.Head.AppendTo(nil), r.Body.Prefix())
		default:
			got = proxy.AsError(err).Code
		}
		if got = strings.ReplaceAll(got, "\r\n", "; "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(says(200, "OK", "X-User", "anne"), "forward_auth anne anne")
	f(says(299, "", "X-User", "anne"), "forward_auth anne anne")
	f(says(200, "OK"), "auth_unavailable")
	f(says(200, "OK", "X-User", ""), "auth_unavailable")
	f(says(200, "OK", "X-User", "anne", "X-User", "bert"), "auth_unavailable")
	f(says(200, "OK", "X-User", strings.Repeat("a", identityMax+1)), "auth_unavailable")

	f(says(401, "no", "WWW-Authenticate", "Basic", "Server", "s", "X-User", "anne"), "401 WWW-Authenticate: Basic; Cache-Control: no-store; no")
	f(says(403, "", "Cache-Control", "private"), "403 Cache-Control: private; ")
	f(says(302, "", "Location", "/login", "Set-Cookie", "a=1", "Set-Cookie", "b=2"), "302 Location: /login; Set-Cookie: a=1; Set-Cookie: b=2; Cache-Control: no-store; ")
	f(says(403, strings.Repeat("a", bodyMax+1), "Content-Type", "text/html", "X-A", "1"), "403 X-A: 1; Cache-Control: no-store; ")

	for _, status := range []int{100, 101, 300, 302, 304, 305, 399, 400, 402, 404, 407, 429, 500, 503, 599} {
		f(says(status, ""), "auth_unavailable") // a redirect without a target included
	}
	f(func(*proxy.Exchange) error { return proxy.ErrTimeout }, "auth_unavailable")
	f(func(*proxy.Exchange) error { return errors.New("broken") }, "auth_unavailable")
}

// TestStripped: clients cannot say who they are, in whatever mode, nor by a trailer.
func TestStripped(t *testing.T) {
	g := guard(says(200, ""), Options{Forward: []string{"X-Groups"}, Identity: "X-User"})
	x := request(t, "")
	for _, name := range []string{"X-User", "x_user", "X_Groups", "x-groups", "X-Userx"} {
		x.Request.Head.AddString(name, "admin")
	}
	x.Request.Trailers.AddString("X-Groups", "admin")
	g.Prepare(x)
	if got := string(x.Request.Head.AppendTo(nil)); strings.Count(got, "admin") != 1 || !strings.Contains(got, "X-Userx") {
		t.Errorf("left is %q", got)
	}
	if proxy.FinalTrailers(&x.Request.Trailers, x.Request.Decided).Has("X-Groups") {
		t.Error("a trailer gets past")
	}

	// What the service is to see goes when it has seen it, whatever it says.
	for _, status := range []int{200, 403, 500} {
		seen := ""
		g = guard(service(func(c *proxy.Exchange) error {
			seen = string(c.Request.Head.Get("Authorization"))
			c.Response.Head.AddString("Authorization", "of the service")
			c.Response.Status = status
			return nil
		}), Options{Send: []string{"Authorization"}, Forward: []string{"authorization"}})
		x = request(t, "of the client")
		g.Prepare(x)
		err := g.Check(x)
		left := string(x.Request.Head.Get("Authorization"))
		if seen != "of the client" || left == seen || (err == nil) != (left == "of the service") {
			t.Errorf("%d: the service has seen %q, and the origin sees %q", status, seen, left)
		}
	}
}

// TestIdentity: without a name clients are told apart by what they show, and an identity that was proven before stays.
func TestIdentity(t *testing.T) {
	groups := func(c *proxy.Exchange) error {
		c.Response.Status = 200
		c.Response.Head.AddString("X-Groups", string(c.Request.Head.Get("X-Forwarded-For")))
		return nil
	}
	g := guard(service(groups), Options{Send: []string{"Authorization"}, Forward: []string{"X-Groups"}, Key: IP, Remember: time.Minute})
	check := func(token string, before *proxy.Identity) *proxy.Exchange {
		x := request(t, token)
		if before != nil {
			x.Identify(before, true)
		}
		if err := g.Check(x); err != nil {
			t.Fatal(err)
		}
		if x.ByAuthorization != (before != nil) {
			t.Errorf("it is said that Authorization has proven it: %v", x.ByAuthorization)
		}
		return x
	}
	one, two, again := check("1", nil).Identity, check("2", nil).Identity, check("1", nil).Identity
	if string(one.Key()) == string(two.Key()) || string(one.Key()) != string(again.Key()) {
		t.Error("clients are not told apart")
	}
	if one.Subject() != "" || string(one.Claim("x-groups")) != "192.0.2.1" {
		t.Errorf("it is %q, of %q", one.Subject(), one.Claim("x-groups"))
	}
	// Whether the origin is told anything or not: what it answers may depend on what was shown.
	before := proxy.NewIdentity("jwt", "shop", "anne", nil)
	f := func(s proxy.Policy, name string) {
		t.Helper()
		g = guard(s, Options{Send: []string{"Authorization"}, Identity: name, Remember: time.Minute})
		if name != "" {
			x := check("1", before)
			if x.Identity.Subject() != "bob" || len(x.Others()) != 1 || x.Others()[0] != before {
				t.Errorf("it is %q, beside %d others", x.Identity.Name(), len(x.Others()))
			}
			return
		}
		var beside []string
		for _, token := range []string{"1", "2", "1"} {
			x := check(token, before)
			if x.Identity != before || len(x.Others()) != 1 {
				t.Fatalf("it is %q, beside %d others", x.Identity.Name(), len(x.Others()))
			}
			beside = append(beside, string(x.Others()[0].Key()))
		}
		if beside[0] == beside[1] || beside[0] != beside[2] {
			t.Error("clients that were known are not told apart by what they show")
		}
	}
	f(service(groups), "")
	f(says(200, ""), "")
	f(says(200, "", "X-User", "bob"), "X-User")
}

// TestTogether: many who want to know the same ask once, and each may leave; what is for one client is told to none of the others.
func TestTogether(t *testing.T) {
	const clients = 20
	run := func(cookie bool) (asked int64) {
		var questions atomic.Int64
		hold := make(chan struct{})
		g := guard(service(func(c *proxy.Exchange) error {
			questions.Add(1)
			select {
			case <-hold:
			case <-c.Done():
				return c.Canceled()
			}
			c.Response.Status = 200
			if cookie {
				c.Response.Head.AddString("Set-Cookie", "a=1")
			}
			return nil
		}), Options{Send: []string{"Authorization"}, Remember: time.Minute})
		var group sync.WaitGroup
		var arrived atomic.Int64
		for range clients {
			group.Go(func() {
				x := proxy.Acquire()
				defer x.Release()
				fill(x, "1")
				arrived.Add(1)
				if err := g.Check(x); err != nil {
					t.Error(err)
				}
			})
		}
		key := func() *flight {
			x := proxy.Acquire()
			defer x.Release()
			fill(x, "1")
			k := g.key(x)
			s := &g.options.Memory.flights[k[31]%16]
			s.Lock()
			defer s.Unlock()
			return s.m[k]
		}
		eventually(t, "everybody", func() bool {
			f := key()
			if f == nil {
				return false
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.waiting == clients
		})
		close(hold)
		group.Wait()
		return questions.Load()
	}
	if n := run(false); n != 1 {
		t.Errorf("%d questions of %d clients", n, clients)
	}
	if n := run(true); n != clients {
		t.Errorf("%d questions of %d clients, each with a cookie of its own", n, clients)
	}
}

// TestLeaving: the one that has asked may leave while others wait, and when all have left the question ends.
func TestLeaving(t *testing.T) {
	hold := make(chan struct{})
	ended := make(chan error, 1)
	g := guard(service(func(c *proxy.Exchange) error {
		select {
		case <-hold:
			c.Response.Status = 200
			return nil
		case <-c.Done():
			ended <- c.Canceled()
			return c.Canceled()
		}
	}), Options{Send: []string{"Authorization"}, Remember: time.Minute})
	client := func() (*proxy.Exchange, chan error) {
		x := request(t, "1")
		result := make(chan error, 1)
		go func() { result <- g.Check(x) }()
		return x, result
	}
	x := request(t, "1")
	key := g.key(x)
	waiting := func(n int) func() bool {
		return func() bool {
			s := &g.options.Memory.flights[key[31]%16]
			s.Lock()
			defer s.Unlock()
			f := s.m[key]
			if f == nil {
				return n == 0
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.waiting == n
		}
	}
	first, firstResult := client()
	eventually(t, "the first", waiting(1))
	second, secondResult := client()
	eventually(t, "the second", waiting(2))
	first.Cancel(proxy.ErrClientGone)
	if err := <-firstResult; err != proxy.ErrClientGone {
		t.Errorf("who has left gets %v", err)
	}
	second.Cancel(proxy.ErrClientGone)
	<-secondResult
	if err := <-ended; err != proxy.ErrClientGone {
		t.Errorf("the question ends with %v", err)
	}
	eventually(t, "the flight to end", waiting(0))
	if s := g.options.Memory.Status(); s.Failed != 0 {
		t.Error("that clients leave counts as a failure of the service")
	}
	_, third := client()
	close(hold)
	if err := <-third; err != nil {
		t.Errorf("who comes later gets %v", err)
	}
}

// TestLate: a service that does not answer in time has not answered, and what waits is not held up.
func TestLate(t *testing.T) {
	for _, remember := range []time.Duration{0, time.Minute} {
		g := guard(service(func(c *proxy.Exchange) error {
			<-c.Done()
			return c.Canceled()
		}), Options{Timeout: time.Millisecond, Remember: remember})
		m := g.options.Memory
		for range askAfter {
			if err := g.Check(request(t, "")); proxy.AsError(err).Code != ErrUnavailable.Code {
				t.Errorf("got %v", err)
			}
		}
		eventually(t, "the service to be down", func() bool { return strings.Contains(m.Down(), "auth_late") })
		m.Stop()
		g.options.Service = says(403, "")
		if err := g.Check(request(t, "")); err == nil || m.Down() != "" {
			t.Errorf("after an answer: %v, %q", err, m.Down())
		}
	}
}

// TestHealth: a service is ill when it does not answer the gateway either, whatever clients make it do, and is well when it does again.
func TestHealth(t *testing.T) {
	logged := logs(t)
	f := func(toClients, toUs service, asks, down bool) {
		t.Helper()
		before := len(logged())
		var own atomic.Int64
		var well atomic.Bool
		g := guard(service(func(c *proxy.Exchange) error {
			if h := &c.Request.Head; h.Has("Cookie") || h.Has("Authorization") || h.Has("X-Forwarded-For") || string(h.Get("X-Forwarded-Uri")) != "/" {
				return toClients(c)
			}
			own.Add(1)
			if well.Load() {
				return says(401, "")(c)
			}
			return toUs(c)
		}), Options{Identity: "X-User", Send: []string{"Authorization", "Cookie"}})
		m := g.options.Memory
		m.health.least = time.Millisecond
		defer m.Stop()
		for range askAfter - 1 {
			_ = g.Check(request(t, "1"))
		}
		if n := own.Load(); n > 0 || m.Down() != "" {
			t.Errorf("it is asked %d times too early, or down: %q", n, m.Down())
		}
		_ = g.Check(request(t, "1"))
		if m.Status().Failed != askAfter {
			t.Errorf("%d questions have failed", m.Status().Failed)
		}
		if asks {
			eventually(t, "a question of the gateway's own", func() bool { return own.Load() > 0 })
		}
		if down {
			eventually(t, "the service to be down", func() bool { return m.Down() != "" })
			eventually(t, "it to be asked again", func() bool { return own.Load() > 3 })
			well.Store(true)
		}
		eventually(t, "the end of that", func() bool { return m.Down() == "" && !m.health.probing.Load() })
		if n := own.Load(); (n > 0) != asks {
			t.Errorf("%d questions of the gateway's own", n)
		}
		text := logged()[before:]
		ill, wellAgain := strings.Count(text, `"a service that decides is ill" service=auth policy=asked error=`), strings.Count(text, `"a service that decides is well again" service=auth policy=asked`)
		if want := map[bool]int{true: 1}[down]; ill != want || wellAgain != want {
			t.Errorf("the log says %s", text)
		}
	}
	broken := service(func(*proxy.Exchange) error { return proxy.ErrTimeout })
	bug := service(func(*proxy.Exchange) error { panic("a bug, of the test") })

	f(says(400, ""), broken, false, false)
	f(says(431, ""), broken, false, false)
	f(says(304, ""), broken, false, false)
	f(says(200, ""), broken, false, false) // it names nobody

	f(says(500, ""), says(401, ""), true, false)
	f(says(501, ""), says(200, ""), true, false)
	f(broken, says(404, ""), true, false)
	f(broken, says(302, ""), true, false)

	f(says(500, ""), says(500, ""), true, true)
	f(says(503, ""), broken, true, true)
	f(broken, says(502, ""), true, true)
	f(broken, bug, true, true)

	// A client that has spent the time of its route with its head leaves none for the question.
	g := guard(service(func(c *proxy.Exchange) error { <-c.Done(); return c.Canceled() }), Options{})
	for range askAfter {
		x := request(t, "")
		x.Deadline = wire.Now() - 1
		if err := g.Check(x); proxy.AsError(err).Code != ErrUnavailable.Code {
			t.Error(err)
		}
	}
	if m := g.options.Memory; m.Down() != "" || m.health.probing.Load() {
		t.Errorf("it is asked what is the matter: %q", m.Down())
	}
}

// TestHealthStop: what stops does so at once, and for good.
func TestHealthStop(t *testing.T) {
	var asked atomic.Int64
	g := guard(service(func(c *proxy.Exchange) error {
		if c.Request.Head.Has("Cookie") {
			return proxy.ErrTimeout
		}
		asked.Add(1)
		<-c.Done()
		return c.Canceled()
	}), Options{Timeout: time.Hour, Send: []string{"Cookie"}})
	m := g.options.Memory
	for range askAfter {
		_ = g.Check(request(t, ""))
	}
	eventually(t, "a question", func() bool { return asked.Load() > 0 })
	m.Stop()
	for range askAfter {
		_ = g.Check(request(t, ""))
	}
	m.Stop()
	if n := asked.Load(); n != 1 || m.Down() != "" {
		t.Errorf("asked %d times, %q", n, m.Down())
	}
}

// TestPanic: a bug in what asks closes the route, and hangs nobody.
func TestPanic(t *testing.T) {
	before := proxy.Panics.Load()
	g := guard(service(func(*proxy.Exchange) error { panic("a bug, of the test") }), Options{Remember: time.Minute})
	if err := g.Check(request(t, "")); err != ErrUnavailable || proxy.Panics.Load() != before+1 {
		t.Errorf("got %v", err)
	}
}
