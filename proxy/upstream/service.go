package upstream

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Options describe a service. They must not be changed once given to New.
type Options struct {
	Name    string
	Targets []Target
	Balance Balance
	HashOn  Key // what Hash balances on

	Try     time.Duration // from the request being sent until the response head
	Connect time.Duration // until a connection, TLS included, is there
	Idle    time.Duration // silence in the middle of a body
	Tunnel  time.Duration // silence in an upgraded connection

	MaxConns int           // per endpoint; 0: no limit
	MaxIdle  int           // per endpoint
	IdleFor  time.Duration // how long an idle connection is kept
	Wait     time.Duration // how long a request waits for a connection when MaxConns is reached

	// Proxied is the version of the PROXY header that connections begin with, 1 or 2; 0: with none. A connection then carries nothing
	// but what the client of its header sends.
	Proxied int

	Host   string      // sent as Host: "" keeps the client's, "origin" takes the target's, else this one
	TLS    *tls.Config // for https targets; ServerName defaults to the target's host
	Limits wire.Limits // of response heads
	Health Health

	Sweeper  *wire.Sweeper
	Resolver Resolver // for host names; nil: the system's
	Dial     Dial     // nil: the kernel's
}

// Dial opens a connection, as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Target is one address of a service as configured. A host name may stand for several endpoints.
type Target struct {
	Network string // "tcp" or "unix"
	Host    string // name or IP, without brackets; or the socket's path
	Port    string
	TLS     bool
	TCP     bool   // connections are passed on as they are: it is for Connect, and not for Serve
	H2      bool   // HTTP/2 is spoken: with TLS if it is negotiated by ALPN, else with prior knowledge
	Base    string // path put in front of every request's, without a slash at its end
	Weight  int    // 1 and up
	URL     string // as configured: for people
}

// authority is what a Host field of "origin" holds.
func (t *Target) authority() string {
	switch {
	case t.Network == "unix":
		return "localhost"
	case t.TLS && t.Port == "443", !t.TLS && t.Port == "80":
		if _, err := netip.ParseAddr(t.Host); err == nil {
			return bracketed(t.Host)
		}
		return t.Host
	}
	return net.JoinHostPort(t.Host, t.Port)
}

func bracketed(ip string) string {
	if a, err := netip.ParseAddr(ip); err == nil && a.Is6() {
		return "[" + ip + "]"
	}
	return ip
}

// Service is a terminal policy: it answers an exchange from one of its endpoints. It outlives the snapshot that
// made it as long as its definition is unchanged. Safe for concurrent use.
type Service struct {
	options Options
	set     atomic.Pointer[endpointSet] // to choose from
	all     atomic.Pointer[[]*endpoint] // healthy or not
	turn    atomic.Uint64               // of round robin

	probing  Options // of the endpoints that checks are made with
	ask      func(life context.Context, e *endpoint) error
	checking chan struct{} // a place for each check under way
	changing atomic.Bool   // somebody will publish another set soon

	update    sync.Mutex // serialises changes of set and all
	desperate bool       // no endpoint is healthy
	retired   atomic.Bool
	life      context.Context // ends with Retire
	end       context.CancelFunc
	running   sync.WaitGroup
}

// New starts a service: it looks host names up, for at most a second, and goes on looking them up as their records
// expire. A name that cannot be resolved yet leaves the service without endpoints and is not an error.
func New(o Options) *Service {
	s := newService(o, func(life context.Context, e *endpoint) error { return e.checks.probe.check(life, &o.Health) })
	s.running.Add(1)
	go s.maintain()
	return s
}

// newService starts what finds endpoints and asks them whether they are well.
func newService(o Options, ask func(life context.Context, e *endpoint) error) *Service {
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	s := &Service{options: o, probing: probeOptions(o), ask: ask, checking: make(chan struct{}, checksAtOnce)}
	s.life, s.end = context.WithCancel(context.Background())
	s.set.Store(newSet(nil, o.Balance))
	s.resolveAll()
	return s
}

// Name returns the configured name.
func (s *Service) Name() string { return s.options.Name }

// Retire closes idle connections and stops background work. Exchanges in flight go on to their end; their
// connections are closed after them.
func (s *Service) Retire() {
	if s.retired.Swap(true) {
		return
	}
	s.end()
	s.running.Wait()
	s.update.Lock()
	defer s.update.Unlock()
	for _, e := range s.endpoints() {
		e.retire()
	}
}

// attemptsMax bounds how many endpoints a request tries to reach.
const attemptsMax = 3

// Serve sends the request to an endpoint and returns when the response head is there. A request of which no byte
// was written goes to another endpoint.
func (s *Service) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	x.Service = s.options.Name
	if why := x.Canceled(); why != nil {
		return why // a client that resets what it has just asked for must not cost a connection each time
	}
	if x.CallOver() {
		return timeout(x)
	}
	var tried [attemptsMax]*endpoint
	var err error = errNoEndpoint
	for n := 0; ; n++ {
		e := s.pick(x, tried[:n])
		if e == nil {
			return err // there is none, or what was left a moment ago is gone
		}
		tried[n] = e
		x.Endpoint = e.name
		if err = e.serve(x); err == nil {
			return nil
		}
		if n+1 == attemptsMax || !proxy.AsError(err).Unsent || x.Canceled() != nil || expired(x) || !s.another(tried[:n+1]) {
			return err
		}
	}
}

func expired(x *proxy.Exchange) bool { return x.Deadline != 0 && wire.Now() >= x.Deadline }

// another reports whether an endpoint is left to be tried.
func (s *Service) another(tried []*endpoint) bool {
	for _, e := range s.set.Load().endpoints {
		if !contains(tried, e) {
			return true
		}
	}
	return false
}

func contains(list []*endpoint, e *endpoint) bool {
	for _, t := range list {
		if t == e {
			return true
		}
	}
	return false
}

// maintain closes connections that idled too long or that the origin has closed.
func (s *Service) maintain() {
	defer s.running.Done()
	every := max(time.Second, min(s.options.IdleFor/4, 10*time.Second))
	// Services that start together do not all wake together.
	t := time.NewTimer(time.Duration(rand.Int64N(int64(every))) + 1)
	defer t.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-t.C:
		}
		for _, e := range s.endpoints() {
			e.expire(wire.Now())
		}
		t.Reset(every)
	}
}

// Status is what a service looks like from outside.
type Status struct {
	Name      string           `json:"name"`
	Endpoints []EndpointStatus `json:"endpoints"`
}

// EndpointStatus is one endpoint's state.
type EndpointStatus struct {
	Address  string `json:"address"`
	Target   string `json:"target"`
	Weight   int    `json:"weight"`
	InFlight int64  `json:"in_flight"`
	Open     int    `json:"connections_open"`
	Idle     int    `json:"connections_idle"`
	LeftOut  bool   `json:"left_out"` // unreachable a moment ago, see endpoint.failed
	Requests uint64 `json:"requests"`
	Failures uint64 `json:"connect_failures"`
	// Of endpoints that are checked.
	Health  string `json:"health,omitempty"`            // healthy, unhealthy or unchecked
	Reason  string `json:"last_check_failed,omitempty"` // why
	Passed  uint64 `json:"checks_passed,omitempty"`
	Failed  uint64 `json:"checks_failed,omitempty"`
	Changes uint64 `json:"health_changes,omitempty"`
}

// Status returns the state of every endpoint.
func (s *Service) Status() Status {
	all := s.endpoints()
	st := Status{Name: s.options.Name, Endpoints: make([]EndpointStatus, 0, len(all))}
	now := wire.Now()
	for _, e := range all {
		open, idle := e.counts()
		c := &e.checks
		health, reason := c.state()
		st.Endpoints = append(st.Endpoints, EndpointStatus{
			Address: e.name, Target: e.target.URL, Weight: e.target.Weight, InFlight: e.inFlight.Load(), Open: open, Idle: idle,
			LeftOut: !e.usable(now), Requests: e.requests.Load(), Failures: e.failures.Load(),
			Health: health, Reason: reason, Passed: c.passed.Load(), Failed: c.failed.Load(), Changes: c.changes.Load(),
		})
	}
	return st
}
