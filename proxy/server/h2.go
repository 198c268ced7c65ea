package server

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// h2 is one HTTP/2 connection of a client (RFC 9113). One goroutine reads its frames, one writes them, and each stream has
// one that serves its request as h1 serves one: serve.go does not know the difference. Frames and header compression are
// x/net/http2's Framer and hpack, which stay behind this edge.
//
// Nothing that the client can make grow is without bound: what it may send ahead is bounded by the windows that it is given
// (streamWindow, connWindow), what waits to be written by outMax, and what it may ask without sending a request by flood.
// A client that does not read stops the writer, then the streams, then the origins.
type h2 struct {
	*wire.Conn
	server   *Server
	listener *Listener
	from     origin

	// Of the goroutine that reads.
	first    []byte // was read before the connection came here
	in       wire.Reader
	decoder  *hpack.Decoder
	block    headBlock
	begun    bool
	starting *h2stream // waits for the rest of what has arrived: its body may be whole
	settled  bool      // the client's first SETTINGS have come
	rates    proxy.Limits

	framer *http2.Framer // reads for the goroutine that reads, and writes into out, under mu

	mu      sync.Mutex // guards all below, and what a stream says it does
	streams map[uint32]*h2stream
	working sync.WaitGroup // goroutines of streams
	running int            // how many
	most    int            // streams at a time
	served  int
	lastID  uint32 // that the client has opened
	begunID uint32 // of the last stream that is served, which GOAWAY names
	ended   ended
	flood   flood
	calmed  bool // told so

	recvWindow frames.RecvWindow // of all streams together
	sendWindow frames.SendWindow
	peerWindow int64 // that each stream begins with

	encoder  *frames.Encoder
	out      []byte    // frames that wait for the writer
	outBuf   *wire.Buf // they lie in it, if they fit
	outReady sync.Cond
	written  chan struct{} // closed when the writer has ended
	resting  bool          // the writer is to end when all is written
	parked   bool          // nobody reads or writes

	idleFrom  int64 // wire.Now when there was last something to do
	headUntil int64 // by when the head under way has to be there; 0: none is
	endBy     int64 // by when the client has to close after the end; 0: it is not the end
	noticed   bool  // the client was told that the connection ends
	final     bool  // and which stream was the last
	finalID   uint32
	broken    bool // nothing can be written any more
	notice    *time.Timer
}

const (
	// streamWindow is how much of a request body may be on its way or waiting for its reader; connWindow bounds all of a
	// connection. They are what an upload that nobody reads costs in memory.
	streamWindow = 256 << 10
	connWindow   = 1 << 20
	// outMax is how much waits for the writer; beyond it streams wait. Answers to control frames may exceed it, by as
	// much as flood lets them.
	outMax = wire.Large
	// roomMin is less than which no body goes into what is left of outMax.
	roomMin = 4 << 10
	// streamsDefault is used where the limits do not say how many.
	streamsDefault = 128
	// noticeFor is how long a client has to learn that the connection ends, before new streams are passed over.
	noticeFor = time.Second
)

// noticePing is how the gateway knows that a client has seen that the connection ends.
var noticePing = [8]byte{'g', 'o', 'i', 'n', 'g'}

// serveH2 serves HTTP/2 on a connection that was accepted and admitted, and returns at its end, when it is closed and
// dismissed. first is what was read from it already, if anything: the client's preface is still expected.
func (l *Listener) serveH2(nc net.Conn, first []byte, from origin) {
	newH2(l, nc, first, from).run()
}

// newH2 prepares a connection and puts it under the sweeper's eyes.
func newH2(l *Listener, nc net.Conn, first []byte, from origin) *h2 {
	c := &h2{
		server: l.server, listener: l, first: first, from: from.settle(),
	}
	c.Conn = wire.NewConn(nc, nil)
	c.Conn.Owner = c
	c.in.Init(c.Conn, wire.Medium)
	c.framer = c.newFramer()
	c.decoder = hpack.NewDecoder(frames.TableSize, c.emit)
	c.encoder = frames.NewEncoder()
	c.streams = make(map[uint32]*h2stream)
	c.recvWindow, c.sendWindow, c.peerWindow = frames.NewRecvWindow(connWindow), frames.InitialWindow, frames.InitialWindow
	c.outReady.L = &c.mu
	c.idleFrom = wire.Now()
	c.flood.resets = c.server.grudges.against(c.from.counted)
	c.rates = c.server.snapshot.Load().Limits
	c.most = c.rates.Streams
	if c.most <= 0 {
		c.most = streamsDefault
	}
	c.server.sweeper.Add(c.Conn)
	return c
}

// run serves the connection to its end, or until it is parked: then the parking, or somebody who has something to write, calls run
// again.
func (c *h2) run() {
	defer caught()
	if !c.serveUntilUnused() {
		c.close()
	}
}

// serveUntilUnused returns true when the connection is parked, and somebody else may have it already, and false at its end.
func (c *h2) serveUntilUnused() (parked bool) {
	defer caught() // outside any stream, which has its own recover
	c.wake()
	err := c.readFrames()
	switch e := err.(type) {
	case http2.ConnectionError:
		c.fail(http2.ErrCode(e))
	default:
		if err == errParked {
			return true
		}
		if c.Kicked() != wire.Expired || !c.endIdleTime() {
			return false // the client has gone, or was cut: there is nobody to tell
		}
	}
	c.linger()
	return false
}

// wake starts the writer.
func (c *h2) wake() {
	c.mu.Lock() // whoever has parked it has let go by then
	defer c.mu.Unlock()
	c.parked = false
	c.startWriter()
	if !c.begun {
		c.greet()
	}
}

func (c *h2) startWriter() {
	c.written = make(chan struct{})
	go c.write()
}

// errParked says that the connection is not the reader's any more.
var errParked = errors.New("parked")

// rest parks a connection on which nothing has come for long, if nothing is under way, and reports whether it has. It then keeps
// neither goroutines nor buffers, nor the table of what it said before.
func (c *h2) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > 0 || c.running > 0 || !c.settled || c.headUntil != 0 || c.noticed || c.endBy != 0 || c.broken {
		return false
	}
	c.resting = true
	c.outReady.Signal()
	c.mu.Unlock()
	<-c.written
	c.mu.Lock()
	c.resting = false
	if c.broken {
		return false
	}
	if len(c.out) == 0 && c.endBy == 0 {
		c.in.Unpin()
		c.first, c.block = nil, headBlock{}
		c.framer = c.newFramer()
		c.encoder.Forget()
		c.streams = make(map[uint32]*h2stream)
		c.parked = true
		if c.server.park(c.Conn) {
			return true
		}
		c.parked = false
	}
	c.startWriter()
	return false
}

// greet sends the server's preface: its settings, and the connection's window.
func (c *h2) greet() {
	lim := &c.rates
	c.headUntil = wire.Now() + int64(lim.HeadTimeout)
	c.arm()
	// Writing into memory cannot fail, here and below.
	_ = c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.most)},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(lim.HeadBytes + 32*lim.Fields)},
	)
	_ = c.framer.WriteWindowUpdate(0, connWindow-frames.InitialWindow)
	if c.leaving() {
		c.retire()
	}
}

// readFrames returns why there are no more: an http2.ConnectionError of the client's, or why nothing can be read.
func (c *h2) readFrames() error {
	if !c.begun {
		c.begun = true
		var preface [len(http2.ClientPreface)]byte
		if _, err := io.ReadFull((*h2input)(c), preface[:]); err != nil {
			return err
		}
		if string(preface[:]) != http2.ClientPreface {
			return frames.ErrProtocol
		}
	}
	for {
		if err := c.awaitFrame(); err != nil {
			return err
		}
		f, err := frames.Read(c.framer)
		if err == nil {
			err = c.take(f)
		}
		if e, ok := err.(http2.StreamError); ok {
			err = c.refuseStream(e)
		}
		if err != nil {
			return err
		}
	}
}

// awaitFrame waits for the first bytes of a frame. It returns errParked if the connection was parked instead.
func (c *h2) awaitFrame() error {
	for len(c.first) == 0 && c.in.Buffered() == 0 {
		c.start()
		c.in.Unpin()
		err := c.in.FillOrIdle()
		if err == wire.ErrIdle {
			if c.rest() {
				return errParked
			}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// take does what a frame asks for. An error is an http2.StreamError or an http2.ConnectionError.
func (c *h2) take(f http2.Frame) error {
	if _, ok := f.(*http2.SettingsFrame); !ok && !c.settled {
		return frames.ErrProtocol // section 3.4
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.HeadersFrame:
		return c.takeHeaders(f)
	case *http2.ContinuationFrame:
		return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.RSTStreamFrame:
		return c.takeReset(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f)
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.PingFrame:
		return c.takePing(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol} // RFC 7540 section 5.3.1
		}
	case *http2.PushPromiseFrame:
		return frames.ErrProtocol // only servers promise, section 8.4
	case *http2.GoAwayFrame:
		return c.idleTalk() // it will open no more streams; those under way go on
	}
	return c.idleTalk() // priorities are advice, and unknown frames are to be passed over (section 4.1)
}

// idleTalk counts a frame that asks for work and is no part of a request.
func (c *h2) idleTalk() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flood.talk()
}

func (c *h2) takeSettings(f *http2.SettingsFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flood.talk(); err != nil {
		return err
	}
	if f.IsAck() {
		return nil
	}
	if !c.settled {
		c.settled, c.headUntil = true, 0
		c.idleFrom = wire.Now()
		c.arm()
	}
	err := frames.EachSetting(f, func(s http2.Setting) error {
		switch s.ID {
		case http2.SettingInitialWindowSize:
			return c.moveWindows(int64(s.Val))
		case http2.SettingHeaderTableSize:
			c.encoder.Limit(s.Val)
		}
		return nil
	})
	if err == nil {
		err = c.framer.WriteSettingsAck()
	}
	return err
}

// moveWindows applies another initial window to all streams, section 6.9.2.
func (c *h2) moveWindows(size int64) error {
	by := size - c.peerWindow
	c.peerWindow = size
	for _, st := range c.streams {
		if !st.sendWindow.Grow(by) {
			return frames.ErrWindow
		}
		st.changed.Broadcast()
	}
	return nil
}

func (c *h2) takePing(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flood.talk(); err != nil {
		return err
	}
	if !f.IsAck() {
		return c.framer.WritePing(true, f.Data)
	}
	if c.noticed && f.Data == noticePing {
		c.finish()
	}
	return nil
}

func (c *h2) takeWindow(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flood.talk(); err != nil {
		return err
	}
	if f.StreamID == 0 {
		if !c.sendWindow.Grow(int64(f.Increment)) {
			return frames.ErrWindow
		}
		c.wakeWaiting()
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return c.unknown(f.StreamID)
	}
	if !st.sendWindow.Grow(int64(f.Increment)) {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	st.changed.Broadcast()
	return nil
}

// unknown judges a frame of a stream that there is not: one that has ended may still be spoken of, one that has not begun
// may not.
func (c *h2) unknown(id uint32) error {
	if id%2 == 0 || id > c.lastID {
		return frames.ErrProtocol
	}
	return nil
}

// over judges DATA and HEADERS of a stream that there is not.
func (c *h2) over(id uint32) error {
	if err := c.unknown(id); err != nil {
		return err
	}
	return c.ended.judge(id)
}

func (c *h2) takeReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[f.StreamID]
	if st == nil {
		if err := c.flood.talk(); err != nil {
			return err
		}
		return c.unknown(f.StreamID)
	}
	answered := st.unheard != nil || waitedOut(st.began, st.callBy)
	st.drop(proxy.ErrClientGone)
	c.forget(st)
	if answered {
		return nil
	}
	return c.flood.reset()
}

// refuseStream resets a stream for what its client has done.
func (c *h2) refuseStream(e http2.StreamError) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[e.StreamID]
	if st == nil {
		if err := c.unknown(e.StreamID); err != nil {
			return err
		}
	}
	_ = c.framer.WriteRSTStream(e.StreamID, e.Code)
	c.ended.reset(e.StreamID)
	if st != nil {
		st.drop(proxy.ErrBadBody)
		c.forget(st)
	}
	return c.flood.reset()
}

func (c *h2) takeData(f *http2.DataFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, data := int64(f.Length), f.Data()
	if !c.recvWindow.Take(all) {
		return frames.ErrWindow
	}
	st := c.streams[f.StreamID]
	if st == nil || st.ended {
		c.giveBack(all)
		if err := c.flood.talk(); err != nil {
			return err
		}
		if st != nil {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
		}
		return c.over(f.StreamID)
	}
	if !st.recvWindow.Take(all) {
		c.giveBack(all)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	switch {
	case len(data) > 0:
		c.flood.body(len(data), false)
	case !f.StreamEnded():
		if err := c.flood.talk(); err != nil {
			return err
		}
	}
	if st.arrived += int64(len(data)); st.declared >= 0 && st.arrived > st.declared {
		c.giveBack(all)
		return frames.Malformed(f.StreamID)
	}
	padding := all - int64(len(data))
	c.giveBack(padding)
	if st.closed {
		c.giveBack(int64(len(data)))
	} else {
		st.body.Put(data)
		st.giveBack(padding)
	}
	if f.StreamEnded() {
		return c.endRequest(st)
	}
	st.changed.Broadcast()
	return nil
}

// endRequest notes that all of the request is there.
func (c *h2) endRequest(st *h2stream) error {
	if st.declared >= 0 && st.arrived != st.declared {
		return frames.Malformed(st.id)
	}
	st.ended = true
	st.changed.Broadcast()
	if c.starting == st {
		c.start()
	}
	if st.unheard != nil {
		c.forget(st)
	}
	return nil
}

// giveBack lets the client send n bytes more, on whatever stream.
func (c *h2) giveBack(n int64) {
	c.recvWindow.Use(n)
	if more := c.recvWindow.GiveBack(connWindow/8, connWindow/8); more > 0 {
		_ = c.framer.WriteWindowUpdate(0, more)
	}
}

// begin serves the request whose head is complete.
func (c *h2) begin(st *h2stream, ends bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final && st.id > c.finalID {
		st.x.Release() // the client knows that nobody looks at it
		c.ended.reset(st.id)
		return c.flood.talk()
	}
	// Streams that were reset do not count as open, but what serves them may still be at it.
	more := len(c.streams) < c.most && c.running < 2*c.most
	if !more || !c.server.beginStream(c.from.counted) {
		st.x.Release()
		_ = c.framer.WriteRSTStream(st.id, http2.ErrCodeRefusedStream)
		c.ended.reset(st.id)
		if more {
			return c.flood.talk() // it may be another one with the same address that has too many
		}
		return c.flood.reset()
	}
	c.flood.head()
	c.streams[st.id] = st
	c.begunID = st.id
	c.running++
	c.working.Add(1)
	c.served++
	st.sendWindow = frames.SendWindow(c.peerWindow)
	st.ended = ends
	most := st.limits.RequestsPerConnection
	if c.leaving() || most > 0 && c.served >= most {
		c.retire()
	}
	c.arm()
	c.start()
	c.starting = st
	if ends || st.refusal != nil {
		c.start()
	}
	return nil
}

// start starts the stream that has been waiting for the rest of what has arrived.
func (c *h2) start() {
	if st := c.starting; st != nil {
		c.starting = nil
		go st.run()
	}
}

// streamDone is called at the end of a stream's goroutine.
func (c *h2) streamDone() {
	c.mu.Lock()
	c.running--
	c.mu.Unlock()
	c.server.endStream(c.from.counted)
	c.working.Done()
}

// forget takes a stream out that has ended, in both directions or by a reset.
func (c *h2) forget(st *h2stream) {
	if c.streams[st.id] != st {
		return
	}
	delete(c.streams, st.id)
	if st.unheard != nil {
		st.unheard.Stop()
	}
	st.closed = true
	c.giveBack(st.body.Clear())
	if len(c.streams) == 0 {
		c.idleFrom = wire.Now()
		c.arm()
		c.endIfDone()
	}
}

// arm says how long the client may let itself be waited for.
func (c *h2) arm() {
	switch {
	case c.endBy != 0:
		c.Arm(c.endBy)
	case c.headUntil != 0:
		c.Arm(c.headUntil)
	case len(c.streams) == 0:
		c.Arm(c.idleFrom + int64(c.server.snapshot.Load().Limits.Idle))
	default:
		c.Arm(0)
	}
}

// leaving reports that the client is to go elsewhere with its next requests.
func (c *h2) leaving() bool { return c.server.draining.Load() || c.listener.ends(c.from.epoch) }

// retire tells the client that the connection ends (RFC 9113 section 6.8): at first only that, so that requests on their way
// are still served, and a round trip later, or after noticeFor, which one was the last.
func (c *h2) retire() {
	if c.noticed {
		return
	}
	c.noticed = true
	_ = c.framer.WriteGoAway(frames.LastID, http2.ErrCodeNo, nil)
	_ = c.framer.WritePing(false, noticePing)
	c.notice = time.AfterFunc(noticeFor, c.endNotice)
}

func (c *h2) endNotice() {
	defer caught()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish()
}

// finish says which stream was the last that is served. One whose head is still under way is not: by the time it is there the connection
// may have ended, and of what GOAWAY has named the client may send nothing again.
func (c *h2) finish() {
	if c.final {
		return
	}
	c.noticed, c.final, c.finalID = true, true, c.begunID
	_ = c.framer.WriteGoAway(c.begunID, http2.ErrCodeNo, nil)
	c.endIfDone()
}

// endIfDone ends the connection when its last stream has. The writer ends its side, the client then closes.
func (c *h2) endIfDone() {
	if c.final && len(c.streams) == 0 && c.endBy == 0 {
		c.endBy = wire.Now() + int64(lingerFor)
		c.arm()
		c.outReady.Signal()
	}
}

// overdo counts a call that has cost a request for nothing.
func (c *h2) overdo() {
	c.mu.Lock()
	err := c.flood.reset()
	c.mu.Unlock()
	if err != nil {
		c.fail(http2.ErrCodeEnhanceYourCalm)
	}
}

// fail ends the connection because of what the client did.
func (c *h2) fail(code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if code == http2.ErrCodeEnhanceYourCalm && !c.calmed {
		c.calmed = true
		c.server.calm(c.from.counted, &c.flood)
	}
	if c.endBy == 0 {
		_ = c.framer.WriteGoAway(c.begunID, code, nil)
	}
	c.noticed, c.final, c.finalID = true, true, c.begunID
	c.dropAll(proxy.ErrClientGone)
	c.endIfDone()
}

// endIdleTime ends a connection that has waited for too long, and reports whether there is something to tell the client.
// One that was cut under way is told nothing.
func (c *h2) endIdleTime() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > 0 || c.headUntil != 0 || c.endBy != 0 || c.broken {
		return false
	}
	c.Forgive()
	c.finish()
	return true
}

// endIdle is called when a drain begins, or the listener retires.
func (c *h2) endIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retire()
}

// cancel ends all streams early.
func (c *h2) cancel(why *proxy.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropAll(why)
}

// of reports whether the connection came over l.
func (c *h2) of(l *Listener) bool { return c.listener == l }

func (c *h2) dropAll(why *proxy.Error) {
	for _, st := range c.streams {
		st.drop(why)
		c.forget(st)
	}
}

// linger reads on for a while, unheard, so that the client gets to see why the connection ends: a close with unread bytes
// would make its kernel throw that away.
func (c *h2) linger() {
	c.start()
	buf := wire.GetBuf(wire.Large)
	defer buf.Free()
	for total := 0; total < lingerMax; {
		n, err := c.Conn.Read(buf.B)
		if total += n; err != nil {
			return
		}
	}
}

// close leaves nothing behind, whatever goes wrong in it.
func (c *h2) close() {
	defer c.server.ended(&c.from)
	defer func() { _ = c.Conn.Close() }() // nothing is left that a failure could lose
	defer c.in.Close()
	defer c.server.sweeper.Remove(c.Conn)
	c.start() // it counts as running
	c.mu.Lock()
	c.broken = true
	if c.notice != nil {
		c.notice.Stop()
	}
	c.dropAll(proxy.ErrClientGone)
	c.outReady.Signal()
	c.mu.Unlock()
	c.block.drop()
	c.Kick(wire.Canceled) // the writer may be waiting for a client that has gone
	<-c.written
	c.working.Wait()
}
