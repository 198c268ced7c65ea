package upstream

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Resolver looks a host name up and says for how long the answer holds.
type Resolver interface {
	Lookup(ctx context.Context, host string) (addresses []netip.Addr, ttl time.Duration, err error)
}

// How often a name is looked up: at its TTL, within these bounds. A failed lookup keeps the last good addresses and
// is tried again after retryAfter.
const (
	ttlMin       = time.Second
	ttlMax       = 5 * time.Minute
	ttlUnknown   = 30 * time.Second // /etc/hosts, or an answer without records
	retryAfter   = 2 * time.Second
	lookupMax    = 5 * time.Second
	firstLookup  = time.Second // how long New waits
	addressesMax = 256         // per name
)

// resolveAll makes endpoints of addresses at once and starts a watcher per host name.
func (s *Service) resolveAll() {
	resolver := s.options.Resolver
	if resolver == nil {
		resolver = systemResolver{}
	}
	found := make([][]string, len(s.options.Targets)) // per target, set under s.update
	var first sync.WaitGroup
	s.update.Lock()
	for i := range s.options.Targets {
		t := &s.options.Targets[i]
		if t.Network == "unix" {
			found[i] = []string{t.Host}
			continue
		}
		if _, err := netip.ParseAddr(t.Host); err == nil {
			found[i] = []string{net.JoinHostPort(t.Host, t.Port)}
			continue
		}
		first.Add(1)
		s.running.Add(1)
		go s.watch(resolver, i, found, sync.OnceFunc(first.Done))
	}
	s.update.Unlock()
	ready := make(chan struct{})
	go func() { first.Wait(); close(ready) }()
	t := time.NewTimer(firstLookup)
	defer t.Stop()
	select {
	case <-ready:
	case <-t.C:
	}
	s.update.Lock()
	defer s.update.Unlock()
	s.rebuild(found)
}

// watch keeps the addresses of one target's host name up to date.
func (s *Service) watch(resolver Resolver, i int, found [][]string, looked func()) {
	defer s.running.Done()
	defer looked()
	for {
		wait := s.look(resolver, i, found)
		looked()
		timer := time.NewTimer(wait)
		select {
		case <-s.life.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// look looks a name up, and returns how long to wait before the next time. A bug in it is a failure like any other.
func (s *Service) look(resolver Resolver, i int, found [][]string) (wait time.Duration) {
	wait = retryAfter
	defer caught()
	t := &s.options.Targets[i]
	ctx, cancel := context.WithTimeout(s.life, lookupMax)
	defer cancel()
	addresses, ttl, err := resolver.Lookup(ctx, t.Host)
	switch {
	case s.life.Err() != nil:
	case err != nil:
		slog.Warn("cannot look up an origin; its last known addresses are kept", "service", s.options.Name, "host", t.Host, "known", s.known(found, i), "error", err)
	case len(addresses) == 0:
		slog.Warn("an origin's name has no address; its last known ones are kept", "service", s.options.Name, "host", t.Host, "known", s.known(found, i))
	default:
		s.update.Lock()
		defer s.update.Unlock()
		if now := joinPort(addresses, t.Port); !slices.Equal(now, found[i]) {
			found[i] = now
			s.rebuild(found)
		}
		wait = min(max(ttl, ttlMin), ttlMax)
	}
	return wait
}

// known is how many addresses of a target are known.
func (s *Service) known(found [][]string, i int) int {
	s.update.Lock()
	defer s.update.Unlock()
	return len(found[i])
}

// joinPort sorts: records come in any order, and a set that only looks different must not be rebuilt.
func joinPort(addresses []netip.Addr, port string) []string {
	var list []string
	for _, a := range addresses[:min(len(addresses), addressesMax)] {
		list = append(list, net.JoinHostPort(a.Unmap().String(), port))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// rebuild publishes the set of endpoints, keeping those that stay with their connections and counts. The lock is held.
func (s *Service) rebuild(found [][]string) {
	type key struct {
		target  *Target
		address string
	}
	old := make(map[key]*endpoint)
	for _, e := range s.endpoints() {
		old[key{e.target, e.name}] = e
	}
	var endpoints []*endpoint
	for i := range s.options.Targets {
		t := &s.options.Targets[i]
		for _, address := range found[i][:min(len(found[i]), setMax-len(endpoints))] {
			k := key{t, address}
			e := old[k]
			if e == nil {
				e = newEndpoint(address, t, &s.options)
				s.startChecks(e)
			}
			delete(old, k)
			endpoints = append(endpoints, e)
		}
	}
	s.publish(endpoints)
	for _, gone := range old {
		gone.retire()
	}
	if s.retired.Load() {
		for _, e := range endpoints {
			e.retire()
		}
	}
}

// systemResolver uses the host's configuration (resolv.conf, hosts, nsswitch) through Go's own resolver, which keeps
// TTLs to itself: they are read from the answers as they pass by.
type systemResolver struct {
	server string // asked instead of the configured ones, unless empty
}

func (r systemResolver) Lookup(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	var seen ttlWatch
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if r.server != "" {
			address = r.server
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return seen.wrap(c, network), nil
	}}
	addresses, err := resolver.LookupNetIP(ctx, "ip", host)
	return addresses, seen.ttl(), err
}

// ttlWatch remembers the smallest TTL among the answers of one lookup.
type ttlWatch struct {
	mu    sync.Mutex
	least time.Duration
	any   bool
}

func (w *ttlWatch) ttl() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.any {
		return ttlUnknown
	}
	return w.least
}

// wrap looks at what is read from c. Go's resolver decides by the type of the connection how messages are framed: a
// net.PacketConn carries one a read, anything else has a length in front.
func (w *ttlWatch) wrap(c net.Conn, network string) net.Conn {
	if p, ok := c.(net.PacketConn); ok && strings.HasPrefix(network, "udp") {
		return &dnsPackets{Conn: c, PacketConn: p, watch: w}
	}
	return &dnsStream{Conn: c, watch: w}
}

type dnsPackets struct {
	net.Conn
	net.PacketConn
	watch *ttlWatch
}

func (c *dnsPackets) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.watch.message(p[:n])
	return n, err
}

func (c *dnsPackets) Close() error                       { return c.Conn.Close() }
func (c *dnsPackets) LocalAddr() net.Addr                { return c.Conn.LocalAddr() }
func (c *dnsPackets) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(t) }
func (c *dnsPackets) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(t) }
func (c *dnsPackets) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(t) }

type dnsStream struct {
	net.Conn
	watch *ttlWatch
	seen  []byte
}

func (c *dnsStream) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if len(c.seen)+n <= 1<<16+2 {
		c.seen = append(c.seen, p[:n]...)
		if len(c.seen) > 2 && len(c.seen) >= 2+int(binary.BigEndian.Uint16(c.seen)) {
			c.watch.message(c.seen[2:])
		}
	}
	return n, err
}

// message reads the TTLs of a response's address records. What it cannot read it leaves to the resolver to refuse.
func (w *ttlWatch) message(b []byte) {
	var p dnsmessage.Parser
	if _, err := p.Start(b); err != nil || p.SkipAllQuestions() != nil {
		return
	}
	for {
		h, err := p.AnswerHeader()
		if err != nil {
			return
		}
		ttl := time.Duration(h.TTL) * time.Second
		w.mu.Lock()
		if !w.any || ttl < w.least {
			w.least, w.any = ttl, true
		}
		w.mu.Unlock()
		if p.SkipAnswer() != nil {
			return
		}
	}
}
