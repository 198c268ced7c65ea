package server

import (
	"net"

	"sluice/proxy/wire"
)

// helloAwaited is how much of a ClientHello is waited for. Those of browsers have 2 KiB with a post-quantum key; of one that has more,
// crypto/tls reads all the same, and holds it.
const helloAwaited = wire.Medium

// awaitHello waits until a whole ClientHello has arrived. crypto/tls would hold a buffer as large as the client says that its record is
// going to be, and much of what a handshake needs besides, for a client that may have nothing more to say: half-open handshakes
// are what TLS is flooded with.
func awaitHello(c net.Conn) error { return wire.Await(c, helloAwaited, helloWhole) }

// helloWhole reports whether a connection that begins like this has said all of its ClientHello (RFC 8446 section 4), which may lie in
// several records (section 5.1), or something that is none: crypto/tls knows what to answer.
func helloWhole(b []byte) bool {
	const (
		handshake   = 22
		clientHello = 1
		recordMax   = 16 << 10
	)
	var head []byte // of the message: its type and its length
	got := 0
	for len(b) > 0 {
		if b[0] != handshake {
			return true
		}
		if len(b) < 5 {
			return false
		}
		n := int(b[3])<<8 | int(b[4])
		if n == 0 || n > recordMax {
			return true
		}
		if b = b[5:]; len(b) < n {
			return false
		}
		head = append(head, b[:min(n, 4-len(head))]...)
		got += n
		b = b[n:]
		if len(head) < 4 {
			continue
		}
		if length := int(head[1])<<16 | int(head[2])<<8 | int(head[3]); head[0] != clientHello || got >= 4+length {
			return true
		}
	}
	return false
}
