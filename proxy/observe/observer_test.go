package observe

import (
	"context"
	"strings"
	"testing"

	"sluice/proxy"
)

var _ proxy.Observer = new(Observer)

func TestFinalStatus(t *testing.T) {
	f := func(status int, err *proxy.Error, bytesOut int64, want int) {
		t.Helper()
		x := new(proxy.Exchange)
		x.Response.Status, x.Err, x.BytesOut = status, err, bytesOut
		if got := finalStatus(x); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	f(200, nil, 100, 200)
	f(0, nil, 0, 0)

	f(504, proxy.ErrTimeout, 100, 504)
	f(0, proxy.ErrTimeout, 0, 504)

	f(0, proxy.ErrClientGone, 0, 499)
	f(200, proxy.ErrClientGone, 0, 499)
	f(200, proxy.ErrClientGone, 100, 200) // it saw the head
}

func TestObserver(t *testing.T) {
	m := New()
	var out buffer
	log, err := NewAccessLog(AccessLogOptions{Open: to(&out), Sample: 1, Format: "$route $status"})
	if err != nil {
		t.Fatal(err)
	}
	o := NewObserver(m.Route("a"), map[string]*ServiceMetrics{"orders": m.Service("orders")}, log)
	x := get()
	o.Begin(x)
	if got := samples(t, m)[`sluice_requests_in_flight{route="a"}`]; got != 1 {
		t.Errorf("%v in flight", got)
	}
	o.Finish(x)

	// A refusal that asked no service, and one that asked a service nobody told of.
	x.UpstreamAt, x.Err, x.Response.Status = 0, proxy.ErrBodyTooLarge, 413
	o.Begin(x)
	o.Finish(x)
	x.UpstreamAt, x.Err, x.Response.Status, x.Service = 1, nil, 302, "unknown"
	o.Begin(x)
	o.Finish(x)
	// What was asked for no client, and what was to be and was not.
	c := get()
	c.Response.Status = 304
	o.Asked(c)
	c.Response.Status, c.HeadAt = 0, 0
	o.Asked(c)
	c.UpstreamAt = 0
	o.Asked(c)
	if err := log.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "list-orders 200\nlist-orders 413\nlist-orders 302\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}

	got := samples(t, m)
	f := func(series string, want float64) {
		t.Helper()
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s: got %v, want %v", series, v, want)
		}
	}
	f(`sluice_requests_in_flight{route="a"}`, 0)
	f(`sluice_requests_total{route="a",class="2xx"}`, 1)
	f(`sluice_requests_total{route="a",class="3xx"}`, 1)
	f(`sluice_requests_total{route="a",class="4xx"}`, 1)
	f(`sluice_requests_refused_total{route="a",code="body_too_large"}`, 1)
	f(`sluice_upstream_requests_total{service="orders",class="2xx"}`, 1)
	f(`sluice_upstream_requests_total{service="orders",class="3xx"}`, 1)
	f(`sluice_upstream_requests_total{service="orders",class="error"}`, 1)
	f(`sluice_upstream_duration_seconds_count{service="orders"}`, 3)
	f(`sluice_upstream_retries_total{service="orders"}`, 0)
	for series := range got {
		if strings.Contains(series, "unknown") {
			t.Errorf("a service nobody configured became a label: %s", series)
		}
	}
}
