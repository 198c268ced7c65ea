package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/tlsterm"
)

// handshakes counts what becomes of TLS handshakes, and bounds how many are under way.
type handshakes struct {
	mu      sync.Mutex
	shaking tally
	hellos  tally                   // of QUIC, whose ClientHello is not all there; there may be as many again
	places  map[netip.Addr][]*place // of those that are shaking, the oldest first

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
	h.mu.Lock()
	underWay := h.shaking.all + h.hellos.all
	h.mu.Unlock()
	return Handshakes{
		UnderWay: underWay, Completed: h.completed.Load(), Resumed: h.resumed.Load(),
		Failed: h.failed.Load(), Refused: h.refused.Load(),
	}
}

// handshakeTimeoutDefault is used where a snapshot has no limit of its own.
const handshakeTimeoutDefault = 10 * time.Second

func (s *Server) handshakeTimeout() time.Duration {
	if timeout := s.snapshot.Load().Limits.HandshakeTimeout; timeout > 0 {
		return timeout
	}
	return handshakeTimeoutDefault
}

// errHandshakes refuses a handshake beyond limits.handshakes: a flood of them then costs neither memory nor the CPU time that the
// clients who are connected need.
var errHandshakes = errors.New("too many TLS handshakes are under way")

// errHandshakeRate refuses a handshake that the door does not let begin.
var errHandshakeRate = errors.New("too many TLS handshakes of this client")

// perClientShare is the part of limits.handshakes that one client may have: one in so many.
const perClientShare = 8

// tally counts, in all and for each client.
type tally struct {
	all     int
	clients map[netip.Addr]int
}

func (t *tally) add(client netip.Addr) {
	t.all++
	if client.IsValid() {
		if t.clients == nil {
			t.clients = make(map[netip.Addr]int)
		}
		t.clients[client]++
	}
}

func (t *tally) sub(client netip.Addr) {
	t.all--
	if client.IsValid() {
		if t.clients[client]--; t.clients[client] <= 0 {
			delete(t.clients, client)
		}
	}
}

// greedy reports whether a client has its share.
func (t *tally) greedy(client netip.Addr, most int) bool {
	return most > 0 && client.IsValid() && t.clients[client] >= max(most/perClientShare, 1)
}

// full reports whether all places are taken.
func (t *tally) full(most int) bool { return most > 0 && t.all >= most }

// handshake makes the handshake, and returns the client's fingerprint with the connection. It counts from the ClientHello on: who
// is silent, or says half of it, costs a socket as any connection does, and takes nobody's place.
func (s *Server) handshake(c net.Conn, settings *settings, from *origin) (tc *tls.Conn, ja4 string, err error) {
	h, config := &s.handshakes, settings.TLS
	var at *place
	defer func() {
		if at != nil && !h.giveBack(at) {
			err = errHandshakes
		}
		if p := recover(); p != nil {
			proxy.Caught(p)
			err = errBroken
		}
		if err != nil && err != errHandshakes && err != errHandshakeRate {
			h.failed.Add(1)
		}
	}()
	limits := &s.snapshot.Load().Limits
	_ = c.SetDeadline(time.Now().Add(s.handshakeTimeout())) // fails only on a closed connection, as does taking it back
	if err := awaitHello(c); err != nil {
		return nil, "", err
	}
	begin := func() error {
		if at != nil {
			return nil
		}
		if !settings.mayShake(from.peer.Addr()) {
			return errHandshakeRate
		}
		var err error
		at, err = h.take(from.counted, limits.Handshakes, func() {
			_ = c.SetDeadline(time.Unix(1, 0)) // fails only on a closed connection
		})
		return err
	}
	// Nobody but these two is shown what the client has sent.
	mine := config.Clone()
	if keys := config.GetEncryptedClientHelloKeys; keys != nil {
		mine.GetEncryptedClientHelloKeys = func(hello *tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
			if err := begin(); err != nil { // to decrypt costs CPU time already
				return nil, err
			}
			return keys(hello)
		}
	}
	mine.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if err := begin(); err != nil {
			return nil, err
		}
		ja4 = tlsterm.JA4(hello)
		if config.GetConfigForClient != nil {
			return config.GetConfigForClient(hello)
		}
		return nil, nil // mine
	}
	tc = tls.Server(c, mine)
	if err := tc.Handshake(); err != nil {
		var header tls.RecordHeaderError
		if errors.As(err, &header) && header.Conn != nil && isHTTP(header.RecordHeader) {
			_, _ = io.WriteString(header.Conn, notHTTP) // the connection ends in any case
		}
		for _, refusal := range []error{errHandshakes, errHandshakeRate} {
			if errors.Is(err, refusal) {
				err = refusal
			}
		}
		return nil, "", err
	}
	if at != nil && !h.giveBack(at) { // from here on nobody ends it
		return nil, "", errHandshakes
	}
	_ = c.SetDeadline(time.Time{})
	h.completed.Add(1)
	if tc.ConnectionState().DidResume {
		h.resumed.Add(1)
	}
	return tc, ja4, nil
}

// tlsVersion is the name of a version as OpenSSL has it, and PROXY headers.
func tlsVersion(version uint16) string {
	return strings.ReplaceAll(tls.VersionName(version), " ", "v")
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
