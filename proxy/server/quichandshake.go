package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/quic-go/quic-go"

	"sluice/proxy"
	"sluice/tlsterm"
)

// quicHandshake is a connection of QUIC that is being made. It counts as a TLS handshake from the ClientHello on, as over TCP, and as a
// connection when it is made. Until all of the ClientHello is there, for which two packets are needed, it counts among others like it: they
// take nobody's place with another protocol.
type quicHandshake struct {
	listener *Listener
	settings *settings
	peer     netip.AddrPort
	counted  netip.Addr
	proven   bool // the client has shown that it gets what is sent to its address
	fields   int  // how large a head may be, as the client is told
	epoch    uint32

	// Written while the ClientHello is looked at, before there is a connection that could be accepted.
	ja4 string

	left chan struct{} // closed when the place was taken away

	mu      sync.Mutex // guards all below
	place   *place     // nil: the ClientHello is not there as yet
	refused bool       // there was none
	over    bool       // the handshake has ended
}

type handshakeKey struct{}

func handshakeOf(ctx context.Context) *quicHandshake {
	return ctx.Value(handshakeKey{}).(*quicHandshake)
}

// errRetired refuses what comes when nobody accepts any more.
var errRetired = errors.New("the listener has retired")

// errUnproxied refuses what ought to begin with a PROXY header.
var errUnproxied = errors.New("a PROXY header was due, which UDP cannot carry")

// errTurnedAway refuses whom the door does not let in, or who is shunned.
var errTurnedAway = errors.New("too many connections of this client")

// errPassedOn refuses a name whose connections are passed on, which is done over TCP alone: it must not end here.
var errPassedOn = errors.New("the name is passed on over TCP alone")

// begin is quic.Transport.ConnContext: it counts a handshake in, or refuses it.
//
// A balancer of proxy_protocol.from is refused: with TCP its connections begin with the client's address, which over UDP nobody
// says. Taken as a client, it would lend its address, and what is believed of it, to everybody behind it.
func (p *Packets) begin(ctx context.Context, info *quic.ClientInfo) (_ context.Context, err error) {
	defer recoverAs(&err)
	l := p.owner.Load()
	if l == nil {
		return nil, errRetired
	}
	limits := &l.server.snapshot.Load().Limits
	epoch := l.epoch.Load() // first: a connection made by settings that are replaced meanwhile ends with them
	h := &quicHandshake{
		listener: l, settings: l.settings.Load(), peer: addrPort(info.RemoteAddr), proven: info.AddrVerified,
		fields: fieldSectionMax(limits), epoch: epoch, left: make(chan struct{}),
	}
	if h.settings.TLS == nil {
		return nil, errRetired
	}
	if h.settings.proxied(h.peer.Addr()) {
		l.server.unproxied.Add(1)
		l.complain(h.peer, errUnproxied)
		return nil, errUnproxied
	}
	h.counted = l.countedAs(h.peer.Addr())
	leave, ok := l.server.mayEnter(h.settings, h.peer.Addr(), h.counted)
	if !ok {
		return nil, errTurnedAway
	}
	gone := func() {
		if leave != nil {
			leave()
		}
	}
	if !h.settings.mayShake(h.peer.Addr()) {
		gone()
		return nil, errHandshakeRate
	}
	if err := l.server.handshakes.beginHello(h.counted, limits.Handshakes); err != nil {
		gone()
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		defer caught()
		defer gone()
		h.fail(context.Cause(ctx))
	})
	return context.WithValue(ctx, handshakeKey{}, h), nil
}

// arrive is called when the ClientHello is there, also more than once. It takes a place among the handshakes, which is taken away if
// somebody else needs it.
func (h *quicHandshake) arrive() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.place != nil {
		return nil
	}
	if h.over {
		return errHandshakes // the client has gone meanwhile
	}
	s := h.listener.server
	p, err := s.handshakes.takeAfterHello(h.counted, s.snapshot.Load().Limits.Handshakes, func() { close(h.left) })
	h.place, h.refused = p, err != nil
	return err
}

// end is called when the handshake has ended, one way or the other. first: it was not before; refused: for want of a place.
func (h *quicHandshake) end() (first, refused bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false, false
	}
	h.over = true
	s := h.listener.server
	if h.place == nil {
		s.handshakes.endHello(h.counted)
		return true, h.refused
	}
	return true, !s.handshakes.giveBack(h.place)
}

// fail is called at the end of every connection, and counts those that were never made.
func (h *quicHandshake) fail(why error) {
	first, refused := h.end()
	if !first {
		return
	}
	slog.Debug("a QUIC handshake failed", "listener", h.listener.Name, "peer", h.peer.String(), "error", why)
	if !refused {
		h.listener.server.handshakes.failed.Add(1)
	}
}

// await waits until the handshake has ended, and reports whether it was completed.
func (h *quicHandshake) await(conn *quic.Conn) bool {
	select {
	case <-conn.HandshakeComplete():
	case <-conn.Context().Done():
		return false
	case <-h.left:
		_ = conn.CloseWithError(codeExcessiveLoad, errHandshakes.Error()) // never fails
		return false
	}
	if first, _ := h.end(); first {
		hs := &h.listener.server.handshakes
		hs.completed.Add(1)
		if conn.ConnectionState().TLS.DidResume {
			hs.resumed.Add(1)
		}
	}
	return true
}

// config is what a handshake goes on with, now that the ClientHello is there.
func (h *quicHandshake) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if err := h.arrive(); err != nil {
		return nil, err
	}
	if h.ja4 == "" { // it is called once more after a HelloRetryRequest
		h.ja4 = tlsterm.JA4QUIC(hello)
	}
	if through := h.settings.Through; through != nil && through.Find(strings.ToLower(hello.ServerName)) != nil {
		return nil, errPassedOn
	}
	mine := h.settings.TLS
	if mine.GetConfigForClient != nil {
		other, err := mine.GetConfigForClient(hello)
		if err != nil {
			return nil, err
		}
		if other != nil {
			mine = other
		}
	}
	mine = mine.Clone()
	mine.GetConfigForClient = nil
	mine.NextProtos = alpnH3
	guard(mine)
	if h.settings.servesEarly() {
		h.bindEarly(mine)
	}
	return mine, nil
}

// guard keeps a bug in what a handshake asks for from ending the process.
func guard(c *tls.Config) {
	if get := c.GetCertificate; get != nil {
		c.GetCertificate = func(hello *tls.ClientHelloInfo) (_ *tls.Certificate, err error) {
			defer recoverAs(&err)
			return get(hello)
		}
	}
	if verify := c.VerifyConnection; verify != nil {
		c.VerifyConnection = func(cs tls.ConnectionState) (err error) {
			defer recoverAs(&err)
			return verify(cs)
		}
	}
	if wrap := c.WrapSession; wrap != nil {
		c.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) (_ []byte, err error) {
			defer recoverAs(&err)
			return wrap(cs, s)
		}
	}
	if unwrap := c.UnwrapSession; unwrap != nil {
		c.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (_ *tls.SessionState, err error) {
			defer recoverAs(&err)
			return unwrap(ticket, cs)
		}
	}
}

// servesEarly reports whether requests are served that come before the end of a handshake. With certificates of clients they are
// not: a request that anybody can send again would count as one of theirs.
func (s *settings) servesEarly() bool {
	return s.EarlyData && s.TLS != nil && s.TLS.ClientAuth == tls.NoClientCert && s.ClientCerts == nil
}

// bindEarly takes early data (RFC 8446 section 2.3) only
//   - from clients that have proven their address, with a token of an earlier connection: else anybody could send requests in the
//     name of any address, and policies go by it;
//   - if a head may be as large as the client was told when it got the ticket (RFC 9114 section 7.2.4.2).
//
// Else the session is resumed without, and the client sends its requests after the handshake.
func (h *quicHandshake) bindEarly(c *tls.Config) {
	wrap, unwrap := c.WrapSession, c.UnwrapSession
	if wrap == nil || unwrap == nil {
		wrap, unwrap = c.EncryptTicket, c.DecryptTicket
	}
	const prefix = "sluice h3 "
	c.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		s.Extra = append(s.Extra, []byte(prefix+strconv.Itoa(h.fields)))
		return wrap(cs, s)
	}
	c.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		s, err := unwrap(ticket, cs)
		if err != nil || s == nil {
			return s, err
		}
		told := -1
		for _, extra := range s.Extra {
			if text, ok := strings.CutPrefix(string(extra), prefix); ok {
				if n, err := strconv.Atoi(text); err == nil {
					told = n
				}
			}
		}
		s.EarlyData = s.EarlyData && h.proven && told >= 0 && told <= h.fields
		return s, nil
	}
}

// serve serves a connection, which may have come before the end of its handshake, to its end.
func (p *Packets) serve(conn *quic.Conn) {
	h := handshakeOf(conn.Context())
	early := h.settings.servesEarly()
	if !early && !h.await(conn) {
		return
	}
	from := origin{
		peer: h.peer, counted: h.counted, ja4: h.ja4, transport: &proxy.Transport{Local: addrPort(conn.LocalAddr())}, epoch: h.epoch,
	}
	from.secured(conn.ConnectionState().TLS, h.settings)
	if err := p.server.admit(h.counted); err != nil {
		slog.Debug("a QUIC connection was refused", "listener", h.listener.Name, "peer", h.peer.String(), "error", err)
		_ = conn.CloseWithError(codeExcessiveLoad, err.Error()) // it is closed afterwards in any case
		return
	}
	p.serveCounted(conn, h, from, early)
}

// serveCounted serves a connection that was counted in, and which counts until it returns or panics.
func (p *Packets) serveCounted(conn *quic.Conn, h *quicHandshake, from origin, early bool) {
	running := false
	defer func() {
		if !running { // else the connection sees to it itself, see close
			p.server.dismiss(from.counted)
		}
	}()
	c := newH3(p, h.listener, conn, from)
	if early {
		go func() {
			defer caught()
			h.await(conn)
		}()
	}
	running = true
	c.run()
}
