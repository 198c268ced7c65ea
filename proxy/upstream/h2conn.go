package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// h2conn is one HTTP/2 connection to an origin (RFC 9113). One goroutine reads its frames, one writes them; each stream is served
// by its exchange's goroutine, and its request body by another.
//
// Frames and header compression are x/net/http2's Framer and hpack, as at the edge. Its Transport would be less code, but does not
// keep what is promised here: it sorts fields through a map, adds User-Agent and Accept-Encoding, drops unannounced
// request trailers, and says neither that an origin has processed nothing nor why a stream has ended.
//
// Nothing that the origin can make grow is without bound. What it may send ahead of a reader is bounded by each stream's window; the
// connection's window is given back at once, so that a response that nobody reads stops no other. What waits to be written
// is bounded by h2OutMax, and what it may say beside responses by talk.
type h2conn struct {
	nc       net.Conn
	endpoint *endpoint
	pool     *h2pool

	// Guarded by the pool's mu.
	taken     int // places, each for one stream
	most      int // how many there are
	away      bool
	idleSince int64

	// Of the goroutine that reads.
	decoder *hpack.Decoder
	block   h2block

	framer *http2.Framer // reads for the goroutine that reads, and writes into out, under mu

	mu         sync.Mutex // guards all below, and what a stream says it does
	streams    map[uint32]*h2stream
	nextID     uint32
	sendWindow frames.SendWindow
	recvWindow frames.RecvWindow
	peerWindow int64            // that each stream begins with
	talked     frames.Allowance // see talk
	encoder    *frames.Encoder
	out        []byte // frames that wait for the writer
	wake       chan struct{}
	err        error // why the connection has ended
	leaving    bool  // the origin takes no more streams on it
	heard      int64 // wire.Now when a frame came last, or the first stream began after none
	pinged     int64 // wire.Now when it was asked whether it lives, and has said nothing since
	check      *time.Timer
}

const (
	// h2FirstWindow is how much of a response may be on its way or waiting for its reader. What the reader takes widens it, up to
	// h2StreamWindow: a client that reads nothing of many responses must not make them pile up here.
	h2FirstWindow  = 64 << 10
	h2StreamWindow = 256 << 10
	// h2ConnWindow is how much may be on its way on all streams of a connection together.
	h2ConnWindow = 4 << 20
	// h2OutMax is how much waits for the writer; beyond it request bodies wait. Heads and answers to control frames may exceed it,
	// up to h2OutOver: then the connection takes no more streams, and one more control frame ends it.
	h2OutMax  = wire.Large
	h2OutOver = 1 << 20
	// h2LastWords is how long an origin may take to accept why a connection ends.
	h2LastWords = 100 * time.Millisecond
)

var errSilent = errors.New("the connection is silent, and does not answer a PING")

// greetH2 speaks the client's preface and waits for the origin's, until the deadline.
func greetH2(p *h2pool, nc net.Conn, deadline time.Time) (*h2conn, error) {
	e := p.endpoint
	c := &h2conn{nc: nc, endpoint: e, pool: p, most: h2StreamsMax, idleSince: wire.Now(), nextID: 1,
		sendWindow: frames.InitialWindow, recvWindow: frames.NewRecvWindow(h2ConnWindow), peerWindow: frames.InitialWindow,
		heard: wire.Now(), encoder: frames.NewEncoder(),
		streams: make(map[uint32]*h2stream), wake: make(chan struct{}, 1)}
	c.framer = frames.NewFramer((*h2out)(c), bufio.NewReaderSize(nc, wire.Medium))
	c.decoder = hpack.NewDecoder(frames.TableSize, c.emit)
	lim := &e.options.Limits
	c.out = append(c.out, http2.ClientPreface...)
	// Writing into memory cannot fail, here and below.
	_ = c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: h2FirstWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(lim.HeadBytes + 32*lim.Fields)},
	)
	_ = c.framer.WriteWindowUpdate(0, h2ConnWindow-frames.InitialWindow)
	if err := nc.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := nc.Write(c.out); err != nil {
		return nil, err
	}
	c.out = nil
	f, err := c.framer.ReadFrame()
	if err != nil {
		return nil, err
	}
	settings, ok := f.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return nil, frames.ErrProtocol // section 3.4
	}
	most, err := c.takeSettings(settings)
	if err != nil {
		return nil, err
	}
	if most >= 0 {
		c.most = most
	}
	if c.most == 0 {
		return nil, errNoStreams
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	go c.write()
	c.mu.Lock()
	c.check = time.AfterFunc(c.checkEvery(), c.checkAlive)
	c.mu.Unlock()
	return c, nil
}

// checkEvery is how often a connection is looked at. After half of timeouts.idle without a frame the origin is asked for one.
func (c *h2conn) checkEvery() time.Duration {
	return max(c.endpoint.options.Idle/4, time.Millisecond)
}

// checkAlive finds out whether an origin that is silent with streams open is still there.
func (c *h2conn) checkAlive() {
	defer c.caught()
	if c.isDead() {
		c.fail(errTimeout.With(errSilent))
	}
}

// isDead asks a silent origin, and reports whether it has left that unanswered for too long. It sets the time for the next look.
func (c *h2conn) isDead() (dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	now, half := wire.Now(), int64(c.endpoint.options.Idle)/2
	if len(c.streams) > 0 && now-c.heard >= half {
		switch {
		case c.pinged == 0:
			c.pinged = now
			_ = c.framer.WritePing(false, [8]byte{'a', 'l', 'i', 'v', 'e', '?'})
		case now-c.pinged >= half:
			dead = true
		}
	}
	c.check.Reset(c.checkEvery())
	return dead
}

// caught is deferred at the top of the goroutines beside the one that reads: that one finds the connection closed, and fails it.
func (c *h2conn) caught() {
	if p := recover(); p != nil {
		proxy.Caught(p)
		_ = c.nc.Close()
		defer caught() // what is broken may be the same
		c.pool.leave(c)
	}
}

// h2out is what the Framer writes to: memory, of which the writer takes all that there is at once. Under mu.
type h2out h2conn

func (w *h2out) Write(p []byte) (int, error) {
	c := (*h2conn)(w)
	if c.err == nil {
		c.out = append(c.out, p...)
		signal(c.wake)
	}
	return len(p), nil
}

// signal wakes whoever waits for ch, which has room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// write is the goroutine that writes. What many streams have to say goes out together.
func (c *h2conn) write() {
	defer c.caught()
	var spare []byte
	for range c.wake {
		for {
			c.mu.Lock()
			out, err := c.out, c.err
			c.out = spare[:0]
			c.mu.Unlock()
			if len(out) > 0 && c.writeOut(out, err != nil) != nil {
				// The reader finds out what has happened to the connection, and may still have answers to read.
				_ = c.nc.Close()
			}
			if err != nil {
				_ = c.nc.Close()
				return
			}
			if spare = out; cap(spare) > 2*h2OutMax {
				spare = nil
			}
			if len(out) == 0 {
				break
			}
			c.wakeAll()
		}
	}
}

func (c *h2conn) writeOut(p []byte, last bool) error {
	patience := c.endpoint.options.Idle
	if last {
		patience = h2LastWords
	}
	if err := c.nc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.nc.Write(p)
	return err
}

func (c *h2conn) wakeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeSenders()
}

// wakeSenders wakes the streams that wait for what they share: room in out, the connection's window. The lock is held.
func (c *h2conn) wakeSenders() {
	for _, st := range c.streams {
		if st.waiting {
			signal(st.room)
		}
	}
}

// fail ends the connection and every stream on it.
func (c *h2conn) fail(err error) {
	if !c.end(err) {
		return
	}
	// A writer that waits for an origin that takes nothing is not waited for.
	_ = c.nc.SetWriteDeadline(time.Now().Add(h2LastWords)) // fails on a connection that is closed
	c.pool.leave(c)
}

// end is what of fail needs the lock. It returns false if the connection has ended before.
func (c *h2conn) end(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	defer signal(c.wake) // the writer says the last words, and closes
	if e, ok := err.(http2.ConnectionError); ok {
		_ = c.framer.WriteGoAway(0, http2.ErrCode(e), nil)
	} else if err == errUnused {
		_ = c.framer.WriteGoAway(0, http2.ErrCodeNo, nil)
	}
	c.err = err
	c.leaving = true
	why := proxy.AsError(closedBy(err))
	for _, st := range c.streams {
		st.fail(why, false)
	}
	clear(c.streams)
	if c.check != nil {
		c.check.Stop()
	}
	return true
}

// closedBy says what has ended a connection in the words of the gateway.
func closedBy(err error) error {
	var known *proxy.Error
	var broken http2.ConnectionError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &broken):
		return errResponse.With(err)
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return errClosed.With(err)
}

// read is the goroutine that reads, to the connection's end.
func (c *h2conn) read() {
	var err error = proxy.ErrInternal
	defer c.caught() // of fail, for one
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
		}
		c.fail(err)
	}()
	for {
		var f http2.Frame
		if f, err = frames.Read(c.framer); err == nil {
			err = c.take(f)
		}
		if e, ok := err.(http2.StreamError); ok {
			c.refuse(e.StreamID, e.Code, errResponse.With(e))
			err = nil
		}
		if err != nil {
			return
		}
	}
}

// take does what a frame says. An error is an http2.StreamError or ends the connection.
func (c *h2conn) take(f http2.Frame) error {
	c.mu.Lock()
	c.heard, c.pinged = wire.Now(), 0
	c.mu.Unlock()
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.HeadersFrame:
		return c.takeHeaders(f)
	case *http2.ContinuationFrame:
		return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.GoAwayFrame:
		return c.takeGoAway(f)
	case *http2.PushPromiseFrame:
		return frames.ErrProtocol // section 8.4: it was told not to
	}
	most, err := c.takeOther(f)
	if err == nil && most >= 0 {
		c.pool.setMost(c, most)
	}
	return err
}

// takeOther is take for what is no part of an answer. It returns how many streams the connection takes, or -1 if the frame does not say.
func (c *h2conn) takeOther(f http2.Frame) (most int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.talk(); err != nil {
		return -1, err
	}
	switch f := f.(type) {
	case *http2.RSTStreamFrame:
		return -1, c.takeReset(f)
	case *http2.WindowUpdateFrame:
		return -1, c.takeWindow(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return -1, c.framer.WritePing(true, f.Data)
		}
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	}
	return -1, nil // priorities are advice, and unknown frames are to be passed over (section 4.1)
}

// How much an origin may say that is no response: PING, SETTINGS, WINDOW_UPDATE, empty DATA, resets, frames of streams that have
// ended and frames that nobody knows. A burst is always allowed, time earns it back, and so do heads and bodies, either
// way: origins of gRPC measure the round trip with a PING, and acknowledge each message.
const (
	h2TalkMax    = 2000
	h2TalkEvery  = 10 * time.Millisecond
	h2TalkEarned = 10
)

// talk counts such a frame; the lock is held.
func (c *h2conn) talk() error {
	if len(c.out) > h2OutOver {
		return frames.ErrCalm
	}
	return c.talked.Spend(wire.Now(), h2TalkMax, h2TalkEvery)
}

// earn is for a head, or a frame of n bytes of a body. The lock is held.
func (c *h2conn) earn(n int) { c.talked.Earn(h2TalkEarned + n/128) }

// takeSettings acknowledges settings. It returns how many streams the connection takes, or -1 if they do not say. Under mu, once
// the connection is shared.
func (c *h2conn) takeSettings(f *http2.SettingsFrame) (most int, err error) {
	most = -1
	if f.IsAck() {
		return most, nil
	}
	err = frames.EachSetting(f, func(s http2.Setting) error {
		switch s.ID {
		case http2.SettingMaxConcurrentStreams:
			most = int(min(s.Val, h2StreamsMax))
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
	return most, err
}

// moveWindows applies another initial window to all streams, section 6.9.2.
func (c *h2conn) moveWindows(size int64) error {
	by := size - c.peerWindow
	c.peerWindow = size
	for _, st := range c.streams {
		if !st.sendWindow.Grow(by) {
			return frames.ErrWindow
		}
		signal(st.room)
	}
	return nil
}

func (c *h2conn) takeWindow(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if !c.sendWindow.Grow(int64(f.Increment)) {
			return frames.ErrWindow
		}
		c.wakeSenders()
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return c.unknown(f.StreamID)
	}
	if !st.sendWindow.Grow(int64(f.Increment)) {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	signal(st.room)
	return nil
}

// unknown judges a frame of a stream that there is not: one that is over may still be spoken of, one that was never opened may
// not.
func (c *h2conn) unknown(id uint32) error {
	if id%2 == 0 || id >= c.nextID {
		return frames.ErrProtocol
	}
	return nil
}

func (c *h2conn) takeReset(f *http2.RSTStreamFrame) error {
	st := c.streams[f.StreamID]
	if st == nil {
		return c.unknown(f.StreamID)
	}
	delete(c.streams, f.StreamID)
	refused := f.ErrCode == http2.ErrCodeRefusedStream && !st.answered
	why := errReset
	if refused {
		why = errNotTaken
	}
	why = why.With(http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode})
	why.GRPC = grpcOfReset(f.ErrCode)
	// After a whole response it only says that the rest of the request is not needed (section 8.1).
	st.fail(why, refused)
	return nil
}

// grpcOfReset is the status of a call that its server has reset ("Errors" in gRPC over HTTP/2; what that leaves out, as gRPC's
// clients have it).
func grpcOfReset(code http2.ErrCode) uint8 {
	switch code {
	case http2.ErrCodeRefusedStream:
		return proxy.GRPCUnavailable
	case http2.ErrCodeCancel:
		return proxy.GRPCCanceled
	case http2.ErrCodeEnhanceYourCalm:
		return proxy.GRPCResourceExhausted
	case http2.ErrCodeInadequateSecurity:
		return proxy.GRPCPermissionDenied
	}
	return proxy.GRPCInternal
}

// takeGoAway ends the connection for new streams. Those above the last one that the origin names were not processed.
func (c *h2conn) takeGoAway(f *http2.GoAwayFrame) error {
	err := c.endAfter(f)
	c.pool.leave(c)
	return err
}

// endAfter is what of takeGoAway needs the lock.
func (c *h2conn) endAfter(f *http2.GoAwayFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.talk()
	c.leaving = true
	for id, st := range c.streams {
		if id > f.LastStreamID {
			delete(c.streams, id)
			st.fail(errNotTaken.With(http2.GoAwayError{LastStreamID: f.LastStreamID, ErrCode: f.ErrCode}), !st.answered)
		}
	}
	return err
}

// refuse resets a stream for what its origin has done, or for what went wrong on this side.
func (c *h2conn) refuse(id uint32, code http2.ErrCode, why *proxy.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset(id, code, why)
}

// reset is refuse with the lock held.
func (c *h2conn) reset(id uint32, code http2.ErrCode, why *proxy.Error) {
	if st := c.streams[id]; st != nil {
		_ = c.framer.WriteRSTStream(id, code)
		delete(c.streams, id)
		st.fail(why, false)
	}
}

func (c *h2conn) takeData(f *http2.DataFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, data := int64(f.Length), f.Data()
	// What is not given back of the connection's window is less than an eighth of it: it cannot run out for an origin that
	// respects it, and the streams' windows bound one that does not.
	c.recvWindow.Take(all)
	c.recvWindow.Use(all)
	if more := c.recvWindow.GiveBack(h2ConnWindow/8, 0); more > 0 {
		_ = c.framer.WriteWindowUpdate(0, more)
	}
	st := c.streams[f.StreamID]
	if st == nil || st.ended {
		if err := c.talk(); err != nil {
			return err
		}
		if st != nil {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
		}
		return c.unknown(f.StreamID) // it was reset, and the origin does not know yet
	}
	if !st.recvWindow.Take(all) {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	st.arrived += int64(len(data))
	switch {
	case !st.headed, st.bodyless && len(data) > 0, st.declared >= 0 && st.arrived > st.declared:
		return frames.Malformed(f.StreamID)
	case len(data) > 0:
		c.earn(len(data))
	case !f.StreamEnded():
		if err := c.talk(); err != nil {
			return err
		}
	}
	st.body.Put(data)
	st.giveBack(all - int64(len(data)))
	if f.StreamEnded() {
		return st.endResponse()
	}
	signal(st.heard)
	return nil
}

// writeHead sends a block of fields in as many frames as it takes. The lock is held.
func (c *h2conn) writeHead(id uint32, end bool) {
	c.encoder.Write(c.framer, id, end)
	c.earn(0)
}

// encode adds a field to the block. Values that do not come twice are not kept in the compression's table, nor are those that must
// not be guessed by trying (RFC 7541 section 7.1).
func (c *h2conn) encode(name, value string) {
	c.encoder.Add(name, value, slices.Contains(unrepeated, name))
}

var unrepeated = []string{"authorization", "cookie", "x-request-id", "content-length", ":path"}
