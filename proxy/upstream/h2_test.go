package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/proxy/wire/frames"
)

// h2origin is an origin that says whatever a test wants, frame by frame. Its methods fail quietly: the gateway may have ended the
// connection, and what a test expects is on the other side.
type h2origin struct {
	*http2.Framer
	net.Conn
	n       int // of the connection
	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
	resets  []http2.RSTStreamFrame
	pings   int
	mute    bool // answers no PING
	onPing  func()
}

// h2Origin accepts connections, and hands each to serve when it has greeted with these settings.
func h2Origin(t testing.TB, serve func(o *h2origin), settings ...http2.Setting) Target {
	t.Helper()
	to := rawOrigin(t, func(c net.Conn, r *bufio.Reader, n int) {
		if o := greetedH2(t, c, r, n, settings); o != nil {
			serve(o)
		}
	})
	to.H2 = true
	return to
}

// greetedH2 is a connection whose preface is there; nil: what is there is none.
func greetedH2(t testing.TB, c net.Conn, r *bufio.Reader, n int, settings []http2.Setting) *h2origin {
	o := &h2origin{Framer: http2.NewFramer(c, r), Conn: c, n: n, decoder: hpack.NewDecoder(4096, nil)}
	o.AllowIllegalWrites = true
	o.encoder = hpack.NewEncoder(&o.block)
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(r, preface[:]); err != nil || string(preface[:]) != http2.ClientPreface {
		t.Errorf("the preface is %q (%v)", preface, err)
		return nil
	}
	_ = o.WriteSettings(settings...)
	return o
}

// frame returns the next frame that is about streams, or nil at the end of the connection.
func (o *h2origin) frame() http2.Frame {
	for {
		f, err := o.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = o.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !o.mute && !f.IsAck() {
				_ = o.WritePing(true, f.Data)
			}
			if o.onPing != nil {
				o.onPing()
			}
		case *http2.WindowUpdateFrame:
		default:
			return f
		}
	}
}

// request waits for the next head, and returns its stream and its fields as lines; 0 at the end of the connection.
func (o *h2origin) request() (id uint32, head string) {
	for {
		switch f := o.frame().(type) {
		case nil:
			return 0, ""
		case *http2.RSTStreamFrame:
			o.resets = append(o.resets, *f)
		case *http2.HeadersFrame:
			fields, err := o.decoder.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				return 0, err.Error()
			}
			var lines []string
			for _, f := range fields {
				lines = append(lines, f.Name+"="+f.Value)
			}
			return f.StreamID, strings.Join(lines, " ")
		}
	}
}

// head sends a head: name, value, name, value.
func (o *h2origin) head(id uint32, end bool, fields ...string) {
	o.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = o.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	block := o.block.Bytes()
	for first := true; first || len(block) > 0; first = false {
		part := block[:min(len(block), frames.Max)]
		block = block[len(part):]
		if first {
			_ = o.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: part, EndStream: end, EndHeaders: len(block) == 0})
		} else {
			_ = o.WriteContinuation(id, len(block) == 0, part)
		}
	}
}

// answer sends a whole response.
func (o *h2origin) answer(id uint32, body string) {
	o.head(id, false, ":status", "200")
	_ = o.WriteData(id, true, []byte(body))
}

// rest reads until the gateway ends the connection.
func (o *h2origin) rest() {
	for o.frame() != nil {
	}
}

// each serves every request of a connection.
func each(f func(o *h2origin, id uint32)) func(o *h2origin) {
	return func(o *h2origin) {
		for {
			id, _ := o.request()
			if id == 0 {
				return
			}
			f(o, id)
		}
	}
}

// TestH2Hostile: whatever an origin does wrong is the origin's failure, never a response that looks whole, and the service goes on.
func TestH2Hostile(t *testing.T) {
	f := func(name, want string, misbehave func(o *h2origin, id uint32)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			s := testService(t, func(o *Options) {
				if want == "upstream_timeout" { // a busy machine takes its time for the rest
					o.Idle, o.Try = 400*time.Millisecond, 400*time.Millisecond
				}
			}, h2Origin(t, func(o *h2origin) {
				id, _ := o.request()
				if o.n == 0 {
					misbehave(o, id)
				} else if id != 0 {
					o.answer(id, "fine")
				}
				o.rest()
			}))
			expect(t, s, "POST", "/", "body", want)
			// Whatever it was, it was that exchange's.
			s.endpointAt(0).retire()
			expect(t, s, "GET", "/", "", "200 fine")
			settled2(t, s)
		})
	}

	for _, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeProtocol, http2.ErrCodeInternal, http2.ErrCodeFlowControl,
		http2.ErrCodeSettingsTimeout, http2.ErrCodeStreamClosed, http2.ErrCodeFrameSize, http2.ErrCodeCancel, http2.ErrCodeCompression,
		http2.ErrCodeConnect, http2.ErrCodeEnhanceYourCalm, http2.ErrCodeInadequateSecurity, http2.ErrCodeHTTP11Required, 0xdead} {
		f("reset before the answer, "+code.String(), "upstream_reset", func(o *h2origin, id uint32) { _ = o.WriteRSTStream(id, code) })
		f("reset in the body, "+code.String(), "upstream_reset", func(o *h2origin, id uint32) {
			o.head(id, false, ":status", "200", "content-length", "9")
			_ = o.WriteData(id, false, []byte("half"))
			_ = o.WriteRSTStream(id, code)
		})
	}
	f("reset in a body without a length", "upstream_reset", func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "200")
		_ = o.WriteData(id, false, []byte("half"))
		_ = o.WriteRSTStream(id, http2.ErrCodeNo)
	})
	f("reset after the answer", "200 whole", func(o *h2origin, id uint32) {
		o.answer(id, "whole")
		_ = o.WriteRSTStream(id, http2.ErrCodeNo)
	})
	f("half a body, then the end", "upstream_response", func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "200", "content-length", "9")
		_ = o.WriteData(id, true, []byte("half"))
	})
	f("half a body, then no connection", "upstream_closed", func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "200")
		_ = o.WriteData(id, false, []byte("half"))
		o.Close()
	})
	f("half a body, then silence", "upstream_timeout", func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "200")
		_ = o.WriteData(id, false, []byte("half"))
	})
	f("a body longer than announced", "upstream_response", func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "200", "content-length", "3")
		_ = o.WriteData(id, true, []byte("longer"))
	})
	f("silence", "upstream_timeout", func(*h2origin, uint32) {})
	f("no connection", "upstream_closed", func(o *h2origin, _ uint32) { o.Close() })
	f("data before the head", "upstream_response", func(o *h2origin, id uint32) { _ = o.WriteData(id, true, []byte("x")) })
	f("data after the end", "200 whole", func(o *h2origin, id uint32) {
		o.answer(id, "whole")
		_ = o.WriteData(id, false, []byte("more"))
	})
	f("data of a stream that never was", "upstream_response", func(o *h2origin, id uint32) { _ = o.WriteData(id+2, false, []byte("x")) })
	f("a pushed stream", "upstream_response", func(o *h2origin, id uint32) {
		_ = o.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true})
	})
	f("no status", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, "server", "x") })
	f("two statuses", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, ":status", "200", ":status", "200") })
	f("a late status", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, "server", "x", ":status", "200") })
	f("status 99", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, ":status", "099") })
	f("status 101", "upstream_response", func(o *h2origin, id uint32) { o.head(id, false, ":status", "101") })
	f("upper case", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, ":status", "200", "Server", "x") })
	f("a line break", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, ":status", "200", "a", "x\r\nb: c") })
	f("a connection field", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, ":status", "200", "connection", "close") })
	f("a head too large", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, ":status", "200", "a", strings.Repeat("x", 9<<10)) })
	f("a head far too large", "upstream_response", func(o *h2origin, id uint32) { o.head(id, true, ":status", "200", "a", strings.Repeat("x", 1<<20)) })
	f("too many fields", "upstream_response", func(o *h2origin, id uint32) {
		o.head(id, true, append([]string{":status", "200"}, strings.Split(strings.Repeat("a,b,", 51)+"a,b", ",")...)...)
	})
	f("informational responses without end", "upstream_response", func(o *h2origin, id uint32) {
		for range 100 {
			o.head(id, false, ":status", "103")
		}
	})
	f("trailers that do not end", "upstream_response", func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "200")
		o.head(id, false, "grpc-status", "0")
	})
	f("a forbidden trailer", "upstream_response", func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "200")
		o.head(id, true, "content-length", "0")
	})
	f("a stream's window overflows", "upstream_response", func(o *h2origin, id uint32) { _ = o.WriteWindowUpdate(id, 1<<31-1) })
	f("the connection's window overflows", "upstream_response", func(o *h2origin, _ uint32) { _ = o.WriteWindowUpdate(0, 1<<31-1) })
	f("more than the window", "upstream_response", func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "103")
		o.head(id, false, ":status", "200")
		for range h2StreamWindow/frames.Max + 40 { // the reader may give back some of it
			_ = o.WriteData(id, false, make([]byte, frames.Max))
		}
		_ = o.WriteRawFrame(http2.FrameData, 0, id, make([]byte, 1<<14))
		_ = o.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4)) // of 0: an error of the stream
	})
	for name, flood := range map[string]func(o *h2origin, id uint32){
		"PING":     func(o *h2origin, _ uint32) { _ = o.WritePing(false, [8]byte{}) },
		"SETTINGS": func(o *h2origin, _ uint32) { _ = o.WriteSettings() },
		"DATA":     func(o *h2origin, id uint32) { _ = o.WriteData(id, false, nil) },
		"unknown":  func(o *h2origin, _ uint32) { _ = o.WriteRawFrame(0xfa, 0, 0, nil) },
		"PRIORITY": func(o *h2origin, id uint32) { _ = o.WritePriority(id, http2.PriorityParam{StreamDep: 0}) },
	} {
		f("a flood of "+name, "upstream_response", func(o *h2origin, id uint32) {
			o.head(id, false, ":status", "200")
			go io.Copy(io.Discard, o.Conn)
			for range 3 * h2TalkMax {
				flood(o, id)
			}
		})
	}
	f("a flood of CONTINUATION", "upstream_response", func(o *h2origin, id uint32) {
		_ = o.WriteHeaders(http2.HeadersFrameParam{StreamID: id})
		for range 2 * frames.BlockFramesMax {
			_ = o.WriteContinuation(id, false, nil)
		}
	})
	f("no compression that could be read", "upstream_response", func(o *h2origin, id uint32) {
		_ = o.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
	})
	f("a frame too large", "upstream_response", func(o *h2origin, id uint32) { _ = o.WriteRawFrame(http2.FrameData, 0, id, make([]byte, 1<<15)) })
}

// settled2 waits until no place on a connection of the first endpoint is taken.
func settled2(t testing.TB, s *Service) {
	t.Helper()
	e := s.endpointAt(0)
	eventually(t, "no stream is left", func() bool {
		open, idle := e.counts()
		return open == idle && e.inFlight.Load() == 0
	})
}

// TestH2NoOrigin: what cannot be spoken to is no connection.
func TestH2NoOrigin(t *testing.T) {
	f := func(want string, to Target) {
		t.Helper()
		to.H2 = true
		s := testService(t, func(o *Options) { o.Connect = 200 * time.Millisecond }, to)
		expect(t, s, "GET", "/", "", want)
	}
	f("upstream_unreachable", deadTarget(t))
	f("upstream_unreachable", origin(t, func(int, *http.Request, string) string { return ok("HTTP/1.1") }))
	f("upstream_unreachable", rawOrigin(t, func(c net.Conn, r *bufio.Reader, _ int) { _, _ = io.Copy(io.Discard, r) }))
	f("upstream_unreachable", h2Origin(t, (*h2origin).rest, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}))
}

// TestH2Fields: every field arrives once and in order, with nothing added, and so do trailers and informational responses.
func TestH2Fields(t *testing.T) {
	heads := make(chan string, 2)
	s := testService(t, nil, h2Origin(t, func(o *h2origin) {
		id, head := o.request()
		heads <- head
		_, trailers := o.request()
		heads <- trailers
		o.head(id, false, ":status", "103", "link", "</a>")
		o.head(id, false, ":status", "200", "b", "1", "a", "2", "b", "3", "trailer", "x")
		_ = o.WriteData(id, false, []byte("hello"))
		o.head(id, true, "grpc-status", "0", "unannounced", "yes")
		o.rest()
	}))
	x := newExchange("POST", "/p", "")
	defer end(x)
	for _, f := range []string{"Z", "A", "Z"} {
		x.Request.Head.AddString(f, f+"-value")
	}
	x.Request.TakesTrailers = true
	x.Request.Trailers.AddString("After", "all")
	x.Request.Body.SetFlow(nil, &pieces{left: []string{"a", "b"}}, -1)
	got, err := serve(s, x)
	if err != nil || got != "200 hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	want := ":method=POST :scheme=http :authority=client.example :path=/p z=Z-value a=A-value z=Z-value te=trailers"
	if head := receive(t, "a head", heads); head != want {
		t.Errorf("the origin saw %s\nwant %s", head, want)
	}
	if trailers := receive(t, "trailers", heads); trailers != "after=all" {
		t.Errorf("the origin saw trailers %q", trailers)
	}
	if h := string(x.Response.Head.AppendTo(nil)); h != "b: 1\r\na: 2\r\nb: 3\r\n" {
		t.Errorf("the response's fields are %q", h)
	}
	if h := string(x.Response.Trailers.AppendTo(nil)); h != "grpc-status: 0\r\nunannounced: yes\r\n" {
		t.Errorf("the response's trailers are %q", h)
	}
	if got := x.Edge.(*testEdge).interims; len(got) != 1 || got[0] != "103 link: </a>\r\n" {
		t.Errorf("informational responses are %q", got)
	}
}

// pieces is a body that comes piece by piece, then ends, or breaks off with an error.
type pieces struct {
	left []string
	err  error
	stop chan struct{} // after the pieces it waits for it, if it is not nil
	once sync.Once
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) > 0 {
		n := copy(b, p.left[0])
		if p.left[0] = p.left[0][n:]; p.left[0] == "" {
			p.left = p.left[1:]
		}
		return n, nil
	}
	if p.stop != nil {
		<-p.stop
	}
	if p.err != nil {
		return 0, p.err
	}
	return 0, io.EOF
}

func (p *pieces) Buffered() int { return len(p.left) }
func (p *pieces) Close() error  { return nil }
func (p *pieces) Interrupt() {
	if p.stop != nil {
		p.once.Do(func() { close(p.stop) })
	}
}

// TestH2Retry: what the origin says that it has not processed is sent again, whatever the method; what it may have is not.
func TestH2Retry(t *testing.T) {
	f := func(method, want string, attempts int, first func(o *h2origin, id uint32)) {
		t.Helper()
		s := testService(t, nil, h2Origin(t, func(o *h2origin) {
			for n := 0; ; n++ {
				id, _ := o.request()
				switch {
				case id == 0:
					return
				case o.n > 0 || n == 0:
					o.answer(id, fmt.Sprint("connection ", o.n))
				default:
					first(o, id)
				}
			}
		}))
		expect(t, s, "GET", "/", "", "200 connection 0")
		if n := expect(t, s, method, "/", "body", want); n != attempts {
			t.Errorf("%d attempts, want %d", n, attempts)
		}
		settled2(t, s)
	}
	goAway := func(last uint32) func(o *h2origin, id uint32) {
		return func(o *h2origin, _ uint32) { _ = o.WriteGoAway(last, http2.ErrCodeNo, nil) }
	}
	f("POST", "200 connection 1", 2, goAway(1))
	f("GET", "200 connection 1", 2, goAway(1))
	f("POST", "200 on", 1, func(o *h2origin, id uint32) {
		_ = o.WriteGoAway(id, http2.ErrCodeNo, nil)
		o.answer(id, "on") // those below the last one go on
	})
	f("GET", "200 connection 1", 2, func(o *h2origin, _ uint32) { o.Close() })
	f("POST", "upstream_closed", 1, func(o *h2origin, _ uint32) { o.Close() })
	f("POST", "upstream_refused", 3, func(o *h2origin, id uint32) { _ = o.WriteRSTStream(id, http2.ErrCodeRefusedStream) })
	f("GET", "upstream_reset", 1, func(o *h2origin, id uint32) { _ = o.WriteRSTStream(id, http2.ErrCodeInternal) })
	f("GET", "upstream_refused", 1, func(o *h2origin, id uint32) {
		o.head(id, false, ":status", "200")
		_ = o.WriteGoAway(1, http2.ErrCodeNo, nil) // it says that it has not processed what it has begun to answer
	})
}

// TestH2RefusedElsewhere: an endpoint that refuses leaves the request to another one.
func TestH2RefusedElsewhere(t *testing.T) {
	refuses := h2Origin(t, each(func(o *h2origin, id uint32) { _ = o.WriteRSTStream(id, http2.ErrCodeRefusedStream) }))
	takes := h2Origin(t, each(func(o *h2origin, id uint32) { o.answer(id, "taken") }))
	s := testService(t, nil, refuses, takes)
	for range 4 {
		expect(t, s, "POST", "/", "body", "200 taken")
	}
}

// TestH2Streams: an origin never has more streams than it allows for; connections are opened for the rest, up to the limit, and
// who waits longer than pool.wait is refused.
func TestH2Streams(t *testing.T) {
	const most, conns = 3, 2
	var mu sync.Mutex
	open, peak := map[int]int{}, 0
	let := make(chan struct{})
	// Who is to get a place waits for a connection as well, so that Wait is short for those alone that come when all are full.
	s := testService(t, func(o *Options) { o.MaxConns, o.Wait, o.Connect = conns, time.Second, patience },
		h2Origin(t, func(o *h2origin) {
			var w sync.Mutex
			for {
				id, _ := o.request()
				if id == 0 {
					return
				}
				mu.Lock()
				open[o.n]++
				peak = max(peak, open[o.n])
				mu.Unlock()
				go func() {
					<-let
					mu.Lock()
					open[o.n]--
					mu.Unlock()
					w.Lock()
					defer w.Unlock()
					o.answer(id, "ok")
				}()
			}
		}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: most}))
	results := make(chan string, 10)
	ask := func() {
		x := newExchange("GET", "/", "")
		defer end(x)
		got, err := serve(s, x)
		if err != nil {
			got = code(err)
		}
		results <- got
	}
	for range most * conns {
		go ask()
	}
	eventually(t, "all streams are in use", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(open) == conns && open[0]+open[1] == most*conns
	})
	go ask()
	if got := receive(t, "a refusal", results); got != "upstream_busy" {
		t.Errorf("the one too many got %q", got)
	}
	go ask() // this one waits, and gets the first place that is free
	eventually(t, "it waits", func() bool { return s.endpointAt(0).h2.queued() == 1 })
	close(let)
	for range most*conns + 1 {
		if got := receive(t, "an answer", results); got != "200 ok" {
			t.Errorf("got %q", got)
		}
	}
	if peak != most || len(open) != conns {
		t.Errorf("%d streams on one of %d connections, want %d on %d", peak, len(open), most, conns)
	}
	settled2(t, s)
	s.endpointAt(0).expire(wire.Now() + int64(time.Hour))
	if open, _ := s.endpointAt(0).counts(); open != 0 {
		t.Errorf("%d connections are left after idle_for", open)
	}
}

// TestH2Cancel: an exchange that is canceled resets its stream at once, before the head, in the body, and while it sends.
func TestH2Cancel(t *testing.T) {
	f := func(head, flows bool) {
		t.Helper()
		asked, reset := make(chan struct{}), make(chan http2.ErrCode, 1)
		s := testService(t, nil, h2Origin(t, func(o *h2origin) {
			id, _ := o.request()
			if head {
				o.head(id, false, ":status", "200")
			}
			close(asked)
			for {
				switch f := o.frame().(type) {
				case nil:
					return
				case *http2.RSTStreamFrame:
					reset <- f.ErrCode
				}
			}
		}))
		x := newExchange("POST", "/", "")
		defer end(x)
		body := &pieces{left: []string{"a"}, stop: make(chan struct{})}
		if flows {
			x.Request.Body.SetFlow(nil, body, -1)
		}
		var client sync.WaitGroup
		client.Go(func() {
			<-asked
			time.Sleep(10 * time.Millisecond)
			x.Cancel(proxy.ErrClientGone)
			body.Interrupt() // as edges do
		})
		defer client.Wait()
		if _, err := serve(s, x); code(err) != "client_gone" {
			t.Errorf("got %v", err)
		}
		if got := receive(t, "a reset", reset); got != http2.ErrCodeCancel {
			t.Errorf("the origin got %v", got)
		}
		settled2(t, s)
	}
	f(false, false)
	f(true, false)
	f(false, true)
	f(true, true)
}

// TestH2BrokenRequest: a request body that breaks off never looks whole to the origin.
func TestH2BrokenRequest(t *testing.T) {
	f := func(size int64, broken error, want string) {
		t.Helper()
		saw := make(chan string, 1)
		s := testService(t, nil, h2Origin(t, func(o *h2origin) {
			if id, _ := o.request(); id == 0 {
				return
			}
			for {
				switch f := o.frame().(type) {
				case nil:
					return
				case *http2.DataFrame:
					if f.StreamEnded() {
						saw <- "whole"
					}
				case *http2.RSTStreamFrame:
					saw <- f.ErrCode.String()
				}
			}
		}))
		x := newExchange("POST", "/", "")
		defer end(x)
		x.Request.Body.SetFlow(nil, &pieces{left: []string{"half"}, err: broken}, size)
		if _, err := serve(s, x); code(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if got := receive(t, "the end", saw); got != "CANCEL" {
			t.Errorf("the origin saw %s", got)
		}
	}
	f(-1, proxy.ErrClientGone, "client_gone")
	f(9, nil, "bad_body")
	f(-1, proxy.ErrBodyTooLarge, "body_too_large")
}

// TestH2Backpressure: neither side's body is buffered beyond its window, and a response that nobody reads stops no other.
func TestH2Backpressure(t *testing.T) {
	sent := make(chan int, 1)
	s := testService(t, func(o *Options) { o.MaxConns = 1 }, h2Origin(t, func(o *h2origin) {
		slow, _ := o.request()
		o.head(slow, false, ":status", "200")
		for n := 0; n < h2FirstWindow; n += frames.Max {
			_ = o.WriteData(slow, false, make([]byte, frames.Max))
		}
		id, _ := o.request()
		o.answer(id, "other")
		taken := 0
		for {
			switch f := o.frame().(type) {
			case nil:
				return
			case *http2.DataFrame:
				if taken += len(f.Data()); taken == frames.InitialWindow {
					sent <- taken
					time.AfterFunc(100*time.Millisecond, func() { o.Close() }) // more would come by then
				} else if taken > frames.InitialWindow {
					t.Errorf("%d bytes were sent into a window of %d", taken, frames.InitialWindow)
				}
			}
		}
	}))
	slow := newExchange("GET", "/", "")
	defer end(slow)
	if err := s.Serve(slow, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, s, "GET", "/", "", "200 other")
	upload := newExchange("POST", "/", strings.Repeat("x", 1<<20))
	defer end(upload)
	if _, err := serve(s, upload); code(err) != "upstream_closed" {
		t.Errorf("the upload ended with %v", err)
	}
	receive(t, "a full window", sent)
	if n := slow.Response.Body.Buffered(); n != h2FirstWindow {
		t.Errorf("%d bytes wait for their reader, want %d", n, h2FirstWindow)
	}
	if err := slow.Response.Body.Close(); err != nil {
		t.Error(err)
	}
}

// TestH2Window: a reader that takes what comes is sent more at a time, up to the widest window.
func TestH2Window(t *testing.T) {
	const size = 1 << 20
	open := make(chan int, 1)
	s := testService(t, nil, h2Origin(t, func(o *h2origin) {
		id, _ := o.request()
		o.head(id, false, ":status", "200")
		sent, allowed := 0, h2FirstWindow
		// When all has been taken, less than a quarter of the window is not given back.
		for sent < size || allowed-sent <= h2StreamWindow*3/4 {
			for ; sent < size && allowed-sent >= frames.Max; sent += frames.Max {
				_ = o.WriteData(id, false, make([]byte, frames.Max))
			}
			f, err := o.ReadFrame()
			if err != nil {
				return
			}
			if f, ok := f.(*http2.WindowUpdateFrame); ok && f.StreamID == id {
				allowed += int(f.Increment)
			}
		}
		open <- allowed - sent
		_ = o.WriteData(id, true, nil)
		o.rest()
	}))
	x := newExchange("GET", "/", "")
	defer end(x)
	if body, err := serve(s, x); err != nil || len(body) < size {
		t.Fatalf("%d bytes came (%v)", len(body), err)
	}
	if n := receive(t, "a wide window", open); n > h2StreamWindow {
		t.Errorf("the window is %d bytes wide, want %d", n, h2StreamWindow)
	}
}

// TestH2Retire: a service that is not needed any more closes what is idle at once, and what is in use when it is not.
func TestH2Retire(t *testing.T) {
	ended := make(chan struct{}, 1)
	s := testService(t, nil, h2Origin(t, func(o *h2origin) {
		id, _ := o.request()
		o.head(id, false, ":status", "200")
		if other, _ := o.request(); other != 0 {
			o.answer(other, "short")
			_ = o.WriteData(id, true, []byte("long"))
		}
		o.rest()
		ended <- struct{}{}
	}))
	long := newExchange("GET", "/", "")
	defer end(long)
	if err := s.Serve(long, nil); err != nil {
		t.Fatal(err)
	}
	s.endpointAt(0).retire()
	expect(t, s, "GET", "/", "", "200 short") // of an exchange that began before
	select {
	case <-ended:
		t.Error("the connection was closed with a stream open")
	case <-time.After(20 * time.Millisecond):
	}
	body, err := io.ReadAll(&long.Response.Body)
	if err != nil || string(body) != "long" {
		t.Errorf("got %q, %v", body, err)
	}
	if err := long.Response.Body.Close(); err != nil {
		t.Error(err)
	}
	receive(t, "the end of the connection", ended)
}

// TestH2Unread: heads do not pile up before an origin that reads nothing; the next connection is tried.
func TestH2Unread(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	s := testService(t, func(o *Options) { o.Try, o.Idle = 2*time.Millisecond, time.Minute }, h2Origin(t, func(o *h2origin) {
		if o.n == 0 {
			<-over
			return
		}
		for {
			switch f := o.frame().(type) {
			case nil:
				return
			case *http2.ContinuationFrame:
				if f.HeadersEnded() {
					o.answer(f.StreamID, "read")
				}
			}
		}
	}))
	var c *h2conn
	for n := 0; ; n++ {
		if n == 2000 {
			t.Fatal("the first connection is still used")
		}
		x := newExchange("GET", "/", "")
		x.Request.Head.AddString("Large", strings.Repeat("x", 50<<10))
		got, err := serve(s, x)
		end(x)
		if got == "200 read" {
			break
		}
		if code(err) != "upstream_timeout" {
			t.Fatalf("got %q, %v", got, err)
		}
		if p := &s.endpointAt(0).h2.one; c == nil {
			c = p.conns[0]
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) > h2OutOver+64<<10 {
		t.Errorf("%d bytes wait for the writer", len(c.out))
	}
}

// TestH2Silent: a connection that is dead is found out by a PING while a stream is open; one that answers lives on.
func TestH2Silent(t *testing.T) {
	f := func(mute bool, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				o := greetedH2(t, far, bufio.NewReader(far), 0, nil)
				if o == nil {
					return
				}
				o.mute = mute
				id, _ := o.request()
				o.onPing = func() {
					if o.pings++; o.pings == 4 {
						o.answer(id, "late")
					}
				}
				o.rest()
				if o.pings == 0 {
					t.Error("no PING came")
				}
			}()
			to := target("192.0.2.1:80")
			to.H2 = true
			s := testService(t, func(o *Options) {
				o.Idle = 200 * time.Millisecond
				o.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
			}, to)
			expect(t, s, "POST", "/", "body", want)
			s.endpointAt(0).retire()
		})
	}
	f(false, "200 late")
	f(true, "upstream_timeout")
}

// TestH2Expect: the body waits for 100 Continue, but not for ever, and is not sent after a refusal.
func TestH2Expect(t *testing.T) {
	f := func(say string, want string) {
		t.Helper()
		s := testService(t, nil, h2Origin(t, func(o *h2origin) {
			id, head := o.request()
			if !strings.HasSuffix(head, "expect=100-continue") {
				t.Errorf("the head was %s", head)
			}
			if say != "" {
				o.head(id, say != "100", ":status", say)
			}
			if say == "417" {
				o.rest()
				return
			}
			for {
				if f, _ := o.frame().(*http2.DataFrame); f == nil || f.StreamEnded() {
					break
				}
			}
			o.answer(id, "took it")
			o.rest()
		}))
		x := newExchange("POST", "/", "")
		defer end(x)
		x.Request.ExpectContinue = true
		x.Request.Body.SetFlow(nil, &pieces{left: []string{"body"}}, 4)
		got, err := serve(s, x)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v", say, got, err)
		}
	}
	f("100", "200 took it")
	f("", "200 took it")
	f("417", "417")
}

// TestH2TLS: h2 is negotiated, and the origin verified as for https; one that offers HTTP/1.1 alone is not spoken to.
func TestH2TLS(t *testing.T) {
	f := func(offers bool, trusted bool, want string) {
		t.Helper()
		o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s %s", r.Proto, r.TLS.NegotiatedProtocol, r.Host)
		}))
		o.Config.ErrorLog = discardLog // of refused handshakes
		o.EnableHTTP2 = offers
		o.StartTLS()
		defer o.Close()
		to := target(o.Listener.Addr().String())
		to.TLS, to.H2 = true, true
		c := &tls.Config{RootCAs: x509.NewCertPool()}
		if trusted {
			c.RootCAs.AddCert(o.Certificate())
		}
		s := testService(t, func(o *Options) { o.TLS = c }, to)
		expect(t, s, "GET", "/", "", want)
		expect(t, s, "POST", "/", "again, over the same connection", want)
		if open, _ := s.endpointAt(0).counts(); strings.HasPrefix(want, "200") && open != 1 {
			t.Errorf("%d connections are open", open)
		}
		s.endpointAt(0).retire()
	}
	f(true, true, "200 HTTP/2.0 h2 client.example")
	f(true, false, "upstream_unreachable")
	f(false, true, "upstream_unreachable")
}

// TestH2Error: an error of a stream is the origin's, and says which.
func TestH2Error(t *testing.T) {
	s := testService(t, nil, h2Origin(t, each(func(o *h2origin, id uint32) { _ = o.WriteRSTStream(id, http2.ErrCodeInternal) })))
	x := newExchange("GET", "/", "")
	defer end(x)
	_, err := serve(s, x)
	e := proxy.AsError(err)
	var cause http2.StreamError
	if e.Side != proxy.ByUpstream || e.Unsent || e.Status != 502 || !errors.As(err, &cause) || cause.Code != http2.ErrCodeInternal {
		t.Errorf("got %+v", e)
	}
}

// TestH2ResetOfCall: a cancellation by the origin is one, unless the call's time is over; other requests are told nothing of gRPC.
func TestH2ResetOfCall(t *testing.T) {
	s := testService(t, nil, h2Origin(t, each(func(o *h2origin, id uint32) { _ = o.WriteRSTStream(id, http2.ErrCodeCancel) })))
	f := func(timeout, want string, grpc uint8) {
		t.Helper()
		x := newExchange("POST", "/a.B/c", "")
		defer end(x)
		x.Request.Head.AddString("content-type", "application/grpc")
		if timeout != "" {
			x.Request.Head.AddString("grpc-timeout", timeout)
		}
		_, err := serve(s, x)
		if code(err) != want || proxy.AsError(err).GRPC != grpc {
			t.Errorf("timeout %q: got %v (%d), want %s (%d)", timeout, err, proxy.AsError(err).GRPC, want, grpc)
		}
	}
	f("", "upstream_reset", 1)
	f("1H", "upstream_reset", 1)
	f("1n", "upstream_timeout", 0) // a policy has set it: the client has said nothing
	f("nonsense", "upstream_reset", 1)

	x := newExchange("POST", "/a.B/c", "")
	defer end(x)
	x.Request.Head.AddString("content-type", "application/grpc")
	st := &h2stream{x: x}
	canceled := errReset.With(http2.StreamError{Code: http2.ErrCodeCancel})
	for by, want := range map[int64]string{0: "upstream_reset", 1: "call_timeout", wire.Now() + int64(time.Hour): "upstream_reset"} {
		if x.CallBy = by; code(st.late(canceled)) != want {
			t.Errorf("a call with time until %d: %v, want %s", by, st.late(canceled), want)
		}
	}
}

// brokenConn is a connection of which nothing can be read, for a bug.
type brokenConn struct{ net.Conn }

func (brokenConn) Read([]byte) (int, error) { panic("a bug of the test in a connection") }

// firstBroken returns a service with one connection at a time, the first of which breaks. first is what is in it.
func firstBroken(t *testing.T, breaks func(net.Conn) net.Conn) (s *Service, first *net.Conn) {
	t.Helper()
	first = new(net.Conn)
	s = testService(t, func(o *Options) {
		o.MaxConns = 1
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) { // one after the other
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil || *first != nil {
				return c, err
			}
			*first = c
			return breaks(c), nil
		}
	}, h2Origin(t, each(func(o *h2origin, id uint32) { o.answer(id, "fine") })))
	return s, first
}

// TestH2DialPanic: a bug while a connection is opened is counted, told to whoever waits for it, and gone with the next one.
func TestH2DialPanic(t *testing.T) {
	s, first := firstBroken(t, func(c net.Conn) net.Conn { return brokenConn{c} })
	before := proxy.Panics.Load()
	expect(t, s, "GET", "/", "", "internal")
	if n := proxy.Panics.Load() - before; n != 1 {
		t.Errorf("%d bugs were counted, want 1", n)
	}
	if err := (*first).SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is not closed: %v", err)
	}
	expect(t, s, "GET", "/", "", "200 fine")
}

// muteConn is a connection on which only the preface can be written, for a bug.
type muteConn struct {
	net.Conn
	greeted bool
}

func (c *muteConn) Write(p []byte) (int, error) {
	if c.greeted {
		panic("a bug of the test in a connection")
	}
	c.greeted = true
	return c.Conn.Write(p)
}

// TestH2WritePanic: a bug while something is written is counted, ends the connection, and is gone with the next one.
func TestH2WritePanic(t *testing.T) {
	s, _ := firstBroken(t, func(c net.Conn) net.Conn { return &muteConn{Conn: c} })
	before := proxy.Panics.Load()
	// The settings are acknowledged before the request is written or after: it comes over the next connection, or has failed.
	x := newExchange("GET", "/", "")
	if got, err := serve(s, x); err != nil && code(err) != "upstream_closed" {
		t.Errorf("got %q, %v", got, err)
	}
	end(x)
	if n := proxy.Panics.Load() - before; n != 1 {
		t.Errorf("%d bugs were counted, want 1", n)
	}
	expect(t, s, "GET", "/", "", "200 fine")
}

// TestH2CheckPanic: so is one while a connection is asked whether it lives.
func TestH2CheckPanic(t *testing.T) {
	e := new(endpoint)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	p := &h2pool{endpoint: e}
	c := &h2conn{nc: ours, endpoint: e, pool: p} // without its timer
	c.framer = frames.NewFramer((*h2out)(c), ours)
	p.conns = append(p.conns, c)
	before := proxy.Panics.Load()
	c.checkAlive()
	if n := proxy.Panics.Load() - before; n != 1 {
		t.Errorf("%d bugs were counted, want 1", n)
	}
	if err := ours.SetDeadline(time.Time{}); err == nil {
		t.Error("the connection is not closed")
	}
	if len(p.conns) > 0 {
		t.Error("the connection is still in the pool")
	}
}
