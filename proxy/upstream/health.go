package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Health is how endpoints are asked whether they are well. The zero value asks nobody.
type Health struct {
	Kind     HealthKind
	Path     string        // of HTTP, with its query
	Service  string        // of gRPC; "": the server as a whole
	Host     string        // "": as requests have it, or where that is the client's, the target's
	Statuses []StatusRange // of HTTP, that are good

	Every   time.Duration // from check to check, give or take a tenth
	Timeout time.Duration // of one check, from the connection to the last byte that is looked at

	HealthyAfter   int // checks in a row that an unhealthy endpoint must pass
	UnhealthyAfter int // checks in a row that a healthy one must fail
}

// HealthKind is a kind of check.
type HealthKind uint8

// The kinds of checks.
const (
	NoHealth   HealthKind = iota
	HealthHTTP            // GET, and the status
	HealthGRPC            // grpc.health.v1.Health/Check, and SERVING
)

// StatusRange is a range of statuses of HTTP, ends included.
type StatusRange struct{ From, To int }

// checks are the checks of one endpoint, and what is known from them. An endpoint is healthy until its first check has ended, so that no
// request is refused after a start or for a new address. The first check decides alone; after it, HealthyAfter and UnhealthyAfter hold.
type checks struct {
	probe  *endpoint // the same address, with connections of its own; nil: it is not checked
	cancel context.CancelFunc

	streak int // of results that contradict sick; of the goroutine that checks

	sick    atomic.Bool
	checked atomic.Bool
	passed  atomic.Uint64
	failed  atomic.Uint64
	changes atomic.Uint64
	reason  atomic.Pointer[string] // why the last check failed; nil: it did not
}

// Each check opens a connection of its own, as HAProxy's do. Checks must not wait for connections that requests hold, since a busy endpoint
// is not unhealthy, and must not hold any that requests could use. An open connection does not show that the endpoint accepts new ones.
func probeOptions(o Options) Options {
	h := o.Health
	o.Try, o.Connect, o.Idle, o.Tunnel, o.Wait = h.Timeout, h.Timeout, h.Timeout, h.Timeout, h.Timeout
	o.MaxConns, o.MaxIdle = 0, 0
	o.Limits = wire.Limits{HeadBytes: probeHeadMax, TargetBytes: 1, Fields: probeFieldsMax}
	switch {
	case h.Host != "":
		o.Host = h.Host
	case o.Host == "":
		o.Host = "origin"
	}
	return o
}

const (
	probeHeadMax   = 16 << 10
	probeFieldsMax = 100
	// checksAtOnce bounds the checks of one service that are under way.
	checksAtOnce = 64
	// republishEvery is how long endpoints are collected that have changed: a set is costly to make, and whole racks fall together.
	republishEvery = 20 * time.Millisecond
	// firstCheck is within what time a new endpoint is checked.
	firstCheck = time.Second
)

// startChecks lets an endpoint be checked until it or the service goes.
func (s *Service) startChecks(e *endpoint) {
	if s.options.Health.Kind == NoHealth {
		return
	}
	e.checks.probe = newEndpoint(e.name, e.target, &s.probing)
	e.checks.probe.isProbe = true
	life, cancel := context.WithCancel(s.life)
	e.checks.cancel = cancel
	s.running.Add(1)
	go s.keepChecking(life, e)
}

// keepChecking is the goroutine of an endpoint's checks, asleep between them. Neither those of one service nor those of a fleet of gateways
// keep step.
func (s *Service) keepChecking(life context.Context, e *endpoint) {
	defer s.running.Done()
	defer caught()
	defer e.checks.probe.retire()
	h := &s.options.Health
	wait := rand.N(min(h.Every, firstCheck))
	for sleep(life, wait) {
		// No more than checksAtOnce are under way.
		select {
		case s.checking <- struct{}{}:
		case <-life.Done():
			return
		}
		began := wire.Now()
		s.checkOnce(life, e)
		wait = h.Every - h.Every/10 + rand.N(h.Every/5) - time.Duration(wire.Now()-began)
	}
}

// checkOnce makes a check, whose place it gives back. After a bug in it the next one comes in its time.
func (s *Service) checkOnce(life context.Context, e *endpoint) {
	defer caught()
	err := s.askFor(life, e)
	if life.Err() != nil {
		return // it failed because it was stopped, which says nothing about the endpoint
	}
	if s.judge(e, err) {
		s.republish(life)
	}
}

func (s *Service) askFor(life context.Context, e *endpoint) error {
	defer func() { <-s.checking }()
	return s.ask(life, e)
}

// sleep returns false if life ends meanwhile.
func sleep(life context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return life.Err() == nil
	case <-life.Done():
		return false
	}
}

// judge takes a result and reports whether the endpoint has changed.
func (s *Service) judge(e *endpoint, err error) bool {
	c, h := &e.checks, &s.options.Health
	first := !c.checked.Swap(true)
	needed := h.HealthyAfter
	if err == nil {
		c.passed.Add(1)
		c.reason.Store(nil)
	} else {
		c.failed.Add(1)
		reason := reasonOf(err)
		c.reason.Store(&reason)
		needed = h.UnhealthyAfter
	}
	if c.sick.Load() == (err != nil) {
		c.streak = 0
		return false
	}
	if c.streak++; c.streak < needed && !first {
		return false
	}
	c.streak = 0
	c.sick.Store(err != nil)
	c.changes.Add(1)
	if err != nil {
		slog.Warn("an endpoint is unhealthy and leaves the balancing", "service", s.options.Name, "endpoint", e.name, "error", reasonOf(err))
	} else {
		slog.Info("an endpoint is healthy again", "service", s.options.Name, "endpoint", e.name)
	}
	return true
}

// reasonOf is what operators are told: the cause, where there is one.
func reasonOf(err error) string {
	known := proxy.AsError(err)
	switch {
	case known.Cause == nil:
		return known.Detail
	case known.Code == errConnect.Code:
		return known.Cause.Error()
	case known.Code == proxy.ErrInternal.Code:
		return known.Cause.Error()
	}
	return fmt.Sprintf("%s (%v)", known.Detail, known.Cause)
}

// republish makes the set anew of which endpoints are chosen. Of those that ask for it at the same time one does it for all.
func (s *Service) republish(life context.Context) {
	if s.changing.Swap(true) {
		return
	}
	sleep(life, republishEvery)
	s.changing.Store(false) // a change from now on may come too late for this set, and needs another one
	s.update.Lock()
	defer s.update.Unlock()
	if !s.retired.Load() {
		s.publish(s.endpoints())
	}
}

// publish makes these the endpoints. Requests go to the healthy ones, or to all of them if none is healthy: it is more likely that the checks
// are wrong than that all endpoints fail at once, and if all do, nothing is lost by trying. The lock is held.
func (s *Service) publish(all []*endpoint) {
	s.all.Store(&all)
	healthy := slices.DeleteFunc(slices.Clone(all), func(e *endpoint) bool { return e.checks.sick.Load() })
	desperate := len(healthy) == 0 && len(all) > 0
	if desperate {
		healthy = all
	}
	if desperate && !s.desperate {
		slog.Error("no endpoint of a service is healthy: all of them get requests, as if they were", "service", s.options.Name, "endpoints", len(all))
	}
	s.desperate = desperate
	s.set.Store(newSet(healthy, s.options.Balance))
}

// endpoints are all of them, healthy or not.
func (s *Service) endpoints() []*endpoint {
	if all := s.all.Load(); all != nil {
		return *all
	}
	return nil
}

// state is what operators are told: "" if it is not checked.
func (c *checks) state() (state, reason string) {
	switch {
	case c.probe == nil:
		return "", ""
	case !c.checked.Load():
		return "unchecked", ""
	}
	if r := c.reason.Load(); r != nil {
		reason = *r
	}
	if c.sick.Load() {
		return "unhealthy", reason
	}
	return "healthy", reason
}
