package origin

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// accepted is the answer that opens a WebSocket (RFC 6455 section 4.2.2).
func accepted(key []byte) []byte {
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
}

// frame takes a frame of a client (section 5.2) and sends it back unmasked. A close frame is answered by one, and ends
// the connection. Longer payloads than payloadMax, and frames that are not masked, cut it off.
func (c *conn) frame(in []byte) (int, bool) {
	if len(in) < 2 {
		return 0, true
	}
	size, begin := int(in[1]&0x7f), 2
	if size == 126 {
		if len(in) < 4 {
			return 0, true
		}
		size, begin = int(binary.BigEndian.Uint16(in[2:])), 4
	}
	if in[1]&0x80 == 0 || size > payloadMax || in[1]&0x7f == 127 {
		return 0, false
	}
	if len(in) < begin+4+size {
		return 0, true
	}
	mask, payload := in[begin:begin+4], in[begin+4:begin+4+size]
	back := make([]byte, 0, begin+size)
	back = append(append(back, in[0], in[1]&0x7f), in[2:begin]...)
	for i, b := range payload {
		back = append(back, b^mask[i&3])
	}
	c.queued = append(c.queued, back)
	c.close = in[0]&0x0f == 8
	return begin + 4 + size, true
}
