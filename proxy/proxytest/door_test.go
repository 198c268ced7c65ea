package proxytest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"sluice/proxy/limit"
)

// doorway is a gateway whose listener has limits, and these beside.
func doorway(t *testing.T, limits, more string) *Gateway {
	t.Helper()
	return Start(t, fmt.Sprintf("listen: { web: { address: \"127.0.0.1:8080\", limits: %s%s } }\nroutes: { a: { match: /a, respond: { status: 204 } } }\n", limits, more))
}

// knock opens a connection from an address, says something before if that is not empty, asks for /a and returns the status; 0: it was
// turned away. The connection stays open.
func knock(gw *Gateway, from, before string) (int, net.Conn) {
	gw.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", gw.Addr)
	if err != nil {
		return 0, nil // it was reset before it was seen here
	}
	gw.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		gw.t.Fatal(err)
	}
	if _, err := io.WriteString(c, before+"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return 0, c
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			gw.t.Error("a connection was neither served nor ended")
		}
		return 0, c
	}
	return resp.StatusCode, c
}

// refusedAt returns what the gateway's listener has refused.
func refusedAt(gw *Gateway) (refused [limit.DoorReasons]uint64) {
	gw.Runtime.Doors(func(_ string, r [limit.DoorReasons]uint64, _ limit.Counts) { refused = r })
	return refused
}

// TestDoorRate: a client over its rate is turned away, another one is served, and so are those whom nothing limits.
func TestDoorRate(t *testing.T) {
	t.Parallel()
	gw := doorway(t, "{ new_connections: 3/h per ip, except: [127.0.0.9] }", "")
	f := func(from string, want int) {
		t.Helper()
		if got, _ := knock(gw, from, ""); got != want {
			t.Errorf("from %s: %d, want %d", from, got, want)
		}
	}
	for range 3 {
		f("127.0.0.1", 204)
	}
	for range 3 {
		f("127.0.0.1", 0)
		f("127.0.0.2", 204)
		f("127.0.0.9", 204)
		f("127.0.0.9", 204)
	}
	f("127.0.0.2", 0)
	if got := refusedAt(gw); got != [limit.DoorReasons]uint64{4, 0, 0} {
		t.Errorf("got %v", got)
	}
	// A reload that leaves the limits as they are gives nobody anything; one without them does.
	gw.Reload("listen: { web: { address: \"127.0.0.1:8080\", limits: { new_connections: 3/h per ip, except: [127.0.0.9] } } }\nroutes: { a: { match: /a, respond: { status: 204 } } }\n")
	f("127.0.0.1", 0)
	gw.Reload("routes: { a: { match: /a, respond: { status: 204 } } }\n")
	f("127.0.0.1", 204)
}

// TestDoorOpen: a connection counts until it has ended.
func TestDoorOpen(t *testing.T) {
	t.Parallel()
	gw := doorway(t, "{ connections: 2 per ip }", "")
	f := func(from string, want int) net.Conn {
		t.Helper()
		got, c := knock(gw, from, "")
		if got != want {
			t.Errorf("from %s: %d, want %d", from, got, want)
		}
		return c
	}
	first := f("127.0.0.1", 204)
	f("127.0.0.1", 204)
	f("127.0.0.1", 0)
	f("127.0.0.2", 204)
	first.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if got, _ := knock(gw, "127.0.0.1", ""); got == 204 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a connection that has ended still counts")
		}
	}
	f("127.0.0.1", 0)
}

// TestDoorProxied: behind a balancer the client counts that the PROXY header names, and not the balancer.
func TestDoorProxied(t *testing.T) {
	t.Parallel()
	gw := doorway(t, "{ new_connections: 2/h per ip, connections: 100 per ip }", ", proxy_protocol: { from: [127.0.0.0/8] }")
	f := func(client string, want int) {
		t.Helper()
		family := "TCP4 " + client + " 192.0.2.200"
		if strings.Contains(client, ":") {
			family = "TCP6 " + client + " 2001:db8::200"
		}
		if got, _ := knock(gw, "127.0.0.1", "PROXY "+family+" 4000 443\r\n"); got != want {
			t.Errorf("%s: %d, want %d", client, got, want)
		}
	}
	f("192.0.2.1", 204)
	f("192.0.2.1", 204)
	f("192.0.2.1", 0)
	f("192.0.2.2", 204)
	f("2001:db8:0:1::1", 204)
	f("2001:db8:0:1::2", 204)
	f("2001:db8:0:1:f::3", 0)
	f("2001:db8:0:2::1", 204)
	if got := refusedAt(gw); got != [limit.DoorReasons]uint64{2, 0, 0} {
		t.Errorf("got %v", got)
	}
}

// TestDoorHandshakes: handshakes over the rate do not begin, over TCP or QUIC, while another client is served.
func TestDoorHandshakes(t *testing.T) {
	t.Parallel()
	const tlsToo = ", tls: self-signed, http: [h1, h2, h3]"
	shake := func(gw *Gateway, from string) error {
		d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 20 * time.Second}, Config: clientTLS.Clone()}
		c, err := d.Dial("tcp", gw.Addr)
		if err == nil {
			c.Close()
		}
		return err
	}
	f := func(gw *Gateway, from string, ok bool) {
		t.Helper()
		if err := shake(gw, from); (err == nil) != ok {
			t.Errorf("from %s: %v", from, err)
		}
	}
	gw := doorway(t, "{ handshakes: 2/h per ip }", tlsToo)
	f(gw, "127.0.0.1", true)
	f(gw, "127.0.0.1", true)
	f(gw, "127.0.0.1", false)
	f(gw, "127.0.0.2", true)
	if got := refusedAt(gw); got != [limit.DoorReasons]uint64{0, 1, 0} {
		t.Errorf("got %v", got)
	}

	// QUIC and TCP count together.
	ask3 := func(gw *Gateway, client *http3.Transport) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "https://"+gw.Addr+"/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	for _, limits := range []string{"{ handshakes: 3/h per ip }", "{ new_connections: 3/h per ip }"} {
		gw := doorway(t, limits, tlsToo)
		for range 2 {
			if err := ask3(gw, client3(t)); err != nil {
				t.Errorf("%s: %v", limits, err)
			}
		}
		f(gw, "127.0.0.1", true)
		if err := ask3(gw, client3(t)); err == nil {
			t.Errorf("%s: a fourth was served", limits)
		}
		f(gw, "127.0.0.2", true)
		if gw.Server.Counts().Retried == 0 {
			t.Errorf("%s: no address was to be proven", limits)
		}
	}

	// A connection of QUIC counts until it has ended.
	gw = doorway(t, "{ connections: 1 per ip }", tlsToo)
	first := client3(t)
	if err := ask3(gw, first); err != nil {
		t.Fatal(err)
	}
	if err := ask3(gw, client3(t)); err == nil {
		t.Error("a second connection was served")
	}
	first.Close()
	for deadline := time.Now().Add(20 * time.Second); ask3(gw, client3(t)) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a connection that has ended still counts")
		}
	}
}

// deaf is a socket that hears nothing: what is sent from it could carry anybody's address.
type deaf struct{ net.PacketConn }

func (deaf) SetReadBuffer(int) error  { return nil }
func (deaf) SetWriteBuffer(int) error { return nil }

func (d deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(b); err != nil {
			return 0, nil, err
		}
	}
}

// TestDoorForged: who writes a client's address into packets of UDP, and never sees what is answered, does not shut that client out.
func TestDoorForged(t *testing.T) {
	f := func(t *testing.T, limits string) {
		gw := doorway(t, limits, ", tls: self-signed, http: [h1, h2, h3]")
		to, err := net.ResolveUDPAddr("udp", gw.Addr)
		if err != nil {
			t.Fatal(err)
		}
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tr := &quic.Transport{Conn: deaf{socket}}
		ctx, cancel := context.WithCancel(t.Context())
		var dials sync.WaitGroup
		defer func() {
			cancel()
			dials.Wait()
			tr.Close()
			socket.Close()
		}()
		mine := clientTLS.Clone()
		mine.NextProtos = []string{"h3"}
		for range 12 {
			dials.Go(func() {
				if _, err := tr.Dial(ctx, to, mine, nil); err == nil {
					t.Error("a connection was made by somebody who hears nothing")
				}
			})
		}
		// Most of them are to be proven, and nothing but the first few is counted.
		for deadline := time.Now().Add(20 * time.Second); gw.Server.Counts().Retried < 7; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d addresses were to be proven, and %v refused", gw.Server.Counts().Retried, refusedAt(gw))
			}
		}
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 20 * time.Second}, Config: clientTLS.Clone()}
		c, err := d.Dial("tcp", gw.Addr)
		if err != nil {
			t.Fatalf("the client is shut out: %v", err)
		}
		c.Close()
		if got := refusedAt(gw); got != [limit.DoorReasons]uint64{} {
			t.Errorf("refused %v", got)
		}
	}
	for _, limits := range []string{
		"{ connections: 10 per ip }", "{ connections: [100 per ip, 10] }", "{ connections: 1 per ip }", "{ new_connections: 10/h per ip }",
	} {
		t.Run(limits, func(t *testing.T) {
			t.Parallel()
			f(t, limits)
		})
	}
}
