package forward

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"sluice/proxy"
)

// service answers questions by calling itself.
type service func(c *proxy.Exchange) error

func (s service) Serve(c *proxy.Exchange, _ *proxy.Chain) error { return s(c) }

// says is a service that gives one answer, with "Name: value" fields.
func says(status int, body string, fields ...string) service {
	return func(c *proxy.Exchange) error {
		c.Response.Status = status
		for i := 0; i < len(fields); i += 2 {
			c.Response.Head.AddString(fields[i], fields[i+1])
		}
		c.Response.Body.SetWhole([]byte(body))
		return nil
	}
}

// guard is one that remembers, unless o says otherwise.
func guard(s proxy.Policy, o Options) *Guard {
	o.Service, o.Target = s, "/verify"
	if o.Memory == nil {
		o.Memory = NewMemory(100, "asked", "auth")
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	return New(o)
}

// request is one with an Authorization, which the edge has filled in. It is released with the test.
func request(t testing.TB, token string) *proxy.Exchange {
	t.Helper()
	x := proxy.Acquire()
	t.Cleanup(x.Release)
	fill(x, token)
	return x
}

func fill(x *proxy.Exchange, token string) {
	r := &x.Request
	r.Method, r.Scheme, r.Host, r.Path = "GET", "https", []byte("shop.example"), []byte("/orders/7")
	x.Edge = proxy.Nobody{}
	x.MatchedPath = r.Path
	if token != "" {
		r.Head.AddString("Authorization", token)
	}
	r.Head.AddString("Cookie", "theme=dark; session=7")
	r.Head.AddString("X-Forwarded-For", "192.0.2.1")
	r.Head.AddString("X-Forwarded-Proto", "https")
	r.Head.AddString("X-Forwarded-Host", "shop.example")
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// logs keeps what is logged until the test ends.
func logs(t *testing.T) func() string {
	var mu sync.Mutex
	var text bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	}), nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
