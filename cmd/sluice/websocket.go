package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"strings"

	"github.com/valyala/fasthttp"
)

// frameBytesMax bounds what the demo's echo takes in one frame.
const frameBytesMax = 1 << 20

// The opcodes that need more than an echo (RFC 6455 section 5.2).
const (
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// echoSocket is a WebSocket server (RFC 6455) that sends back whatever it gets. It speaks just enough for a demo.
func echoSocket(ctx *fasthttp.RequestCtx) {
	key := string(ctx.Request.Header.Peek("Sec-WebSocket-Key"))
	if key == "" || !strings.EqualFold(string(ctx.Request.Header.Peek("Upgrade")), "websocket") {
		ctx.Response.Header.Set("Upgrade", "websocket")
		ctx.Error("This path speaks WebSocket.\n", fasthttp.StatusUpgradeRequired)
		return
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	ctx.SetStatusCode(fasthttp.StatusSwitchingProtocols)
	ctx.Response.Header.Set("Upgrade", "websocket")
	ctx.Response.Header.Set("Connection", "Upgrade")
	ctx.Response.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	ctx.Hijack(func(c net.Conn) {
		r, w := bufio.NewReader(c), bufio.NewWriter(c)
		for echoFrame(r, w) {
		}
	})
}

// echoFrame sends one frame back, its fragmentation kept, and reports whether there may be more.
func echoFrame(r *bufio.Reader, w *bufio.Writer) bool {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return false
	}
	size, ok := frameSize(r, head[1])
	if !ok || head[1]&0x80 == 0 || size > frameBytesMax { // a client's frame is masked, section 5.1
		return false
	}
	frame := make([]byte, 4+size)
	if _, err := io.ReadFull(r, frame); err != nil {
		return false
	}
	mask, payload := frame[:4], frame[4:]
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	op := head[0] & 0xF
	switch op {
	case opPing:
		head[0] = head[0]&^0xF | opPong
	case opPong:
		return true // nobody asked
	}
	return writeFrame(w, head[0], payload) == nil && op != opClose
}

// frameSize reads the payload length, section 5.2: in the byte itself, or in the 2 or 8 bytes that follow.
func frameSize(r io.Reader, b byte) (uint64, bool) {
	size := uint64(b & 0x7F)
	if size < 126 {
		return size, true
	}
	long := make([]byte, 2+6*(size-126))
	if _, err := io.ReadFull(r, long); err != nil {
		return 0, false
	}
	size = 0
	for _, digit := range long {
		size = size<<8 | uint64(digit)
	}
	return size, true
}

func writeFrame(w *bufio.Writer, first byte, payload []byte) error {
	n := len(payload)
	head := []byte{first, byte(n)}
	switch {
	case n >= 1<<16: // up to frameBytesMax: the upper half of the 8 bytes is zero
		head = []byte{first, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	case n >= 126:
		head = []byte{first, 126, byte(n >> 8), byte(n)}
	}
	// The writer keeps its first error for Flush.
	_, _ = w.Write(head)
	_, _ = w.Write(payload)
	return w.Flush()
}
