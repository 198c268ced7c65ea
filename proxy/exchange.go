package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy/wire"
	"sluice/router"
)

// Exchange is one request and its response. It is pooled: nothing of it may be used after it finished. Unless a
// method says otherwise, it belongs to the goroutine that serves it.
type Exchange struct {
	Request  Request
	Response Response
	Received Received
	Client   Client
	Edge     Edge

	Snapshot *Snapshot
	Route    *Route
	Lookup   router.Request // what Match was found with; lives here so that looking up allocates nothing
	Match    router.Match
	// MatchedPath is the path that was matched; what Match captured lies in it, whatever the path becomes.
	MatchedPath []byte

	// Identity is who the client was proven to be, by the last policy that has; nil: nobody yet. Policies call Identify.
	Identity *Identity
	// ByAuthorization says that the request's Authorization has proven it, or one of Others: whoever has the same identities has shown the
	// same there.
	ByAuthorization bool
	// Token is the access token that a policy has found to be good, for those behind it that get another one for it; nil: none.
	Token []byte
	// Proof is the proof of possession that the request has used up, as whoever remembers it calls it; 0: none. Several policies may ask for it.
	Proof uint64

	// Page is the origin of the page that has caused the request, as its browser says, where the route knows pages; nil: none has.
	// Policies may change the request, but not that.
	Page []byte

	ID []byte // request id, sent upstream and back as X-Request-Id

	Started  int64 // wire.Now when the first byte of the request was there
	Deadline int64 // wire.Now by which the response head must be there; 0: none
	// CallBy is wire.Now by which all of a call of gRPC has to be over, because its client says so; 0: it does not, or this is no such call.
	// Of a call that has begun, Deadline is no later.
	CallBy int64

	// What the last step learned, for logs and metrics. Names are configured ones, so that labels stay bounded.
	Service     string
	Endpoint    string
	Attempts    int   // tries to get an answer from an endpoint
	Asked       bool  // one of them has begun to send, or to open a connection for this request alone
	UpstreamAt  int64 // wire.Now when the last try began; 0: no upstream was asked
	HeadAt      int64 // wire.Now when the response head was ready
	EndedAt     int64 // wire.Now when all was sent, or given up; set before the finishers run
	Waited      bool  // somebody has waited, for the head or in a policy: Started is no longer nearly now
	BytesIn     int64 // request body bytes taken from the client
	BytesOut    int64 // bytes written to the client, head included
	Err         *Error
	ErrCause    error
	FailedAt    string   // the policy that refused or failed
	Aborted     bool     // the response was cut short
	WouldRefuse string   // a guard in report mode that would have refused
	Cache       string   // what a cache did: a word of its own, such as "hit"; empty: there was none
	Bucket      uint32   // which part of a sticky split the client belongs to
	GRPCWeb     GRPCForm // what the client speaks whose call was translated to gRPC; NotGRPC: none was

	others    []*Identity // see Others
	finishers []Finisher
	editors   []HeadEditor
	held      [4]*wire.Buf
	heldCount int
	scratch   []byte
	out       *wire.Buf // see Out
	adopted   *Exchange // see Adopt
	jsonState jsonCache

	cancel struct {
		sync.Mutex
		done   chan struct{}
		target *wire.Conn
		child  *Exchange             // canceled, too, unless spared says otherwise
		spared func() bool           // may be nil
		cause  atomic.Pointer[Error] // why it was canceled; nil: it was not
	}
	background sync.WaitGroup
}

// Request is the request as the chain sees it: what was received, then edited by policies.
type Request struct {
	Method   string
	Scheme   string    // "http" or "https", as the client sees it
	Host     []byte    // lower case, with its port if one was sent
	Path     []byte    // normalised; "*" for OPTIONS *
	Query    []byte    // without "?"
	HasQuery bool      // "/x?" is not "/x"
	Head     wire.Head // without Host and hop-by-hop fields
	Body     Body
	// Upgrade is the protocol the client wants to switch to ("websocket"), or empty.
	Upgrade string
	// ExpectContinue is set while the client waits for 100 Continue before it sends the body.
	ExpectContinue bool
	// TakesTrailers is set if the client has said that it accepts trailers (TE: trailers, RFC 9110 section 10.1.4).
	TakesTrailers bool
	Trailers      wire.Head
	// Decided names the fields that policies have set or removed: a trailer does not get past them. See FinalTrailers.
	Decided []string
}

// Response is the response as the chain sees it.
type Response struct {
	Status   int
	Reason   []byte    // as received; empty: the standard phrase
	Head     wire.Head // without hop-by-hop fields and Content-Length
	Body     Body
	Trailers wire.Head
	// Tunnel is set with status 101: the edge connects the client to it after the head.
	Tunnel Tunnel
	// Decided is as in Request.
	Decided []string
	// OpenEnded says that the end of the connection ends the body, so that nobody can tell whether it is complete.
	OpenEnded bool
	// Via is this hop's element of the field Via ("1.1 sluice"); empty: the response is the gateway's own.
	Via string
}

// Received is what was received, kept beside the current form: rewriting never destroys evidence. It is valid
// until the exchange finishes.
type Received struct {
	Method []byte
	Target []byte // as on the wire
	Origin []byte // the same in origin form, or "*": path and query as the request goes on from there
	Minor  int    // of HTTP/1
	Proto  string // "HTTP/1.1"
}

// Client is whom the exchange is with.
type Client struct {
	Addr    netip.Addr     // the peer, or behind a trusted one the nearest untrusted address it reports
	Peer    netip.AddrPort // the other end of the connection
	Trusted bool           // the peer is in the listener's trust list
	Text    []byte         // Addr as text
	// ServerName is the name that the client has asked for with TLS (RFC 6066 section 3), if it is known: from the handshake, or
	// from a balancer's PROXY header. Nobody has proven anything with it.
	ServerName string
	// JA4 is the fingerprint of the client's software, of connections whose TLS ends here; else empty.
	JA4 string
	// ECH says that the client has encrypted ServerName (RFC 9849): an observer has seen another name.
	ECH bool
	// Transport is what is known about the connection beside the client.
	Transport *Transport
	// Certificate is what the client has shown, and the listener has verified; nil: none. Client-Cert tells the origin.
	Certificate *Certificate
}

// Edge is the protocol side of an exchange that policies and upstreams may need. Only edges write to clients.
type Edge interface {
	// Interim sends an informational response (1xx but 101) if the client's protocol can carry it.
	Interim(x *Exchange, status int, h *wire.Head) error
}

// Tunnel is a connection that was handed over by 101 Switching Protocols.
type Tunnel interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	CloseWrite() error
	Close() error
	// Silence is how long neither side may have sent anything.
	Silence() time.Duration
}

// Finisher runs once the response is sent or dropped and the request's pump has stopped, last registered first.
type Finisher interface{ Finish(x *Exchange) }

// HeadEditor edits the final response head, errors included.
type HeadEditor interface{ EditHead(x *Exchange) }

// Identify says that a policy has proven who the client is, and whether by Authorization. Who it was before is not forgotten: see Others.
func (x *Exchange) Identify(i *Identity, byAuthorization bool) {
	if x.Identity != nil && x.Identity != i {
		x.others = append(x.others, x.Identity)
	}
	x.Identity, x.ByAuthorization = i, x.ByAuthorization || byAuthorization
}

// IdentifyToo says that a policy has proven something about the client that tells it apart from others, and yet does not say who it is. It
// becomes x.Identity only if no policy has identified the client before.
func (x *Exchange) IdentifyToo(i *Identity) {
	if x.Identity == nil {
		x.Identity = i
		return
	}
	x.others = append(x.others, i)
}

// Others are what was proven about the client beside Identity, in the order in which that was: each policy may have told the origin something,
// and what is kept for one client alone is kept for who has all of them. They must not be changed.
func (x *Exchange) Others() []*Identity { return x.others }

// OnFinish registers f. Slots, in-flight counts and the access log belong there: a download is not over when its
// head is known.
func (x *Exchange) OnFinish(f Finisher) { x.finishers = append(x.finishers, f) }

// OnHead registers an editor of the final response head. Editors run in the order of registration.
func (x *Exchange) OnHead(e HeadEditor) { x.editors = append(x.editors, e) }

// EditHead runs the registered editors. Edges call it once.
func (x *Exchange) EditHead() {
	for _, e := range x.editors {
		e.EditHead(x)
	}
}

// Hold frees b when the exchange finishes: its bytes are lent to the heads or bodies.
func (x *Exchange) Hold(b *wire.Buf) {
	if b == nil {
		return
	}
	if x.heldCount == len(x.held) {
		panic("BUG: exchange holds too many buffers")
	}
	x.held[x.heldCount] = b
	x.heldCount++
}

// Scratch returns an empty slice to append to, in memory of the exchange. What was appended stays valid until the
// exchange finishes if it is handed to KeepScratch; until then nobody else may call Scratch.
func (x *Exchange) Scratch() []byte {
	if cap(x.scratch)-len(x.scratch) < scratchRoom {
		// Those who hold slices of the old array keep it alive. The new one is larger, so that a pooled exchange soon
		// needs no other.
		x.scratch = make([]byte, 0, max(4*scratchRoom, 2*cap(x.scratch)))
	}
	return x.scratch[len(x.scratch):]
}

// Out lends a buffer of wire.Medium bytes to whoever puts a message together: first the upstream for the request, then, when
// that is written, the edge for the response. It stays with the pooled exchange.
func (x *Exchange) Out() []byte {
	if x.out == nil {
		x.out = wire.GetBuf(wire.Medium)
	}
	return x.out.B
}

// FreeOut gives Out's buffer back early: what comes now may take hours, and needs no such buffer.
func (x *Exchange) FreeOut() {
	x.out.Free()
	x.out = nil
}

// scratchRoom is how much can be appended to Scratch without moving it.
const scratchRoom = 1 << 10

// KeepScratch keeps what was appended to Scratch and returns it.
func (x *Exchange) KeepScratch(b []byte) []byte {
	used := len(x.scratch)
	switch {
	case len(b) == 0:
		return b
	case used < cap(x.scratch) && &b[0] == &x.scratch[:used+1][used]:
		x.scratch = x.scratch[:used+len(b)]
	default:
		x.scratch = b // appending moved it to a larger array
	}
	return b[:len(b):len(b)]
}

// Cancel ends the exchange early: waits of its upstream fail with cause, Done is closed. Only the first call counts. Safe
// for concurrent use.
func (x *Exchange) Cancel(cause *Error) {
	c := &x.cancel
	c.Lock()
	defer c.Unlock()
	if !c.cause.CompareAndSwap(nil, cause) {
		return
	}
	if c.done != nil {
		close(c.done)
	}
	if c.target != nil {
		c.target.Kick(wire.Canceled)
	}
	if c.child != nil && (c.spared == nil || !c.spared()) {
		c.child.Cancel(cause)
	}
}

// Canceled returns why the exchange was canceled, or nil. Safe for concurrent use.
func (x *Exchange) Canceled() *Error { return x.cancel.cause.Load() }

// Done is closed when the exchange is canceled. It is made on first use; safe for concurrent use.
func (x *Exchange) Done() <-chan struct{} {
	c := &x.cancel
	c.Lock()
	defer c.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if x.Canceled() != nil {
			close(c.done)
		}
	}
	return c.done
}

// CancelKicks makes Cancel interrupt the waits of conn, nil for none. It returns false, changing nothing, if the
// exchange was canceled already.
func (x *Exchange) CancelKicks(conn *wire.Conn) bool {
	c := &x.cancel
	c.Lock()
	ok := conn == nil || x.Canceled() == nil
	if ok {
		c.target = conn
	}
	c.Unlock()
	return ok
}

var exchanges = sync.Pool{New: func() any { return new(Exchange) }}

// Acquire returns an empty exchange, for an edge or a Fork; Release ends it.
func Acquire() *Exchange { return exchanges.Get().(*Exchange) }

// Finish runs the finishers, last registered first.
func (x *Exchange) Finish() {
	x.EndedAt = wire.Now()
	for i := len(x.finishers) - 1; i >= 0; i-- {
		x.finishers[i].Finish(x)
	}
}

// Release gives the exchange and every buffer it holds back to the pools. The bodies must have been closed.
func (x *Exchange) Release() {
	if c := x.adopted; c != nil {
		x.adopted = nil
		c.Release()
	}
	for i := range x.held[:x.heldCount] {
		x.held[i].Free()
		x.held[i] = nil
	}
	clear(x.finishers)
	clear(x.editors)
	clear(x.others)
	if cap(x.scratch) > scratchKeepMax {
		x.scratch = nil
	}
	if wire.Invariants {
		x.FreeOut()
		for i := range x.scratch[:cap(x.scratch)] {
			x.scratch[:cap(x.scratch)][i] = 0xCC
		}
	}
	req, resp := &x.Request, &x.Response
	req.Head.Reset()
	req.Trailers.Reset()
	req.Decided, resp.Decided = req.Decided[:0], resp.Decided[:0]
	resp.Head.Reset()
	resp.Trailers.Reset()
	req.Method, req.Scheme, req.Upgrade = "", "", ""
	req.Host, req.Path, req.Query = nil, nil, nil
	req.HasQuery, req.ExpectContinue, req.TakesTrailers = false, false, false
	req.Body = Body{}
	resp.Status, resp.Reason, resp.Tunnel, resp.Via = 0, nil, nil, ""
	resp.OpenEnded = false
	resp.Body = Body{}
	x.Received = Received{}
	x.Client = Client{}
	x.Edge, x.Snapshot, x.Route, x.Identity, x.ID, x.MatchedPath, x.Page, x.Token = nil, nil, nil, nil, nil, nil, nil, nil
	x.Started, x.Deadline, x.CallBy = 0, 0, 0
	x.Lookup = router.Request{}
	x.Service, x.Endpoint, x.Attempts, x.UpstreamAt, x.HeadAt, x.EndedAt, x.BytesIn, x.BytesOut = "", "", 0, 0, 0, 0, 0, 0
	x.Err, x.ErrCause, x.FailedAt, x.Asked, x.Aborted, x.WouldRefuse, x.Bucket = nil, nil, "", false, false, "", 0
	x.GRPCWeb, x.Cache, x.ByAuthorization, x.Proof = NotGRPC, "", false, 0
	x.finishers, x.editors, x.others = x.finishers[:0], x.editors[:0], x.others[:0]
	x.heldCount, x.scratch = 0, x.scratch[:0]
	x.jsonState.reset()
	x.cancel.done, x.cancel.target, x.cancel.child, x.cancel.spared = nil, nil, nil, nil
	if x.cancel.cause.Load() != nil {
		x.cancel.cause.Store(nil)
	}
	x.Waited = false
	exchanges.Put(x)
}

// scratchKeepMax caps what a pooled exchange keeps.
const scratchKeepMax = 64 << 10
