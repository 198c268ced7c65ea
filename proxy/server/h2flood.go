package server

import (
	"maps"
	"net/netip"
	"sync"
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
	talked frames.Allowance
	resets frames.Allowance
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

func (f *flood) talk() error  { return f.talked.Spend(wire.Now(), talkMax, talkEvery) }
func (f *flood) reset() error { return f.resets.Spend(wire.Now(), resetsMax, resetEvery) }

// head says that a head was taken or sent.
func (f *flood) head() { f.talked.Earn(talkEarned) }

// body says that a frame with n bytes of a body was taken, or sent; all: no window has cut it short.
func (f *flood) body(n int, all bool) {
	if all || n >= crumbBytes {
		f.talked.Earn(bodyEarned + n/128)
	}
}

// grudges remember which clients were told to calm down because of their resets, until they have earned all of it back, which takes
// seconds. A new connection would else be worth another resetsMax requests, and each of these one at the origin whose connection
// ends with it. Somebody else at the same address may ask as ever, but not reset meanwhile. Safe for concurrent use.
type grudges struct {
	mu     sync.Mutex
	resets map[netip.Addr]frames.Allowance
}

// grudgesMax bounds how many there are. Beyond it whoever was first in the map is forgiven.
const grudgesMax = 4096

func (g *grudges) bear(client netip.Addr, resets frames.Allowance) {
	if now := wire.Now(); client.IsValid() && !resets.Whole(now) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.resets == nil {
			g.resets = make(map[netip.Addr]frames.Allowance)
		}
		if len(g.resets) >= grudgesMax {
			maps.DeleteFunc(g.resets, func(_ netip.Addr, a frames.Allowance) bool { return a.Whole(now) })
		}
		for other := range g.resets {
			if len(g.resets) < grudgesMax {
				break
			}
			delete(g.resets, other)
		}
		g.resets[client] = frames.Worse(g.resets[client], resets)
	}
}

// against returns what a client that connects has left of its allowance.
func (g *grudges) against(client netip.Addr) frames.Allowance {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.resets[client]
}
