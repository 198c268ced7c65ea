package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"sluice/proxy"
	"sluice/proxy/proxytest"
	"sluice/proxy/server"
)

func TestH3(t *testing.T) {
	s := newStage(t, all3)
	c := s.h3()
	st := c.request("GET", "/", true)
	s.expect(s.began, "/")
	st.want("200", "hello")
	if st.fields["content-length"] != "5" || st.fields["x-request-id"] == "" || st.fields["date"] == "" || st.fields["alt-svc"] != "" {
		t.Errorf("got %v", st.fields)
	}
	st = c.request("HEAD", "/", true)
	s.expect(s.began, "/")
	if st.want("200", ""); st.fields["content-length"] != "5" {
		t.Errorf("HEAD: got %v", st.fields)
	}
	// The origin has a part of the body before the client has sent the rest of it.
	st = c.request("POST", "/upload", false, "content-length", "10")
	st.data("01234", false)
	s.expect(s.began, "/upload")
	st.data("56789", true)
	st.want("200", "10 <nil>")
	st = c.request("POST", "/upload", false)
	st.data("0123", false)
	s.expect(s.began, "/upload")
	st.Close()
	st.want("200", "4 <nil>")
	// A body that arrives with its head, in any number of frames, and none.
	for _, parts := range []string{"0123", "01 23", "0 1 2 3"} {
		b := frame(0x1, section(usual("POST", "/upload", "content-length", "4")...))
		for part := range strings.FieldsSeq(parts) {
			b = append(b, frame(0x0, []byte(part))...)
		}
		st = c.open(b)
		st.Close()
		s.expect(s.began, "/upload")
		st.want("200", "4 <nil>")
	}
	st = c.request("POST", "/upload", true)
	s.expect(s.began, "/upload")
	st.want("200", "0 <nil>")
	// A client waits for 100 Continue.
	st = c.request("POST", "/upload", false, "expect", "100-continue", "content-length", "4")
	for len(st.interim) == 0 {
		if err := st.step(); err != nil {
			t.Fatal(err)
		}
	}
	s.expect(s.began, "/upload")
	st.data("0123", true)
	if st.want("200", "4 <nil>"); len(st.interim) != 1 || st.interim[0] != "100" {
		t.Errorf("got the interim responses %v", st.interim)
	}
	// What nobody knows is passed over: frames, streams and settings.
	c.uni(0x21, []byte("whatever"))
	c.uni(0x2, []byte{0x20})
	c.uni(0x3, []byte{0x44, 0x7f, 0x81, 0x01})
	st = c.open(frame(0x21, make([]byte, 10000)), frame(0x1, section(usual("POST", "/upload")...)), frame(0x40), frame(0x0, []byte("01")),
		frame(0x21, []byte("x")), frame(0x0, []byte("2")), frame(0x0))
	st.Close()
	s.expect(s.began, "/upload")
	st.want("200", "3 <nil>")
	// So is what comes byte by byte.
	st = c.open()
	for _, b := range append(frame(0x1, section(usual("POST", "/upload")...)), frame(0x0, []byte("0123"))...) {
		st.send([]byte{b})
	}
	st.Close()
	s.expect(s.began, "/upload")
	st.want("200", "4 <nil>")
	// Cookies that come in crumbs, te, and a host that agrees.
	st = c.request("GET", "/", true, "te", "trailers", "cookie", "a=1", "cookie", "b=2", "host", "TEST")
	s.expect(s.began, "/")
	st.want("200", "hello")
	st = c.request("GET", "/events", true)
	s.expect(s.began, "/events")
	for len(st.body) == 0 {
		if err := st.step(); err != nil {
			t.Fatal(err)
		}
	}
	st.cancel()
	s.expect(s.gone, "/events")
}

// TestH3_altSvc: responses over TCP say where HTTP/3 is, and as long as it is there.
func TestH3_altSvc(t *testing.T) {
	f := func(listener, want string) {
		t.Helper()
		gw := proxytest.Start(t, "listen: { web: { address: \"127.0.0.1:8080\", tls: self-signed, "+listener+" } }\nroutes: { all: { match: \"/**\", respond: { text: hello } } }\n")
		_, port, err := net.SplitHostPort(gw.Addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, protocol := range []string{"http/1.1", "h2"} {
			if protocol == "h2" && !strings.Contains(listener, "h2") {
				continue
			}
			var protocols http.Protocols
			protocols.SetHTTP1(protocol != "h2")
			protocols.SetHTTP2(protocol == "h2")
			tr := &http.Transport{TLSClientConfig: tls3(), Protocols: &protocols}
			tr.TLSClientConfig.NextProtos = nil
			resp, err := (&http.Client{Transport: tr}).Get("https://" + gw.Addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			tr.CloseIdleConnections()
			if got := resp.Header.Get("Alt-Svc"); got != strings.ReplaceAll(want, "PORT", port) {
				t.Errorf("%s over %s: got %q, want %q", listener, protocol, got, want)
			}
		}
	}
	f("http: [h1, h2, h3]", `h3=":PORT"; ma=86400`)
	f("http: [h1, h3]", `h3=":PORT"; ma=86400`)
	f("http: [h1, h2, h3], alt_svc: off", "")
	f("http: [h1, h2, h3], alt_svc: 'h3=\":443\"; ma=60'", `h3=":443"; ma=60`)
	f("http: [h1, h2]", "")
	f("http: h1", "")
}

// TestH3_refused: a head is held to the same as with HTTP/2, and what is refused costs nobody else anything.
func TestH3_refused(t *testing.T) {
	s := newStage(t, all3+"limits: { header_bytes: 2KiB, headers: 10, uri_bytes: 64B }\n")
	c := s.h3()
	alive := func() {
		t.Helper()
		st := c.request("GET", "/", true)
		s.expect(s.began, "/")
		st.want("200", "hello")
	}
	send := func(fields []string) *h3stream {
		st := c.open(frame(0x1, section(fields...)))
		st.Close()
		return st
	}
	refused := func(status, code string, fields ...string) {
		t.Helper()
		if st := send(fields).want(status, "*"); !strings.Contains(string(st.body), code) {
			t.Errorf("got %s, want %s", st.body, code)
		}
		alive()
	}
	get := func(more ...string) []string { return usual("GET", "/", more...) }
	refused("400", "bad_host", get("host", "other")...)
	refused("400", "bad_host", ":method", "GET", ":scheme", "https", ":path", "/")
	refused("400", "bad_host", ":method", "GET", ":scheme", "https", ":path", "/", ":authority", "u@test")
	refused("400", "bad_host", get("host", "test", "host", "test")...)
	refused("400", "bad_path", ":method", "GET", ":scheme", "https", ":path", "/%00", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "https", ":path", "a", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "https", ":path", "https://test/", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "ftp", ":path", "/", ":authority", "test")
	refused("400", "bad_target", ":method", "GET", ":scheme", "https", ":path", "*", ":authority", "test")
	refused("400", "bad_request_line", ":method", "G T", ":scheme", "https", ":path", "/", ":authority", "test")
	refused("400", "bad_request_line", ":method", "GET", ":scheme", "https", ":path", "", ":authority", "test")
	refused("400", "bad_field_name", get("X-Upper", "1")...)
	refused("400", "control_byte", get("x", "a\r\nb: c")...)
	refused("400", "bad_field_value", get("x", " a")...)
	refused("400", "bad_content_length", get("content-length", "+0")...)
	refused("417", "expectation_failed", get("expect", "more")...)
	refused("501", "connect_not_supported", ":method", "CONNECT", ":authority", "test:80")
	refused("414", "uri_too_long", ":method", "GET", ":scheme", "https", ":path", "/"+strings.Repeat("a", 64), ":authority", "test")
	refused("431", "headers_too_large", get("x", strings.Repeat("~", 2000))...)
	refused("431", "headers_too_large", get("x", strings.Repeat("~", 20000))...)
	refused("431", "too_many_headers", get(strings.Fields(strings.Repeat("x y ", 11))...)...)

	reset := func(fields ...string) {
		t.Helper()
		send(fields).wantReset(h3Message)
		alive()
	}
	reset(get("connection", "close")...)
	reset(get("keep-alive", "1")...)
	reset(get("proxy-connection", "close")...)
	reset(get("transfer-encoding", "chunked")...)
	reset(get("upgrade", "websocket")...)
	reset(get("te", "gzip")...)
	reset(get("content-length", "1")...) // and no body
	reset(get("x", "1", ":path", "/b")...)
	reset(get(":path", "/b")...)
	reset(get(":protocol", "websocket")...)
	reset(":scheme", "https", ":path", "/", ":authority", "test")
	reset(":method", "GET", ":path", "/", ":authority", "test")
	reset(":method", "GET", ":scheme", "https", ":authority", "test")
	reset(":method", "CONNECT", ":scheme", "https", ":path", "/", ":authority", "test")

	// A stream without a head, or with half of one.
	c.open(frame(0x21)).wantResetAfterEnd(h3Incomplete)
	select {
	case path := <-s.began:
		t.Fatalf("a refused request of %s was served", path)
	default:
	}
}

// wantResetAfterEnd is wantReset of a request that ends now.
func (st *h3stream) wantResetAfterEnd(code quic.StreamErrorCode) {
	st.t.Helper()
	st.Close()
	st.wantReset(code)
}

// TestH3_length: a body that is shorter or longer than announced resets its stream, and the origin's request with it.
func TestH3_length(t *testing.T) {
	s := newStage(t, all3)
	c := s.h3()
	st := c.request("POST", "/upload", false, "content-length", "10")
	st.data("0123", false)
	s.expect(s.began, "/upload")
	st.data("4", true)
	st.wantReset(h3Message)
	st = c.request("POST", "/upload", false, "content-length", "3")
	st.data("01", false)
	s.expect(s.began, "/upload")
	st.data("23", true)
	st.wantReset(h3Message)
	// Trailers that are none.
	for _, trailers := range [][]string{{":path", "/"}, {"content-length", "4"}, {"X-Upper", "1"}, {"x", "a\nb"}} {
		st = c.request("POST", "/upload", false)
		st.data("01", false)
		s.expect(s.began, "/upload")
		st.send(frame(0x1, section(trailers...)))
		st.Close()
		st.wantReset(h3Message)
	}
	st = c.request("GET", "/", true)
	s.expect(s.began, "/")
	st.want("200", "hello")
}

// TestH3_breach: what no client of HTTP/3 would do ends the connection, with the code that says what it was.
func TestH3_breach(t *testing.T) {
	s := newStage(t, all3)
	get := section(usual("GET", "/")...)
	on := func(code quic.ApplicationErrorCode, b ...[]byte) {
		t.Helper()
		c := s.h3()
		st := c.open(b...)
		st.Close()
		c.wantEnd(code)
	}
	on(h3FrameUnexpected, frame(0x0, []byte("x")), frame(0x1, get))
	on(h3FrameUnexpected, frame(0x4))
	on(h3FrameUnexpected, frame(0x7, number(0)))
	on(h3FrameUnexpected, frame(0x5, number(0), get))
	on(h3FrameUnexpected, frame(0x2))
	on(h3FrameUnexpected, frame(0xf0700, number(0)))
	on(h3FrameUnexpected, frame(0x1, section(usual("DELETE", "/")...)), frame(0x9))
	on(h3FrameError, frame(0x1, get)[:10])
	on(h3FrameError, []byte{0x1})
	on(h3Decompression, frame(0x1))
	on(h3Decompression, frame(0x1, []byte{0x2, 0x0, 0xd1}))
	on(h3Decompression, frame(0x1, []byte{0x0, 0x0, 0x80}))
	on(h3Decompression, frame(0x1, []byte{0x0, 0x0, 0xff, 0xff, 0x1}))

	uni := func(code quic.ApplicationErrorCode, kind uint64, end bool, b ...[]byte) {
		t.Helper()
		c := s.quic(&quic.Config{})
		var all []byte
		for _, p := range b {
			all = append(all, p...)
		}
		if str := c.uni(kind, all); end {
			str.Close()
		}
		c.wantEnd(code)
	}
	uni(h3MissingSettings, 0, false, frame(0x7, number(0)))
	uni(h3MissingSettings, 0, false, frame(0x21))
	uni(h3FrameUnexpected, 0, false, frame(0x4), frame(0x4))
	uni(h3FrameUnexpected, 0, false, frame(0x4), frame(0x0))
	uni(h3FrameUnexpected, 0, false, frame(0x4), frame(0x1))
	uni(h3FrameUnexpected, 0, false, frame(0x4), frame(0x6))
	uni(h3Settings, 0, false, frame(0x4, number(0x2), number(1)))
	uni(h3Settings, 0, false, frame(0x4, number(0x6), number(1), number(0x6), number(1)))
	uni(h3FrameError, 0, false, frame(0x4, number(0x6)))
	uni(h3ExcessiveLoad, 0, false, frame(0x4, make([]byte, 5000)))
	uni(h3ExcessiveLoad, 0, false, frame(0x4), frame(0x21, make([]byte, 5000)))
	uni(h3ID, 0, false, frame(0x4), frame(0xd, number(5)), frame(0xd, number(4)))
	uni(h3ID, 0, false, frame(0x4), frame(0x7, number(4)), frame(0x7, number(8)))
	uni(h3ID, 0, false, frame(0x4), frame(0x3, number(0)))
	uni(h3FrameError, 0, false, frame(0x4), frame(0x7, number(4), number(4)))
	uni(h3ClosedCritical, 0, true, frame(0x4))
	uni(h3ClosedCritical, 2, true)
	uni(h3StreamCreation, 1, false, number(0))
	uni(h3EncoderStream, 2, false, []byte{0x3f, 0xe1, 0x1f})
	uni(h3DecoderStream, 3, false, []byte{0x80})
	uni(h3DecoderStream, 3, false, []byte{0x01})

	c := s.h3()
	c.uni(0, frame(0x4))
	c.wantEnd(h3StreamCreation)
	select {
	case path := <-s.began:
		t.Fatalf("%s was served", path)
	default:
	}
}

// TestH3_cancel: what the client gives up is known at the origin at once.
func TestH3_cancel(t *testing.T) {
	s := newStage(t, all3)
	c := s.h3()
	for _, path := range []string{"/hold", "/events"} {
		st := c.request("GET", path, true)
		s.expect(s.began, path)
		begin := time.Now()
		st.cancel()
		s.expect(s.gone, path)
		if took := time.Since(begin); took > patience/2 {
			t.Errorf("%s: the origin learned of it after %v", path, took)
		}
	}
	// So is an upload that breaks off.
	st := c.request("POST", "/upload", false)
	st.data("01", false)
	s.expect(s.began, "/upload")
	st.CancelWrite(h3Cancelled)
	st.wantReset(h3Incomplete)
	st = c.request("GET", "/", true)
	s.expect(s.began, "/")
	st.want("200", "hello")
	// So is the end of the connection.
	c.request("GET", "/hold", true)
	s.expect(s.began, "/hold")
	c.CloseWithError(h3NoError, "")
	s.expect(s.gone, "/hold")
	s.open(0)
}

// TestH3_cut: a response that its origin cuts never looks whole.
func TestH3_cut(t *testing.T) {
	for _, head := range []string{"Content-Length: 10\r\n\r\n01234", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"} {
		origin := proxytest.RawOrigin(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
		})
		s := &stage{t: t, Gateway: proxytest.Start(t, all3+fmt.Sprintf(
			"services: { o: { to: [\"http://%s\"] } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin))}
		s.h3().request("GET", "/", true).wantReset(h3Internal)
	}
}

// TestH3_early: an answer may come before the end of the request, which is then not waited for.
func TestH3_early(t *testing.T) {
	gw := proxytest.Start(t, all3+"routes: { all: { match: \"/**\", respond: { text: hello } } }\n")
	s := &stage{t: t, Gateway: gw}
	c := s.h3()
	for range 300 { // more than a connection may have at a time
		st := c.request("POST", "/", false)
		st.data("some", false)
		st.want("200", "hello")
		<-st.Context().Done() // the gateway says that it wants no more
		if err := context.Cause(st.Context()); !strings.Contains(err.Error(), "256") {
			t.Fatalf("the client was stopped with %v, want H3_NO_ERROR", err)
		}
	}
}

// TestH3_idle: a connection without a request ends after a while, one with a request does not.
func TestH3_idle(t *testing.T) {
	t.Parallel()                                    // it waits most of the time
	s := newStage(t, all3+"limits: { idle: 2s }\n") // in which the first request has to come
	c := s.h3()
	st := c.request("GET", "/hold", true)
	s.expect(s.began, "/hold")
	time.Sleep(4 * time.Second)
	close(s.goOn)
	st.want("200", "held")
	c.wantEnd(h3NoError)
	s.open(0)
}

// TestH3_drain: requests under way end, those on their way are served, the connection then ends.
func TestH3_drain(t *testing.T) {
	s := newStage(t, all3)
	c, idle := s.h3(), s.h3()
	st := c.request("GET", "/hold", true)
	s.expect(s.began, "/hold")
	other := idle.request("GET", "/", true)
	s.expect(s.began, "/")
	other.want("200", "hello")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := s.shutdown(ctx)
	idle.wantEnd(h3NoError)
	ids := c.gone(2)
	if ids[0] != 1<<62-4 || ids[1] != 4 {
		t.Errorf("got GOAWAY %v, want to hear at first only that the connection ends, then that stream 4 is not served", ids)
	}
	c.request("GET", "/", true).wantReset(h3Rejected)
	if _, err := quic.DialAddr(ctx, s.Addr, tls3(), &quic.Config{HandshakeIdleTimeout: 200 * time.Millisecond}); err == nil {
		t.Error("a connection was accepted after the end")
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown has returned (%v) before what is in flight has ended", err)
	case path := <-s.began:
		t.Fatalf("%s was served after the end", path)
	case <-time.After(100 * time.Millisecond):
	}
	close(s.goOn)
	st.want("200", "held")
	c.wantEnd(h3NoError)
	s.closed(done, nil)
	pc, err := net.ListenPacket("udp", s.Addr)
	for end := time.Now().Add(patience); err != nil; pc, err = net.ListenPacket("udp", s.Addr) { // it is not waited for for ever
		if time.Now().After(end) {
			t.Fatalf("the UDP socket is not closed: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	pc.Close()
}

// TestH3_endMeetsRequest: a request that comes as its connection is ended for idling is answered if GOAWAY says that it may have been.
func TestH3_endMeetsRequest(t *testing.T) {
	s := newStage(t, all3)
	c := s.h3()
	c.request("GET", "/", true).want("200", "hello")
	s.expect(s.began, "/")
	var st *h3stream
	s.Server.FinishBeginning(func() { st = c.request("POST", "/", true) })
	st.want("200", "hello")
	s.expect(s.began, "/")
	if ids := c.gone(1); ids[0] != 8 {
		t.Errorf("got GOAWAY %v, want 8", ids)
	}
	c.wantEnd(h3NoError)
}

// TestH3_shutdownCuts: what has not ended by the limit is cut, on both sides.
func TestH3_shutdownCuts(t *testing.T) {
	s := newStage(t, all3)
	c := s.h3()
	events := c.request("GET", "/events", true)
	s.expect(s.began, "/events")
	hold := c.request("GET", "/hold", true)
	s.expect(s.began, "/hold")
	limit, expire := context.WithCancel(context.Background())
	done := s.shutdown(limit)
	c.gone(1)
	expire()
	s.closed(done, context.Canceled)
	for _, st := range []*h3stream{events, hold} {
		err := error(nil)
		for err == nil {
			err = st.step()
		}
		if err == io.EOF {
			t.Error("a response that was cut looks whole")
		}
	}
	<-s.gone
	<-s.gone
}

// TestH3_retire: after so many requests, and with its listener, a connection ends; others go on.
func TestH3_retire(t *testing.T) {
	s := newStage(t, all3+"limits: { requests_per_connection: 2 }\n")
	c := s.h3()
	for range 2 {
		st := c.request("GET", "/", true)
		s.expect(s.began, "/")
		st.want("200", "hello")
	}
	c.wantEnd(h3NoError)
	s.open(0)

	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := s.Server.Listen("other", nl, s.Listening())
	if err := other.ServePackets(udp(t, nl), server.PacketKeys{}); err != nil {
		t.Fatal(err)
	}
	stays := s.h3()
	s.Addr = nl.Addr().String()
	goes := s.h3()
	st := goes.request("GET", "/hold", true)
	s.expect(s.began, "/hold")
	other.Retire()
	goes.gone(1)
	close(s.goOn)
	st.want("200", "held")
	goes.wantEnd(h3NoError)
	st = stays.request("GET", "/", true)
	s.expect(s.began, "/")
	st.want("200", "hello")
}

// TestH3_panic: a panic costs its own stream, and no other.
func TestH3_panic(t *testing.T) {
	s := newStage(t, all3)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	route := *s.Snapshot().Fallback
	route.Chain = proxy.NewChain(proxy.Link{Name: "bug", Policy: panicking{}})
	listening := s.Listening()
	listening.Instead = &route
	if err := s.Server.Listen("bug", nl, listening).ServePackets(udp(t, nl), server.PacketKeys{}); err != nil {
		t.Fatal(err)
	}
	s.Addr = nl.Addr().String()
	before := proxy.Panics.Load()
	c := s.h3()
	c.request("GET", "/panic", true).want("500", "*")
	c.request("GET", "/body", true).wantReset(h3Internal)
	c.request("GET", "/panic", true).want("500", "*")
	if n := proxy.Panics.Load() - before; n != 3 {
		t.Errorf("%d panics were counted, want 3", n)
	}
	c.CloseWithError(h3NoError, "")
	s.open(0)
}
