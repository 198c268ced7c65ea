package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"sluice/proxy"
)

// Packets is a UDP socket beside a listener's, on which QUIC (RFC 9000) is spoken, for HTTP/3 alone. Packets, encryption, loss and
// congestion are quic-go's, which stays behind this edge; what is said in its streams is h3's.
//
// A socket has connections of its own, unlike one of TCP: it stays open for them when its listener retires, and another listener
// may go on with it.
type Packets struct {
	server    *Server
	socket    net.PacketConn
	transport *quic.Transport
	owner     atomic.Pointer[Listener] // who accepts; nil: nobody
	closed    chan struct{}            // closed when the socket is

	mu        sync.Mutex
	accepting *quic.EarlyListener
	stopped   chan struct{} // closed when nothing is accepted any more
	holds     int           // connections, and whoever accepts, or is about to
}

// PacketKeys are what a socket proves to clients that it is still the one that they know. Zero keys are replaced by random ones.
type PacketKeys struct {
	// Token encrypts what clients show to prove that their address is theirs (RFC 9000 section 8.1). Hosts may share it.
	Token [32]byte
	// Reset makes what ends connections that the host knows nothing of any more (section 10.3). No two hosts may share it: who
	// sends one of them a packet of the other's would get what ends that connection (section 21.11).
	Reset [32]byte
}

// ServePackets begins to accept connections of QUIC on a UDP socket, under the listener's settings, whose TLS must not be nil. The
// socket is the listener's from then on.
func (l *Listener) ServePackets(socket net.PacketConn, keys PacketKeys) error {
	p := &Packets{server: l.server, socket: socket, holds: 1, closed: make(chan struct{})}
	p.transport = &quic.Transport{
		Conn: socket, ConnectionIDLength: connectionIDLength,
		ConnContext: p.begin, VerifySourceAddress: p.doubts,
	}
	if keys.Token != ([32]byte{}) {
		token := quic.TokenGeneratorKey(keys.Token)
		p.transport.TokenGeneratorKey = &token
	}
	if keys.Reset != ([32]byte{}) {
		reset := quic.StatelessResetKey(keys.Reset)
		p.transport.StatelessResetKey = &reset
	}
	l.server.mu.Lock()
	l.server.sockets[p] = struct{}{}
	l.server.mu.Unlock()
	return l.TakePackets(p)
}

// connectionIDLength is as long as is usual: nobody guesses one, and no two collide.
const connectionIDLength = 8

// TakePackets goes on with a socket that another listener, or this one, has retired, and that Hold has kept open.
func (l *Listener) TakePackets(p *Packets) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owner.Store(l)
	var err error
	if p.accepting, err = p.transport.ListenEarly(p.tls(), &quic.Config{Versions: versions, GetConfigForClient: p.config}); err != nil {
		p.owner.Store(nil)
		go func() {
			defer caught()
			p.Drop()
		}()
		return fmt.Errorf("cannot speak QUIC on %s: %w", p.socket.LocalAddr(), err)
	}
	p.stopped = make(chan struct{})
	go p.accept(p.accepting, p.stopped)
	l.server.mu.Lock()
	l.packets = p
	l.server.mu.Unlock()
	l.Set(l.settings.Load().Listening) // which is advertised now
	return nil
}

// RetirePackets ends what ServePackets has begun: no connection is accepted any more, and those that there are end as those of TCP
// do when a listener retires. It returns the socket, nil if there is none.
func (l *Listener) RetirePackets() *Packets {
	l.server.mu.Lock()
	p := l.packets
	l.packets = nil
	l.server.mu.Unlock()
	if p == nil {
		return nil
	}
	l.Set(l.settings.Load().Listening)
	p.stop()
	l.server.eachQUIC(func(e edge) {
		if c := e.(*h3); c.packets == p {
			c.endIdle()
		}
	})
	return p
}

// Hold keeps the socket open until Drop, or until TakePackets for one that was retired: a second one could not be opened at its address. It
// returns false if the socket is closed already.
func (p *Packets) Hold() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holds == 0 {
		return false
	}
	p.holds++
	return true
}

// Drop gives up what one Hold has kept. The socket closes when nobody holds it any more.
func (p *Packets) Drop() {
	p.mu.Lock()
	p.holds--
	last := p.holds == 0
	p.mu.Unlock()
	if last {
		p.close()
	}
}

func (p *Packets) accept(accepting *quic.EarlyListener, stopped chan struct{}) {
	defer close(stopped)
	for {
		conn, err := accepting.Accept(context.Background())
		if err != nil {
			return // it was stopped: no other reason is known
		}
		p.Hold() // whoever accepts has one already, so that it is open
		go func() {
			defer caught()
			defer p.Drop()
			defer func() {
				if v := recover(); v != nil {
					proxy.Caught(v)
					_ = conn.CloseWithError(codeInternal, "")
				}
			}()
			p.serve(conn)
		}()
	}
}

// stop accepts no more connections; those under way of being made are refused. The socket closes when the last one has ended.
func (p *Packets) stop() {
	if p.owner.Swap(nil) == nil {
		return
	}
	p.mu.Lock()
	accepting, stopped := p.accepting, p.stopped
	p.mu.Unlock()
	_ = accepting.Close() // never fails
	<-stopped
	p.Drop()
}

func (p *Packets) close() {
	_ = p.transport.Close() // which leaves the socket open
	if err := p.socket.Close(); err != nil {
		slog.Debug("a UDP socket did not close", "address", p.socket.LocalAddr().String(), "error", err)
	}
	p.server.mu.Lock()
	delete(p.server.sockets, p)
	p.server.mu.Unlock()
	close(p.closed)
}

// config is quic.Config.GetConfigForClient: a connection is made under the limits of its time. A panic here, or in what else quic-go calls,
// would end the process.
func (p *Packets) config(*quic.ClientInfo) (_ *quic.Config, err error) {
	defer recoverAs(&err)
	lim := &p.server.snapshot.Load().Limits
	early := false
	if l := p.owner.Load(); l != nil {
		early = l.settings.Load().servesEarly()
	}
	streams := lim.Streams
	if streams <= 0 {
		streams = streamsDefault
	}
	return &quic.Config{
		Versions:             versions,
		HandshakeIdleTimeout: p.server.handshakeTimeout() / 2, // all of it may take twice as long
		MaxIdleTimeout:       max(lim.Idle, silenceMin),
		// A client's uploads cost as much memory as with HTTP/2.
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: streamWindow,
		InitialConnectionReceiveWindow: connWindow, MaxConnectionReceiveWindow: connWindow,
		MaxIncomingStreams:    int64(streams),
		MaxIncomingUniStreams: uniStreamsMax,
		// A stream counts until what serves it is done, and not only until its client has reset it.
		RequireStreamCreditRelease: true,
		Allow0RTT:                  early,
	}, nil
}

var versions = []quic.Version{quic.Version1}

const (
	// silenceMin is how long a client that waits for a response may send no packet, even if it were let wait for less with its next
	// request. Clients keep the connection alive meanwhile (RFC 9114 section 5.1). How long it may do nothing is h3's to say.
	silenceMin = 30 * time.Second
	// uniStreamsMax is how many streams a client may have in which it alone speaks: three are needed, and some make up more so
	// that servers learn to pass over what they do not know.
	uniStreamsMax = 8
)

// doubts is quic.Transport.VerifySourceAddress. An address in a packet of UDP is whatever the sender has written there. When many
// handshakes are under way, in all or from this address, a client has to prove that it gets what is sent there, by a Retry
// (RFC 9000 section 8.1.2), which costs it a round trip and the gateway nothing to remember.
func (p *Packets) doubts(a net.Addr) (doubts bool) {
	var err error
	defer func() {
		if err != nil {
			doubts = true
		}
	}()
	defer recoverAs(&err) // by itself: recover works in a deferred function alone, and not in what that calls
	s, l := p.server, p.owner.Load()
	if l == nil {
		return false // it is refused, see begin
	}
	settings, peer := l.settings.Load(), addrPort(a).Addr()
	client := l.countedAs(peer)
	if s.handshakes.crowded(client, s.snapshot.Load().Limits.Handshakes) || settings.Door != nil && !settings.trusts(peer) && settings.Door.Doubts(peer) {
		s.retried.Add(1)
		return true
	}
	return false
}

// crowded reports whether so many handshakes are under way that an address should be proven first.
func (h *handshakes) crowded(client netip.Addr, most int) bool {
	if most <= 0 {
		most = crowdDefault
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shaking.all+h.hellos.all >= max(most/4, 1) ||
		client.IsValid() && h.shaking.clients[client]+h.hellos.clients[client] >= max(most/perClientShare/2, 1)
}

// crowdDefault stands for limits.handshakes where there is none.
const crowdDefault = 2000

// tls is what quic-go begins a handshake with. What it goes on with is chosen when the ClientHello is there, as over TCP.
func (p *Packets) tls() *tls.Config {
	return &tls.Config{
		NextProtos: alpnH3, MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (_ *tls.Config, err error) {
			defer recoverAs(&err)
			return handshakeOf(hello.Context()).config(hello)
		},
		GetEncryptedClientHelloKeys: func(hello *tls.ClientHelloInfo) (_ []tls.EncryptedClientHelloKey, err error) {
			defer recoverAs(&err)
			h := handshakeOf(hello.Context())
			keys := h.settings.TLS.GetEncryptedClientHelloKeys
			if keys == nil {
				return nil, nil
			}
			if err := h.arrive(); err != nil { // to decrypt costs CPU time already
				return nil, err
			}
			return keys(hello)
		},
	}
}

var alpnH3 = []string{"h3"}
