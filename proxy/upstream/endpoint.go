package upstream

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// endpoint is one address that requests can be sent to.
type endpoint struct {
	name    string // "10.0.0.1:8080", or the path of a socket
	network string
	target  *Target
	options *Options
	host    string      // of Host: origin or literal; empty: the client's
	tls     *tls.Config // nil: plain
	pool    pool        // of HTTP/1.1
	h2      h2pools     // of HTTP/2, where it is spoken instead

	inFlight atomic.Int64
	requests atomic.Uint64
	failures atomic.Uint64
	// After a failed connection the endpoint is left out until this moment, and longer the next time.
	leftOutUntil atomic.Int64
	leftOutFor   atomic.Int64

	checks  checks
	isProbe bool // it is for checks: that it cannot be reached is their business
}

func newEndpoint(address string, t *Target, o *Options) *endpoint {
	e := &endpoint{name: address, network: t.Network, target: t, options: o}
	switch o.Host {
	case "":
	case "origin":
		e.host = t.authority()
	default:
		e.host = o.Host
	}
	if t.TLS {
		e.tls = tlsConfig(o.TLS, t.Host)
	}
	e.pool.endpoint = e
	e.h2.init(e)
	if t.H2 && e.tls != nil {
		e.tls.NextProtos = []string{"h2"}
	}
	return e
}

// tlsConfig makes the certificate's name the target's host where no other is configured.
func tlsConfig(configured *tls.Config, host string) *tls.Config {
	c := configured.Clone()
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	return c
}

// How long an endpoint that cannot be reached is left out: short at first, so that a restart is hardly noticed,
// doubling while it lasts.
const (
	leftOutMin = 100 * time.Millisecond
	leftOutMax = 10 * time.Second
)

// failed leaves the endpoint out for a time that grows with every failure in a row, give or take a quarter, so
// that endpoints that fell together do not come back together. The log hears of the first one.
func (e *endpoint) failed(why error) {
	if e.isProbe {
		return
	}
	e.failures.Add(1)
	now := wire.Now()
	if now < e.leftOutUntil.Load() {
		return // several requests failed at the same time: that is one failure
	}
	before := e.leftOutFor.Load()
	d := min(max(2*before, int64(leftOutMin)), int64(leftOutMax))
	if !e.leftOutFor.CompareAndSwap(before, d) {
		return // as above
	}
	e.leftOutUntil.Store(now + d - d/4 + rand.Int64N(d/2))
	if before == 0 {
		slog.Warn("an endpoint cannot be reached and is left out for a while", "service", e.options.Name, "endpoint", e.name, "error", why)
	}
}

// reached ends a time of failures.
func (e *endpoint) reached() {
	if e.leftOutFor.Swap(0) != 0 {
		e.leftOutUntil.Store(0)
		slog.Info("an endpoint can be reached again", "service", e.options.Name, "endpoint", e.name)
	}
}

func (e *endpoint) usable(now int64) bool {
	until := e.leftOutUntil.Load()
	return until == 0 || now >= until
}

// serve sends the request over a pooled connection or a new one. A pooled connection that turns out to be dead is
// replaced, once, if that is safe.
func (e *endpoint) serve(x *proxy.Exchange) error {
	client := &x.Client
	if e.isProbe {
		client = nil
	}
	header, err := e.proxyHeader(client)
	if err != nil {
		return err
	}
	if e.target.H2 {
		return e.serveH2(x, header)
	}
	e.inFlight.Add(1)
	e.requests.Add(1)
	fresh := false
	for {
		x.Attempts++
		x.UpstreamAt = x.Started
		if x.Waited || x.Attempts > 1 {
			x.UpstreamAt = wire.Now()
		}
		c, err := e.pool.get(x, header, fresh)
		if err == nil {
			if err = beginCall(x); err != nil {
				e.pool.discard(c)
			}
		}
		if err != nil {
			e.inFlight.Add(-1)
			return err
		}
		x.Asked = true
		now := x.UpstreamAt
		if c.waitedFor {
			now = wire.Now()
		}
		pooled := c.served > 0
		if err = e.try(c, x, now); err == nil {
			return nil // in flight until the connection is released
		}
		kicked := c.Kicked()
		stale := pooled && !fresh && !c.answered && (kicked == 0 || kicked == wire.HungUp) && x.Canceled() == nil
		unsent := c.written == 0
		e.pool.discard(c)
		if !stale || !x.Request.Body.Rewind() || !(unsent || idempotent(x.Request.Method)) {
			e.inFlight.Add(-1)
			return err
		}
		if unsent {
			x.Attempts-- // the connection was found dead; nobody was asked
		}
		fresh = true
	}
}

// try is roundTrip. If that panics, try discards the connection before the panic goes on to the edge, which catches it.
func (e *endpoint) try(c *conn, x *proxy.Exchange, now int64) error {
	returned := false
	defer func() {
		if !returned {
			if c.pump.used {
				_ = c.pump.abort(errClosed)
			}
			x.CancelKicks(nil)
			e.pool.discard(c)
			e.inFlight.Add(-1)
		}
	}()
	err := c.roundTrip(x, now)
	returned = true
	return err
}

// idempotent methods may be sent twice (RFC 9110 section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

// dial opens a connection. The time allowed is Connect, or less if the exchange's deadline is nearer.
func (e *endpoint) dial(x *proxy.Exchange, header string) (*conn, error) {
	limit := e.options.Connect
	if x.Deadline != 0 {
		limit = min(limit, time.Duration(x.Deadline-wire.Now()))
	}
	if limit <= 0 {
		return nil, timeout(x)
	}
	x.Asked = true // a connection that is given up costs the endpoint as much as a request
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	gone := x.Done()
	go func() {
		select {
		case <-gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	nc, err := e.connect(ctx, header)
	if err != nil {
		return nil, e.dialFailed(x, err)
	}
	e.reached()
	c := newConn(nc, e)
	c.header = header
	e.options.Sweeper.Add(c.Conn)
	return c, nil
}

// connect opens a connection that begins with the PROXY header, if there is one, and with TLS after it.
func (e *endpoint) connect(ctx context.Context, header string) (net.Conn, error) {
	nc, err := e.options.Dial(ctx, e.network, e.name)
	if err != nil {
		return nil, err
	}
	wire.TuneDialled(nc)
	if header != "" {
		// Nothing has been written before: it fits into the socket at once, unless the connection is gone.
		if _, err := io.WriteString(nc, header); err != nil {
			_ = nc.Close() // what went wrong before is what counts
			return nil, err
		}
	}
	if e.tls == nil {
		return nc, nil
	}
	t := tls.Client(nc, e.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close() // the handshake's error is what counts
		return nil, err
	}
	return t, nil
}

// retire closes what is idle, and from now on every connection after its exchanges.
func (e *endpoint) retire() {
	if e.checks.cancel != nil {
		e.checks.cancel()
	}
	e.h2.retire()
	e.pool.retire()
}

// expire closes connections that idled too long or that the origin has closed. A bug in it concerns this endpoint alone.
func (e *endpoint) expire(now int64) {
	defer caught()
	e.h2.expire(now)
	e.pool.expire(now)
}

func (e *endpoint) counts() (open, idle int) {
	if e.target.H2 {
		return e.h2.counts()
	}
	if e.target.TCP {
		return int(e.inFlight.Load()), 0
	}
	return e.pool.counts()
}

func (e *endpoint) dialFailed(x *proxy.Exchange, err error) error {
	if why := x.Canceled(); why != nil {
		return why
	}
	if expired(x) {
		return timeout(x)
	}
	e.failed(err)
	return errConnect.With(err)
}
