package server

import (
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// h3 is one HTTP/3 connection of a client (RFC 9114). Each of its streams has a goroutine that reads its request and serves it as
// h1 serves one: serve.go does not know the difference. Field compression is qpack's, without a dynamic table: no stream ever waits
// for another (RFC 9204 section 2.1.2), and no client makes the gateway remember anything.
//
// Nothing that the client can make grow is without bound: what it may send ahead is bounded by streamWindow and connWindow, how
// many streams are served by Limits.Streams, whether it resets them or not, and what it may ask for beside requests by flood.
type h3 struct {
	conn     *quic.Conn
	packets  *Packets
	server   *Server
	listener *Listener
	from     origin

	working sync.WaitGroup // goroutines of streams
	neglect neglect

	controlMu sync.Mutex // held while something is written to control
	control   *quic.SendStream
	goneAway  int64 // the last id that GOAWAY has named

	mu       sync.Mutex // guards all below
	streams  map[quic.StreamID]*h3stream
	served   int
	nextID   int64 // of the first stream that is not served as yet
	flood    flood
	opened   [3]bool // the streams that a client opens once: control, and both of qpack
	idleFrom int64   // wire.Now when there was last something to do
	timer    *time.Timer
	noticed  bool // the client was told that the connection ends
	final    bool // and which stream was the first that is not served
	finalID  int64
	over     bool
}

// The error codes (RFC 9114 section 8.1, RFC 9204 section 6) that are used.
const (
	codeNoError           = 0x100
	codeGeneralProtocol   = 0x101
	codeInternal          = 0x102
	codeStreamCreation    = 0x103
	codeClosedCritical    = 0x104
	codeFrameUnexpected   = 0x105
	codeFrame             = 0x106
	codeExcessiveLoad     = 0x107
	codeID                = 0x108
	codeSettings          = 0x109
	codeMissingSettings   = 0x10a
	codeRequestRejected   = 0x10b
	codeRequestCancelled  = 0x10c
	codeRequestIncomplete = 0x10d
	codeMessage           = 0x10e
	codeDecompression     = 0x200
	codeEncoderStream     = 0x201
	codeDecoderStream     = 0x202
)

// h3Error ends a connection of HTTP/3 for what its client did.
type h3Error quic.ApplicationErrorCode

func (e h3Error) Error() string {
	return "a breach of HTTP/3: " + "0x" + strconv.FormatUint(uint64(e), 16)
}

// h3Reset ends a stream for what its client did.
type h3Reset quic.StreamErrorCode

func (e h3Reset) Error() string {
	return "a malformed stream: " + "0x" + strconv.FormatUint(uint64(e), 16)
}

// newH3 prepares a connection.
func newH3(p *Packets, l *Listener, conn *quic.Conn, from origin) *h3 {
	return &h3{
		flood: flood{resets: p.server.grudges.against(from.counted)},
		conn:  conn, packets: p, server: p.server, listener: l, from: from,
		streams: make(map[quic.StreamID]*h3stream), goneAway: -1, idleFrom: wire.Now(),
	}
}

// run serves the connection to its end.
func (c *h3) run() {
	defer c.close()
	defer caught() // outside any stream, which has its own recover
	if err := c.greet(); err != nil {
		_ = c.conn.CloseWithError(codeGeneralProtocol, "the control stream could not be opened")
		return
	}
	// Found by others only now, that it can tell its client what they want. What they wanted before is seen by leaving.
	c.server.mu.Lock()
	c.server.quic[c] = struct{}{}
	c.server.mu.Unlock()
	c.working.Go(c.takeUniStreams)
	c.watchIdle()
	if c.leaving() {
		c.endIdle()
	}
	for {
		str, err := c.conn.AcceptStream(c.conn.Context())
		if err != nil {
			return // the connection has ended
		}
		c.begin(str)
	}
}

// begin serves a stream that the client has opened.
func (c *h3) begin(str *quic.Stream) {
	st, last := c.admit(str)
	if st == nil {
		rejectStream(str)
		_ = c.judge((*flood).talk) // it ends the connection if it has to
		return
	}
	if last {
		c.endIdle()
	}
	c.working.Go(st.run)
}

// admit makes a stream of what the client has opened, and reports whether it is to be the last. It returns nil if it is not served: after the end
// was announced the client knows that none is, and else it has too many, or another one with the same address. All in one step: whoever
// ends the connection in the same moment finds each stream that GOAWAY names as served.
func (c *h3) admit(str *quic.Stream) (st *h3stream, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := int64(str.StreamID())
	if c.over || c.final && id >= c.finalID || !c.server.beginStream(c.from.counted) {
		return nil, false
	}
	st = newH3Stream(c, str)
	c.nextID = max(c.nextID, id+4)
	c.streams[str.StreamID()] = st
	c.served++
	c.flood.head()
	return st, c.leaving() || st.limits.RequestsPerConnection > 0 && c.served >= st.limits.RequestsPerConnection
}

// rejectStream tells the client that nobody has looked at its request, which may be sent again elsewhere.
func rejectStream(str *quic.Stream) {
	str.CancelRead(codeRequestRejected)
	str.CancelWrite(codeRequestRejected)
	str.ReleaseStreamCredit()
}

// streamDone is called at the end of a stream's goroutine. abandoned: the client did not wait for the response.
func (c *h3) streamDone(st *h3stream, abandoned bool) {
	st.str.ReleaseStreamCredit()
	c.server.endStream(c.from.counted)
	c.mu.Lock()
	delete(c.streams, st.str.StreamID())
	c.idleFrom = wire.Now()
	c.mu.Unlock()
	if abandoned {
		_ = c.judge((*flood).reset)
	}
	c.endIfDone()
}

// judge counts something that the client may do only so often, and ends the connection of one that overdoes it.
func (c *h3) judge(spend func(*flood) error) error {
	c.mu.Lock()
	err := spend(&c.flood)
	c.mu.Unlock()
	if err != nil {
		err = h3Error(codeExcessiveLoad)
		c.fail(err.(h3Error))
	}
	return err
}

// fail ends the connection for what the client did.
func (c *h3) fail(e h3Error) {
	c.mu.Lock()
	fresh := !c.over
	c.over = true
	flood := c.flood
	c.mu.Unlock()
	if fresh && e == codeExcessiveLoad {
		c.server.calm(c.from.counted, &flood)
	}
	_ = c.conn.CloseWithError(quic.ApplicationErrorCode(e), "") // never fails
}

// watchIdle ends the connection when it has waited for its next request for too long. The timer is looked at when it fires, and not
// set with each request.
func (c *h3) watchIdle() {
	defer caught()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	limit := int64(c.server.snapshot.Load().Limits.Idle)
	left := limit
	if len(c.streams) == 0 {
		left = c.idleFrom + limit - wire.Now()
	}
	if left <= 0 {
		go c.finish()
		return
	}
	c.timer = time.AfterFunc(time.Duration(left), c.watchIdle)
}

// leaving reports that the client is to go elsewhere with its next requests.
func (c *h3) leaving() bool {
	return c.server.draining.Load() || c.listener.ends(c.from.epoch) || c.packets.owner.Load() != c.listener
}

// of reports whether the connection came over l.
func (c *h3) of(l *Listener) bool { return c.listener == l }

// endIdle tells the client that the connection ends (RFC 9114 section 5.2): at first only that, so that requests on their way are
// still served, and some round trips later which one was the last.
func (c *h3) endIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noticed || c.over {
		return
	}
	c.noticed = true
	go c.goAway(lastStreamID)
	time.AfterFunc(c.noticeFor(), c.finish)
}

// lastStreamID is of the last stream that a client could ever open.
const lastStreamID = 1<<62 - 4

// noticeFor is how long a client has to learn that the connection ends, before new streams are rejected.
func (c *h3) noticeFor() time.Duration {
	return min(max(5*c.conn.ConnectionStats().SmoothedRTT, noticeFor/20), noticeFor)
}

// finish says which streams are served still.
func (c *h3) finish() {
	defer caught()
	c.mu.Lock()
	if c.final || c.over {
		c.mu.Unlock()
		return
	}
	c.noticed, c.final, c.finalID = true, true, c.nextID
	last := c.finalID
	c.mu.Unlock()
	c.goAway(last)
	c.endIfDone()
}

// goAway sends GOAWAY, whose id never grows.
func (c *h3) goAway(id int64) {
	defer caught() // a client that is not told is one that has not read it
	c.controlMu.Lock()
	defer c.controlMu.Unlock()
	if c.goneAway >= 0 && c.goneAway <= id {
		return
	}
	c.goneAway = id
	// A client that has no room for this is told when the connection is closed.
	_ = c.control.SetWriteDeadline(time.Now().Add(noticeFor))
	_, _ = c.control.Write(appendGoAway(nil, id))
}

// endIfDone closes the connection when its last stream has ended, and with it what still has to be sent again of a response that
// got lost on the way: so not before the client has had some time to close it.
func (c *h3) endIfDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.final || len(c.streams) > 0 || c.over {
		return
	}
	c.over = true
	// Three times lost, and each time missed for twice as long as before.
	linger := min(16*c.conn.ConnectionStats().SmoothedRTT+lingerFor/10, lingerFor)
	wait := c.idleFrom + int64(linger) - wire.Now()
	time.AfterFunc(time.Duration(max(wait, 0)), c.closeDone)
}

func (c *h3) closeDone() {
	defer caught()
	_ = c.conn.CloseWithError(codeNoError, "") // never fails
}

// cancel ends the connection, and all streams early.
func (c *h3) cancel(why *proxy.Error) {
	c.dropAll(why)
	_ = c.conn.CloseWithError(codeNoError, why.Code) // each stream was reset before
}

func (c *h3) dropAll(why *proxy.Error) {
	c.mu.Lock()
	c.over = true
	streams := make([]*h3stream, 0, len(c.streams))
	for _, st := range c.streams {
		streams = append(streams, st)
	}
	c.mu.Unlock()
	for _, st := range streams {
		st.drop(why)
		st.reset(codeInternal)
	}
}

// close leaves nothing behind, whatever goes wrong in it.
func (c *h3) close() {
	defer c.server.ended(&c.from)
	defer func() {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		delete(c.server.quic, c)
	}()
	_ = c.conn.CloseWithError(codeInternal, "") // what has ended already ends no more
	c.dropAll(proxy.ErrClientGone)
	c.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.working.Wait()
}
