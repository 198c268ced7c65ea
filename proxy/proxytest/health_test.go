package proxytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"sluice/proxy/upstream"
)

// patient is an origin that may be ill: then its checks fail, and requests are counted that should not have come.
type patient struct {
	*httptest.Server
	ill      atomic.Bool
	checks   atomic.Int64
	requests atomic.Int64
}

func newPatient(t *testing.T) *patient {
	p := &patient{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			p.requests.Add(1)
			return
		}
		p.checks.Add(1)
		if p.ill.Load() {
			w.WriteHeader(500)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (g *Gateway) endpointStatus(service string, i int) upstream.EndpointStatus {
	for _, s := range g.Runtime.Services() {
		if s.Name == service && i < len(s.Endpoints) {
			return s.Endpoints[i]
		}
	}
	return upstream.EndpointStatus{}
}

// TestHealth_reload: what is known of an endpoint outlives reloads that leave its service as it is; one that is new, or whose checks are,
// gets requests until a check says otherwise.
func TestHealth_reload(t *testing.T) {
	well, ill := newPatient(t), newPatient(t)
	ill.ill.Store(true)
	yaml := func(every, more string) string {
		return fmt.Sprintf(`
services:
  both: { to: ["%s", "%s"], health: { get: /healthz, every: %s } }
  unused: { to: "%s", health: GET /healthz }
routes:
  a: { match: "/**", to: both }
  %s
`, well.URL, ill.URL, every, ill.URL, more)
	}
	gw := Start(t, yaml("100ms", ""))
	become := func(state string) {
		t.Helper()
		until(t, "an endpoint that is "+state, func() bool { return gw.endpointStatus("both", 1).Health == state })
	}
	// get sends requests; they are answered, whoever is ill.
	get := func(n int) (toIll int64) {
		t.Helper()
		before := ill.requests.Load()
		for range n {
			resp, err := http.Get("http://" + gw.Addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatalf("the answer is %d", resp.StatusCode)
			}
		}
		return ill.requests.Load() - before
	}
	become("unhealthy")
	until(t, "requests that pass by the ill", func() bool { return get(4) == 0 })
	gw.Reload(yaml("100ms", "b: { match: /b, respond: {} }"))
	if st := gw.endpointStatus("both", 1); st.Health != "unhealthy" || get(10) != 0 {
		t.Errorf("after a reload the endpoint is %+v", st)
	}
	// Checks of another kind begin anew: nothing is lost meanwhile, and they find out the same.
	gw.Reload(yaml("1h", "b: { match: /b, respond: {} }"))
	if n := get(10); n == 0 && gw.endpointStatus("both", 1).Health == "unchecked" {
		t.Error("an endpoint that was not checked yet gets no requests")
	}
	become("unhealthy")
	gw.Reload(yaml("100ms", ""))
	ill.ill.Store(false)
	become("healthy")
	if st := gw.endpointStatus("unused", 0); st.Health != "" {
		t.Errorf("the service that no route uses is checked: %+v", st)
	}
	// A service that is gone is not checked any more.
	gw.Reload(`
routes: { a: { match: "/**", respond: {} } }
`)
	checks := ill.checks.Load() + 1 // one may have been on its way
	for deadline := time.Now().Add(500 * time.Millisecond); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if n := ill.checks.Load(); n > checks {
			t.Fatalf("%d checks more after the service is gone", n-checks)
		}
	}
}

// TestHealth_rollingRestart: an origin that fails its checks before it goes is restarted without an error, with requests coming all the time.
func TestHealth_rollingRestart(t *testing.T) {
	var addresses []string
	var origins []*restarted
	for range 2 {
		o := &restarted{t: t}
		o.start()
		t.Cleanup(o.stop)
		origins = append(origins, o)
		addresses = append(addresses, `"http://`+o.at+`"`)
	}
	gw := Start(t, fmt.Sprintf(`
services: { both: { to: [%s], health: { get: /healthz, every: 100ms, healthy_after: 1, unhealthy_after: 1 } } }
routes: { a: { match: "/**", to: both } }
`, strings.Join(addresses, ", ")))
	var clients sync.WaitGroup
	over := make(chan struct{})
	var sent atomic.Int64
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				resp, err := http.Get("http://" + gw.Addr + "/")
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("the answer is %d", resp.StatusCode)
				}
				sent.Add(1)
			}
		})
	}
	for i, o := range origins {
		healthy := func(want string) func() bool {
			return func() bool { return gw.endpointStatus("both", i).Health == want }
		}
		until(t, "the first check", healthy("healthy"))
		o.ill.Store(true)
		until(t, "the check that fails", healthy("unhealthy"))
		until(t, "requests that all go to the other", func() bool {
			asked, before := o.asked.Load(), sent.Load()
			until(t, "more requests", func() bool { return sent.Load() > before+20 })
			return o.asked.Load() == asked && gw.endpointStatus("both", i).InFlight == 0
		})
		o.stop()
		before := sent.Load()
		until(t, "more requests", func() bool { return sent.Load() > before+20 })
		o.ill.Store(false)
		o.start()
		until(t, "the check that passes", healthy("healthy"))
		asked := o.asked.Load()
		until(t, "requests to who is back", func() bool { return o.asked.Load() > asked })
	}
	close(over)
	clients.Wait()
}

// restarted is an origin that comes back to its address.
type restarted struct {
	t      *testing.T
	at     string
	ill    atomic.Bool
	asked  atomic.Int64
	server *http.Server
	served chan error
}

func (o *restarted) start() {
	o.t.Helper()
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }), err)
	}}
	if o.at == "" {
		// Bound for as long as the test lasts, so that nobody takes the port while the origin is down. As it does not listen, connections are refused then.
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			o.t.Fatal(err)
		}
		o.t.Cleanup(func() { _ = unix.Close(fd) })
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
		if err != nil {
			o.t.Fatal(err)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			o.t.Fatal(err)
		}
		o.at = fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	}
	l, err := shared.Listen(o.t.Context(), "tcp", o.at)
	if err != nil {
		o.t.Fatal(err)
	}
	o.served = make(chan error, 1)
	o.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/healthz":
			o.asked.Add(1)
		case o.ill.Load():
			w.WriteHeader(503)
		}
	})}
	server, served := o.server, o.served
	go func() { served <- server.Serve(l) }()
}

func (o *restarted) stop() {
	if o.server == nil {
		return
	}
	o.server.Close()
	if err := <-o.served; err != http.ErrServerClosed {
		o.t.Error(err)
	}
	o.server = nil
}

// TestHealth_grpc: servers of gRPC that say that they do not serve get no calls, nor do those that do not know the question; if there are
// no others, they do.
func TestHealth_grpc(t *testing.T) {
	type server struct {
		at    string
		calls atomic.Int64
		state *health.Server
	}
	newServer := func(knows bool) *server {
		s := &server{state: health.NewServer()}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.at = `"grpc://` + l.Addr().String() + `"`
		g := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, in any, i *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			if strings.HasPrefix(i.FullMethod, testService) {
				s.calls.Add(1)
			}
			return h(ctx, in)
		}))
		testpb.RegisterTestServiceServer(g, &grpcServer{})
		if knows {
			healthpb.RegisterHealthServer(g, s.state)
			s.state.SetServingStatus("shop.Orders", healthpb.HealthCheckResponse_SERVING)
		}
		served := make(chan error, 1)
		go func() { served <- g.Serve(l) }()
		t.Cleanup(func() {
			g.Stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		return s
	}
	a, b, c := newServer(true), newServer(true), newServer(false)
	gw := Start(t, listen2(fmt.Sprintf(`
services: { calls: { to: [%s, %s, %s], health: { grpc: shop.Orders, every: 100ms, healthy_after: 1, unhealthy_after: 1 } } }
routes: { calls: { match: "/**", to: calls } }
`, a.at, b.at, c.at)))
	conn, err := grpc.NewClient("passthrough:///"+gw.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := testpb.NewTestServiceClient(conn)
	// becomes waits until calls go to these servers and no others.
	becomes := func(want string) {
		t.Helper()
		until(t, "calls that go to "+want, func() bool {
			before := []int64{a.calls.Load(), b.calls.Load(), c.calls.Load()}
			for range 12 {
				if _, err := client.UnaryCall(grpcContext(t), &testpb.SimpleRequest{}); err != nil {
					t.Fatal(err)
				}
			}
			got := ""
			for i, s := range []*server{a, b, c} {
				if s.calls.Load() > before[i] {
					got += string(rune('a' + i))
				}
			}
			return got == want
		})
	}
	becomes("ab")
	if st := gw.endpointStatus("calls", 2); !strings.Contains(st.Reason, "UNIMPLEMENTED") {
		t.Errorf("the server that does not know the question: %+v", st)
	}
	a.state.SetServingStatus("shop.Orders", healthpb.HealthCheckResponse_NOT_SERVING)
	becomes("b")
	b.state.Shutdown()
	becomes("abc")
	b.state.Resume()
	becomes("b")
	a.state.SetServingStatus("shop.Orders", healthpb.HealthCheckResponse_SERVING)
	becomes("ab")
}
