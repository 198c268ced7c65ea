package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"sluice/tlsterm"
)

// handshakes counts what becomes of TLS handshakes, and bounds how many are under way.
type handshakes struct {
	underWay  atomic.Int64
	completed atomic.Uint64
	resumed   atomic.Uint64 // of the completed ones
	failed    atomic.Uint64
	refused   atomic.Uint64 // over the limit
}

// Handshakes are the server's TLS handshakes.
type Handshakes struct {
	UnderWay  int
	Completed uint64
	Resumed   uint64 // of the completed ones
	Failed    uint64 // the client went, took too long, or would not agree on anything
	Refused   uint64 // over limits.handshakes
}

// Handshakes returns what became of TLS handshakes.
func (s *Server) Handshakes() Handshakes {
	h := &s.handshakes
	return Handshakes{
		UnderWay: int(h.underWay.Load()), Completed: h.completed.Load(), Resumed: h.resumed.Load(),
		Failed: h.failed.Load(), Refused: h.refused.Load(),
	}
}

// handshakeTimeout is used where a snapshot has no limit of its own.
const handshakeTimeout = 10 * time.Second

// errHandshakes refuses a handshake beyond limits.handshakes: a flood of them then costs neither memory nor the CPU time that the
// clients who are connected need.
var errHandshakes = errors.New("too many TLS handshakes are under way")

// handshake makes the handshake, and returns the client's fingerprint with the connection.
func (s *Server) handshake(c net.Conn, config *tls.Config) (tc *tls.Conn, ja4 string, err error) {
	limits := &s.snapshot.Load().Limits
	h := &s.handshakes
	defer h.underWay.Add(-1)
	if n := h.underWay.Add(1); limits.Handshakes > 0 && n > int64(limits.Handshakes) {
		h.refused.Add(1)
		return nil, "", errHandshakes
	}
	timeout := limits.HandshakeTimeout
	if timeout <= 0 {
		timeout = handshakeTimeout
	}
	_ = c.SetDeadline(time.Now().Add(timeout)) // fails only on a closed connection, as does taking it back
	tc = tls.Server(c, fingerprinting(config, &ja4))
	if err := tc.Handshake(); err != nil {
		h.failed.Add(1)
		var header tls.RecordHeaderError
		if errors.As(err, &header) && header.Conn != nil && isHTTP(header.RecordHeader) {
			_, _ = io.WriteString(header.Conn, notHTTP) // the connection ends in any case
		}
		return nil, "", err
	}
	_ = c.SetDeadline(time.Time{})
	h.completed.Add(1)
	if tc.ConnectionState().DidResume {
		h.resumed.Add(1)
	}
	return tc, ja4, nil
}

// fingerprinting is config for one handshake, which leaves the client's fingerprint behind: nobody but GetConfigForClient is shown
// what the client has sent.
func fingerprinting(config *tls.Config, ja4 *string) *tls.Config {
	mine := config.Clone()
	mine.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		*ja4 = tlsterm.JA4(h)
		if config.GetConfigForClient != nil {
			return config.GetConfigForClient(h)
		}
		return nil, nil // mine
	}
	return mine
}

// notHTTP answers who speaks HTTP to a port of HTTPS.
const notHTTP = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis port speaks HTTPS: use https://\n"

// isHTTP reports whether what came in the place of a record's header is the beginning of a request.
func isHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "DELET", "OPTIO", "PATCH":
		return true
	}
	return false
}
