package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy"
	"sluice/proxy/proxytest"
)

// both is a listener that speaks both versions.
const both = "listen: { web: { address: \"127.0.0.1:8080\", http: [h1, h2] } }\n"

// h2client is a client of HTTP/2 that sends whatever a test wants, frame by frame.
type h2client struct {
	*proxytest.Client
	*http2.Framer
	t       *testing.T
	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
	answers map[uint32]*h2answer
	goAways []http2.GoAwayFrame
	mute    bool // gives no window back
}

// h2answer is what came of a stream.
type h2answer struct {
	status   string
	interim  []string
	fields   map[string]string
	body     []byte
	trailers map[string]string
	ended    bool
	reset    bool
	code     http2.ErrCode
}

// over reports that nothing more can come.
func (a *h2answer) over() bool { return a.ended || a.reset }

// h2 opens a connection with prior knowledge.
func (s *stage) h2(settings ...http2.Setting) *h2client {
	s.t.Helper()
	c := &h2client{Client: s.dial(), t: s.t, answers: map[uint32]*h2answer{}}
	c.Framer = http2.NewFramer(c.Client, c.R)
	c.AllowIllegalWrites = true
	c.encoder = hpack.NewEncoder(&c.block)
	c.decoder = hpack.NewDecoder(4096, nil)
	c.Send(http2.ClientPreface)
	if err := c.WriteSettings(settings...); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// encode returns the block of these fields: name, value, name, value.
func (c *h2client) encode(fields ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			c.t.Fatal(err)
		}
	}
	return c.block.Bytes()
}

func (c *h2client) headers(id uint32, end bool, fields ...string) {
	c.t.Helper()
	err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.encode(fields...), EndStream: end, EndHeaders: true})
	if err != nil {
		c.t.Fatal(err)
	}
}

// request sends a head as a client would.
func (c *h2client) request(id uint32, method, path string, end bool, more ...string) {
	c.t.Helper()
	c.headers(id, end, append([]string{":method", method, ":scheme", "http", ":path", path, ":authority", "test"}, more...)...)
}

func (c *h2client) data(id uint32, end bool, body string) {
	c.t.Helper()
	if err := c.WriteData(id, end, []byte(body)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *h2client) answer(id uint32) *h2answer {
	a := c.answers[id]
	if a == nil {
		a = &h2answer{fields: map[string]string{}, trailers: map[string]string{}}
		c.answers[id] = a
	}
	return a
}

// step reads a frame and returns the error that ends the connection.
func (c *h2client) step() error {
	c.t.Helper()
	f, err := c.ReadFrame()
	if err != nil {
		return err
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			_ = c.WriteSettingsAck() // the gateway may have closed, which the next read tells
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = c.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		c.goAways = append(c.goAways, *f)
	case *http2.RSTStreamFrame:
		a := c.answer(f.StreamID)
		if !a.ended { // NO_ERROR after the end says that the rest of the request is not needed
			a.reset, a.code = true, f.ErrCode
		}
	case *http2.HeadersFrame:
		c.head(f)
	case *http2.DataFrame:
		a := c.answer(f.StreamID)
		a.body = append(a.body, f.Data()...)
		a.ended = f.StreamEnded()
		if !c.mute && f.Length > 0 {
			_ = c.WriteWindowUpdate(0, f.Length)
			if !a.ended {
				_ = c.WriteWindowUpdate(f.StreamID, f.Length)
			}
		}
	}
	return nil
}

func (c *h2client) head(f *http2.HeadersFrame) {
	c.t.Helper()
	a := c.answer(f.StreamID)
	fields, err := c.decoder.DecodeFull(f.HeaderBlockFragment())
	if err != nil || !f.HeadersEnded() {
		c.t.Fatalf("a head that ends: %v, and %v", f.HeadersEnded(), err)
	}
	a.ended = f.StreamEnded()
	to := a.fields
	if a.status != "" {
		to = a.trailers
	}
	for _, field := range fields {
		if field.Name != strings.ToLower(field.Name) {
			c.t.Errorf("the field name %q", field.Name)
		}
		if field.Name != ":status" {
			to[field.Name] = field.Value
		} else if field.Value[0] == '1' {
			a.interim = append(a.interim, field.Value)
		} else {
			a.status = field.Value
		}
	}
}

// await reads until the stream is over.
func (c *h2client) await(id uint32) *h2answer {
	c.t.Helper()
	a := c.answer(id)
	for !a.over() {
		if err := c.step(); err != nil {
			c.t.Fatalf("stream %d: %v, GOAWAY %v", id, err, c.goAways)
		}
	}
	return a
}

// want awaits an answer that is whole.
func (c *h2client) want(id uint32, status, body string) *h2answer {
	c.t.Helper()
	a := c.await(id)
	if !a.ended || a.status != status || body != "*" && string(a.body) != body {
		c.t.Fatalf("stream %d: got %+v with body %q, want %s %q", id, a, a.body, status, body)
	}
	return a
}

// wantReset awaits a reset.
func (c *h2client) wantReset(id uint32, code http2.ErrCode) *h2answer {
	c.t.Helper()
	a := c.await(id)
	if !a.reset || a.code != code {
		c.t.Fatalf("stream %d: got %+v, want a reset with %v", id, a, code)
	}
	return a
}

// wantEnd reads to the end of the connection and wants its last GOAWAY to have this code.
func (c *h2client) wantEnd(code http2.ErrCode) {
	c.t.Helper()
	var err error
	for err == nil {
		err = c.step()
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		c.t.Fatal("the connection does not end")
	}
	if n := len(c.goAways); n == 0 || c.goAways[n-1].ErrCode != code {
		c.t.Fatalf("got GOAWAY %v and %v, want %v", c.goAways, err, code)
	}
}

func TestH2(t *testing.T) {
	s := newStage(t, both)
	c := s.h2()
	c.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	a := c.want(1, "200", "hello")
	if a.fields["content-length"] != "5" || a.fields["x-request-id"] == "" || a.fields["date"] == "" {
		t.Errorf("got %v", a.fields)
	}
	c.request(3, "HEAD", "/", true)
	s.expect(s.began, "/")
	if a := c.want(3, "200", ""); a.fields["content-length"] != "5" {
		t.Errorf("HEAD: got %v", a.fields)
	}
	c.request(5, "POST", "/upload", false, "content-length", "10")
	c.data(5, false, "01234")
	s.expect(s.began, "/upload")
	c.data(5, true, "56789")
	c.want(5, "200", "10 <nil>")
	c.request(7, "POST", "/upload", false)
	c.data(7, false, "0123")
	s.expect(s.began, "/upload")
	c.data(7, true, "")
	c.want(7, "200", "4 <nil>")
	// A client waits for 100 Continue.
	c.request(9, "POST", "/upload", false, "expect", "100-continue", "content-length", "4")
	for len(c.answer(9).interim) == 0 {
		if err := c.step(); err != nil {
			t.Fatal(err)
		}
	}
	s.expect(s.began, "/upload")
	c.data(9, true, "0123")
	if a := c.want(9, "200", "4 <nil>"); len(a.interim) != 1 || a.interim[0] != "100" {
		t.Errorf("got the interim responses %v", a.interim)
	}
	// Streams do not wait for each other.
	c.request(11, "GET", "/hold", true)
	s.expect(s.began, "/hold")
	c.request(13, "GET", "/", true)
	s.expect(s.began, "/")
	c.want(13, "200", "hello")
	close(s.goOn)
	c.want(11, "200", "held")

	// HTTP/1.1 is spoken on the same listener.
	s.works(s.used())
}

// TestH2_only: a listener without h1 refuses it, and a connection that is not HTTP/2 at all.
func TestH2_only(t *testing.T) {
	s := newStage(t, "listen: { web: { address: \"127.0.0.1:8080\", http: h2 } }\n")
	c := s.h2()
	c.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	c.want(1, "200", "hello")
	for _, request := range []string{fmt.Sprintf(get, "/"), "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"} {
		c := s.dial()
		c.Send(request)
		if got, err := io.ReadAll(c.R); strings.Contains(string(got), "HTTP/1") {
			t.Errorf("%q: got %q, %v", request, got, err)
		}
	}
	h1 := newStage(t, "")
	d := h1.dial()
	d.Send(http2.ClientPreface)
	if resp := h1.head(d, 505); !resp.Close {
		t.Error("a listener without h2 goes on after its preface")
	}
}

// TestH2_relay: what an origin says beside a body gets through, in both directions.
func TestH2_relay(t *testing.T) {
	seen := make(chan http.Header, 1)
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen <- r.Trailer
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "4")
	})
	s := &stage{t: t, Gateway: proxytest.Start(t, both+fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
routes:
  all: { match: "/**", to: origin }
`, origin))}
	c := s.h2()
	c.request(1, "POST", "/", false)
	c.data(1, false, "up")
	c.headers(1, true, "x-check", "2")
	a := c.want(1, "200", "body")
	if len(a.interim) != 1 || a.interim[0] != "103" || a.fields["link"] != "</a.css>" {
		t.Errorf("got the interim responses %v, %v", a.interim, a.fields)
	}
	if a.fields["x-hop"] != "" || a.fields["connection"] != "" || a.fields["transfer-encoding"] != "" {
		t.Errorf("got %v", a.fields)
	}
	if a.trailers["x-sum"] != "4" {
		t.Errorf("got the trailers %v", a.trailers)
	}
	if got := <-seen; got.Get("X-Check") != "2" {
		t.Errorf("the origin got the trailers %v", got)
	}
}

// TestH2_refused: a request that breaks a rule is refused or reset, and the connection goes on.
func TestH2_refused(t *testing.T) {
	s := newStage(t, both+"limits: { header_bytes: 2KiB, headers: 10, uri_bytes: 64B }\n")
	c := s.h2()
	id := uint32(1)
	next := func() uint32 { id += 2; return id - 2 }
	usual := func(more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "test"}, more...)
	}
	alive := func() {
		t.Helper()
		id := next()
		c.request(id, "GET", "/", true)
		s.expect(s.began, "/")
		c.want(id, "200", "hello")
	}
	refused := func(status, code string, fields ...string) {
		t.Helper()
		id := next()
		c.headers(id, true, fields...)
		if a := c.want(id, status, "*"); !strings.Contains(string(a.body), code) {
			t.Errorf("got %s, want %s", a.body, code)
		}
		alive()
	}
	refused("400", "bad_host", usual("host", "other")...)
	refused("400", "bad_host", ":method", "GET", ":scheme", "http", ":path", "/")
	refused("400", "bad_host", ":method", "GET", ":scheme", "http", ":path", "/", ":authority", "u@test")
	refused("400", "bad_host", usual("host", "test", "host", "test")...)
	refused("400", "bad_path", ":method", "GET", ":scheme", "http", ":path", "/%00", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "http", ":path", "a", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "http", ":path", "http://test/", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "http", ":path", "/a b", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "ftp", ":path", "/", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "http", ":path", "*", ":authority", "test")
	refused("400", "bad_request_line", ":method", "G T", ":scheme", "http", ":path", "/", ":authority", "test")
	refused("400", "bad_request_line", ":method", "GET", ":scheme", "http", ":path", "", ":authority", "test")
	refused("400", "bad_field_name", usual("X-Upper", "1")...)
	refused("400", "bad_field_name", usual("x y", "1")...)
	refused("400", "control_byte", usual("x", "a\r\nb: c")...)
	refused("400", "bad_field_value", usual("x", " a")...)
	refused("400", "bad_content_length", usual("content-length", "+0")...)
	refused("417", "expectation_failed", usual("expect", "more")...)
	refused("501", "connect_not_supported", ":method", "CONNECT", ":authority", "test:80")
	refused("414", "uri_too_long", ":method", "GET", ":scheme", "http", ":path", "/"+strings.Repeat("a", 64), ":authority", "test")
	refused("431", "headers_too_large", usual("x", strings.Repeat("~", 2000))...)
	refused("431", "too_many_headers", usual(strings.Fields(strings.Repeat("x y ", 11))...)...)

	reset := func(fields ...string) {
		t.Helper()
		id := next()
		c.headers(id, true, fields...)
		c.wantReset(id, http2.ErrCodeProtocol)
		alive()
	}
	reset(usual("connection", "close")...)
	reset(usual("keep-alive", "1")...)
	reset(usual("proxy-connection", "close")...)
	reset(usual("transfer-encoding", "chunked")...)
	reset(usual("upgrade", "websocket")...)
	reset(usual("te", "gzip")...)
	reset(usual("content-length", "1")...) // and no body
	reset(usual("x", "1", ":path", "/b")...)
	reset(usual(":path", "/b")...)
	reset(usual(":protocol", "websocket")...)
	reset(":scheme", "http", ":path", "/", ":authority", "test")
	reset(":method", "GET", ":path", "/", ":authority", "test")
	reset(":method", "GET", ":scheme", "http", ":authority", "test")
	reset(":method", "CONNECT", ":scheme", "http", ":path", "/", ":authority", "test")

	// What HTTP/2 allows for is not refused.
	id = next()
	c.headers(id, true, usual("te", "trailers", "cookie", "a=1", "cookie", "b=2", "host", "TEST")...)
	s.expect(s.began, "/")
	c.want(id, "200", "hello")
	id += 2
	alive()

	select {
	case path := <-s.began:
		t.Fatalf("a refused request of %s was served", path)
	default:
	}
}

// TestH2_length: a body that is shorter or longer than announced resets its stream, and the origin's request with it.
func TestH2_length(t *testing.T) {
	s := newStage(t, both)
	c := s.h2()
	c.request(1, "POST", "/upload", false, "content-length", "10")
	c.data(1, false, "0123")
	s.expect(s.began, "/upload")
	c.data(1, true, "4")
	c.wantReset(1, http2.ErrCodeProtocol)
	c.request(3, "POST", "/upload", false, "content-length", "3")
	c.data(3, false, "01")
	s.expect(s.began, "/upload")
	c.data(3, true, "23")
	c.wantReset(3, http2.ErrCodeProtocol)
	c.request(5, "GET", "/", true)
	s.expect(s.began, "/")
	c.want(5, "200", "hello")
}

// TestH2_limits: connections of HTTP/2 count like others, and a listener that speaks it says no in its words.
func TestH2_limits(t *testing.T) {
	s := newStage(t, strings.ReplaceAll(both, "h1, ", "")+"limits: { per_client: 1 }\n")
	c := s.h2()
	c.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	c.want(1, "200", "hello")
	refused := http2.NewFramer(io.Discard, s.dial())
	for {
		f, err := refused.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if goAway, ok := f.(*http2.GoAwayFrame); ok {
			if goAway.ErrCode != http2.ErrCodeEnhanceYourCalm || string(goAway.DebugData()) != "too many connections" {
				t.Errorf("got %v %q", goAway.ErrCode, goAway.DebugData())
			}
			break
		}
	}
	c.Close()
	s.open(0)
	c = s.h2()
	c.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	c.want(1, "200", "hello")
}

// TestH2_talk: many small messages, each with a PING and its window given back, are no flood.
func TestH2_talk(t *testing.T) {
	const messages = 5000
	origin := proxytest.RawOrigin(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range messages {
			if _, err := io.WriteString(c, "5\r\n01234\r\n"); err != nil {
				return
			}
			time.Sleep(20 * time.Microsecond) // so that most of them are frames of their own
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
	})
	s := &stage{t: t, Gateway: proxytest.Start(t, both+fmt.Sprintf(
		"services: { o: { to: [\"http://%s\"] } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin))}
	c := s.h2()
	c.request(1, "GET", "/", true)
	frames, got := 0, 0
	for a := c.answer(1); !a.over(); {
		if err := c.step(); err != nil {
			t.Fatalf("after %d frames with %d bytes: %v, GOAWAY %+v", frames, got, err, c.goAways)
		}
		if len(a.body) > got {
			got = len(a.body)
			frames++
			s.bound(c.Client) // many short sleeps may take long
			if err := c.WritePing(false, [8]byte{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got != 5*messages {
		t.Errorf("got %d bytes", got)
	}
	if frames < talkedAbout {
		t.Skipf("only %d frames came: this machine is too busy to tell", frames)
	}
}

// talkedAbout is how many frames, each answered by three others, would be a flood if they earned nothing.
const talkedAbout = 1000

// TestH2_early: an answer before the request is whole is seen before the reset that ends it, a client that stops by itself has
// nothing to fear for, and one that finishes its request has it taken as such.
func TestH2_early(t *testing.T) {
	t.Parallel() // it waits most of the time
	gw := proxytest.Start(t, both+"routes: { all: { match: \"/**\", respond: { text: hello } } }\n")
	s := &stage{t: t, Gateway: gw}
	c := s.h2()
	begin := time.Now()
	c.request(1, "POST", "/", false)
	c.want(1, "200", "hello")
	c.data(1, false, strings.Repeat("x", 1000))
	var code http2.ErrCode
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if reset, ok := f.(*http2.RSTStreamFrame); ok {
			code = reset.ErrCode
			break
		}
	}
	if took := time.Since(begin); code != http2.ErrCodeNo || took < 500*time.Millisecond {
		t.Errorf("the reset came after %v with %v", took, code)
	}
	for id := uint32(3); id < 2003; id += 4 {
		s.bound(c.Client)
		c.request(id, "POST", "/", false)
		c.want(id, "200", "hello")
		if err := c.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		c.request(id+2, "POST", "/", false)
		c.want(id+2, "200", "hello")
		c.data(id+2, true, "rest")
	}
	c.request(2003, "GET", "/", true)
	c.want(2003, "200", "hello")
}

// TestH2_cancel: a reset is known at the origin at once.
func TestH2_cancel(t *testing.T) {
	s := newStage(t, both)
	c := s.h2()
	for i, path := range []string{"/hold", "/events"} {
		id := uint32(2*i + 1)
		c.request(id, "GET", path, true)
		s.expect(s.began, path)
		begin := time.Now()
		if err := c.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		s.expect(s.gone, path)
		if took := time.Since(begin); took > patience/2 {
			t.Errorf("%s: the origin learned of it after %v", path, took)
		}
	}
	c.request(5, "GET", "/", true)
	s.expect(s.began, "/")
	c.want(5, "200", "hello")
	// So is the end of the connection.
	c.request(7, "GET", "/hold", true)
	s.expect(s.began, "/hold")
	c.Close()
	s.expect(s.gone, "/hold")
	s.open(0)
}

// TestH2_cut: a response that its origin cuts never looks whole.
func TestH2_cut(t *testing.T) {
	for _, head := range []string{"Content-Length: 10\r\n\r\n01234", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"} {
		origin := proxytest.RawOrigin(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
		})
		s := &stage{t: t, Gateway: proxytest.Start(t, both+fmt.Sprintf(
			"services: { o: { to: [\"http://%s\"] } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin))}
		c := s.h2()
		c.request(1, "GET", "/", true)
		if a := c.wantReset(1, http2.ErrCodeInternal); a.status != "200" || string(a.body) != "01234" {
			t.Errorf("got %+v", a)
		}
	}
}

// TestH2_flood: each flood ends its connection, and no other one.
func TestH2_flood(t *testing.T) {
	s := newStage(t, both)
	defer close(s.goOn) // an origin does not see that a client goes whose body it does not read
	other := s.h2()
	id := uint32(1)
	alive := func() {
		t.Helper()
		s.bound(other.Client)
		other.request(id, "GET", "/", true)
		for path := range s.began {
			if path == "/" { // else it is the attacker's one request
				break
			}
		}
		other.want(id, "200", "hello")
		id += 2
	}
	calmed := uint64(0)
	f := func(name string, send func(c *h2client, i int) error) {
		t.Helper()
		c := s.h2()
		alive()
		gone := make(chan error, 1)
		last := http2.ErrCodeNo
		go func() { // so that what the gateway says does not stop the attack; nothing is answered
			in := http2.NewFramer(nil, c.R)
			for {
				f, err := in.ReadFrame()
				if err != nil {
					gone <- err
					return
				}
				if goAway, ok := f.(*http2.GoAwayFrame); ok {
					last = goAway.ErrCode
				}
			}
		}()
		for i := range 100_000 {
			if send(c, i) != nil {
				break
			}
		}
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatalf("%s: the connection goes on", name)
		}
		if last != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("%s: got GOAWAY %v", name, last)
		}
		alive()
		if calmed++; s.Server.Counts().Calmed != calmed {
			t.Errorf("%s: %d connections were calmed, want %d", name, s.Server.Counts().Calmed, calmed)
		}
	}
	f("PING", func(c *h2client, i int) error { return c.WritePing(false, [8]byte{}) })
	f("SETTINGS", func(c *h2client, i int) error {
		return c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(1000 + i%2)})
	})
	f("PRIORITY", func(c *h2client, i int) error { return c.WritePriority(1, http2.PriorityParam{Weight: 1}) })
	f("WINDOW_UPDATE", func(c *h2client, i int) error { return c.WriteWindowUpdate(0, 1) })
	f("unknown frames", func(c *h2client, i int) error { return c.WriteRawFrame(0xbe, 0, 0, nil) })
	f("empty DATA", func(c *h2client, i int) error {
		if i == 0 {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
				BlockFragment: c.encode(":method", "POST", ":scheme", "http", ":path", "/hold", ":authority", "test")})
		}
		return c.WriteData(1, false, nil)
	})
	f("CONTINUATION", func(c *h2client, i int) error {
		if i == 0 {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(":method", "GET")})
		}
		return c.WriteContinuation(1, false, nil)
	})
	f("CONTINUATION with fields", func(c *h2client, i int) error {
		if i == 0 {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(":method", "GET")})
		}
		return c.WriteContinuation(1, false, c.encode("x", strings.Repeat("y", 10_000)))
	})
	f("one field again and again", func(c *h2client, i int) error {
		if i > 0 {
			return nil // it was enough
		}
		return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: bytes.Repeat([]byte{0x82}, 12_000), EndHeaders: true})
	})
}

// TestH2_rapidReset: CVE-2023-44487. The requests are answered by the gateway itself, so that their rate is all there is to
// limit; another client is served meanwhile.
func TestH2_rapidReset(t *testing.T) {
	gw := proxytest.Start(t, both+"routes: { all: { match: \"/**\", respond: { text: hello } } }\n")
	s := &stage{t: t, Gateway: gw}
	stop := make(chan struct{})
	var attackers sync.WaitGroup
	for range 4 {
		attackers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				attack(t, gw.Addr)
			}
		})
	}
	other := s.h2()
	begin := time.Now()
	for id := uint32(1); time.Since(begin) < 3*time.Second; id += 2 {
		s.bound(other.Client)
		other.request(id, "GET", "/", true)
		other.want(id, "200", "hello")
	}
	close(stop)
	attackers.Wait()
	if n := gw.Server.Counts().Calmed; n == 0 {
		t.Error("no attacker was told to calm down")
	}
}

// attack opens streams and resets them at once until the connection ends.
func attack(t *testing.T, addr string) {
	c, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return // it has been told so often that it is shunned
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	var all bytes.Buffer
	fr := http2.NewFramer(&all, nil)
	all.WriteString(http2.ClientPreface)
	_ = fr.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for id := uint32(1); id < 20_000; id += 2 {
		block.Reset()
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {":authority", "test"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true})
		_ = fr.WriteRSTStream(id, http2.ErrCodeCancel)
	}
	go func() { _, _ = io.Copy(io.Discard, c) }()
	if _, err := c.Write(all.Bytes()); err == nil {
		// All of it was taken in: what counts is that the end comes.
		_, _ = c.Read(make([]byte, 1))
	}
}

// TestH2_streams: no more at a time than the limit says, and the ones over it are refused so that they can be sent again.
func TestH2_streams(t *testing.T) {
	s := newStage(t, both+"limits: { streams: 2 }\n")
	c := s.h2()
	for id := uint32(1); id <= 3; id += 2 {
		c.request(id, "GET", "/hold", true)
		s.expect(s.began, "/hold")
	}
	c.request(5, "GET", "/hold", true)
	c.wantReset(5, http2.ErrCodeRefusedStream)
	close(s.goOn)
	c.want(1, "200", "held")
	c.want(3, "200", "held")
	c.request(7, "GET", "/", true)
	c.want(7, "200", "hello")
}

func TestH2_windows(t *testing.T) {
	s := newStage(t, both)
	f := func(name string, code http2.ErrCode, send func(c *h2client)) {
		t.Helper()
		c := s.h2()
		send(c)
		c.wantEnd(code)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	f("the connection's is exceeded", http2.ErrCodeFlowControl, func(c *h2client) {
		c.WriteWindowUpdate(0, 1<<31-1)
	})
	f("a setting is too large", http2.ErrCodeFlowControl, func(c *h2client) {
		c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
	})
	f("nothing is added", http2.ErrCodeProtocol, func(c *h2client) {
		c.WriteWindowUpdate(0, 0)
	})
	f("a stream that is idle", http2.ErrCodeProtocol, func(c *h2client) { c.data(1, true, "x") })
	f("a stream of the server", http2.ErrCodeProtocol, func(c *h2client) { c.request(2, "GET", "/", true) })
	f("a frame that is too large", http2.ErrCodeFrameSize, func(c *h2client) { c.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16<<10+1)) })
	f("a block that is none", http2.ErrCodeCompression, func(c *h2client) {
		c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
	})
	f("a push", http2.ErrCodeProtocol, func(c *h2client) {
		c.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
	})

	// A response goes as far as its window, and on when that opens.
	c := s.h2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2})
	c.mute = true
	c.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	for len(c.answer(1).body) < 2 {
		if err := c.step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WriteWindowUpdate(1, 1); err != nil {
		t.Fatal(err)
	}
	for len(c.answer(1).body) < 3 {
		if err := c.step(); err != nil {
			t.Fatal(err)
		}
	}
	c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	c.want(1, "200", "hello")
}

// TestH2_slow: a client that does not take a response, or does not send its request, is given up.
func TestH2_slow(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := newStage(t, both+"limits: { min_rate: 1MiB/s, header_timeout: 500ms }\n")
	c := s.h2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2})
	c.mute = true
	c.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	c.wantReset(1, http2.ErrCodeEnhanceYourCalm)
	c.request(3, "POST", "/upload", false, "content-length", "10")
	c.data(3, false, "0")
	s.expect(s.began, "/upload")
	c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	if a := c.want(3, "408", "*"); !strings.Contains(string(a.body), "slow_request") {
		t.Errorf("got %s", a.body)
	}
	// So is one whose head does not end.
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: c.encode(":method", "GET")})
	for err := error(nil); err == nil; {
		err = c.step()
	}
	s.open(0)
	d := s.dial()
	d.Send(http2.ClientPreface[:20])
	if _, err := io.ReadAll(d.R); err != nil && !errors.Is(err, io.EOF) {
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Error("half a preface is waited for")
		}
	}
}

func TestH2_idle(t *testing.T) {
	t.Parallel()                                    // it waits most of the time
	s := newStage(t, both+"limits: { idle: 2s }\n") // in which the first request has to come
	c := s.h2()
	c.request(1, "GET", "/hold", true) // while it lasts the connection is not idle
	s.expect(s.began, "/hold")
	time.Sleep(4 * time.Second)
	s.bound(c.Client)
	close(s.goOn)
	c.want(1, "200", "held")
	c.wantEnd(http2.ErrCodeNo)
	s.open(0)
}

// TestH2_drain: streams under way end, those on their way are served, the connection then ends.
func TestH2_drain(t *testing.T) {
	s := newStage(t, both)
	c, idle := s.h2(), s.h2()
	c.request(1, "GET", "/hold", true)
	s.expect(s.began, "/hold")
	idle.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	idle.want(1, "200", "hello")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := s.shutdown(ctx)
	begin := time.Now()
	idle.wantEnd(http2.ErrCodeNo)
	if took := time.Since(begin); took > 950*time.Millisecond { // after a second it would have without an answer to the PING
		t.Errorf("the idle connection ended after %v", took)
	}
	idle.Close()
	for len(c.goAways) == 0 {
		if err := c.step(); err != nil {
			t.Fatal(err)
		}
	}
	if last := c.goAways[0].LastStreamID; last != 1<<31-1 || len(c.goAways) != 1 {
		t.Errorf("got %v, want to hear at first only that the connection ends", c.goAways)
	}
	c.request(3, "GET", "/", true) // it was on its way: the PING is not answered yet
	s.expect(s.began, "/")
	c.want(3, "200", "hello")
	for len(c.goAways) < 2 {
		if err := c.step(); err != nil {
			t.Fatal(err)
		}
	}
	if last := c.goAways[1].LastStreamID; last != 3 {
		t.Errorf("the last stream is %d, want 3", last)
	}
	c.request(5, "GET", "/", true) // nobody looks at it
	select {
	case err := <-done:
		t.Fatalf("Shutdown has returned (%v) before what is in flight has ended", err)
	case path := <-s.began:
		t.Fatalf("%s was served after the end", path)
	case <-time.After(100 * time.Millisecond):
	}
	close(s.goOn)
	c.want(1, "200", "held")
	c.wantEnd(http2.ErrCodeNo)
	c.Close()
	s.closed(done, nil)
}

// TestH2_drainMeetsHead: a request whose head is still under way when the last stream is named is not served, and the client is told so: it
// would get no answer, and may send again only what was not processed.
func TestH2_drainMeetsHead(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := newStage(t, both)
	c := s.h2()
	c.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	c.want(1, "200", "hello")
	block := c.encode(":method", "POST", ":scheme", "http", ":path", "/late", ":authority", "test")
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block[:3], EndStream: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := s.shutdown(ctx)
	for len(c.goAways) < 2 { // the PING cannot be answered within a head: it takes noticeFor
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			c.goAways = append(c.goAways, *f)
		}
	}
	if last := c.goAways[1].LastStreamID; last != 1 {
		t.Errorf("the last stream is %d, want 1", last)
	}
	if err := c.WriteContinuation(3, true, block[3:]); err != nil {
		t.Fatal(err)
	}
	c.wantEnd(http2.ErrCodeNo)
	c.Close()
	s.closed(done, nil)
	select {
	case path := <-s.began:
		t.Errorf("%s was served, of which the client does not hear", path)
	default:
	}
}

// TestH2_shutdownCuts: what has not ended by the limit is cut, on both sides.
func TestH2_shutdownCuts(t *testing.T) {
	s := newStage(t, both)
	c := s.h2()
	c.request(1, "GET", "/events", true)
	s.expect(s.began, "/events")
	c.request(3, "GET", "/hold", true)
	s.expect(s.began, "/hold")
	limit, expire := context.WithCancel(context.Background())
	done := s.shutdown(limit)
	for len(c.goAways) == 0 {
		if err := c.step(); err != nil {
			t.Fatal(err)
		}
	}
	expire()
	s.closed(done, context.Canceled)
	for err := error(nil); err == nil; {
		err = c.step()
	}
	if c.answer(1).ended || c.answer(3).ended {
		t.Error("a response that was cut looks whole")
	}
	<-s.gone
	<-s.gone
}

func TestH2_retire(t *testing.T) {
	s := newStage(t, both+"limits: { requests_per_connection: 2 }\n")
	c := s.h2()
	for id := uint32(1); id <= 3; id += 2 {
		c.request(id, "GET", "/", true)
		s.expect(s.began, "/")
		c.want(id, "200", "hello")
	}
	c.wantEnd(http2.ErrCodeNo)

	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := s.Server.Listen("other", nl, proxy.Listening{H2: true})
	stays := s.h2()
	s.Addr = nl.Addr().String()
	goes := s.h2()
	goes.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	goes.want(1, "200", "hello")
	other.Retire()
	goes.wantEnd(http2.ErrCodeNo)
	stays.request(1, "GET", "/", true)
	s.expect(s.began, "/")
	stays.want(1, "200", "hello")
}

type panicking struct{}

func (panicking) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	if string(x.Request.Path) == "/panic" {
		panic("a bug of the test")
	}
	x.Response.Status = 200
	x.Response.Body.SetFlow(nil, &panicking{}, -1)
	return nil
}

func (panicking) Read([]byte) (int, error) { panic("a bug of the test in a body") }
func (panicking) Buffered() int            { return 0 }
func (panicking) Close() error             { return nil }

// TestH2_panic: a panic costs its own stream, and no other.
func TestH2_panic(t *testing.T) {
	s := newStage(t, both)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	route := *s.Snapshot().Fallback
	route.Chain = proxy.NewChain(proxy.Link{Name: "bug", Policy: panicking{}})
	s.Server.Listen("bug", nl, proxy.Listening{H2: true, Instead: &route})
	s.Addr = nl.Addr().String()
	before := proxy.Panics.Load()
	c := s.h2()
	c.request(1, "GET", "/panic", true)
	c.want(1, "500", "*")
	c.request(3, "GET", "/body", true)
	c.wantReset(3, http2.ErrCodeInternal)
	c.request(5, "GET", "/panic", true)
	c.want(5, "500", "*")
	if n := proxy.Panics.Load() - before; n != 3 {
		t.Errorf("%d panics were counted, want 3", n)
	}
	c.Close()
	s.open(0)
}

// transport is a client that is nobody's test tool.
func transport(t *testing.T) *http2.Transport {
	tr := &http2.Transport{AllowHTTP: true, DisableCompression: true,
		DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// TestH2_thousand: a thousand streams at a time on one connection, with bodies both ways.
func TestH2_thousand(t *testing.T) {
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(b)
	})
	gw := proxytest.Start(t, both+fmt.Sprintf("limits: { streams: 1000, min_rate: off, header_timeout: 1m }\n"+
		"services: { o: { to: [\"http://%s\"], timeouts: { connect: 1m } } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin))
	tr := transport(t)
	tr.StrictMaxConcurrentStreams = true // or else it opens more connections before it knows how many streams one carries
	client := &http.Client{Transport: tr, Timeout: time.Minute}
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			body := strings.Repeat(fmt.Sprintf("%d ", i), 1+i*20)
			resp, err := client.Post("http://"+gw.Addr+"/", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != body || resp.ProtoMajor != 2 {
				t.Errorf("stream %d: got %s with %d bytes, %.300q, %v, %s; want %d", i, resp.Status, len(got), got, err, resp.Proto, len(body))
			}
		})
	}
	wg.Wait()
	if n := gw.Server.Counts().Accepted; n != 1 {
		t.Errorf("%d connections were used, want 1", n)
	}
}

// TestH2_stalledUpload: what nobody reads stays with the client.
func TestH2_stalledUpload(t *testing.T) {
	stop := make(chan struct{})
	origin := proxytest.RawOrigin(t, func(c *net.TCPConn) {
		_ = c.SetReadBuffer(4 << 10)
		<-stop
	})
	s := &stage{t: t, Gateway: proxytest.Start(t, both+fmt.Sprintf(
		"limits: { body_bytes: off }\nservices: { o: { to: [\"http://%s\"] } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin))}
	defer close(stop)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	taken := make(chan int64, 1)
	r, w := io.Pipe()
	go func() {
		req, err := http.NewRequest("POST", "http://"+s.Addr+"/", r)
		if err == nil {
			var resp *http.Response
			if resp, err = transport(t).RoundTrip(req); err == nil {
				resp.Body.Close()
			}
		}
		_ = r.CloseWithError(io.ErrClosedPipe) // whatever came of it
	}()
	go func() {
		total := int64(0)
		piece := make([]byte, 64<<10)
		for total < 256<<20 {
			n, err := w.Write(piece)
			if total += int64(n); err != nil {
				break
			}
			select {
			case <-taken:
			default:
			}
			taken <- total
		}
	}()
	if last := standstill(taken); last > 128<<20 {
		t.Errorf("%d bytes were taken for an origin that reads none", last)
	}
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	_ = w.CloseWithError(io.ErrUnexpectedEOF)
}

// standstill waits until nothing has come for a second, and returns the last that did. The kernel's buffers take some megabytes.
func standstill(taken chan int64) int64 {
	last, still := int64(-1), 0
	for end := time.Now().Add(patience); still < 10; {
		time.Sleep(100 * time.Millisecond)
		select {
		case n := <-taken:
			last, still = n, 0
		default:
			if last >= 0 || time.Now().After(end) { // a busy machine takes its time to begin
				still++
			}
		}
	}
	return last
}

// TestH2_stalledDownload: what a client does not take stays with the origin, and other streams of the connection go on.
func TestH2_stalledDownload(t *testing.T) {
	t.Parallel() // it waits most of the time
	sent := make(chan int64, 1)
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/short" {
			_, _ = io.WriteString(w, "short")
			return
		}
		piece := make([]byte, 64<<10)
		for total := int64(0); total < 256<<20; {
			n, err := w.Write(piece)
			if total += int64(n); err != nil {
				return
			}
			select {
			case <-sent:
			default:
			}
			sent <- total
		}
	})
	s := &stage{t: t, Gateway: proxytest.Start(t, both+fmt.Sprintf(
		"services: { o: { to: [\"http://%s\"] } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin))}
	c := s.h2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	c.mute = true
	c.request(1, "GET", "/long", true)
	if last := standstill(sent); last < 0 || last > 64<<20 {
		t.Errorf("%d bytes were taken for a client that reads none", last)
	}
	s.bound(c.Client)
	c.request(3, "GET", "/short", true)
	c.want(3, "200", "short")
	if got := len(c.answer(1).body); got != 1000 {
		t.Errorf("%d bytes were sent into a window of 1000", got)
	}
}

// TestH2_cutDownload: a response that the client's windows let nobody send is given up in time, with the request to the origin; and so
// is the refusal of a slow upload by a client that lets it not be sent either.
func TestH2_cutDownload(t *testing.T) {
	t.Parallel() // it waits most of the time
	gone := make(chan struct{}, 1)
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		for piece := make([]byte, 64<<10); ; {
			if _, err := w.Write(piece); err != nil {
				gone <- struct{}{}
				return
			}
		}
	})
	s := &stage{t: t, Gateway: proxytest.Start(t, both+fmt.Sprintf(`
limits: { min_rate: 1MiB/s, header_timeout: 300ms }
services: { o: { to: ["http://%s"] } }
routes: { all: { match: "/**", to: o } }
`, origin))}
	c := s.h2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	c.mute = true
	c.request(1, "GET", "/long", true)
	c.wantReset(1, http2.ErrCodeEnhanceYourCalm)
	if a := c.answer(1); a.status != "200" || len(a.body) != 1000 {
		t.Errorf("got %s and %d bytes through a window of 1000", a.status, len(a.body))
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Error("the origin still sends")
	}
	if err := c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	c.request(3, "POST", "/upload", false, "content-length", "10")
	c.data(3, false, "0")
	c.wantReset(3, http2.ErrCodeEnhanceYourCalm)
	if a := c.answer(3); a.status != "408" || len(a.body) != 0 {
		t.Errorf("got %s and %d bytes through no window", a.status, len(a.body))
	}
}

// TestH2_perClient: a client has no more requests under way over a few connections than it may have connections.
func TestH2_perClient(t *testing.T) {
	s := newStage(t, both+"limits: { per_client: 3 }\n")
	one, two := s.h2(), s.h2()
	one.request(1, "GET", "/hold", true)
	s.expect(s.began, "/hold")
	one.request(3, "GET", "/hold", true)
	s.expect(s.began, "/hold")
	two.request(1, "GET", "/hold", true)
	s.expect(s.began, "/hold")
	two.request(3, "GET", "/", true)
	two.wantReset(3, http2.ErrCodeRefusedStream)
	for range 3 {
		s.goOn <- struct{}{}
	}
	one.want(1, "200", "held")
	two.want(1, "200", "held")
	// What served them may be at it for a moment after their clients have the answers.
	id := uint32(5)
	for end := time.Now().Add(patience); ; id += 2 {
		two.request(id, "GET", "/", true)
		if a := two.await(id); a.ended || time.Now().After(end) {
			break
		}
	}
	s.expect(s.began, "/")
	two.want(id, "200", "hello")
}
