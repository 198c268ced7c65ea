package observe

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// get is an exchange as an edge leaves it: a GET that was routed, proxied and answered.
func get() *proxy.Exchange {
	x := new(proxy.Exchange)
	x.Started = wire.Now()
	x.ID = []byte("01J9Z3")
	x.Received = proxy.Received{Method: []byte("GET"), Target: []byte("/v1/orders/7?page=2&token=s3cr3t"), Minor: 1, Proto: "HTTP/1.1"}
	x.Request.Method, x.Request.Scheme = "GET", "https"
	x.Request.Host, x.Request.Path = []byte("api.shop.example"), []byte("/orders/7")
	x.Request.Query, x.Request.HasQuery = []byte("page=2&token=s3cr3t"), true
	x.MatchedPath = []byte("/v1/orders/7")
	x.Client.Text = []byte("203.0.113.9")
	x.Request.Head.AddString("User-Agent", "curl/8.9")
	x.Request.Head.AddString("Accept", "application/json")
	x.Request.Head.AddString("Referer", "https://shop.example/?q=tea&api_key=s3cr3t")
	x.Request.Head.AddString("Authorization", "Bearer s3cr3t")
	x.Request.Head.AddString("Cookie", "id=s3cr3t; theme=dark")
	x.Route = &proxy.Route{Name: "list-orders"}
	x.Service, x.Endpoint, x.Attempts = "orders", "10.0.1.10:8080", 1
	x.UpstreamAt, x.HeadAt = x.Started+150_000, x.Started+2_150_000
	x.BytesOut = 512
	x.Response.Status = 200
	x.Response.Head.AddString("Location", "https://app.example/#access_token=s3cr3t")
	x.Response.Head.AddString("Set-Cookie", "id=s3cr3t")
	return x
}

// buffer is an output that remembers. Safe for concurrent use.
type buffer struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
	closed int
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	return b.text.Write(p)
}

func (b *buffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed++
	return nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func to(w io.WriteCloser) func() (io.WriteCloser, error) {
	return func() (io.WriteCloser, error) { return w, nil }
}

// logged returns what the options make of x.
func logged(t testing.TB, o AccessLogOptions, x *proxy.Exchange) string {
	t.Helper()
	var out buffer
	o.Open, o.Sample = to(&out), 1
	l, err := NewAccessLog(o)
	if err != nil {
		t.Fatal(err)
	}
	l.record(x, x.Started+3_250_499, finalStatus(x))
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := l.Dropped(); n != 0 {
		t.Fatalf("dropped %d lines", n)
	}
	return out.String()
}
