package server

import (
	"errors"
	"io"
	"sync"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// tunnel connects the client to the origin that has switched protocols, until both directions have ended. One side's
// end of sending is passed on as such. A side that breaks off ends both directions, and the other side sees a reset: it
// must not take what came so far for all there was.
func (c *h1) tunnel(x *proxy.Exchange) {
	t := x.Response.Tunnel
	head := c.appendHead(x.Out()[:0], x, -1, false, true)
	err := c.send(head)
	x.FreeOut()
	if err != nil {
		x.Aborted = true
		return
	}
	// Silence in both directions ends a tunnel; each direction's activity keeps both connections alive.
	silence := int64(t.Silence())
	var down sync.WaitGroup
	down.Add(1)
	go func() {
		defer down.Done()
		defer caught()
		if err := c.pour(t.Read, c.Conn.Write, c.endSending, &c.out, silence); err != nil {
			x.Aborted = true
			if err != errSinkGone {
				c.ResetOnClose()
				c.Kick(wire.Canceled)
			}
		}
	}()
	if err := c.pour(c.in.Read, t.Write, t.CloseWrite, &c.upload.taken, silence); err != nil && err != errSinkGone {
		_ = t.Close() // an end that cannot be told to end has ended
	}
	down.Wait()
	c.headOut = false
}

// endSending tells the client that nothing more will come. When it then says the same, the kernel reports a hang-up
// that is none: what the client said before may still be on its way to the origin.
func (c *h1) endSending() error {
	c.WatchReset(0)
	return c.CloseWrite()
}

// errSinkGone says that a side of a tunnel takes nothing any more. What it has said before it went is still to be passed
// on (RFC 9110 section 9.3.6): the other direction goes on and finds its end by itself.
var errSinkGone = errors.New("the other side has gone")

// pour copies until the source ends, then ends the sink's side of the conversation. Any error but errSinkGone is that
// the source broke off.
func (c *h1) pour(read, write func([]byte) (int, error), end func() error, count *int64, silence int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
			err = proxy.ErrInternal
		}
	}()
	buf := wire.GetBuf(wire.Medium)
	defer buf.Free()
	for {
		c.Arm(wire.Now() + silence)
		n, err := read(buf.B)
		if n > 0 {
			*count += int64(n)
			if _, err := write(buf.B[:n]); err != nil {
				return errSinkGone
			}
		}
		if err == io.EOF {
			if end() != nil {
				return errSinkGone
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}
