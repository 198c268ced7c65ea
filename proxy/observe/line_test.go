package observe

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sluice/proxy"
)

func TestJSON(t *testing.T) {
	f := func(change func(x *proxy.Exchange), want string) {
		t.Helper()
		x := get()
		change(x)
		got := logged(t, AccessLogOptions{}, x)
		const timed = `{"time":"2026-07-01T12:00:00.000Z",`
		if len(got) < len(timed) || !strings.HasSuffix(got, "}\n") || !json.Valid([]byte(got)) {
			t.Fatalf("no line of JSON: %q", got)
		}
		if got = strings.TrimSuffix(got[len(timed):], "}\n"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	const request = `"request_id":"01J9Z3","client":"203.0.113.9","method":"GET","host":"api.shop.example","path":"/v1/orders/7",` +
		`"query":"page=2&token=***","proto":"HTTP/1.1",`
	const agent = `"user_agent":"curl/8.9","referer":"https://shop.example/?q=tea&api_key=***"`

	f(func(x *proxy.Exchange) {}, request+`"status":200,"route":"list-orders","service":"orders","endpoint":"10.0.1.10:8080","attempts":1,`+
		`"bytes_in":0,"bytes_out":512,"duration_ms":3.250,"upstream_ms":2.000,`+agent)

	// Refused before a service was asked.
	f(func(x *proxy.Exchange) {
		x.Service, x.Endpoint, x.Attempts, x.UpstreamAt = "", "", 0, 0
		x.Response.Status, x.Err, x.FailedAt, x.WouldRefuse = 413, proxy.ErrBodyTooLarge, "size", "shield"
	}, request+`"status":413,"route":"list-orders","bytes_in":0,"bytes_out":512,"duration_ms":3.250,`+agent+
		`,"error":"body_too_large","policy":"size","would_refuse":"shield"`)

	// The service never answered, and the client left.
	f(func(x *proxy.Exchange) {
		x.HeadAt, x.Response.Status, x.BytesOut, x.Aborted = 0, 0, 0, true
		x.Err = proxy.ErrClientGone.With(errors.New("read tcp: \"reset\"\nby peer, see http://u:p@h/?token=s3cr3t"))
	}, request+`"status":499,"route":"list-orders","service":"orders","endpoint":"10.0.1.10:8080","attempts":1,`+
		`"bytes_in":0,"bytes_out":0,"duration_ms":3.250,"upstream_ms":3.100,`+agent+
		`,"error":"client_gone","cause":"read tcp: \"reset\"\u000aby peer, see http://***@h/?token=***","aborted":true`)

	// Refused while its head was read: nothing but the line is known.
	f(func(x *proxy.Exchange) {
		*x = proxy.Exchange{Started: x.Started, Received: x.Received}
		x.Response.Status, x.Err, x.ErrCause = 400, proxy.ErrBadPath, errors.New("a control byte")
	}, `"method":"GET","path":"/v1/orders/7","query":"page=2&token=***","proto":"HTTP/1.1","status":400,"bytes_in":0,"bytes_out":0,`+
		`"duration_ms":3.250,"error":"bad_path","cause":"a control byte"`)
}

// TestJSONIsTheTable: what is written out is what the table says, whatever there is and is not.
func TestJSONIsTheTable(t *testing.T) {
	table := func(n *line) string {
		dst := []byte{}
		for i := range fields {
			f := &fields[i]
			value := f.append(n, nil)
			if len(value) == 0 {
				continue
			}
			dst = append(append(dst, f.key...), value...)
			if !f.number {
				dst = append(dst, '"')
			}
		}
		return "{" + string(dst[1:]) + "}\n"
	}
	changes := []func(x *proxy.Exchange){
		func(x *proxy.Exchange) { x.ID = nil },
		func(x *proxy.Exchange) { x.Client.Text = nil },
		func(x *proxy.Exchange) {
			x.Client.ServerName, x.Client.JA4 = "a.example", "t13d1516h2_8daaf6152771_e5627efa2ab1"
		},
		func(x *proxy.Exchange) { x.Client.ECH = true },
		func(x *proxy.Exchange) { x.Request.Host = []byte("a\"b") },
		func(x *proxy.Exchange) { x.Request.Method = "" },
		func(x *proxy.Exchange) { x.Received = proxy.Received{} },
		func(x *proxy.Exchange) { x.MatchedPath, x.Request.Path = nil, nil },
		func(x *proxy.Exchange) { x.Route = nil },
		func(x *proxy.Exchange) { x.Service = "" },
		func(x *proxy.Exchange) { x.Endpoint = "" },
		func(x *proxy.Exchange) { x.UpstreamAt = 0 },
		func(x *proxy.Exchange) { x.HeadAt = 0 },
		func(x *proxy.Exchange) { x.Request.Head.Reset() },
		func(x *proxy.Exchange) { x.Err = proxy.ErrBodyTooLarge },
		func(x *proxy.Exchange) { x.ErrCause = errors.New("a \"cause\"") },
		func(x *proxy.Exchange) { x.FailedAt = "size" },
		func(x *proxy.Exchange) { x.Aborted = true },
		func(x *proxy.Exchange) { x.WouldRefuse = "shield" },
		func(x *proxy.Exchange) { x.Cache = "hit" },
	}
	for set := range 1 << len(changes) {
		if set%97 != 0 && set&(set-1) != 0 { // each by itself, and some thousands of combinations
			continue
		}
		x := get()
		for i, change := range changes {
			if set>>i&1 == 1 {
				change(x)
			}
		}
		n := &line{log: &AccessLog{}, x: x, end: x.Started + 3_250_499, status: 200}
		n.log.clock.second.Store(&second{start: n.end, text: "2026-11-24T10:20:30."}) // both are to be of the same moment
		want := table(n)
		if got := string(n.appendJSON(nil, nil)); got != want {
			t.Fatalf("%b: got\n%s, the table says\n%s", set, got, want)
		}
	}
}

func TestJSONHeaders(t *testing.T) {
	f := func(want string, names ...string) {
		t.Helper()
		got := logged(t, AccessLogOptions{Headers: names}, get())
		_, got, _ = strings.Cut(got, `,"headers":`)
		if got = strings.TrimSuffix(got, "}\n"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(``)
	f(``, "X-Missing")
	f(`{"accept":"application/json"}`, "Accept")
	f(`{"accept":"application/json","host":"api.shop.example"}`, "Accept", "X-Missing", "HOST")
	f(`{"authorization":"***","cookie":"***"}`, "authorization", "Cookie")
	f(`{"referer":"https://shop.example/?q=tea&api_key=***"}`, "Referer")
}

// TestLineFits: whatever a request holds, its line fits in a block, and what is cut is still JSON.
func TestLineFits(t *testing.T) {
	f := func(hostile string) {
		t.Helper()
		x := get()
		x.Received.Target = []byte("/?" + hostile)
		x.MatchedPath, x.Request.Host, x.ID = []byte(hostile), []byte(hostile), []byte(hostile)
		x.Err, x.ErrCause = proxy.ErrInternal, errors.New(hostile)
		var names []string
		format := ""
		for i := range headersMax {
			names = append(names, fmt.Sprint("X-", i))
			x.Request.Head.AddString(names[i], hostile)
			format += "$header." + names[i]
		}
		got := logged(t, AccessLogOptions{Headers: names}, x)
		if !json.Valid([]byte(got)) || len(got) > blockSize {
			t.Errorf("%d bytes, JSON: %v", len(got), json.Valid([]byte(got)))
		}
		if !strings.Contains(got, "...") {
			t.Error("a cut value is not marked")
		}
		format = strings.Repeat(format+"$query$time", formatMax)[:formatMax-20]
		format = format[:strings.LastIndexByte(format, '$')]
		if got = logged(t, AccessLogOptions{Format: format}, x); len(got) > blockSize || strings.Count(got, "\n") != 1 {
			t.Errorf("%d bytes, %d lines", len(got), strings.Count(got, "\n"))
		}
		format = strings.Repeat("$time", formatMax/5)
		if got = logged(t, AccessLogOptions{Format: format}, x); len(got) > blockSize {
			t.Errorf("%d bytes", len(got))
		}
	}
	f(strings.Repeat("a", 1<<20))
	f(strings.Repeat("\x01", 1<<20))
	f(strings.Repeat("\xff", 1<<20))
	f(strings.Repeat("key=&", 1<<18))
	f(strings.Repeat("?", 1<<20))
	f(strings.Repeat("\u0085", 1<<19))
}

func TestAppendMillis(t *testing.T) {
	f := func(ns int64, want string) {
		t.Helper()
		if got := string(appendMillis(nil, ns)); got != want {
			t.Errorf("%d: got %s, want %s", ns, got, want)
		}
	}
	f(0, "0.000")
	f(999, "0.000")
	f(1000, "0.001")
	f(1_234_567, "1.234")
	f(60_000_000_000, "60000.000")
	f(-5, "0.000")
}
