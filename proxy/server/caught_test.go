package server_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"sluice/proxy"
	"sluice/proxy/proxytest"
	"sluice/proxy/server"
)

// bugs are what is around a listener's requests, all of it broken.
type bugs struct {
	enters atomic.Int64
	once   bool // Enter is broken the first time alone
	leave  bool
	doubts bool
}

func (b *bugs) Enter(netip.Addr) (leave func(), ok bool) {
	if b.once && b.enters.Add(1) == 1 {
		panic("a bug of the test in a door")
	}
	if !b.leave {
		return nil, true
	}
	return func() { panic("a bug of the test at the end of a connection") }, true
}
func (*bugs) Handshake(netip.Addr) bool { return true }
func (b *bugs) Doubts(netip.Addr) bool {
	if b.doubts {
		panic("a bug of the test in a door that doubts")
	}
	return false
}

func (*bugs) Begin(*proxy.Passage)               { panic("a bug of the test in an observer") }
func (*bugs) Moved(*proxy.Passage, int64, int64) {}
func (*bugs) Finish(*proxy.Passage)              { panic("an end without a beginning") }

// breaking is a listener of connections to which nothing can be written, for a bug.
type breaking struct{ net.Listener }

func (l breaking) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return broken{c}, nil
}

type broken struct{ net.Conn }

func (broken) Write([]byte) (int, error) { panic("a bug of the test in a connection") }

// TestCaught: a bug outside of requests is counted and ends its connection, whose place is given back, and neither others nor their listener.
func TestCaught(t *testing.T) {
	// f opens a listener, and lets ask do something that comes upon so many bugs.
	f := func(name string, listening func(*proxy.Listening), wrap func(net.Listener) net.Listener, bugs uint64, ask func(s *stage)) {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "")
			nl, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if wrap != nil {
				nl = wrap(nl)
			}
			how := proxy.Listening{H2: true}
			if listening != nil {
				listening(&how)
			}
			s.Server.Listen("bug", nl, how)
			s.Addr = nl.Addr().String()
			before := proxy.Panics.Load()
			ask(s)
			s.open(0)
			for end := time.Now().Add(patience); proxy.Panics.Load()-before < bugs; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					break
				}
			}
			if n := proxy.Panics.Load() - before; n != bugs {
				t.Errorf("%d bugs were counted, want %d", n, bugs)
			}
		})
	}
	works := func(s *stage) {
		s.t.Helper()
		c := s.ask("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", "/")
		s.read(c, 200, "hello", true)
	}
	cut := func(s *stage, c *proxytest.Client) {
		s.t.Helper()
		if got, err := io.ReadAll(c.R); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			s.t.Errorf("got %q, %v; want the end of the connection", got, err)
		}
	}
	f("enter", func(l *proxy.Listening) { l.Door = &bugs{once: true} }, nil, 1, func(s *stage) {
		cut(s, s.dial())
		works(s)
	})
	f("enter behind a balancer", func(l *proxy.Listening) {
		l.Door = &bugs{once: true}
		l.Proxied = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}, nil, 1, func(s *stage) {
		c := s.dial()
		c.Send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
		cut(s, c)
		c = s.dial()
		c.Send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
		s.expect(s.began, "/")
		s.read(c, 200, "hello", true)
	})
	f("leave", func(l *proxy.Listening) { l.Door = &bugs{leave: true} }, nil, 2, func(s *stage) {
		works(s)
		c := s.h2()
		c.request(1, "GET", "/", true)
		s.expect(s.began, "/")
		c.want(1, "200", "hello")
		c.Close()
	})
	f("observe a passage", func(l *proxy.Listening) { l.Pass, l.Passages = &proxy.Way{Service: "none"}, &bugs{} }, nil, 1, func(s *stage) {
		cut(s, s.dial())
	})
	f("write", nil, func(l net.Listener) net.Listener { return breaking{l} }, 2, func(s *stage) {
		c := s.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n", "/")
		cut(s, c)
		h2 := s.dial()
		h2.Send(http2.ClientPreface)
		cut(s, h2)
	})
}

// TestCaught3 is TestCaught for the beginning and the end of a connection of QUIC.
func TestCaught3(t *testing.T) {
	f := func(name string, door *bugs) {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, all3)
			nl, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			listening := s.Listening()
			listening.Door = door
			if err := s.Server.Listen("bug", nl, listening).ServePackets(udp(t, nl), server.PacketKeys{}); err != nil {
				t.Fatal(err)
			}
			s.Addr = nl.Addr().String()
			before := proxy.Panics.Load()
			c := s.h3()
			c.request("GET", "/", true).want("200", "hello")
			c.CloseWithError(h3NoError, "")
			s.open(0)
			for end := time.Now().Add(patience); proxy.Panics.Load() == before; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the bug was not counted")
				}
			}
		})
	}
	f("doubts", &bugs{doubts: true})
	f("leave", &bugs{leave: true})
}
