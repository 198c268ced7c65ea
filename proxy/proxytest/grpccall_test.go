package proxytest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"sluice/proxy"
	"sluice/router"
)

// heedless is a service of gRPC that does not look at grpc-timeout: whoever ends a call to it in time is the gateway.
type heedless struct {
	addr  string
	began chan string // the grpc-timeout of each call
	asked atomic.Int64
	over  atomic.Int64 // those that have ended
}

// message is one of gRPC.
func message(n int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(n)), make([]byte, n)...)
}

func newHeedless(t *testing.T) *heedless {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &heedless{addr: l.Addr().String(), began: make(chan string, 100)}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP1(true)
	server := &http.Server{Protocols: &protocols, Handler: s}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return s
}

// ServeHTTP answers /wait never, /one with one message and no end, /half with a part of one, /flood with messages without end, /echo with what
// it gets as it comes, and /done at once and well.
func (s *heedless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	defer s.over.Add(1)
	s.began <- r.Header.Get("Grpc-Timeout")
	flush := http.NewResponseController(w).Flush
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	var err error
	switch r.URL.Path {
	case "/done":
		_, err = w.Write(message(5))
		if err = errors.Join(err, flush()); err == nil {
			w.Header().Set(http.TrailerPrefix+"grpc-status", "0")
			return
		}
	case "/wait":
		_, _ = io.Copy(io.Discard, r.Body) // a server of HTTP/1.1 looks after its client no sooner
	case "/one":
		_, err = io.Copy(io.Discard, r.Body)
		if err == nil {
			_, err = w.Write(message(5))
		}
	case "/half":
		_, err = w.Write(message(5)[:7])
	case "/flood":
		for err == nil && r.Context().Err() == nil {
			_, err = w.Write(message(1000))
		}
	case "/echo":
		buf := make([]byte, 1000)
		for err == nil {
			var n int
			if n, err = r.Body.Read(buf); n > 0 {
				if _, err = w.Write(buf[:n]); err == nil {
					err = flush()
				}
			}
		}
	}
	if err == nil && r.URL.Path != "/wait" {
		err = flush()
	}
	if err == nil {
		<-r.Context().Done()
	}
}

// ended waits until all calls have ended for the service.
func (s *heedless) ended(t *testing.T) {
	t.Helper()
	eventually(t, "the service's calls end", func() bool { return s.over.Load() == s.asked.Load() })
}

// reach calls a path of s until the time that the call has is enough to get there, which on a busy machine nobody knows before, and waits until it
// has ended for the service. began is how far it has to have come for the client.
func (c *caller) reach(t *testing.T, s *heedless, path string, body func() io.Reader, began func(o outcome) bool) (o outcome) {
	t.Helper()
	for limit := 100; limit < 20_000; limit *= 2 {
		asked := s.asked.Load()
		o = c.call(t, path, fmt.Sprintf("%dm", limit), body())
		reached := began(o) && s.asked.Load() > asked
		s.ended(t)
		if reached {
			return o
		}
	}
	t.Errorf("%s is never reached: %s", path, o)
	return o
}

func atAll(outcome) bool      { return true }
func aMessage(o outcome) bool { return o.messages > 0 }

// caller is a client of gRPC, or of a form of gRPC-Web, that says what time its calls have, and waits longer itself.
type caller struct {
	http http.RoundTripper
	base string
	form string // the media type
}

// outcome is what came of a call.
type outcome struct {
	messages int
	half     bool   // and a part of one
	status   string // of gRPC
	says     string
	err      error // it was cut
}

func (o outcome) String() string {
	return fmt.Sprintf("%d messages, half %v, status %q %q, %v", o.messages, o.half, o.status, o.says, o.err)
}

func (c *caller) call(t *testing.T, path, timeout string, body io.Reader) (o outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", c.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", c.form)
	if c.form == "application/grpc" {
		r.Header.Set("TE", "trailers")
	}
	r.Header["Grpc-Timeout"] = []string{timeout}
	resp, err := c.http.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer resp.Body.Close()
	from := io.Reader(resp.Body)
	if strings.HasPrefix(c.form, "application/grpc-web-text") {
		from = &untexted{r: from}
	}
	o.status, o.says = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), strings.TrimSuffix(c.form, "+proto")) {
		t.Errorf("%s: the answer is %d of %q", path, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	o.read(from)
	if o.status == "" {
		o.status, o.says = resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	}
	return o
}

func (o *outcome) read(from io.Reader) {
	for {
		var head [5]byte
		n, err := io.ReadFull(from, head[:])
		body := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if err == nil {
			n, err = io.ReadFull(from, body)
			n += len(head)
		} else if err == io.EOF {
			return
		}
		switch {
		case err != nil:
			o.half = n > 0
			if err != io.ErrUnexpectedEOF && err != io.EOF {
				o.err = err
			}
			return
		case head[0] == 0x80:
			for line := range strings.SplitSeq(string(body), "\r\n") {
				if v, ok := strings.CutPrefix(line, "grpc-status: "); ok {
					o.status = v
				}
				if v, ok := strings.CutPrefix(line, "grpc-message: "); ok {
					o.says = v
				}
			}
		default:
			o.messages++
		}
	}
}

// eachCaller runs f with a service, a gateway in front of it, whose configuration says more, and a client of each of these kinds; none: all.
func eachCaller(t *testing.T, kinds, more string, f func(t *testing.T, s *heedless, gw *Gateway, c *caller)) {
	const yaml = `
services: { calls: { to: ["h2c://ORIGIN"] } }
routes: { calls: { match: "/**", to: calls, grpc_web: true } }
`
	for _, kind := range []struct{ name, form string }{
		{"h2", "application/grpc"}, {"h3", "application/grpc"}, {"h1-web", "application/grpc-web+proto"}, {"h2-web", "application/grpc-web+proto"},
		{"h3-web", "application/grpc-web+proto"}, {"h1-text", "application/grpc-web-text"},
	} {
		if kinds != "" && !slices.Contains(strings.Fields(kinds), kind.name) {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := newHeedless(t)
			config := strings.ReplaceAll(yaml, "ORIGIN", s.addr) + more
			c := &caller{form: kind.form}
			var gw *Gateway
			switch {
			case strings.HasPrefix(kind.name, "h3"):
				gw = Start(t, listenTLS(config, "[h1, h3]"))
				c.http, c.base = client3(t), "https://"+gw.Addr
			case strings.HasPrefix(kind.name, "h2"):
				gw = Start(t, listen2(config))
				c.http, c.base = client2(t, false), "http://"+gw.Addr
			default:
				gw = Start(t, config)
				tr := &http.Transport{DisableCompression: true}
				t.Cleanup(tr.CloseIdleConnections)
				c.http, c.base = tr, "http://"+gw.Addr
			}
			f(t, s, gw, c)
		})
	}
}

// request is the body of a request with one message.
func (c *caller) request() io.Reader {
	if c.form == "application/grpc-web-text" {
		return strings.NewReader(base64.StdEncoding.EncodeToString(message(3)))
	}
	return bytes.NewReader(message(3))
}

// TestCall_ends: a call ends at the gateway when the time is over that its client has given it, before the head and after it, whatever is under
// way; the service's side ends, too.
func TestCall_ends(t *testing.T) {
	t.Parallel()
	eachCaller(t, "", "", func(t *testing.T, s *heedless, gw *Gateway, c *caller) {
		counted := func() float64 { return gw.series(`sluice_requests_refused_total{route="calls",code="call_timeout"}`) }
		aborted := func() float64 { return gw.series(`sluice_requests_aborted_total{route="calls"}`) }
		o := c.reach(t, s, "/wait", c.request, atAll)
		if o.status != "4" || o.messages != 0 || o.half || o.err != nil || !strings.Contains(o.says, "call_timeout") {
			t.Errorf("before the head: %s", o)
		}
		eventually(t, "the timeout is counted", func() bool { return counted() > 0 })

		before := aborted()
		o = c.reach(t, s, "/one", c.request, aMessage)
		if o.status != "4" || o.messages != 1 || o.half || o.err != nil || !strings.Contains(o.says, "call_timeout") {
			t.Errorf("after a message: %s", o)
		}
		eventually(t, "the end is counted", func() bool { return aborted() > before })

		o = c.reach(t, s, "/half", c.request, func(o outcome) bool { return o.half })
		if web := c.form != "application/grpc"; o.messages != 0 || !o.half || (o.status == "4") == web {
			t.Errorf("in a message: %s", o)
		}
		// A service that is never silent has its end as well. Where it comes in a message gRPC-Web has no frame of trailers, but a cut. What a reset
		// of QUIC leaves of the message may be nothing: what was on its way is dropped (RFC 9000 section 3.2).
		o = c.reach(t, s, "/flood", c.request, aMessage)
		cut := o.half || c.form != "application/grpc" && o.err != nil
		if o.status != "4" && !cut || o.messages == 0 {
			t.Errorf("in a flood: %s", o)
		}

		// What is done in time is done.
		if o = c.call(t, "/done", "20S", c.request()); o.status != "0" || o.messages != 1 || o.err != nil {
			t.Errorf("in time: %s", o)
		}
	})
}

// TestCall_bothWays: a call whose client and service both have more to say ends as well, also for the client's side.
func TestCall_bothWays(t *testing.T) {
	t.Parallel()
	eachCaller(t, "h2 h3", "", func(t *testing.T, s *heedless, gw *Gateway, c *caller) {
		talk := func() io.Reader {
			r, w := io.Pipe()
			go func() {
				for {
					if _, err := w.Write(message(100)); err != nil {
						return // the client has closed it
					}
					time.Sleep(time.Millisecond)
				}
			}()
			return r
		}
		if o := c.reach(t, s, "/echo", talk, aMessage); o.status != "4" || o.err != nil {
			t.Errorf("both ways: %s", o)
		}
	})
}

// TestCall_unread: a client that takes nothing of its response does not keep the service's side beyond the time that it has given.
func TestCall_unread(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"", "limits: { min_rate: off }\n"} {
		eachCaller(t, "h2 h3 h1-web", more, callUnread)
	}
}

func callUnread(t *testing.T, s *heedless, gw *Gateway, c *caller) {
	for limit := 200; ; limit *= 2 {
		r, err := http.NewRequestWithContext(t.Context(), "POST", c.base+"/flood", c.request())
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", c.form)
		r.Header["Grpc-Timeout"] = []string{fmt.Sprintf("%dm", limit)}
		resp, err := c.http.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.Header.Get("Grpc-Status") != "" && limit < 10_000 {
			continue // it was over before the response began
		}
		s.ended(t) // min_rate would take more than a minute
		return
	}
}

// gathering reads the whole body of a request, as policies do that judge it.
type gathering struct{}

func (gathering) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	if _, err := x.Gather(&x.Request.Body, 1<<20); err != nil {
		return err
	}
	x.Response.Status = 204
	return nil
}

// TestCall_read: a policy does not wait for the rest of a request beyond the time that the client has given its call.
func TestCall_read(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"", "limits: { min_rate: off }\n"} {
		eachCaller(t, "h2 h3 h1-web", more, func(t *testing.T, s *heedless, gw *Gateway, c *caller) {
			pattern, err := router.ParsePattern("/**")
			if err != nil {
				t.Fatal(err)
			}
			snapshot := *gw.Snapshot()
			route := &proxy.Route{Name: "reads", Pattern: pattern, Errors: snapshot.Fallback.Errors}
			route.Chain = proxy.NewChain(proxy.Link{Name: "reads", Policy: gathering{}})
			table, problems := router.New([]router.Route[*proxy.Route]{{Name: route.Name, Pattern: pattern, Value: route}})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			snapshot.Table = table
			gw.Server.Publish(&snapshot)
			r, w := io.Pipe()
			defer w.Close()
			go func() {
				_, _ = w.Write(message(10)[:7]) // what comes of it the answer tells
			}()
			if o := c.call(t, "/", "50m", r); o.status != "4" || !strings.Contains(o.says, "call_timeout") {
				t.Errorf("in the middle of a request: %s", o)
			}
		})
	}
}

// TestCall_unsent: a call that has to wait for a place until its time is over is not sent any more, nor is one that has none; neither says
// anything about the service.
func TestCall_unsent(t *testing.T) {
	t.Parallel()
	f := func(scheme string) {
		t.Helper()
		s := newHeedless(t)
		h2 := scheme != "http"
		var gw *Gateway
		if h2 {
			// One connection, of which the service takes one stream at a time.
			s.addr = oneStream(t, s)
		}
		gw = Start(t, listen2(fmt.Sprintf(`
services: { calls: { to: ["%s://%s"], pool: { connections: 1, wait: 20s } } }
routes: { calls: { match: "/**", to: calls } }
`, scheme, s.addr)))
		c := &caller{http: client2(t, false), base: "http://" + gw.Addr, form: "application/grpc"}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			r, err := http.NewRequestWithContext(ctx, "POST", c.base+"/wait", nil)
			if err != nil {
				t.Error(err)
				return
			}
			if resp, err := c.http.RoundTrip(r); err == nil {
				resp.Body.Close()
			}
		}()
		<-s.began
		o := c.call(t, "/done", "100m", c.request())
		if o.status != "4" || !strings.Contains(o.says, "call_timeout") {
			t.Errorf("%s: waiting for a place: %s", scheme, o)
		}
		cancel()
		<-over
		s.ended(t)
		for _, none := range []string{"0S", "1n"} {
			if o = c.call(t, "/done", none, c.request()); o.status != "4" || !strings.Contains(o.says, "call_timeout") {
				t.Errorf("%s: %s: %s", scheme, none, o)
			}
		}
		if o = c.call(t, "/done", "20S", c.request()); h2 && (o.status != "0" || o.messages != 1) {
			t.Errorf("%s: with time: %s", scheme, o)
		}
		if n := len(s.began); n != 1 {
			t.Errorf("%s: the service was sent %d calls, want the last one", scheme, n)
		}
		until(t, "no call is under way", func() bool { return inFlight(gw) == 0 })
		if e := gw.endpointStatus("calls", 0); e.LeftOut || e.Failures != 0 {
			t.Errorf("%s: the endpoint is %+v", scheme, e)
		}
	}
	f("h2c")
	f("http")
}

// oneStream serves s where each connection may have one stream at a time.
func oneStream(t *testing.T, s *heedless) string {
	return RawOrigin(t, func(c *net.TCPConn) {
		(&http2.Server{MaxConcurrentStreams: 1}).ServeConn(c, &http2.ServeConnOpts{Handler: s})
	})
}

// TestCall_service1: services that speak HTTP/1.1, and gRPC-Web by themselves, keep a call no longer either.
func TestCall_service1(t *testing.T) {
	t.Parallel()
	s := newHeedless(t)
	gw := Start(t, listen2(fmt.Sprintf(`
services: { calls: { to: ["http://%s"] } }
routes: { calls: { match: "/**", to: calls } }
`, s.addr)))
	for _, form := range []string{"application/grpc-web+proto", "application/grpc"} {
		c := &caller{http: client2(t, false), base: "http://" + gw.Addr, form: form}
		if o := c.reach(t, s, "/wait", c.request, atAll); o.status != "4" || !strings.Contains(o.says, "call_timeout") {
			t.Errorf("before the head: %s", o)
		}
		// A body that is still on its way does not give it more time.
		silent := func() io.Reader { r, _ := io.Pipe(); return r }
		if o := c.reach(t, s, "/wait", silent, atAll); o.status != "4" || !strings.Contains(o.says, "call_timeout") {
			t.Errorf("during an upload: %s", o)
		}
		// What the gateway has not translated it does not add to, but to gRPC.
		o := c.reach(t, s, "/one", c.request, aMessage)
		if plain := form == "application/grpc"; o.messages != 1 || (o.status == "4") != plain || (o.err == nil) != plain {
			t.Errorf("after a message: %s", o)
		}
	}
}

// endless is a body that is never short of bytes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestCall_deaf: a service that neither reads nor answers is sent a request no longer than until the call's end.
func TestCall_deaf(t *testing.T) {
	t.Parallel()
	f := func(scheme string, serve func(c net.Conn)) {
		t.Helper()
		ended := make(chan struct{})
		origin := RawOrigin(t, func(c *net.TCPConn) {
			serve(c)
			<-ended
		})
		defer close(ended)
		gw := Start(t, listen2(fmt.Sprintf(`
limits: { body_bytes: off }
services: { calls: { to: ["%s://%s"] } }
routes: { calls: { match: "/**", to: calls } }
`, scheme, origin)))
		c := &caller{http: client2(t, false), base: "http://" + gw.Addr, form: "application/grpc"}
		if o := c.call(t, "/", "400m", endless{}); o.status != "4" || !strings.Contains(o.says, "call_timeout") {
			t.Errorf("%s: %s", scheme, o)
		}
	}
	f("http", func(net.Conn) {})
	f("h2c", func(c net.Conn) {
		_ = http2.NewFramer(c, c).WriteSettings() // the gateway sends no request before
	})
}

// policyClient is a client of grpc-go whose calls reach the gateway with another grpc-timeout than its own: another gateway sets it.
func policyClient(t *testing.T, timeout string, to *Gateway) testpb.TestServiceClient {
	t.Helper()
	before := Start(t, listen2(fmt.Sprintf(`
services: { next: { to: ["h2c://%s"] } }
routes: { all: { match: "/**", rewrite: { headers: { set: { grpc-timeout: %s } } }, to: next } }
`, to.Addr, timeout)))
	conn, err := grpc.NewClient("passthrough:///"+before.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

// TestCall_grpc: a client of grpc-go understands how the gateway ends calls of every kind, though it has more time itself, and a server of
// grpc-go that knows of none sees them canceled.
func TestCall_grpc(t *testing.T) {
	t.Parallel()
	// play reports whether the server was reached in time, and the call's end.
	f := func(kind string, play func(s *grpcStage, client testpb.TestServiceClient) (bool, error)) {
		t.Helper()
		for limit := 200; ; limit *= 2 {
			s := newGRPCStage(t, `
services: { calls: { to: ["grpc://ORIGIN"] } }
routes: { calls: { match: "/**", rewrite: { headers: { remove: [grpc-timeout] } }, to: calls } }
`)
			reached, err := play(s, policyClient(t, fmt.Sprintf("%dm", limit), s.gateway))
			if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "call_timeout") {
				t.Errorf("%s: the client got %v", kind, err)
			}
			if !reached && limit < 10_000 {
				continue
			}
			select {
			case err := <-s.canceled:
				if err != context.Canceled {
					t.Errorf("%s: the server's call ended with %v", kind, err)
				}
			case <-time.After(20 * time.Second):
				t.Errorf("%s: the server's call goes on", kind)
			}
			return
		}
	}
	f("unary", func(s *grpcStage, client testpb.TestServiceClient) (bool, error) {
		_, err := client.UnaryCall(grpcContext(t, "wait", "yes"), &testpb.SimpleRequest{})
		return len(s.waiting) > 0, err
	})
	f("server streaming", func(s *grpcStage, client testpb.TestServiceClient) (bool, error) {
		ctx := grpcContext(t, "step", "yes")
		ask := &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 10}, {Size: 10}}}
		stream, err := client.StreamingOutputCall(ctx, ask)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			select {
			case s.next <- struct{}{}:
			case <-ctx.Done():
			}
		}()
		if _, err = stream.Recv(); err != nil {
			return false, err
		}
		_, err = stream.Recv()
		return true, err
	})
	f("both ways", func(s *grpcStage, client testpb.TestServiceClient) (bool, error) {
		both, err := client.FullDuplexCall(grpcContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := both.Send(&testpb.StreamingOutputCallRequest{Payload: sevens(1)}); err != nil {
			t.Fatal(err)
		}
		if _, err = both.Recv(); err != nil {
			return false, err
		}
		_, err = both.Recv()
		return true, err
	})
}

// TestCall_told: the service is told what time is left when the gateway has taken a good part of it, and else what the client has said; what is
// no timeout goes on as it is, and ends nothing.
func TestCall_told(t *testing.T) {
	t.Parallel()
	s := newHeedless(t)
	slow := make(chan time.Duration, 1)
	auth := Origin(t, func(w http.ResponseWriter, r *http.Request) { time.Sleep(<-slow) })
	gw := Start(t, listen2(fmt.Sprintf(`
services: { calls: { to: ["h2c://%s"] }, auth: { to: ["http://%s"] } }
policies: { ask: { forward_auth: { service: auth, timeout: 10s } } }
routes:
  calls: { match: "/done", to: calls }
  asks: { match: "/asks/done", use: [ask], to: calls, rewrite: { strip: /asks } }
`, s.addr, auth)))
	c := &caller{http: client2(t, false), base: "http://" + gw.Addr, form: "application/grpc"}
	f := func(timeout string) {
		t.Helper()
		if o := c.call(t, "/done", timeout, c.request()); o.status != "0" || o.messages != 1 {
			t.Errorf("%q: %s", timeout, o)
		}
		if got := <-s.began; got != timeout {
			t.Errorf("%q: the service was told %q", timeout, got)
		}
	}
	f("2H")
	f("00100M")
	f("99999999S")
	f("99999999H")
	f("")
	f("1")
	f("1x")
	f("0.1S")
	f("-1S")
	f("123456789n")

	slow <- 200 * time.Millisecond
	if o := c.call(t, "/asks/done", "18S", c.request()); o.status != "0" || o.messages != 1 {
		t.Errorf("after the question: %s", o)
	}
	var r proxy.Request
	told := <-s.began
	r.Head.AddString("grpc-timeout", told)
	if left, ok := r.GRPCTimeout(); !ok || left > 17800*time.Millisecond || left <= 0 {
		t.Errorf("after the question the service is told %q", told)
	}

	// Who is to answer before the call is sent has no more time either, and it is not the one to blame.
	slow <- 500 * time.Millisecond
	o := c.call(t, "/asks/done", "100m", c.request())
	if o.status != "4" || !strings.Contains(o.says, "call_timeout") || len(s.began) > 0 {
		t.Errorf("during the question: %s, and the service was asked %d times", o, len(s.began))
	}
}

// TestCall_route: of the time that the route has and the time that the client gives the earlier one counts, and each has its name.
func TestCall_route(t *testing.T) {
	t.Parallel()
	s := newHeedless(t)
	access := filepath.Join(t.TempDir(), "access.log")
	gw := Start(t, listen2(fmt.Sprintf(`
log: { access: { to: %q, format: "$route|$response.status|$error|$cause|$aborted" } }
services: { calls: { to: ["h2c://%s"] } }
routes:
  short: { match: "/wait", to: calls, timeout: 100ms }
  long: { match: "/one", to: calls, timeout: 20s }
`, access, s.addr)))
	c := &caller{http: client2(t, false), base: "http://" + gw.Addr, form: "application/grpc"}
	if o := c.call(t, "/wait", "20S", c.request()); o.status != "4" || !strings.Contains(o.says, "upstream_timeout") {
		t.Errorf("the route's time: %s", o)
	}
	s.ended(t)
	early := -1
	o := c.reach(t, s, "/one", c.request, func(o outcome) bool { early++; return o.messages > 0 })
	if o.status != "4" || o.messages != 1 {
		t.Errorf("the client's time: %s", o)
	}
	c.http.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	gw.Stop()
	log, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	want := "short|200|upstream_timeout||\n" + strings.Repeat("long|200|call_timeout||\n", early) +
		"long|200||call_timeout: The time that the client gives the call is over.|true\n"
	if string(log) != want {
		t.Errorf("the log says\n%s, want\n%s", log, want)
	}
}

// TestCall_wasted: calls that were given no time count as resets, for the service has begun on them; those that were waited for do not, whoever
// of client and gateway is the first to end them.
func TestCall_wasted(t *testing.T) {
	t.Parallel() // it waits most of the time
	f := func(version, timeout string, patience time.Duration, calms bool) {
		t.Helper()
		s := newHeedless(t)
		go func() {
			for t.Context().Err() == nil {
				select {
				case <-s.began:
				case <-t.Context().Done():
				}
			}
		}()
		config := fmt.Sprintf("limits: { streams: 1000 }\nservices: { s: { to: [\"h2c://%s\"] } }\nroutes: { all: { match: /**, to: s } }\n", s.addr)
		var gw *Gateway
		var transport http.RoundTripper
		var base string
		if version == "h3" {
			gw, transport = Start(t, listenTLS(config, "[h1, h3]")), client3(t)
			base = "https://" + gw.Addr
		} else {
			gw, transport = Start(t, listen2(config)), client2(t, false)
			base = "http://" + gw.Addr
		}
		ask := func(path string) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, "POST", base+path, nil)
			r.Header.Set("Content-Type", "application/grpc")
			r.Header.Set("Grpc-Timeout", timeout)
			if resp, err := transport.RoundTrip(r); err == nil {
				_ = resp.Body.Close()
			}
		}
		ask("/done") // for one connection, which knows how many streams it may have
		calmed := func() bool { return gw.Server.Counts().Calmed > 0 }
		// 500 resets are let pass, and 50 more per second. 400 at once, twice, are too many if they count. Those that do count go on until there were
		// enough of them, for on a busy machine the time of many is over before the service is asked.
		end := time.Now().Add(time.Minute)
		many := 400
		if calms {
			many = 100
		}
		var callers sync.WaitGroup
		for range many {
			callers.Go(func() {
				for n := 0; n < 2 || calms && !calmed() && time.Now().Before(end); n++ {
					ask("/wait")
				}
			})
		}
		callers.Wait()
		if calmed() != calms {
			t.Errorf("%s, %s, %v: %d connections were told to calm down", version, timeout, patience, gw.Server.Counts().Calmed)
		}
	}
	f("h2", "200m", time.Minute, true)
	f("h2", "1100m", time.Minute, false)
	f("h2", "4S", 3900*time.Millisecond, false) // for the gateway they begin up to two seconds later
	f("h3", "200m", time.Minute, true)
	f("h3", "4S", 3900*time.Millisecond, false)
}

// TestCall_wasted1: over HTTP/1.1 such a call costs its client the connection, as it would to give up by itself; one that was waited for does not.
func TestCall_wasted1(t *testing.T) {
	t.Parallel()
	s := newHeedless(t)
	gw := Start(t, fmt.Sprintf("services: { s: { to: [\"h2c://%s\"] } }\nroutes: { all: { match: /**, to: s } }\n", s.addr))
	f := func(timeout string, closes bool) {
		t.Helper()
		c := gw.Dial()
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(scriptPatience)); err != nil {
			t.Fatal(err)
		}
		c.Send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nGrpc-Timeout: " + timeout + "\r\nContent-Length: 0\r\n\r\n")
		resp, err := http.ReadResponse(c.R, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.Header.Get("Grpc-Status") != "4" || resp.Close != closes {
			t.Errorf("%s: status %q, the connection closes: %v", timeout, resp.Header.Get("Grpc-Status"), resp.Close)
		}
	}
	f("20m", true)
	f("1100m", false)
}
