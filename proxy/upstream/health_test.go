package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
)

var httpHealth = Health{Kind: HealthHTTP, Path: "/healthz?full=1", Statuses: []StatusRange{{200, 299}}, Every: time.Hour, Timeout: patience}

// checkOnce asks an endpoint once.
func checkOnce(t testing.TB, h Health, to Target, edit func(o *Options)) error {
	t.Helper()
	s := testService(t, func(o *Options) {
		o.Health = h
		if edit != nil {
			edit(o)
		}
	}, to)
	e := s.endpointAt(0)
	defer e.checks.probe.retire()
	err := e.checks.probe.check(context.Background(), &h)
	if e.inFlight.Load() != 0 || e.requests.Load() != 0 || e.failures.Load() != 0 || !e.usable(0) {
		t.Error("a check counts as a request")
	}
	return err
}

func wantCheck(t testing.TB, err error, want string) {
	t.Helper()
	got := "well"
	if err != nil {
		got = reasonOf(err)
	}
	if !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestHealthHTTP: a check is a GET, and its status decides.
func TestHealthHTTP(t *testing.T) {
	f := func(answer, want string, statuses ...StatusRange) {
		t.Helper()
		h := httpHealth
		if len(statuses) > 0 {
			h.Statuses = statuses
		}
		seen := make(chan string, 1)
		to := origin(t, func(_ int, r *http.Request, body string) string {
			seen <- fmt.Sprintf("%s %s %s %s %v %q", r.Method, r.RequestURI, r.Host, r.UserAgent(), r.Close, body)
			return answer
		})
		to.Base = "/base"
		wantCheck(t, checkOnce(t, h, to, nil), want)
		if got, want := <-seen, fmt.Sprintf(`GET /base/healthz?full=1 %s:%s sluice-health true ""`, to.Host, to.Port); got != want {
			t.Errorf("the endpoint saw %s, want %s", got, want)
		}
	}
	f(ok("fine"), "well")
	f("HTTP/1.1 204 No Content\r\n\r\n", "well")
	f("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+ok(""), "well")
	f("HTTP/1.0 200 OK\r\n\r\nto the end", "well")
	f("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", "the status is 302")
	f("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "the status is 503")
	f("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "well", StatusRange{200, 299}, StatusRange{503, 503})
	f(ok(""), "the status is 200", StatusRange{204, 204})
	f("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "not a valid HTTP response")
	f("", "EOF")
	f("nonsense\r\n\r\n", "not a valid HTTP response")
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "not a valid HTTP response")
}

// TestHealthHost: what the service sees as Host.
func TestHealthHost(t *testing.T) {
	f := func(service, check, want string) {
		t.Helper()
		to := origin(t, func(_ int, r *http.Request, _ string) string {
			if r.Host == want || want == "origin" && strings.HasPrefix(r.Host, "127.0.0.1:") {
				return ok("")
			}
			return "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n"
		})
		h := httpHealth
		h.Host = check
		wantCheck(t, checkOnce(t, h, to, func(o *Options) { o.Host = service }), "well")
	}
	f("", "", "origin")
	f("origin", "", "origin")
	f("shop.example", "", "shop.example")
	f("shop.example", "health.example", "health.example")
	f("", "health.example", "health.example")
}

// timeoutFor is short only for what ends by it: a busy machine takes its time for the rest.
func timeoutFor(want string) time.Duration {
	if strings.Contains(want, "in time") {
		return 300 * time.Millisecond
	}
	return patience
}

// TestHealthHostile: an endpoint that answers without end, or not at all, is ill in time.
func TestHealthHostile(t *testing.T) {
	f := func(want string, serve func(c net.Conn)) {
		t.Helper()
		h := httpHealth
		h.Timeout = timeoutFor(want)
		began := time.Now()
		wantCheck(t, checkOnce(t, h, rawOrigin(t, func(c net.Conn, r *bufio.Reader, _ int) { serve(c) }), nil), want)
		if took := time.Since(began); h.Timeout < patience && took > patience/2 {
			t.Errorf("that took %s", took)
		}
	}
	forever := func(c net.Conn, piece string, pause time.Duration) {
		for {
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
	f("did not answer in time", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	f("not a valid HTTP response", func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
		forever(c, strings.Repeat("x", 1000), 0)
	})
	f("in time", func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
		forever(c, "x", 10*time.Millisecond)
	})
	f("not a valid HTTP response", func(c net.Conn) { forever(c, "HTTP/1.1 103 Early Hints\r\n\r\n", 0) })
	// A body is nobody's business.
	f("well", func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		forever(c, strings.Repeat("x", 1000), 0)
	})
	f("well", func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		forever(c, "x", 10*time.Millisecond)
	})
	wantCheck(t, checkOnce(t, httpHealth, deadTarget(t), nil), "connection refused")
}

// TestHealthTLS: checks verify as requests do.
func TestHealthTLS(t *testing.T) {
	f := func(h2 bool) {
		t.Helper()
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 != h2 {
				w.WriteHeader(500)
			}
		}))
		server.EnableHTTP2 = h2
		server.Config.ErrorLog = discardLog
		server.StartTLS()
		t.Cleanup(server.Close)
		to := target(server.Listener.Addr().String())
		to.TLS, to.H2 = true, h2
		wantCheck(t, checkOnce(t, httpHealth, to, nil), "certificate")
		trusted := server.Client().Transport.(*http.Transport).TLSClientConfig
		wantCheck(t, checkOnce(t, httpHealth, to, func(o *Options) { o.TLS = trusted }), "well")
	}
	f(false)
	f(true)
}

// TestHealthGRPC asks a real server.
func TestHealthGRPC(t *testing.T) {
	serve := func(register func(s *grpc.Server)) Target {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		register(server)
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		t.Cleanup(func() {
			server.Stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		to := target(l.Addr().String())
		to.H2 = true
		return to
	}
	states := health.NewServer()
	to := serve(func(s *grpc.Server) { healthpb.RegisterHealthServer(s, states) })
	f := func(to Target, service, want string) {
		t.Helper()
		wantCheck(t, checkOnce(t, Health{Kind: HealthGRPC, Service: service, Every: time.Hour, Timeout: patience}, to, nil), want)
	}
	states.SetServingStatus("shop.Orders", healthpb.HealthCheckResponse_SERVING)
	states.SetServingStatus("shop.Stock", healthpb.HealthCheckResponse_NOT_SERVING)
	states.SetServingStatus("shop.Odd", healthpb.HealthCheckResponse_ServingStatus(77))
	f(to, "", "well")
	f(to, "shop.Orders", "well")
	f(to, "shop.Stock", "says NOT_SERVING")
	f(to, "shop.Odd", "says 77")
	f(to, "shop.Other", "NOT_FOUND")
	states.Shutdown()
	f(to, "", "says NOT_SERVING")
	f(serve(func(*grpc.Server) {}), "", "UNIMPLEMENTED")
	f(deadTarget(t), "", "connection refused")
}

// TestHealthGRPCHostile: what is no answer of gRPC is none, and ends in time.
func TestHealthGRPCHostile(t *testing.T) {
	f := func(want string, answer func(o *h2origin, id uint32)) {
		t.Helper()
		h := Health{Kind: HealthGRPC, Every: time.Hour, Timeout: timeoutFor(want)}
		began := time.Now()
		wantCheck(t, checkOnce(t, h, h2Origin(t, each(answer)), nil), want)
		if took := time.Since(began); h.Timeout < patience && took > patience/2 {
			t.Errorf("that took %s", took)
		}
	}
	serving := []byte{0, 0, 0, 0, 2, 8, 1}
	head := func(o *h2origin, id uint32) { o.head(id, false, ":status", "200", "content-type", "application/grpc") }
	body := func(p []byte, trailers ...string) func(o *h2origin, id uint32) {
		return func(o *h2origin, id uint32) {
			head(o, id)
			_ = o.WriteData(id, len(trailers) == 0, p)
			if len(trailers) > 0 {
				o.head(id, true, trailers...)
			}
		}
	}
	f("well", body(serving, "grpc-status", "0"))
	f("without a status", body(serving))
	f("without a status", body(serving, "other", "0"))
	f(`status "13" of gRPC`, body(serving, "grpc-status", "13"))
	f("no message", body(nil, "grpc-status", "0"))
	f("no message", body(append(serving, serving...), "grpc-status", "0"))
	f("no message", body([]byte{1, 0, 0, 0, 2, 8, 1}, "grpc-status", "0"))
	f("no message", body(serving[:6], "grpc-status", "0"))
	f("no message", body(make([]byte, 5000), "grpc-status", "0"))
	f("says UNKNOWN", body([]byte{0, 0, 0, 0, 0}, "grpc-status", "0"))
	f("UNIMPLEMENTED", func(o *h2origin, id uint32) {
		o.head(id, true, ":status", "200", "content-type", "application/grpc", "grpc-status", "12")
	})
	f("404 of HTTP", func(o *h2origin, id uint32) { o.head(id, true, ":status", "404", "content-type", "text/html") })
	f("not one of gRPC", func(o *h2origin, id uint32) { o.answer(id, string(serving)) })
	f("reset", func(o *h2origin, id uint32) { _ = o.WriteRSTStream(id, http2.ErrCodeInternal) })
	f("reset", func(o *h2origin, id uint32) {
		head(o, id)
		_ = o.WriteRSTStream(id, http2.ErrCodeInternal)
	})
	f("in time", func(*h2origin, uint32) {})
	f("in time", head)
	f("in time", func(o *h2origin, id uint32) {
		head(o, id)
		_ = o.WriteData(id, false, serving)
	})
	f("in time", func(o *h2origin, id uint32) { // a byte at a time, and never the end
		head(o, id)
		for range 100 {
			if o.WriteData(id, false, []byte{0}) != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// TestHealthService: endpoints that fail leave the balancing and come back, and no request notices.
func TestHealthService(t *testing.T) {
	ill := make(chan bool, 1)
	ill <- false
	is := func() bool {
		v := <-ill
		ill <- v
		return v
	}
	answer := func(name string, mayBeIll bool) func(int, *http.Request, string) string {
		return func(_ int, r *http.Request, _ string) string {
			if r.URL.Path == "/healthz" && mayBeIll && is() {
				return "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
			}
			return ok(name)
		}
	}
	h := httpHealth
	h.Every, h.HealthyAfter, h.UnhealthyAfter = 20*time.Millisecond, 2, 2
	s := livingService(t, func(o *Options) { o.Health = h }, origin(t, answer("a", false)), origin(t, answer("b", true)))
	goes := func() string {
		seen := map[string]bool{}
		for range 8 {
			x := newExchange("GET", "/", "")
			got, err := serve(s, x)
			if err != nil {
				t.Fatal(err)
			}
			seen[got] = true
			end(x)
		}
		return fmt.Sprint(seen)
	}
	const both, one = "map[200 a:true 200 b:true]", "map[200 a:true]"
	if got := goes(); got != both {
		t.Fatalf("at first requests go to %s", got)
	}
	for range 2 {
		<-ill
		ill <- true
		eventually(t, "the ill endpoint gets no requests", func() bool { return goes() == one })
		if st := s.Status().Endpoints[1]; st.Health != "unhealthy" || st.Reason != "the status is 500" {
			t.Errorf("%+v", st)
		}
		<-ill
		ill <- false
		eventually(t, "the endpoint that is well gets requests again", func() bool { return goes() == both })
	}
	if st := s.Status().Endpoints[0]; st.Health != "healthy" || st.Changes != 0 || st.Passed == 0 {
		t.Errorf("%+v", st)
	}
}

// FuzzParseHealth: the parser agrees with one that reads fields in another way, and survives everything.
func FuzzParseHealth(f *testing.F) {
	f.Add([]byte{8, 1})
	f.Add([]byte{8, 2, 18, 1, 'x', 8, 1})
	f.Add([]byte{25, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1, 37, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, message []byte) {
		framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
		state, ok := parseHealth(framed)
		var m healthpb.HealthCheckResponse
		if err := proto.Unmarshal(message, &m); err == nil && ok && uint64(uint32(m.Status)) != state&0xffffffff {
			t.Errorf("%x: got %d, want %d", message, state, m.Status)
		}
		for cut := range framed {
			if _, ok := parseHealth(framed[:cut]); ok {
				t.Errorf("%x cut at %d is a message", framed, cut)
			}
		}
		if _, ok := parseHealth(append(bytes.Clone(framed), 0)); ok {
			t.Errorf("%x and a byte more is a message", framed)
		}
	})
}
