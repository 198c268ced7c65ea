package upstream

import (
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// tunnel is a connection that the origin has switched to another protocol. Both directions keep it alive.
type tunnel struct{ c *conn }

func (c *conn) setTunnel(x *proxy.Exchange) error {
	if x.Request.Upgrade == "" {
		return errResponse.With(errUnasked)
	}
	resp := &x.Response
	wire.DropHopByHop(&c.message, &resp.Head)
	c.in.Pin(c.message.Bytes())
	c.body.Init(&c.in, wire.UntilClose, 0, nil, nil)
	c.keep = false
	c.Disarm()
	resp.Tunnel = tunnel{c}
	resp.Body.SetFlow(nil, c, -1) // closed with the exchange
	return nil
}

var errUnasked = &wire.Refusal{Status: 502, Code: "unasked_upgrade", Detail: "101 Switching Protocols without a request for it"}

func (t tunnel) Read(p []byte) (int, error) {
	t.active()
	return t.c.in.Read(p)
}

func (t tunnel) Write(p []byte) (int, error) {
	t.active()
	return t.c.Conn.Write(p)
}

func (t tunnel) active() { t.c.Arm(wire.Now() + int64(t.c.endpoint.options.Tunnel)) }

func (t tunnel) CloseWrite() error { return t.c.CloseWrite() }

func (t tunnel) Silence() time.Duration { return t.c.endpoint.options.Tunnel }

// Close interrupts both directions; the connection itself is closed with the exchange's body. The origin sees a reset,
// and not an end as if all had been said.
func (t tunnel) Close() error {
	t.c.ResetOnClose()
	t.c.Kick(wire.Canceled)
	return nil
}
