package server

import (
	"bytes"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/http2"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// refuseH2 is refuseConnection for a listener on which HTTP/2 alone is spoken.
func refuseH2(c net.Conn) {
	var answer bytes.Buffer
	fr := http2.NewFramer(&answer, nil)
	// Writing into memory cannot fail.
	_ = fr.WriteSettings()
	_ = fr.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte(errConnections.Error()))
	lastWords(c, answer.Bytes())
}

// h2input is what the Framer reads from: the connection, with a buffer that is given back while nothing comes.
type h2input h2

func (r *h2input) Read(p []byte) (int, error) {
	c := (*h2)(r)
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	if c.in.Buffered() == 0 {
		c.start() // nothing more of it has arrived
		c.in.Unpin()
		if err := c.in.Fill(); err != nil {
			return 0, err
		}
	}
	return c.in.Read(p)
}

// h2output is what the Framer writes to: memory, of which the writer takes all that there is at once. Under mu.
type h2output h2

func (w *h2output) Write(p []byte) (int, error) {
	c := (*h2)(w)
	if c.broken || c.endBy != 0 {
		return len(p), nil // nobody will read it
	}
	if c.outBuf == nil {
		c.outBuf = wire.GetBuf(outMax)
		c.out = c.outBuf.B[:0]
	}
	if len(c.out) == 0 {
		c.outReady.Signal()
		if c.parked {
			c.Unpark()
		}
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

func (c *h2) newFramer() *http2.Framer { return frames.NewFramer((*h2output)(c), (*h2input)(c)) }

// write is the goroutine that writes, to the connection's end, or until it rests. What many streams have to say goes out together.
func (c *h2) write() {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(c.written)
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			c.breakOff()
		}
	}()
	patience := c.readerPatience()
	for {
		for len(c.out) == 0 && c.endBy == 0 && !c.broken && !c.resting {
			c.outReady.Wait()
		}
		if c.broken {
			break
		}
		if len(c.out) == 0 && c.endBy == 0 {
			break
		}
		if len(c.out) == 0 {
			// The client closes when it has seen the end; one that does not is given lingerFor.
			_ = c.CloseWrite() // fails on a connection that has ended, which the reader finds out
			break
		}
		out, buf := c.out, c.outBuf
		c.out, c.outBuf = nil, nil
		c.wakeWaiting()
		c.mu.Unlock()
		err := c.writeOut(out, buf, patience)
		c.mu.Lock()
		if err != nil {
			c.breakOff()
		}
	}
	c.outBuf.Free()
	c.out, c.outBuf = nil, nil
}

// breakOff is called when nothing can be written any more.
func (c *h2) breakOff() {
	c.broken = true
	c.Kick(wire.Canceled) // the reader ends the rest; a kick for slowness stays what it is
}

// readerPatience tells the connection how slowly the client may read, as setSlowRead does, and returns for how long it may
// take nothing; 0: for ever.
func (c *h2) readerPatience() int64 {
	rate := c.rates.MinRate
	if rate <= 0 {
		return 0
	}
	patience := readPatience(&c.rates, windowBytes)
	if !c.WriteRate(rate, time.Duration(patience)) {
		// Only that it has taken everything can be seen.
		patience = readPatience(&c.rates, 2*outMax)
	}
	return patience
}

// writeOut writes without the lock, which a panic must not miss: it becomes an error here.
func (c *h2) writeOut(p []byte, buf *wire.Buf, patience int64) (err error) {
	defer recoverAs(&err)
	defer buf.Free()
	if patience > 0 {
		c.ArmWrite(wire.Now() + patience)
		defer c.ArmWrite(0)
	}
	_, err = c.Conn.Write(p)
	return err
}

// wakeWaiting wakes the streams that wait for what they share: room in out, the connection's window.
func (c *h2) wakeWaiting() {
	for _, st := range c.streams {
		if st.waiting {
			st.changed.Broadcast()
		}
	}
}

// writeHead sends a block of fields: a head with its status, or with status 0 trailers. length is announced if it is not
// below 0. It returns how many bytes that takes.
func (c *h2) writeHead(id uint32, status int, h *wire.Head, length int64, end bool) int64 {
	c.encoder.Begin()
	if status != 0 {
		c.encoder.Add(":status", strconv.Itoa(status), false)
	}
	for name, value := range h.All() {
		name := lowerName(name)
		if !hopByHopName[name] {
			c.encoder.Add(name, string(value), unrepeated[name])
		}
	}
	if length >= 0 {
		c.encoder.Add("content-length", strconv.FormatInt(length, 10), true)
	}
	c.flood.head()
	return c.encoder.Write(c.framer, id, end)
}

// hopByHopName are the fields that HTTP/2 forbids (RFC 9113 section 8.2.2). Those of origins are gone by now; this is for what
// a policy has set.
var hopByHopName = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "transfer-encoding": true, "upgrade": true,
	"content-length": true, // derives from the body alone
}

// unrepeated are fields whose values do not come twice, or must not be guessed by trying (RFC 7541 section 7.1): to keep them in
// the compression's table would push out what does come again.
var unrepeated = map[string]bool{"set-cookie": true, "x-request-id": true, "content-length": true, "etag": true}

// lowerName is a field's name as HTTP/2 wants it (RFC 9113 section 8.2.1).
func lowerName(name []byte) string {
	low := make([]byte, len(name))
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		low[i] = b
	}
	return string(low)
}
