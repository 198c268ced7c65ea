package compile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/address"
	"sluice/proxy/auth/consumer"
	"sluice/proxy/cache"
	"sluice/proxy/compress"
	"sluice/proxy/observe"
	"sluice/proxy/upstream"
	"sluice/proxy/wire"
	"sluice/router"
	"sluice/tlsterm"
)

// Options are what a Runtime works with.
type Options struct {
	Sweeper *wire.Sweeper
	Metrics *observe.Metrics
	// Dial connects services to their endpoints; nil: through the kernel.
	Dial upstream.Dial
	// Dry builds everything and starts nothing: no connection, no lookup, no log. It is for check and explain.
	Dry bool
}

// Runtime keeps what outlives a configuration. Its methods are safe for concurrent use, but plans must be committed or
// discarded in the order in which they were compiled: the caller serialises reloads.
type Runtime struct {
	options Options

	mu          sync.Mutex
	services    map[string]*service
	routes      map[string]bool // names with metrics
	tls         map[string]*terminator
	limiters    map[string]*limiter
	doors       []string // listeners whose door is among them
	passages    []*observe.PassageMetrics
	log         *accessLog
	retiring    map[*accessLog]*time.Timer
	generation  uint64
	counts      tlsterm.Counts
	cache       *cache.Cache
	encoders    *compress.Encoders
	compressed  map[string]*compress.Counts // by route
	cacheBytes  int64
	lasting     map[string]lasting
	enforced    map[string]bool
	passwords   *consumer.Passwords
	consumers   map[string]*consumer.Group
	members     *Members // nil: none are stored
	asksMembers bool
	unenforced  []string
	sets        map[[sha256.Size]byte]*address.Set
	closed      bool
}

// New returns an empty runtime.
func New(o Options) *Runtime {
	if o.Metrics == nil {
		o.Metrics = observe.New()
	}
	return &Runtime{
		options: o, services: make(map[string]*service), routes: make(map[string]bool),
		encoders:  compress.NewEncoders(int64(config.Unlimited)), // until a configuration is committed
		passwords: consumer.NewPasswords(),
	}
}

// Plan is a compiled configuration that nothing runs yet.
type Plan struct {
	Config    *config.Config
	Snapshot  *proxy.Snapshot
	Listeners []Listener
	Routes    []RouteInfo
	Drain     time.Duration // how long requests may go on after a shutdown began

	table       *router.Table[*proxy.Route]
	services    map[string]*service
	terminators map[string]*terminator
	limiters    map[string]*limiter
	doors       []string
	explained   map[*proxy.Route][]limitOnRoute // in the order of the chains
	caching     map[*proxy.Route][]string       // a line for each cache
	asking      map[*proxy.Route][]string       // a line for each policy that asks a service
	authorizing map[*proxy.Route][]string       // a line for each expression
	passages    []*observe.PassageMetrics
	log         *accessLog
	sets        map[[sha256.Size]byte]*address.Set // out of files, by what these hold
	compressing map[*proxy.Route][]*compress.Policy
	compressed  map[string]*compress.Counts // by route
	cache       *cache.Cache
	cacheBytes  int64
	lasting     map[string]lasting // by definition
	relinks     map[*limitStore]relink
	prepared    bool
	enforced    map[string]bool // the definitions of those that a policy needs which refuses whom it should
	proofs      proofRoom
	unenforced  []string // names of policies that refuse nobody and should
	consumers   map[string]*consumer.Group
	members     *Members
	stored      map[string]*liveGroup // the groups of members
	asksMembers bool                  // a policy needs these that refuses whom it should
}

// Listener is where clients connect, and how they are taken there.
type Listener struct {
	Name      string
	Addresses []Address
	proxy.Listening
	H3 bool // HTTP/3 is spoken, over UDP
	// TokenKey and ResetKey are for UDP sockets that are opened, see server.PacketKeys; zero: random ones.
	TokenKey, ResetKey [32]byte
}

// Address is what to listen on.
type Address struct {
	Network string // "tcp" or "unix"
	Address string // "host:port" or a path
}

// RouteInfo describes a route for people.
type RouteInfo struct {
	Name      string   `json:"name"`
	Match     string   `json:"match"`
	Policies  []string `json:"policies"` // in the order in which they run, the one that answers last
	To        string   `json:"to"`
	Timeout   string   `json:"timeout,omitempty"`
	BodyLimit int64    `json:"body_limit,omitempty"` // bytes
}

// Compile builds a plan from c. Problems that are not warnings leave the plan nil. Commit or Discard must follow.
func (r *Runtime) Compile(c *config.Config) (*Plan, config.Problems) {
	b := &builder{runtime: r, config: c, guards: make(map[*config.Addresses]*address.Guard), countries: make(map[*config.Countries]*address.Countries)}
	b.plan = &Plan{
		Config: c, Drain: time.Duration(c.Limits.Drain),
		sets:        make(map[[sha256.Size]byte]*address.Set),
		compressing: make(map[*proxy.Route][]*compress.Policy), compressed: make(map[string]*compress.Counts),
	}
	r.mu.Lock()
	b.runningLasting, b.runningLimiters = r.lasting, r.limiters
	r.mu.Unlock()
	b.consumers()
	b.expressions()
	b.components()
	b.patterns()
	b.chains()
	b.loginsReachable()
	b.listeners()
	b.clientCerts()
	if b.problems.HasErrors() {
		return nil, b.problems
	}
	// The lock is not held meanwhile: a service may wait a second for the DNS, and others ask for its state. What runs
	// changes only by Commit, which the caller does not call at the same time.
	r.mu.Lock()
	b.running, b.runningTLS, b.log, b.generation = r.services, r.tls, r.log, r.generation
	r.mu.Unlock()
	// What can fail still is files: certificates and the access log's.
	b.startTLS()
	if err := b.openLog(); err != nil {
		b.fail("log.access.to", err.Error())
	}
	if b.problems.HasErrors() {
		r.Discard(b.plan)
		return nil, b.problems
	}
	countries := b.countryDatabase()
	if b.problems.HasErrors() {
		r.Discard(b.plan)
		return nil, b.problems
	}
	b.openMembers()
	b.startServices()
	b.passages()
	b.observe()
	b.plan.Snapshot = &proxy.Snapshot{
		Generation: b.generation + 1,
		Table:      b.plan.table,
		Fallback:   b.fallback,
		Limits:     limits(c),
		Countries:  countries,
	}
	return b.plan, b.problems
}

// Prepare lets what a plan brings in stand before requests meet it, so that nobody is refused, or let in, because something has just begun. It
// returns after some seconds at the latest. It is called, if at all, when nothing more can keep the plan from being published.
func (r *Runtime) Prepare(p *Plan) {
	p.prepared = true
	var all sync.WaitGroup
	for _, t := range p.lasting {
		if t, ok := t.(prepared); ok {
			all.Go(t.Prepare)
		}
	}
	for _, l := range p.relinks {
		all.Go(func() { _ = l.Try(context.Background()) }) // the store says what is wrong, once it is its link
	}
	all.Wait()
}

// Commit says that the plan's snapshot was published: what it no longer uses is retired. Exchanges under way go on to
// their end.
func (r *Runtime) Commit(p *Plan) {
	r.mu.Lock()
	gone := r.services
	oldLog, oldTLS, oldLasting := r.log, r.tls, r.lasting
	r.doors = p.doors
	r.tls, r.limiters, r.lasting, r.unenforced = p.terminators, p.limiters, p.lasting, p.unenforced
	r.enforced, r.asksMembers = p.enforced, p.asksMembers
	r.services, r.log, r.generation = p.services, p.log, p.Snapshot.Generation
	r.compressed, r.consumers = p.compressed, p.consumers
	r.sets = p.sets
	r.encoders.SetMax(int64(p.Config.Limits.CompressMemory))
	names := make(map[string]bool, len(p.Routes))
	for _, route := range p.Routes {
		names[route.Name] = true
	}
	for name := range r.routes {
		if !names[name] {
			r.options.Metrics.ForgetRoutes(name)
		}
	}
	r.routes = names
	r.passages = p.passages
	r.options.Metrics.KeepPassages(r.passages...)
	retired := r.useCache(p)
	oldMembers := r.useMembers(p)
	r.mu.Unlock()
	if retired != nil {
		retired.Store.Close()
	}
	for name, s := range gone {
		if kept := p.services[name]; kept != s {
			s.retire()
			if kept == nil {
				r.options.Metrics.ForgetServices(name)
			}
		}
	}
	if oldLog != nil && oldLog != p.log {
		r.retireLog(oldLog)
	}
	stopUnused(oldTLS, p.terminators)
	for _, t := range p.terminators {
		t.start()
	}
	if oldMembers != nil {
		oldMembers.retire()
	}
	if p.members != nil {
		p.members.start(p.stored, p.consumers)
	}
	p.proofs.commit()
	for _, l := range p.limiters {
		if l.quotas != nil {
			l.quotas.Begin()
		}
	}
	// What is new stands before what is old ends, which may take its time.
	for _, t := range p.lasting {
		t.Start()
	}
	for s, l := range p.relinks {
		s.Move(l.Link)
		s.linked = l.definition
	}
	stopLasting(oldLasting, p.lasting)
}

// stopUnused stops the terminators that another set does not have.
func stopUnused(old, kept map[string]*terminator) {
	for name, t := range old {
		if kept[name] != t {
			t.stop()
		}
	}
}

// Discard drops a plan that was not published, as if it had never been compiled. After Close it does nothing: what the plan shares with what ran
// has been ended, and what is its own has nothing to write.
func (r *Runtime) Discard(p *Plan) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	running, log, lasting := r.services, r.log, r.lasting
	stopUnused(p.terminators, r.tls)
	for _, route := range p.Routes {
		if !r.routes[route.Name] {
			r.options.Metrics.ForgetRoutes(route.Name)
		}
	}
	r.options.Metrics.KeepPassages(r.passages...)
	members := r.members
	r.mu.Unlock()
	if p.members != nil && p.members != members {
		p.members.retire()
	}
	for name, s := range p.services {
		if running[name] != s {
			s.retire()
		}
		if running[name] == nil {
			r.options.Metrics.ForgetServices(name)
		}
	}
	if p.prepared {
		stopLasting(p.lasting, lasting)
	}
	for _, l := range p.relinks {
		l.Close()
	}
	if p.log != nil && p.log != log {
		_ = p.log.close(context.Background()) // nobody has written to it
	}
}

// Services returns the state of every service, sorted by name.
func (r *Runtime) Services() []upstream.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return statuses(r.services)
}

// Certificates returns the certificates that listeners use, by the name of their section in tls.
func (r *Runtime) Certificates() map[string][]tlsterm.Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string][]tlsterm.Info, len(r.tls))
	for _, t := range r.tls {
		all[t.options.Name] = t.Certificates() // the same for all that the listeners have of a section
	}
	return all
}

// Awaited returns the hosts whose certificate is ordered and not there yet, by the name of their section in tls.
func (r *Runtime) Awaited() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string][]string, len(r.tls))
	for _, t := range r.tls {
		all[t.options.Name] = t.Awaited()
	}
	return all
}

// TLSCounts are of what is done for certificates, since the start.
func (r *Runtime) TLSCounts() *tlsterm.Counts { return &r.counts }

// AccessLogDropped counts lines that the access log could not write in time.
func (r *Runtime) AccessLogDropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.droppedLines()
}

// ReopenLogs opens the access log's file anew, after it was rotated away.
func (r *Runtime) ReopenLogs() error {
	r.mu.Lock()
	log := r.log
	r.mu.Unlock()
	return log.reopen() // which may wait for the disk; a log that is closed meanwhile says so
}

// Close retires everything, and writes out what quotas, stored consumers and access logs hold: side by side, so that one that is stuck keeps no
// other from it. It gives up when ctx ends: the error says what was late, which goes on until the process is gone, and what could not be written.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	services, used, logs := r.services, r.cache, []*accessLog{r.log}
	for old, timer := range r.retiring {
		timer.Stop()
		logs = append(logs, old)
	}
	stopUnused(r.tls, nil)
	stopped, members := r.lasting, r.members
	r.members = nil
	r.services, r.tls, r.log, r.retiring, r.cache, r.lasting = map[string]*service{}, nil, nil, nil, nil, nil
	r.mu.Unlock()
	var all []ending
	for _, log := range logs {
		all = append(all, begin("the access log", func() error { return log.close(ctx) }))
	}
	for _, t := range stopped {
		all = append(all, begin(nameOf(t), func() error { return ended(t) }))
	}
	if members != nil {
		all = append(all, begin(members.String(), members.end))
	}
	for name, s := range services {
		all = append(all, begin("the service "+name, ends(s.retire)))
	}
	if used != nil {
		all = append(all, begin("the cache", ends(used.Store.Close)))
	}
	var err error
	for _, e := range all {
		err = errors.Join(err, e.wait(ctx))
	}
	return err
}

// ending is something that ends beside others.
type ending struct {
	what string
	done chan error
}

func begin(what string, end func() error) ending {
	e := ending{what, make(chan error, 1)} // nobody may wait for it any more
	go func() { e.done <- end() }()
	return e
}

// ends makes of what cannot fail what begin takes.
func ends(f func()) func() error { return func() error { f(); return nil } }

// wait returns what came of it, or an error when ctx ends before.
func (e ending) wait(ctx context.Context) error {
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-e.done: // it has ended while others were waited for
		return err
	default:
		return fmt.Errorf("%s did not end in time: %w", e.what, ctx.Err())
	}
}

func limits(c *config.Config) proxy.Limits {
	l := c.Limits
	return proxy.Limits{
		Connections: l.Connections, PerClient: l.PerClient,
		HeadBytes: int(l.HeaderBytes), Fields: l.Headers, TargetBytes: int(l.URIBytes), BodyBytes: int64(l.BodyBytes),
		RequestsPerConnection: l.RequestsPerConnection, Streams: l.Streams,
		Handshakes: l.Handshakes, HandshakeTimeout: time.Duration(l.HandshakeTimeout),
		Idle: time.Duration(l.Idle), HeadTimeout: time.Duration(l.HeaderTimeout), MinRate: int64(l.MinRate),
	}
}
