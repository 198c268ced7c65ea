//go:build !race

package observe

import (
	"context"
	"runtime"
	"testing"

	"sluice/proxy"
)

// null is an output that takes everything.
type null struct{}

func (null) Write(p []byte) (int, error) { return len(p), nil }
func (null) Close() error                { return nil }

func TestNoAllocations(t *testing.T) {
	f := func(name string, o *AccessLogOptions, change func(x *proxy.Exchange)) {
		t.Helper()
		m := New()
		var log *AccessLog
		if o != nil {
			o.Open = to(null{})
			var err error
			if log, err = NewAccessLog(*o); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := log.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}()
		}
		observer := NewObserver(m.Route("a"), map[string]*ServiceMetrics{"orders": m.Service("orders")}, log)
		x := get()
		change(x)
		serve := func() {
			observer.Begin(x)
			observer.Finish(x)
		}
		for range blockCount * blockSize / 64 { // every block is made
			serve()
			runtime.Gosched()
		}
		// A second that begins is formatted anew: the average over many exchanges rounds to nothing.
		if n := testing.AllocsPerRun(5000, serve); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	json := func() *AccessLogOptions {
		return &AccessLogOptions{Sample: 1, Headers: []string{"Accept", "Authorization", "X-Missing"}}
	}
	proxied := func(*proxy.Exchange) {}
	refused := func(x *proxy.Exchange) {
		x.UpstreamAt, x.Response.Status, x.Err = 0, 413, proxy.ErrBodyTooLarge
		x.FailedAt, x.WouldRefuse = "size", "shield"
	}
	hostile := func(x *proxy.Exchange) {
		x.MatchedPath = []byte("/\"\xff\u2028\n")
		x.Received.Target = []byte("/?a=\"\xff&%74oken=\u009b;x=1&b=2")
	}
	f("metrics", nil, proxied)
	f("metrics of a refusal", nil, refused)
	f("json", json(), proxied)
	f("json of a refusal", json(), refused)
	f("json of a hostile request", json(), hostile)
	f("format", &AccessLogOptions{Sample: 1, Format: `$time $client.ip "$request.uri" $status $query.page "$header.Referer" $cookie.id`}, proxied)
	f("sampled", &AccessLogOptions{Sample: 0.1}, proxied)
}
