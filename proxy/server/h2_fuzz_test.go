package server

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// sayConn is a connection on which a client has said everything at once, and takes whatever it is told.
type sayConn struct {
	net.Conn
	in bytes.Reader
}

func (c *sayConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *sayConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *sayConn) Close() error                     { return nil }
func (c *sayConn) SetDeadline(time.Time) error      { return nil }
func (c *sayConn) SetReadDeadline(time.Time) error  { return nil }
func (c *sayConn) SetWriteDeadline(time.Time) error { return nil }

// echo answers with the request's body.
type echo struct{}

func (echo) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	x.Response.Status = 200
	b, err := x.Gather(&x.Request.Body, 1<<20)
	if err != nil {
		return err
	}
	x.Response.Body.SetWhole(b)
	return nil
}

type plain struct{}

func (plain) Render(x *proxy.Exchange, err *proxy.Error) { x.Response.Body.SetWhole([]byte(err.Code)) }

// FuzzH2 lets a client say anything: the connection ends, nothing panics, and nothing is left behind.
func FuzzH2(f *testing.F) {
	say := func(frames func(fr *http2.Framer, block []byte)) {
		var out, block bytes.Buffer
		e := hpack.NewEncoder(&block)
		for _, field := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/a?b"}, {":authority", "test"}, {"x", "y"}} {
			if err := e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
				f.Fatal(err)
			}
		}
		fr := http2.NewFramer(&out, nil)
		if err := fr.WriteSettings(); err != nil {
			f.Fatal(err)
		}
		frames(fr, block.Bytes())
		f.Add(out.Bytes())
	}
	say(func(fr *http2.Framer, block []byte) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:5]})
		_ = fr.WriteContinuation(1, true, block[5:])
		_ = fr.WriteDataPadded(1, false, []byte("body"), make([]byte, 9))
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0, 1, 't', 1, 'u'}, EndHeaders: true, EndStream: true})
		_ = fr.WriteWindowUpdate(1, 7)
		_ = fr.WritePing(false, [8]byte{})
		_ = fr.WriteGoAway(0, 0, nil)
	})
	say(func(fr *http2.Framer, block []byte) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block, EndHeaders: true})
		_ = fr.WriteRSTStream(3, http2.ErrCodeCancel)
		_ = fr.WriteData(3, true, []byte("late"))
		_ = fr.WritePriority(5, http2.PriorityParam{})
	})
	limits := proxy.Limits{HeadBytes: 4 << 10, TargetBytes: 1 << 10, Fields: 20, BodyBytes: 1 << 20, Streams: 10,
		Idle: time.Second, HeadTimeout: time.Second, MinRate: 1 << 10}
	route := &proxy.Route{Name: "-fuzz", Errors: plain{}, Chain: proxy.NewChain(proxy.Link{Name: "echo", Policy: echo{}})}
	sweeper := wire.NewSweeper()
	f.Cleanup(sweeper.Stop)
	s := New(sweeper, &proxy.Snapshot{Fallback: route, Limits: limits})
	l := &Listener{server: s}
	l.settings.Store(&settings{Listening: proxy.Listening{H2: true, Instead: route}})
	f.Fuzz(func(t *testing.T, said []byte) {
		before := proxy.Panics.Load()
		c := &sayConn{}
		c.in.Reset(append([]byte(http2.ClientPreface), said...))
		if err := s.admit(netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		l.serveH2(c, nil, origin{})
		if n := s.Counts().Open; n != 0 {
			t.Errorf("%d connections are open", n)
		}
		if proxy.Panics.Load() != before {
			t.Error("a panic")
		}
	})
}
