package server

import (
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// flood bounds what a client may ask for beside requests that it waits for. Each figure is a burst that is always allowed, and
// how soon a part of it is earned back. What is over ends the connection with ENHANCE_YOUR_CALM.
//
//   - Resets (CVE-2023-44487): a stream that its client resets before the answer, or that has to be reset for what the client
//     did, has cost a request and counts against no limit of open ones. A browser resets what a page that is left was loading:
//     a hundred at once, not thousands. Who was told to calm down and comes back does not begin anew, see grudges.
//   - Talk: PING, SETTINGS (both are answered), PRIORITY, WINDOW_UPDATE, empty DATA, frames of streams that have ended and frames
//     that nobody knows (CVE-2019-9512, -9515, -9518 and their kin). A client with many requests or bodies has more to say:
//     each head, either way, earns talkEarned frames, and each body frame bodyEarned and more by its size. Clients of gRPC
//     measure the round trip with a PING per message, however small. Only crumbs earn nothing: frames that the client has
//     made small, because it sends so or because its window has room for no more (CVE-2019-9511).
//   - CONTINUATION (CVE-2024-27316 and its kin): a head has at most frames.BlockFramesMax frames, twice Limits.HeadBytes in compressed
//     form and four times as much decoded, see frames.Block.
type flood struct {
	talked  frames.Allowance
	resets  frames.Allowance
	byReset bool // it was a reset that was one too many
}

const (
	resetsMax  = 500
	resetEvery = 20 * time.Millisecond
	talkMax    = 1000
	talkEvery  = 10 * time.Millisecond
	talkEarned = 10
	bodyEarned = 4
	crumbBytes = 16
)

func (f *flood) talk() error { return f.talked.Spend(wire.Now(), talkMax, talkEvery) }
func (f *flood) reset() error {
	err := f.resets.Spend(wire.Now(), resetsMax, resetEvery)
	f.byReset = f.byReset || err != nil
	return err
}

// head says that a head was taken or sent.
func (f *flood) head() { f.talked.Earn(talkEarned) }

// body says that a frame with n bytes of a body was taken, or sent; all: no window has cut it short.
func (f *flood) body(n int, all bool) {
	if all || n >= crumbBytes {
		f.talked.Earn(bodyEarned + n/128)
	}
}

// calm notes that a client was told to calm down because of what f has counted. Where addresses are not limited they do not tell clients apart,
// and nobody is shunned for what another one does.
func (s *Server) calm(client netip.Addr, f *flood) {
	s.calmed.Add(1)
	if s.grudges.bear(client, f, s.snapshot.Load().Limits.PerClient > 0) {
		slog.Warn("a client address floods over connection after connection and gets no new one for a while; "+
			"if it is not one client's, see trust and proxy_protocol", "client", client.String())
	}
}

// grudges remember which clients were told to calm down, until that is forgiven. A new connection would else be worth another burst of
// all that flood counts, and of resets each one is a request at the origin whose connection ends with it.
//
//   - What somebody has reset is remembered until all of it is earned back, which takes seconds. Somebody else at the same address may
//     ask as ever, but not reset meanwhile.
//   - Who goes on to flood over new connections with frames that no client has a reason to send is shunned: more than calmsMax of them, of
//     which one is forgiven every calmEvery, and the address gets no connection until another one is forgiven, shunMax after the last flood at the latest.
//     Those that it has go on. Whoever shares the address is shunned with it: therefore resets do not count, which an impatient
//     client, or a service that hangs, brings about too. Without that the gateway would have to make each connection, with its handshake, and end it.
//
// Safe for concurrent use.
type grudges struct {
	shunning atomic.Int64 // until when, in wire.Now's time, somebody is shunned: nobody has to look before that

	mu    sync.Mutex
	of    map[netip.Addr]grudge
	quiet int64 // until when the log hears of nobody who is shunned
}

type grudge struct {
	resets frames.Allowance
	calms  int64 // when all floods are forgiven
}

const (
	// grudgesMax bounds how many there are. Beyond it whoever was first in the map is forgiven.
	grudgesMax = 4096
	calmsMax   = 10
	calmEvery  = time.Second
	shunMax    = 10 * time.Second
	// shunNewsEvery bounds how often the log hears that an address is shunned: attackers have many.
	shunNewsEvery = time.Second
)

// shunned is until when, if that is after now.
func (g grudge) shunned() int64 { return g.calms - int64(calmsMax*calmEvery) }

func (g grudge) forgiven(now int64) bool { return g.calms <= now && g.resets.Whole(now) }

// bear is calm for the grudges. counts: it is one more of the floods for which clients are shunned, if it was none of resets. It reports whether
// the log is to hear that the client is shunned from now on.
func (g *grudges) bear(client netip.Addr, f *flood, counts bool) (news bool) {
	if !client.IsValid() {
		return false
	}
	now := wire.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of == nil {
		g.of = make(map[netip.Addr]grudge)
	}
	if len(g.of) >= grudgesMax {
		maps.DeleteFunc(g.of, func(_ netip.Addr, o grudge) bool { return o.forgiven(now) })
	}
	for other := range g.of {
		if len(g.of) < grudgesMax {
			break
		}
		delete(g.of, other)
	}
	o := g.of[client]
	before := o.shunned()
	o.resets = frames.Worse(o.resets, f.resets)
	if counts && !f.byReset {
		o.calms = min(max(o.calms, now)+int64(calmEvery), now+int64(calmsMax*calmEvery+shunMax))
	}
	g.of[client] = o
	until := o.shunned()
	if until > now && until > g.shunning.Load() {
		g.shunning.Store(until)
	}
	if until <= now || before > now || now < g.quiet {
		return false
	}
	g.quiet = now + int64(shunNewsEvery)
	return true
}

// against returns what a client that connects has left of its resets.
func (g *grudges) against(client netip.Addr) frames.Allowance {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.of[client].resets
}

// shuns reports whether a client gets no connection.
func (g *grudges) shuns(client netip.Addr) bool {
	now := wire.Now()
	if g.shunning.Load() <= now || !client.IsValid() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.of[client].shunned() > now
}
