package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/control/admin"
	"sluice/control/compile"
	"sluice/control/config"
	"sluice/control/profiling"
	"sluice/proxy/cache/store"
	"sluice/proxy/limit"
	"sluice/proxy/observe"
	"sluice/proxy/server"
	"sluice/proxy/upstream"
	"sluice/proxy/wire"
)

// gateway is a running Sluice: what outlives a configuration, and the configuration that is served. It is what the
// admin API shows (admin.Gateway).
type gateway struct {
	source      source
	stateFolder string         // overrides where the last good configuration is looked for
	follow      func(*reading) // told of every load, if not nil
	began       time.Time

	sweeper  *wire.Sweeper
	metrics  *observe.Metrics
	profiler *profiling.Profiler
	runtime  *compile.Runtime
	admin    *admin.Server
	server   *server.Server // nil until a configuration was compiled

	reloading turn // serialises changes of the configuration, which may wait for a disk for ever; guards the two below
	sockets   map[place]*socket
	leaving   map[place]*server.Packets // UDP sockets that were retired, and may have connections still

	publishing sync.Mutex // of the moment of a change in which it is published; it waits for no file, and is taken after reloading
	over       bool       // under publishing: the end has begun, nothing is published any more

	serving  atomic.Pointer[serving] // nil until requests are served
	draining atomic.Bool
	reloads  reloadCounts
}

// serving is what a gateway serves at a moment.
type serving struct {
	plan     *compile.Plan
	listen   []string
	files    []string
	lastGood bool
}

// socket is an open place: of a listener, or of the admin API.
type socket struct {
	net.Listener
	listener *server.Listener // nil for the admin API
	packets  bool             // there is a UDP socket beside it
	stop     func()           // of the admin API
}

// reloadCounts are for the metrics.
type reloadCounts struct {
	succeeded, failed atomic.Uint64
	lastFailed        atomic.Bool
}

// turn is a mutex that can be waited for until a context ends.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// lockBefore locks, or reports false when ctx ends before.
func (t turn) lockBefore(ctx context.Context) bool {
	select {
	case t <- struct{}{}: // it is free, so that it does not matter whether ctx has ended
		return true
	default:
	}
	select {
	case t <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func newGateway(s source) *gateway {
	g := &gateway{
		source: s, began: time.Now(), sweeper: wire.NewSweeper(), metrics: observe.New(),
		reloading: newTurn(), sockets: map[place]*socket{}, leaving: map[place]*server.Packets{},
	}
	g.runtime = compile.New(compile.Options{Sweeper: g.sweeper, Metrics: g.metrics})
	g.admin = admin.New(g, admin.Options{})
	g.profiler = profiling.New(g.metrics.Durations)
	g.registerMetrics()
	return g
}

// start serves the configuration; if it is broken, the last good one.
func (g *gateway) start() error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	slog.Info("starting", "version", version(), "configuration", g.source.name)
	_, err := g.load()
	var broken config.Problems
	if !errors.As(err, &broken) {
		return err
	}
	c, problems, saved, lastErr := loadLastGood(&g.source, g.stateFolder)
	if lastErr != nil {
		if !errors.Is(lastErr, errNoLastGood) {
			slog.Error("the last good configuration cannot be used", "error", lastErr)
		}
		return err
	}
	plan, more := g.runtime.Compile(c)
	if plan == nil {
		slog.Error("the last good configuration cannot be used", "error", more)
		return err
	}
	logProblems(broken)
	if err := g.apply(plan, true); err != nil {
		return err
	}
	logProblems(append(problems, more...))
	g.reloads.lastFailed.Store(true)
	slog.Error("THE CONFIGURATION IS BROKEN: serving the last good one instead", "configuration", g.source.name, "saved", saved, "problems", len(broken))
	return nil
}

// errOver is returned for a configuration that comes too late.
var errOver = errors.New("the gateway is going down")

// Reload reads the configuration again and serves it. An error changes nothing; it is a config.Problems if the
// configuration is broken.
func (g *gateway) Reload() (admin.Reloaded, error) {
	if g.draining.Load() {
		return admin.Reloaded{}, errOver // without waiting for a reload that may be stuck
	}
	g.reloading.Lock()
	defer g.reloading.Unlock()
	if g.draining.Load() {
		return admin.Reloaded{}, errOver
	}
	begin := time.Now()
	done, err := g.load()
	if err != nil {
		g.reloads.failed.Add(1)
		g.reloads.lastFailed.Store(true)
		logFailure("the configuration was not loaded, the running one goes on", err)
		return done, err
	}
	g.reloads.succeeded.Add(1)
	g.reloads.lastFailed.Store(false)
	slog.Info("the configuration was loaded", "generation", done.Generation, "routes", len(g.serving.Load().plan.Routes), "took", time.Since(begin).String())
	return done, nil
}

// reload is Reload for those who have nobody to tell: the outcome is in the log and in the metrics.
func (g *gateway) reload() { _, _ = g.Reload() }

// load is the way of every configuration: read, compile, publish, save.
func (g *gateway) load() (admin.Reloaded, error) {
	c, problems, seen := g.source.load()
	if g.follow != nil {
		g.follow(seen)
	}
	if c == nil {
		return admin.Reloaded{}, problems
	}
	plan, more := g.runtime.Compile(c)
	problems = append(problems, more...)
	if plan == nil {
		return admin.Reloaded{}, problems
	}
	if err := g.apply(plan, false); err != nil {
		return admin.Reloaded{}, err
	}
	logProblems(problems)
	if err := saveLastGood(&g.source, c, seen); err != nil {
		// It is served all the same; what is lost is the net under a later start.
		slog.Error("the last good configuration was not saved", "error", err)
	}
	return admin.Reloaded{Generation: plan.Snapshot.Generation, Warnings: problems}, nil
}

// apply publishes a plan. Everything that can fail comes first, and leaves things as they were.
func (g *gateway) apply(plan *compile.Plan, lastGood bool) error {
	if g.draining.Load() {
		g.runtime.Discard(plan)
		return errOver
	}
	wanted := wantedSockets(plan)
	opened, err := g.openMissing(wanted)
	if err != nil {
		g.runtime.Discard(plan)
		return err
	}
	logLevel.Set(logLevels[plan.Config.Log.Level])
	g.runtime.Prepare(plan)
	if !g.publish(plan, wanted, opened) {
		for _, o := range opened {
			o.close()
		}
		g.runtime.Discard(plan)
		return errOver
	}
	g.runtime.Commit(plan)
	// Compiling takes several times the memory that is kept; an edge host has better uses for it.
	go debug.FreeOSMemory()
	g.serving.Store(&serving{plan: plan, listen: g.listening(wanted), files: plan.Config.Files(), lastGood: lastGood})
	g.profiler.Set(profilingOptions(plan.Config.Admin))
	return nil
}

// publish lets requests meet a plan, and begins to listen where it says. It reports false, and does nothing, if the end has begun: what ends
// then is what it finds.
func (g *gateway) publish(plan *compile.Plan, wanted []want, opened map[place]opened) bool {
	g.publishing.Lock()
	defer g.publishing.Unlock()
	if g.over {
		return false
	}
	if g.server == nil {
		g.server = server.New(g.sweeper, plan.Snapshot)
	} else {
		g.server.Publish(plan.Snapshot)
	}
	g.settle(wanted, opened, plan)
	return true
}

// want is a socket that a plan asks for.
type want struct {
	place    place
	listener *compile.Listener // nil for the admin API
}

func wantedSockets(plan *compile.Plan) []want {
	var list []want
	all := places{}
	for i := range plan.Listeners {
		l := &plan.Listeners[i]
		for _, a := range l.Addresses {
			list = append(list, want{all.add(a), l})
		}
	}
	if a := plan.Config.Admin; !a.Off {
		list = append(list, want{all.add(compile.Address{Network: a.Address.Network, Address: a.Address.Address}), nil})
	}
	return list
}

// opened is what was opened for a place.
type opened struct {
	net.Listener // nil: it was there
	packets      net.PacketConn
	reclaimed    *server.Packets // instead of packets, which could not be opened a second time
}

func (o opened) close() {
	if o.Listener != nil {
		_ = o.Listener.Close() // nothing was accepted on it
	}
	if o.packets != nil {
		_ = o.packets.Close()
	}
	if o.reclaimed != nil {
		o.reclaimed.Drop()
	}
}

// openMissing opens the sockets that are not there yet: all of them, or none and an error.
func (g *gateway) openMissing(wanted []want) (map[place]opened, error) {
	all := map[place]opened{}
	for _, w := range wanted {
		o, err := g.openWanted(w)
		if err != nil {
			for _, o := range all {
				o.close()
			}
			return nil, g.inTheWay(w.place, err)
		}
		all[w.place] = o
	}
	return all, nil
}

// openWanted opens what a place lacks.
func (g *gateway) openWanted(w want) (o opened, err error) {
	s := g.sockets[w.place]
	if s != nil && (s.listener == nil) != (w.listener == nil) {
		s = nil
	}
	packets := w.listener != nil && w.listener.H3
	for try := 1; ; try++ {
		if s == nil {
			if o.Listener, err = w.place.open(); err != nil {
				return o, err
			}
		}
		if !packets || s != nil && s.packets {
			return o, nil
		}
		if old := g.leaving[w.place]; old != nil && (s != nil || !w.place.anyPort()) && old.Hold() {
			o.reclaimed = old
			return o, nil
		}
		beside := o.Listener
		if beside == nil {
			beside = s.Listener
		}
		if o.packets, err = w.place.openPackets(beside); err == nil {
			return o, nil
		}
		o.close()
		// Where the kernel chooses the port, it does not know that it is wanted twice.
		if s != nil || try == portTries || !w.place.anyPort() || !errors.Is(err, syscall.EADDRINUSE) {
			return o, err
		}
	}
}

// portTries is how many ports of the kernel's choice are tried.
const portTries = 10

// inTheWay adds to an error what no other process is to blame for: the kernel does not bind 127.0.0.1:80 while :80 is
// bound, or the other way round, and a reload opens the new socket before the old one closes.
func (g *gateway) inTheWay(p place, err error) error {
	_, port, splitErr := net.SplitHostPort(p.address)
	if splitErr != nil || !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	for own := range g.sockets {
		if own.address == p.address {
			continue // over TCP, which is not in the way of UDP
		}
		if _, ownPort, splitErr := net.SplitHostPort(own.address); splitErr == nil && ownPort == port {
			return fmt.Errorf("%w: this gateway itself listens on %s; a restart changes from one to the other", err, own)
		}
	}
	return err
}

// settle makes the sockets those that are wanted: opened ones begin to serve, those that stay get their new settings,
// the others end.
func (g *gateway) settle(wanted []want, opened map[place]opened, plan *compile.Plan) {
	old := g.sockets
	g.sockets = make(map[place]*socket, len(wanted))
	g.admin.Set(adminOptions(plan.Config.Admin))
	for _, w := range wanted {
		s := old[w.place]
		o := opened[w.place]
		if o.Listener != nil {
			s = g.begin(w, o.Listener)
		} else if w.listener != nil {
			s.listener.Set(w.listener.Listening)
		}
		g.settlePackets(s, w, o)
		g.sockets[w.place] = s
	}
	for p, s := range old {
		if g.sockets[p] != s {
			g.retirePackets(p, s)
			s.retire()
			slog.Info("stopped listening", "address", p.String())
		}
	}
	g.forgetClosed()
}

// forgetClosed lets go of the UDP sockets whose last connection has ended.
func (g *gateway) forgetClosed() {
	maps.DeleteFunc(g.leaving, func(_ place, p *server.Packets) bool {
		if !p.Hold() {
			return true
		}
		p.Drop()
		return false
	})
}

// settlePackets begins to serve the UDP socket beside a place, or ends it.
func (g *gateway) settlePackets(s *socket, w want, o opened) {
	var err error
	switch {
	case o.reclaimed != nil:
		delete(g.leaving, w.place)
		err = s.listener.TakePackets(o.reclaimed)
	case o.packets != nil:
		err = s.listener.ServePackets(o.packets, server.PacketKeys{Token: w.listener.TokenKey, Reset: w.listener.ResetKey})
	case w.listener != nil && !w.listener.H3:
		g.retirePackets(w.place, s)
		return
	default:
		return
	}
	if err != nil {
		// The rest of the configuration is published already, and TCP carries every request.
		slog.Error("there is no h3", "listener", w.listener.Name, "error", err)
		return
	}
	s.packets = true
	slog.Info("listening for h3", "listener", w.listener.Name, "address", "udp:"+shown(s))
}

// retirePackets ends the UDP socket beside a place, if there is one.
func (g *gateway) retirePackets(p place, s *socket) {
	if s.packets {
		g.leaving[p] = s.listener.RetirePackets()
		s.packets = false
		slog.Info("stopped listening for h3", "listener", s.listener.Name, "address", "udp:"+p.String())
	}
}

func (g *gateway) begin(w want, nl net.Listener) *socket {
	s := &socket{Listener: nl}
	if w.listener == nil {
		s.stop = g.admin.Listen(nl)
		slog.Info("listening", "listener", "admin", "address", shown(nl))
		return s
	}
	s.listener = g.server.Listen(w.listener.Name, nl, w.listener.Listening)
	slog.Info("listening", "listener", w.listener.Name, "address", shown(nl))
	return s
}

func (s *socket) retire() {
	if s.listener != nil {
		s.listener.Retire()
		return
	}
	s.stop()
}

func adminOptions(a config.Admin) admin.Options {
	o := admin.Options{Token: a.Token.Reveal(), Private: a.Address.Private()}
	if host, _, err := net.SplitHostPort(a.Address.Address); err == nil && a.Address.Network == "tcp" {
		o.Host = host
	}
	return o
}

// listening are the addresses of a plan's listeners, with the ports that the kernel chose.
func (g *gateway) listening(wanted []want) []string {
	var list []string
	for _, w := range wanted {
		if w.listener != nil {
			list = append(list, shown(g.sockets[w.place]))
		}
	}
	return list
}

// adminAddress is where the admin API listens, or "".
func (g *gateway) adminAddress() string {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	for _, s := range g.sockets {
		if s.listener == nil {
			return shown(s)
		}
	}
	return ""
}

func shown(nl net.Listener) string {
	if nl.Addr().Network() == "unix" {
		return "unix:" + nl.Addr().String()
	}
	return nl.Addr().String()
}

// reopenLogs is for a rotation that has renamed the access log.
func (g *gateway) reopenLogs() {
	if err := g.runtime.ReopenLogs(); err != nil {
		slog.Error("the access log goes on in its former file", "error", err)
	}
}

// Unready says why no traffic should come here.
func (g *gateway) Unready() string {
	switch {
	case g.draining.Load():
		return "draining"
	case g.serving.Load() == nil:
		return "starting"
	}
	return g.runtime.Unready()
}

// Status describes the gateway.
func (g *gateway) Status() admin.Status {
	s := admin.Status{Version: version(), Started: g.began.UTC(), Uptime: time.Since(g.began).Seconds(), Files: []string{}, Listen: []string{}}
	if now := g.serving.Load(); now != nil {
		s.Generation, s.Files, s.Listen, s.LastGood = now.plan.Snapshot.Generation, now.files, now.listen, now.lastGood
	}
	return s
}

// Routes lists the routes that are served.
func (g *gateway) Routes() []compile.RouteInfo {
	if now := g.serving.Load(); now != nil {
		return now.plan.Routes
	}
	return nil
}

// Services lists the services and the state of their endpoints.
func (g *gateway) Services() []upstream.Status { return g.runtime.Services() }

// Cache is the store of the response cache, or nil.
func (g *gateway) Cache() *store.Store {
	if c := g.runtime.Cache(); c != nil {
		return c.Store
	}
	return nil
}

// PurgeCache calls purge with the store of the response cache, and reports whether there is one.
func (g *gateway) PurgeCache(purge func(*store.Store)) bool { return g.runtime.PurgeCache(purge) }

// Ask serves a request of the gateway's own.
func (g *gateway) Ask(ctx context.Context, q server.Question) (server.Answer, error) {
	return g.server.Ask(ctx, q)
}

// Limits lists the policies that limit, with the keys that use them most.
func (g *gateway) Limits() []compile.LimitStatus { return g.runtime.Limits() }

// QuotaUsage returns what one key has used of the quotas of a policy.
func (g *gateway) QuotaUsage(policy string, values []string) ([]limit.QuotaUsage, error) {
	return g.runtime.QuotaUsage(policy, values)
}

// ResetLimit fills a bucket of a policy.
func (g *gateway) ResetLimit(policy, id string, values []string) error {
	return g.runtime.ResetLimit(policy, id, values)
}

// Consumers lists consumers, those of the configuration and stored ones.
func (g *gateway) Consumers(afterGroup, afterName string, n int) ([]compile.ConsumerInfo, bool, error) {
	return g.runtime.Consumers(afterGroup, afterName, n)
}

// Members are the stored consumers, or nil.
func (g *gateway) Members() *compile.Members { return g.runtime.Members() }

// WriteMetrics writes every metric.
func (g *gateway) WriteMetrics(w io.Writer) error { return g.metrics.WritePrometheus(w) }

// abandon takes down what a start that failed has set up.
func (g *gateway) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := g.close(ctx); err != nil {
		slog.Error("not everything was written to its end", "error", err)
	}
}

// close ends what is left when no connection of a client is, until ctx ends: profiling, the admin API, services, what policies keep, logs. The
// error says what was not written to its end.
func (g *gateway) close(ctx context.Context) error {
	g.profiler.Set(nil)
	err := errors.Join(g.admin.Close(ctx), g.runtime.Close(ctx), g.profiler.Close(ctx))
	g.sweeper.Stop()
	return err
}
