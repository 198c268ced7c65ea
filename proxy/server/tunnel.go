package server

import (
	"io"
	"sync"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// tunnel connects the client to the origin that has switched protocols, until both directions have ended. One side's
// end of sending is passed on as such; an error ends both.
func (c *h1) tunnel(x *proxy.Exchange) {
	t := x.Response.Tunnel
	out := wire.GetBuf(wire.Medium)
	head := c.appendHead(out.B[:0], x, -1, false, true)
	err := c.send(head)
	out.Free()
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
		if !c.pour(t.Read, c.Conn.Write, c.CloseWrite, &c.out, silence) {
			c.Kick(wire.Canceled)
			_ = t.Close() // an end that cannot be told to end has ended
		}
	}()
	if !c.pour(c.in.Read, t.Write, t.CloseWrite, &c.upload.taken, silence) {
		c.Kick(wire.Canceled)
		_ = t.Close() // as above
	}
	down.Wait()
	c.hello = false
}

// pour copies until the source ends, then ends the sink's side of the conversation. It returns false if something
// failed and the whole tunnel has to end.
func (c *h1) pour(read, write func([]byte) (int, error), end func() error, count *int64, silence int64) bool {
	defer func() {
		if p := recover(); p != nil {
			proxy.Caught(p)
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
				return false
			}
		}
		if err != nil {
			return err == io.EOF && end() == nil
		}
	}
}
