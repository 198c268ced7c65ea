package cache

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// bench is a policy with an origin behind it, in a bubble of time.
type bench struct {
	t       *testing.T
	cache   *Cache
	chain   *proxy.Chain
	mu      sync.Mutex
	asked   []string // method, path and the fields of interest of every request that the origin has seen
	answer  func(x *proxy.Exchange) string
	err     error
	slow    time.Duration
	timeout time.Duration // of the route

	identity        *proxy.Identity
	others          []*proxy.Identity // beside it
	byAuthorization bool
	certificate     *proxy.Certificate
	host            string // that is asked
}

func newBench(t *testing.T, o Options) *bench {
	b := &bench{t: t, host: "host", cache: New(store.New(1<<20, wire.Now))}
	o.Space = []byte("a")
	if o.Wait == 0 {
		o.Wait = time.Minute
	}
	b.chain = proxy.NewChain(proxy.Link{Name: "cache", Policy: NewPolicy(b.cache, o)}, proxy.Link{Name: "origin", Policy: b})
	return b
}

// Serve is the origin.
func (b *bench) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	line := x.Request.Method + " " + string(x.Request.Path)
	for name, value := range x.Request.Head.All() {
		if !strings.HasPrefix(string(name), "X-") {
			line += fmt.Sprintf(" %s:%s", name, value)
		}
	}
	b.mu.Lock()
	b.asked = append(b.asked, line)
	b.mu.Unlock()
	if b.slow > 0 {
		time.Sleep(b.slow)
	}
	if b.err != nil {
		return b.err
	}
	answer := b.answer(x)
	if answer == "break" {
		return errBadOrigin
	}
	head, body, _ := strings.Cut(answer, "\n\n")
	status, lines, _ := strings.Cut(head, "\n")
	x.Response.Via = "1.1 sluice"
	fmt.Sscan(status, &x.Response.Status)
	size := int64(-1)
	for line := range strings.SplitSeq(lines, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok && name == "Content-Length" {
			fmt.Sscan(value, &size)
		} else if ok {
			x.Response.Head.AddString(name, value)
		}
	}
	if x.Response.Status == 304 || x.Request.Method == "HEAD" {
		x.Response.Body.SetAbsent(size)
	} else {
		x.Response.Body.SetWhole([]byte(body))
	}
	return nil
}

// errBadOrigin is what comes of the answer "break".
var errBadOrigin = &proxy.Error{Status: 502, Code: "bad_origin", Detail: "It has broken off.", Side: proxy.ByUpstream}

// ask sends a request: "GET /a", with fields behind it ("Range: bytes=0-1"). It returns the answer as one line: the status, the fields of
// the answer in want's order, the body.
func (b *bench) ask(request string, fields ...string) string {
	b.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	x := proxy.Acquire()
	x.Edge, x.Started = proxy.Nobody{}, wire.Now()
	x.Request.Method, x.Request.Scheme, x.Request.Host = method, "http", []byte(b.host)
	x.Received.Method = []byte(method)
	x.Identity, x.ByAuthorization, x.Client.Certificate = b.identity, b.byAuthorization, b.certificate
	for _, i := range b.others {
		x.IdentifyToo(i)
	}
	if b.timeout > 0 {
		x.Deadline = x.Started + int64(b.timeout)
	}
	path, query, has := strings.Cut(path, "?")
	x.Request.Path, x.Request.Query, x.Request.HasQuery = []byte(path), []byte(query), has
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Request.Head.AddString(name, value)
	}
	defer func() {
		x.Response.Body.Close()
		x.Wait()
		x.Finish()
		x.Release()
	}()
	err := b.chain.Serve(x)
	x.EditHead()
	status := string(x.Response.Head.Get("Cache-Status"))
	if err != nil {
		return fmt.Sprintf("%s, %s", proxy.AsError(err).Code, status)
	}
	body, err := io.ReadAll(&x.Response.Body)
	if err != nil {
		return "broken: " + err.Error()
	}
	age := ""
	if v := x.Response.Head.Get("Age"); v != nil {
		age = " age " + string(v)
	}
	return fmt.Sprintf("%d %s%s, %s", x.Response.Status, body, age, strings.TrimPrefix(status, "sluice; "))
}

type policyFunc func(x *proxy.Exchange, next *proxy.Chain) error

func (f policyFunc) Serve(x *proxy.Exchange, next *proxy.Chain) error { return f(x, next) }

func (b *bench) want(got, want string) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// seen wants what the origin has seen since the last call.
func (b *bench) seen(want ...string) {
	b.t.Helper()
	synctest.Wait()
	if got := strings.Join(b.asked, "\n"); got != strings.Join(want, "\n") {
		b.t.Errorf("the origin saw\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	b.asked = nil
}

func says(answer string) func(*proxy.Exchange) string {
	return func(*proxy.Exchange) string { return answer }
}

// oneThread lets goroutines run one at a time, where they have to.
var oneThread = func() (restore func()) { return func() {} }

func inBubble(name string, t *testing.T, o Options, f func(b *bench)) {
	t.Run(name, func(t *testing.T) {
		defer oneThread()()
		synctest.Test(t, func(t *testing.T) { f(newBench(t, o)) })
	})
}

// TestTime walks answers through their lives.
func TestTime(t *testing.T) {
	ignoring := rules.Policy{IgnoreRequest: true}

	inBubble("RFC 9111 4.2 and 4.3: fresh, then asked for, then fresh again", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=10\nETag: \"1\"\n\none")
		b.want(b.ask("GET /a"), "200 one, fwd=uri-miss; ttl=10; stored")
		time.Sleep(9 * time.Second)
		b.want(b.ask("GET /a"), "200 one age 9, hit; ttl=1")
		b.seen("GET /a")
		time.Sleep(time.Second)
		b.answer = says("304\nCache-Control: max-age=20\nETag: \"1\"\nX-New: yes\n\n")
		b.want(b.ask("GET /a"), "200 one age 0, fwd=stale; fwd-status=304; ttl=20")
		b.seen(`GET /a If-None-Match:"1"`)
		time.Sleep(19 * time.Second)
		b.want(b.ask("GET /a"), "200 one age 19, hit; ttl=1")
		b.seen()
		time.Sleep(time.Second)
		b.answer = says("200\nCache-Control: max-age=10\nETag: \"2\"\n\ntwo")
		b.want(b.ask("GET /a", `If-None-Match: "2"`), "304 , fwd=stale; ttl=10; stored")
		b.want(b.ask("GET /a"), "200 two age 0, hit; ttl=10")
		b.seen(`GET /a If-None-Match:"1"`)
	})

	inBubble("RFC 5861 3: stale while it is asked for in the background", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=10, stale-while-revalidate=30\n\none")
		b.ask("GET /a")
		time.Sleep(15 * time.Second)
		b.answer = says("200\nCache-Control: max-age=10, stale-while-revalidate=30\n\ntwo")
		b.slow = time.Second
		b.seen("GET /a")
		b.want(b.ask("GET /a"), "200 one age 15, hit; ttl=-5")
		b.want(b.ask("GET /a"), "200 one age 15, hit; ttl=-5") // and it is asked for once
		time.Sleep(2 * time.Second)
		b.want(b.ask("GET /a"), "200 two age 2, hit; ttl=8")
		b.seen("GET /a")
		b.slow = 0
		time.Sleep(60 * time.Second)
		b.want(b.ask("GET /a"), "200 two, fwd=uri-miss; ttl=10; stored")
	})

	inBubble("RFC 5861 4: stale if the origin fails", t, Options{Rules: rules.Policy{IgnoreRequest: true, StaleIfError: 60}}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=10\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\n\none")
		b.ask("GET /a")
		time.Sleep(15 * time.Second)
		b.answer = says("503\n\nbusy")
		b.want(b.ask("GET /a"), "200 one age 15, fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error")
		b.err = errors.New("refused")
		b.want(b.ask("GET /a"), "200 one age 15, fwd=stale; ttl=-5; detail=stale-if-error")
		b.seen("GET /a", "GET /a If-Modified-Since:Sun, 06 Nov 1994 08:49:37 GMT", "GET /a If-Modified-Since:Sun, 06 Nov 1994 08:49:37 GMT")
		time.Sleep(60 * time.Second)
		b.want(b.ask("GET /a"), "internal, sluice; fwd=stale")
	})

	inBubble("RFC 9111 5.2.2.2: must-revalidate is never served stale", t, Options{Rules: rules.Policy{IgnoreRequest: true, StaleIfError: 60, StaleWhileRevalidate: 60}}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=10, must-revalidate\nETag: \"1\"\n\none")
		b.ask("GET /a")
		time.Sleep(15 * time.Second)
		b.err = errors.New("refused")
		b.want(b.ask("GET /a"), "internal, sluice; fwd=stale")
	})

	inBubble("RFC 9111 4.2.3: the age of an answer that was old when it came", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=100\nAge: 30\n\none")
		b.want(b.ask("GET /a"), "200 one age 30, fwd=uri-miss; ttl=70; stored")
		time.Sleep(30 * time.Second)
		b.want(b.ask("GET /a"), "200 one age 60, hit; ttl=40")
	})

	inBubble("RFC 9111 4.4: what is not safe invalidates", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = func(x *proxy.Exchange) string {
			if x.Request.Method == "POST" {
				return "303\nLocation: http://host/b?x=1\n\n"
			}
			return "200\nCache-Control: max-age=100\n\none"
		}
		b.ask("GET /a")
		b.ask("GET /b?x=1")
		b.ask("GET /c")
		b.want(b.ask("POST /a"), "303 , fwd=method")
		b.want(b.ask("GET /a"), "200 one, fwd=uri-miss; ttl=100; stored")
		b.want(b.ask("GET /b?x=1"), "200 one, fwd=uri-miss; ttl=100; stored")
		b.want(b.ask("GET /c"), "200 one age 0, hit; ttl=100")
		b.err = errors.New("refused")
		b.ask("POST /a")
		b.want(b.ask("GET /a"), "200 one age 0, hit; ttl=100")
	})

	inBubble("RFC 9111 4.1: variants", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = func(x *proxy.Exchange) string {
			return "200\nCache-Control: max-age=100\nVary: Accept-Language\n\n" + string(x.Request.Head.Get("Accept-Language"))
		}
		b.want(b.ask("GET /a", "Accept-Language: de"), "200 de, fwd=uri-miss; ttl=100; stored")
		b.want(b.ask("GET /a", "Accept-Language: en"), "200 en, fwd=vary-miss; ttl=100; stored")
		b.want(b.ask("GET /a", "Accept-Language: DE"), "200 de age 0, hit; ttl=100")
		b.want(b.ask("GET /a", "Accept-Language: en"), "200 en age 0, hit; ttl=100")
		b.want(b.ask("GET /a"), "200 , fwd=vary-miss; ttl=100; stored")
		b.cache.Store.PurgeURL("host/a", false)
		b.want(b.ask("GET /a", "Accept-Language: en"), "200 en, fwd=uri-miss; ttl=100; stored")
		b.want(b.ask("GET /a", "Accept-Language: de"), "200 de, fwd=vary-miss; ttl=100; stored")
	})

	inBubble("soft purge", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=100, stale-while-revalidate=100\nETag: \"1\"\n\none")
		b.ask("GET /a")
		b.cache.Store.PurgeURL("host/a", true)
		b.answer = says("304\nETag: \"1\"\n\n")
		b.want(b.ask("GET /a"), "200 one age 0, hit; ttl=0")
		b.seen("GET /a", `GET /a If-None-Match:"1"`)
		b.want(b.ask("GET /a"), "200 one age 0, hit; ttl=100")
	})

	inBubble("RFC 9111 4.3.3: a 304 about something else", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=10\nETag: \"1\"\n\none")
		b.ask("GET /a")
		time.Sleep(15 * time.Second)
		b.seen("GET /a")
		b.answer = func(x *proxy.Exchange) string {
			if x.Request.Head.Has("If-None-Match") {
				return "304\nETag: \"2\"\n\n"
			}
			return "200\nCache-Control: max-age=10\nETag: \"2\"\n\ntwo"
		}
		b.want(b.ask("GET /a"), "200 two, fwd=stale; ttl=10; stored")
		b.seen(`GET /a If-None-Match:"1"`, "GET /a")
		b.want(b.ask("GET /a"), "200 two age 0, hit; ttl=10")
		time.Sleep(15 * time.Second)
		b.answer = says("304\nETag: \"3\"\n\n") // to whatever it is asked
		b.want(b.ask("GET /a"), "bad_response, sluice; fwd=stale")
		b.answer = says("200\nCache-Control: max-age=10\nETag: \"3\"\n\nthree")
		b.want(b.ask("GET /a"), "200 three, fwd=uri-miss; ttl=10; stored")
	})

	inBubble("RFC 9111 4.3.5: HEAD updates what GET has brought, or makes it stale", t, Options{}, func(b *bench) {
		const get = "200\nCache-Control: max-age=10\nETag: \"1\"\nX-Was: kept\nContent-Type: a/b\n\none"
		head := func(answer string) {
			b.t.Helper()
			b.answer = says(answer)
			if got := b.ask("HEAD /a", "Cache-Control: no-cache"); !strings.HasPrefix(got, "200 ,") && !strings.HasPrefix(got, "304 ,") {
				b.t.Error(got)
			}
			b.answer = says("200\nCache-Control: max-age=10\n\nanew")
		}
		f := func(later time.Duration, answer, want string) {
			b.t.Helper()
			b.cache.Store.PurgeAll(false)
			b.answer = says(get)
			b.ask("GET /a")
			time.Sleep(later)
			head(answer)
			b.want(b.ask("GET /a"), want)
		}
		const kept, anew = "200 one age 5, hit; ttl=5", "200 anew, fwd=stale; ttl=10; stored"
		// What it says is taken over, whether the entry is still fresh or not, and no request is asked again.
		f(5*time.Second, "200\nCache-Control: max-age=60\nETag: \"1\"\n\n", "200 one age 0, hit; ttl=60")
		f(15*time.Second, "200\nCache-Control: max-age=60\nETag: \"1\"\nContent-Length: 3\n\n", "200 one age 0, hit; ttl=60")
		f(5*time.Second, "200\nCache-Control: max-age=0\nETag: \"1\"\n\n", "200 anew, fwd=stale; ttl=10; stored")
		f(5*time.Second, "200\nCache-Control: no-store\nETag: \"1\"\n\n", "200 anew, fwd=uri-miss; ttl=10; stored")
		// Another version, by its validator or its length.
		f(5*time.Second, "200\nCache-Control: max-age=60\nETag: \"2\"\n\n", anew)
		f(5*time.Second, "200\nCache-Control: max-age=60\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\n\n", anew)
		f(5*time.Second, "200\nCache-Control: max-age=60\nETag: \"1\"\nContent-Length: 4\n\n", anew)
		// Nothing is said about what is kept.
		f(5*time.Second, "200\nCache-Control: max-age=60\n\n", kept)
		f(5*time.Second, "200\nCache-Control: max-age=60\nETag: \"2\"\nContent-Encoding: gzip\n\n", kept)
		f(5*time.Second, "304\nCache-Control: max-age=60\nETag: \"2\"\n\n", kept)
	})

	inBubble("RFC 9111 5.2.1: what requests say", t, Options{}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=100\nETag: \"1\"\n\none")
		b.want(b.ask("GET /a", "Cache-Control: only-if-cached"), "not_cached, sluice; detail=only-if-cached")
		b.ask("GET /a")
		time.Sleep(50 * time.Second)
		b.want(b.ask("GET /a", "Cache-Control: only-if-cached"), "200 one age 50, hit; ttl=50")
		b.want(b.ask("GET /a", "Cache-Control: no-cache"), "200 one, fwd=request; ttl=100; stored")
		time.Sleep(50 * time.Second)
		b.want(b.ask("GET /a", "Cache-Control: max-age=49"), "200 one, fwd=request; ttl=100; stored")
		b.want(b.ask("GET /a", "Cache-Control: no-store"), "200 one age 0, hit; ttl=100")
	})

	inBubble("the key", t, Options{Rules: ignoring, Query: []string{"a", "b"}, Cookies: []string{"c"}}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=100\n\none")
		miss, hit := "200 one, fwd=uri-miss; ttl=100; stored", "200 one age 0, hit; ttl=100"
		b.want(b.ask("GET /a?x=1&a=1"), miss)
		b.want(b.ask("GET /a?a=1&x=2"), hit)
		b.want(b.ask("GET /a?a=1&b=2"), miss)
		b.want(b.ask("GET /a?b=2&a=1"), hit)
		b.want(b.ask("GET /a?b=2&%61=1"), miss) // as it was sent
		b.want(b.ask("GET /a?a=1", "Cookie: c=1; d=2"), miss)
		b.want(b.ask("GET /a?a=1", "Cookie: d=3; c=1"), hit)
		for _, cookies := range []string{"c=1; c=2", "c=2; c=1", "c=1=2", `c="1"`, "c=1; c =2", "c", "c=", "C=1"} {
			if got := b.ask("GET /a?a=1", "Cookie: "+cookies); cookies != "C=1" {
				b.want(got, miss)
			}
			b.want(b.ask("GET /a?a=1", "Cookie: "+cookies), hit)
		}
		b.want(b.ask("GET /a?a=1", "Cookie: c=1", "Cookie: c=3"), miss)
		b.want(b.ask("GET /a?a=1", "Cookie: c=1; x=2", "Cookie: c=3; y=4"), hit)
	})

	inBubble("clients never see tags", t, Options{Rules: ignoring, Tags: "Surrogate-Key"}, func(b *bench) {
		seen := ""
		inner := b.chain
		b.chain = proxy.NewChain(proxy.Link{Name: "before", Policy: policyFunc(func(x *proxy.Exchange, _ *proxy.Chain) error {
			err := inner.Serve(x)
			seen += string(x.Response.Head.Get("Surrogate-Key"))
			return err
		})})
		b.answer = says("200\nCache-Control: max-age=10\nSurrogate-Key: a b\n\none")
		b.want(b.ask("GET /a"), "200 one, fwd=uri-miss; ttl=10; stored")
		b.want(b.ask("GET /a"), "200 one age 0, hit; ttl=10")
		b.ask("POST /b")
		b.ask("HEAD /c")
		b.ask("GET /a", `If-Match: "x"`)
		b.answer = says("200\nCache-Control: private\nSurrogate-Key: a b\n\none")
		b.ask("GET /d")
		b.answer = says("500\nSurrogate-Key: a b\n\none")
		b.ask("GET /e")
		if seen != "" {
			t.Errorf("they have seen %q", seen)
		}
		b.cache.Store.PurgeTag("b", false)
		b.answer = says("200\nCache-Control: max-age=10\n\ntwo")
		b.want(b.ask("GET /a"), "200 two, fwd=uri-miss; ttl=10; stored")
	})

	inBubble("RFC 9111 3: what is not kept", t, Options{Rules: ignoring}, func(b *bench) {
		f := func(answer, want string, fields ...string) {
			b.t.Helper()
			b.answer = says(answer)
			b.want(b.ask("GET /a", fields...), want)
			b.cache.Store.PurgeAll(false)
		}
		f("200\nCache-Control: no-store\n\none", "200 one, fwd=uri-miss; detail=no-store")
		f("200\nCache-Control: private, max-age=9\n\none", "200 one, fwd=uri-miss; detail=private")
		f("200\nCache-Control: max-age=9\n\none", "200 one, fwd=uri-miss; detail=authorization", "Authorization: x")
		f("200\nCache-Control: max-age=9, public\n\none", "200 one, fwd=uri-miss; ttl=9; stored", "Authorization: x")
		f("200\nCache-Control: max-age=9\nSet-Cookie: a=b\n\none", "200 one, fwd=uri-miss; detail=set-cookie")
		f("200\nCache-Control: max-age=9\nVary: *\n\none", "200 one, fwd=uri-miss; detail=vary")
		f("200\n\none", "200 one, fwd=uri-miss; detail=no-lifetime")
		f("206\nCache-Control: max-age=9\nContent-Range: bytes 0-2/9\n\none", "206 one, fwd=uri-miss; detail=partial")
		f("200\nCache-Control: max-age=9\nContent-Type: text/event-stream\n\none", "200 one, fwd=uri-miss; detail=stream")
	})

	inBubble("RFC 9213: a field of its own for us", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: no-store\nCDN-Cache-Control: max-age=7\n\none")
		b.want(b.ask("GET /a"), "200 one, fwd=uri-miss; ttl=7; stored")
	})

	inBubble("lifetimes of the operator", t, Options{Rules: rules.Policy{
		IgnoreRequest: true, For: 30, Override: true, ByStatus: []rules.StatusFor{{Status: 404, For: 5}, {Status: 500, For: 1}},
	}}, func(b *bench) {
		f := func(path, answer, want string) {
			b.t.Helper()
			b.answer = says(answer)
			b.want(b.ask("GET "+path), want)
		}
		f("/a", "200\n\none", "200 one, fwd=uri-miss; ttl=30; stored")
		f("/b", "200\nCache-Control: max-age=7\n\none", "200 one, fwd=uri-miss; ttl=30; stored")
		f("/b2", "200\nCache-Control: max-age=7\nAge: 100\n\none", "200 one age 100, fwd=uri-miss; ttl=30; stored")
		f("/c", "404\n\nnone", "404 none, fwd=uri-miss; ttl=5; stored")
		f("/c", "200\n\none", "404 none age 0, hit; ttl=5")
		f("/d", "500\n\nbad", "500 bad, fwd=uri-miss; ttl=1; stored")
		f("/e", "502\n\nbad", "502 bad, fwd=uri-miss; detail=status")
	})

	inBubble("an answer that is nobody else's is remembered as such, and forgotten again", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: private\n\none")
		b.ask("GET /a")
		b.answer = says("200\nCache-Control: max-age=9\n\ntwo")
		b.want(b.ask("GET /a", "Range: bytes=0-0"), "200 two, fwd=uri-miss") // it goes on as it is
		b.want(b.ask("GET /a"), "200 two, fwd=uri-miss; ttl=9; stored")
		b.want(b.ask("GET /a", "Range: bytes=0-0"), "206 t age 0, hit; ttl=9")
	})

	inBubble("the first request wants a part", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=9\nETag: \"1\"\n\nhello")
		b.want(b.ask("GET /a", "Range: bytes=1-2"), "206 el, fwd=uri-miss; ttl=9; stored")
		b.want(b.ask("GET /a", `If-None-Match: "1"`), "304  age 0, hit; ttl=9")
		b.seen("GET /a")
		b.want(b.ask("GET /b", `If-None-Match: "1"`), "304 , fwd=uri-miss; ttl=9; stored")
	})

	inBubble("a route's timeout holds while others are waited for", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer, b.slow = says("200\nCache-Control: max-age=60\n\nhello"), 20*time.Second
		done := make(chan string)
		go func() { done <- b.ask("GET /a") }()
		time.Sleep(time.Second)
		synctest.Wait()
		b.timeout = 5 * time.Second
		begin := time.Now()
		b.want(b.ask("GET /a"), "timeout, sluice; fwd=uri-miss")
		if took := time.Since(begin); took != 5*time.Second {
			b.t.Error(took)
		}
		b.want(<-done, "200 hello age 20, fwd=uri-miss; ttl=40; stored") // what it took to come counts (section 4.2.3)
	})

	inBubble("tags", t, Options{Rules: ignoring, Tags: "Surrogate-Key"}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=9\nSurrogate-Key: one two\n\nhello")
		b.ask("GET /a")
		b.cache.Store.PurgeTag("three", false)
		b.want(b.ask("GET /a"), "200 hello age 0, hit; ttl=9")
		b.cache.Store.PurgeTag("two", false)
		b.want(b.ask("GET /a"), "200 hello, fwd=uri-miss; ttl=9; stored")
		b.cache.Store.PurgePrefix("host/", false)
		b.want(b.ask("GET /a"), "200 hello, fwd=uri-miss; ttl=9; stored")
	})
}

// TestShared: who may have whose answer.
func TestShared(t *testing.T) {
	ignoring := rules.Policy{IgnoreRequest: true}

	inBubble("RFC 9111 4.1: a 304 that varies by more than what was kept", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=1\nETag: \"1\"\n\none")
		b.ask("GET /a", "X-Who: 1")
		time.Sleep(2 * time.Second)
		b.answer = says("304\nCache-Control: max-age=60\nETag: \"1\"\nVary: X-Who\n\n")
		b.want(b.ask("GET /a", "X-Who: 1"), "200 one age 0, fwd=stale; fwd-status=304; ttl=60")
		b.answer = says("200\nCache-Control: max-age=60\nVary: X-Who\n\ntwo")
		b.want(b.ask("GET /a", "X-Who: 2"), "200 two, fwd=uri-miss; ttl=60; stored")
	})

	inBubble("RFC 9111 3.5: Authorization beside another proof of who it is", t, Options{Rules: rules.Policy{IgnoreRequest: true, For: 60}}, func(b *bench) {
		b.identity = proxy.NewIdentity("client_cert", "", "gateway of many", nil)
		b.answer = func(x *proxy.Exchange) string { return "200\n\n" + string(x.Request.Head.Get("Authorization")) }
		b.want(b.ask("GET /a", "Authorization: alice"), "200 alice, fwd=uri-miss; detail=authorization")
		b.want(b.ask("GET /a", "Authorization: bob"), "200 bob, fwd=uri-miss; detail=authorization")
		b.want(b.ask("GET /a"), "200 , fwd=uri-miss; ttl=60; stored")
		b.byAuthorization = true
		b.cache.Store.PurgeAll(false)
		b.want(b.ask("GET /a", "Authorization: token"), "200 token, fwd=uri-miss; ttl=60; stored")
		b.want(b.ask("GET /a", "Authorization: token"), "200 token age 0, hit; ttl=60")
		b.identity = proxy.NewIdentity("jwt", "", "another", nil)
		b.want(b.ask("GET /a", "Authorization: other"), "200 other, fwd=uri-miss; ttl=60; stored")
	})

	inBubble("what is kept for who was proven to be several things, also in the background", t, Options{Rules: ignoring}, func(b *bench) {
		key, alice, bob := proxy.NewIdentity("api_key", "", "partner", nil), proxy.NewIdentity("jwt", "", "alice", nil), proxy.NewIdentity("jwt", "", "bob", nil)
		b.answer = func(x *proxy.Exchange) string {
			return "200\nCache-Control: max-age=10, stale-while-revalidate=100\n\n" + string(x.Others()[0].Subject())
		}
		b.identity, b.others = key, []*proxy.Identity{alice}
		b.want(b.ask("GET /a"), "200 alice, fwd=uri-miss; ttl=10; stored")
		b.others = []*proxy.Identity{bob}
		b.want(b.ask("GET /a"), "200 bob, fwd=uri-miss; ttl=10; stored")
		b.want(b.ask("GET /a"), "200 bob age 0, hit; ttl=10")
		time.Sleep(20 * time.Second)
		b.want(b.ask("GET /a"), "200 bob age 20, hit; ttl=-10")
		synctest.Wait()
		b.want(b.ask("GET /a"), "200 bob age 0, hit; ttl=10")
		b.others = []*proxy.Identity{alice}
		b.want(b.ask("GET /a"), "200 alice age 20, hit; ttl=-10")
		b.others = []*proxy.Identity{alice, bob}
		b.want(b.ask("GET /a"), "200 alice, fwd=uri-miss; ttl=10; stored")
	})

	inBubble("what is kept for who shows a certificate, whether or not a policy has asked for it", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=60\n\none")
		b.certificate = &proxy.Certificate{Identity: proxy.NewIdentity("client_cert", "", "alice", nil)}
		b.want(b.ask("GET /a"), "200 one, fwd=uri-miss; ttl=60; stored")
		b.want(b.ask("GET /a"), "200 one age 0, hit; ttl=60")
		b.certificate = &proxy.Certificate{Identity: proxy.NewIdentity("client_cert", "", "bob", nil)}
		b.want(b.ask("GET /a"), "200 one, fwd=uri-miss; ttl=60; stored")
		b.certificate = nil
		b.want(b.ask("GET /a"), "200 one, fwd=uri-miss; ttl=60; stored")
	})

	inBubble("an answer that varies by what was changed behind the cache", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = func(x *proxy.Exchange) string {
			x.Request.Head.SetString("X-Who", string(x.Request.Head.Get("Cookie")))
			return "200\nCache-Control: max-age=60\nVary: X-Who\n\n" + string(x.Request.Head.Get("X-Who"))
		}
		b.want(b.ask("GET /a", "Cookie: alice"), "200 alice, fwd=uri-miss; detail=vary")
		b.want(b.ask("GET /a", "Cookie: bob"), "200 bob, fwd=uri-miss; detail=vary")
	})

	inBubble("what the origin sees of Accept-Encoding is what the key says", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = says("200\nCache-Control: max-age=60\nVary: Accept-Encoding\n\none")
		for _, field := range []string{"gzip;q=x", "gzip, gzip;q=0", "gzip;q=0", "gzip;q=1.5"} {
			b.ask("GET /"+field, "Accept-Encoding: "+field)
			b.seen("GET /" + field + " Accept-Encoding:identity")
		}
		b.ask("GET /a", "Accept-Encoding: br;q=0.5, GZIP , *;q=0")
		b.seen("GET /a Accept-Encoding:br, gzip, identity;q=0")
		b.ask("GET /b", "Accept-Encoding: deflate;q=0, *;q=0.5")
		b.seen("GET /b Accept-Encoding:*, deflate;q=0")
	})

	inBubble("a request with Authorization does not make others wait for each other, or not", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer, b.slow = says("200\nCache-Control: max-age=60\n\none"), time.Second
		b.want(b.ask("GET /a", "Authorization: x"), "200 one, fwd=uri-miss; detail=authorization")
		done := make(chan string, 20)
		for range cap(done) {
			go func() { done <- b.ask("GET /a") }()
		}
		b.seenAfter(cap(done), done, "GET /a Authorization:x", "GET /a")
	})

	inBubble("what behind the cache edits the head edits what is kept", t, Options{Rules: ignoring}, func(b *bench) {
		b.answer = func(x *proxy.Exchange) string {
			x.OnHead(remover("X-Internal"))
			return "200\nCache-Control: max-age=60\nX-Internal: secret\n\none"
		}
		b.ask("GET /a")
		x := proxy.Acquire()
		defer x.Release()
		var e store.Entry
		if b.cache.Store.Get([]byte("ahhost/a"), &e) == store.Missing || strings.Contains(string(e.Meta), "secret") {
			b.t.Errorf("kept: %q", e.Meta)
		}
		e.Free()
	})
}

type remover string

func (r remover) EditHead(x *proxy.Exchange) { x.Response.Head.Del(string(r)) }

// seenAfter waits for n answers, and wants what the origin has seen.
func (b *bench) seenAfter(n int, done chan string, want ...string) {
	b.t.Helper()
	for range n {
		<-done
	}
	b.seen(want...)
}
