package server

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"sluice/proxy"
)

// soon bounds what these tests wait for.
const soon = 10 * time.Second

// doorman counts who is inside.
type doorman struct{ inside, left chan struct{} }

func newDoorman() *doorman {
	return &doorman{inside: make(chan struct{}, 1), left: make(chan struct{}, 9)}
}

func (d *doorman) Enter(netip.Addr) (leave func(), ok bool) {
	d.inside <- struct{}{}
	return func() { d.left <- struct{}{} }, true
}
func (*doorman) Handshake(netip.Addr) bool { return true }
func (*doorman) Doubts(netip.Addr) bool    { return false }

// wantLeft waits until one has left, and no more than that.
func (d *doorman) wantLeft(t *testing.T) {
	t.Helper()
	select {
	case <-d.left:
	case <-time.After(soon):
		t.Fatal("the door was not told that the connection has gone")
	}
	if len(d.inside) != 1 || len(d.left) != 0 {
		t.Errorf("%d have entered, and one and %d have left", len(d.inside), len(d.left))
	}
}

// TestHandle_leave: a bug after a connection was let in keeps no place behind the door.
func TestHandle_leave(t *testing.T) {
	door := newDoorman()
	l := &Listener{server: new(Server)} // without a snapshot to ask for limits
	l.settings.Store(&settings{Listening: proxy.Listening{Door: door}})
	client, c := net.Pipe()
	before := proxy.Panics.Load()
	l.handle(c)
	door.wantLeft(t)
	_ = client.SetDeadline(time.Now().Add(soon))
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("got %d bytes, %v; want the end of the connection", n, err)
	}
	if n := proxy.Panics.Load() - before; n != 1 {
		t.Errorf("%d bugs were counted", n)
	}
}

// TestBegin_leave: a bug at the end of a handshake of QUIC keeps no place behind the door.
func TestBegin_leave(t *testing.T) {
	door := newDoorman()
	s := new(Server)
	s.Publish(&proxy.Snapshot{})
	l := &Listener{server: s}
	l.settings.Store(&settings{Listening: proxy.Listening{Door: door, TLS: new(tls.Config)}})
	p := &Packets{server: s}
	p.owner.Store(l)
	ctx, end := context.WithCancelCause(t.Context())
	before := proxy.Panics.Load()
	if _, err := p.begin(ctx, &quic.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}); err != nil {
		t.Fatal(err)
	}
	s.handshakes.hellos.clients = nil // what fail takes the handshake out of
	end(os.ErrDeadlineExceeded)
	door.wantLeft(t)
	for end := time.Now().Add(soon); proxy.Panics.Load() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the bug was not counted")
		}
	}
}

// TestServeCounted: a connection of QUIC that a bug ends before anybody serves it counts no more.
func TestServeCounted(t *testing.T) {
	s := &Server{clients: make(map[netip.Addr]int)}
	s.Publish(&proxy.Snapshot{})
	client := netip.MustParseAddr("192.0.2.1")
	if err := s.admit(client); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("there was no bug")
			}
		}()
		(&Packets{server: s}).serveCounted(nil, nil, origin{counted: client}, false)
	}()
	if s.open != 0 || len(s.clients) != 0 {
		t.Errorf("%d connections are open, of %d clients", s.open, len(s.clients))
	}
}
