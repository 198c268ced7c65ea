package proxytest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/proxy"
)

// goneWithin is how soon the origin has to see that its client has gone. The gateway looks twice a second; the rest is for a busy machine, and less
// than any time after which something would end by itself.
const goneWithin = 6 * time.Second

// TestClientResets has a client that goes away at different moments of an exchange: the origin's connection is closed
// soon, and the gateway forgets both.
func TestClientResets(t *testing.T) {
	checkLeaks(t)
	f := func(name, request, answer string, flood bool) {
		t.Helper()
		ready := make(chan struct{}, 1)
		closed := make(chan error, 1)
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			in := bufio.NewReader(c)
			r, err := http.ReadRequest(in)
			if err != nil {
				closed <- err
				return
			}
			if r.ContentLength > 0 || len(r.TransferEncoding) > 0 {
				if _, err := io.ReadFull(r.Body, make([]byte, 5)); err != nil {
					closed <- err
					return
				}
			}
			_, _ = io.WriteString(c, answer)
			ready <- struct{}{}
			if flood {
				for err = nil; err == nil; {
					_, err = c.Write(make([]byte, 64<<10))
				}
			} else {
				_, err = io.Copy(io.Discard, in)
			}
			closed <- err
		})
		gw := streamTo(t, origin, "")
		c := gw.dialIn(t, 10*time.Second)
		c.Send(request)
		<-ready
		if answer != "" {
			c.response(t, "GET", 200)
		}
		began := time.Now()
		reset(t, c.TCPConn)
		select {
		case err := <-closed:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the origin's connection was not closed", name)
			}
		case <-time.After(goneWithin):
			t.Errorf("%s: the origin's connection is open %v after the client's reset", name, time.Since(began))
		}
		c.isForgotten(t, gw)
	}
	const get, host = "GET /x HTTP/1.1\r\n", "Host: a\r\n"
	const post = "POST /x HTTP/1.1\r\n"
	const begun = "HTTP/1.1 200 OK\r\n"
	f("waiting for the head", get+host+"\r\n", "", false)
	f("waiting for the head, whole upload", post+host+"Content-Length: 5\r\n\r\nhello", "", false)
	f("waiting for the head, whole chunked upload", post+host+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "", false)
	f("upload", post+host+"Content-Length: 50\r\n\r\nhello", "", false)
	f("chunked upload", post+host+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "", false)
	f("upload with an answer", post+host+"Content-Length: 50\r\n\r\nhello", begun+"Content-Length: 50\r\n\r\nhello", false)
	f("download that rests", get+host+"\r\n", begun+"Content-Length: 50\r\n\r\nhello", false)
	f("download", get+host+"\r\n", begun+"Content-Length: 99999999999\r\n\r\n", true)
	f("endless download", get+host+"\r\n", begun+"\r\n", true)
	f("events", get+host+"\r\n", begun+"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nid: 1\n\r\n", false)
	f("pipelined behind", get+host+"\r\n"+get+host+"\r\n", "", false)
}

// TestClientLeavesEvents has a client that closes in the ordinary way in the middle of an event stream. It looks like one
// that has no more to say, until an event finds nobody.
func TestClientLeavesEvents(t *testing.T) {
	checkLeaks(t)
	closed := make(chan int, 1)
	gone := make(chan struct{})
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nid: 1\n\r\n")
		<-gone
		for i := 0; ; i++ {
			if _, err := io.WriteString(c, "6\r\nid: 2\n\r\n"); err != nil {
				closed <- i
				return
			}
			time.Sleep(20 * time.Millisecond) // events come at their own pace
		}
	})
	gw := streamTo(t, origin, "")
	c := gw.dialIn(t, 10*time.Second)
	c.Send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
	resp := c.response(t, "GET", 200)
	if _, err := io.ReadFull(resp.Body, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	close(gone)
	if events := <-closed; events > 500 { // in ten seconds, and not when a time is over
		t.Errorf("%d events were sent to a client that had gone", events)
	}
	c.isForgotten(t, gw)
}

// TestClientResetsWhileQueued has a client that goes away while its request waits for a connection to the origin.
func TestClientResetsWhileQueued(t *testing.T) {
	checkLeaks(t)
	var requests atomic.Int64
	arrived, answer := make(chan struct{}, 2), make(chan struct{})
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		arrived <- struct{}{}
		<-answer
	})
	gw := streamTo(t, origin, "", "pool: { connections: 1, wait: 8s }")
	first, second := gw.dialIn(t, 10*time.Second), gw.dialIn(t, 10*time.Second)
	first.Send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	second.Send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
	until(t, "the second request waits", func() bool { return inFlight(gw) == 2 })
	reset(t, second.TCPConn)
	until(t, "the second request has gone", func() bool { return inFlight(gw) == 1 && gw.Server.Counts().Open == 1 })
	close(answer)
	first.bodyEnds(t, first.response(t, "GET", 200))
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests reached the origin", n)
	}
	first.goesOn(t)
}

// TestClientResetsWhileDialling is the same while the connection is being made.
func TestClientResetsWhileDialling(t *testing.T) {
	checkLeaks(t)
	gw := streamTo(t, blackhole(t), "", "timeouts: { connect: 8s }")
	c := gw.dialIn(t, 10*time.Second)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	until(t, "the gateway dials", func() bool { return inFlight(gw) == 1 })
	began := time.Now()
	reset(t, c.TCPConn)
	c.isForgotten(t, gw)
	if took := time.Since(began); took > goneWithin {
		t.Errorf("the dial went on for %v", took)
	}
}

// testHalfClosedClient has a client that says that it has no more to send, right behind its request: that is no reason
// not to answer, now or later.
func testHalfClosedClient(t *testing.T) {
	const late = 1200 * time.Millisecond // longer than the gateway takes to look whether the client is there
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("late") {
			time.Sleep(late)
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		w.(http.Flusher).Flush()
		if r.URL.Query().Has("late") {
			time.Sleep(late)
		}
		fmt.Fprintf(w, "%s %d %s", r.URL.Path, n, pattern(1, 1<<20))
	})
	gw := streamTo(t, origin, "")
	f := func(t *testing.T, request string, wants ...string) {
		t.Helper()
		c := gw.dialIn(t, 10*time.Second)
		c.Send(request)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			c.bodyIs(t, c.response(t, "GET", 200), want+" "+pattern(1, 1<<20))
		}
		if _, err := c.R.ReadByte(); err != io.EOF {
			t.Errorf("got %v, want the end", err)
		}
	}
	atOnce(t,
		func(t *testing.T) { f(t, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a 0") },
		func(t *testing.T) { f(t, "GET /a HTTP/1.0\r\n\r\n", "/a 0") },
		func(t *testing.T) { f(t, "GET /a?late HTTP/1.1\r\nHost: a\r\n\r\n", "/a 0") },
		func(t *testing.T) { f(t, "POST /a?late HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "/a 5") },
		func(t *testing.T) {
			f(t, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n"+pattern(1, 500_000), "/a 500000")
		},
		func(t *testing.T) {
			f(t, "POST /a?late HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "/a 5")
		},
		func(t *testing.T) {
			f(t, "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", "/a 0", "/b 0")
		})
}

// testTruncatedUpload breaks uploads off, in all the places where that can happen. What reaches the origin must never be
// a whole request, as a parser that is not ours sees it.
func testTruncatedUpload(t *testing.T) {
	type recorded struct {
		bytes []byte
		err   error
	}
	f := func(sent string, wait, rst bool) {
		t.Helper()
		some := make(chan struct{}, 100)
		all := make(chan recorded, 100)
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			var r recorded
			buf := make([]byte, 64<<10)
			for r.err == nil {
				var n int
				n, r.err = c.Read(buf)
				if r.bytes = append(r.bytes, buf[:n]...); n > 0 {
					select {
					case some <- struct{}{}:
					default:
					}
				}
			}
			all <- r
		})
		gw := streamTo(t, origin, "")
		c := gw.dialIn(t, 10*time.Second)
		c.Send(sent)
		if wait {
			<-some // the head has gone on
		}
		if rst {
			reset(t, c.TCPConn)
		} else {
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(sent, "Expect") {
				c.response(t, "POST", 100) // it was asked before the gateway could know that it has no more to say
			}
			resp := c.response(t, "POST", 400)
			if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(b, []byte(`"code":"bad_body"`)) {
				t.Errorf("%.200q: got %s, %v", sent, b, err)
			}
			c.Close()
		}
		c.isForgotten(t, gw)
		patience := 20 * time.Second
		if !wait {
			patience = 100 * time.Millisecond // the client may have gone before there was a connection
		}
		for range gw.Runtime.Services()[0].Endpoints[0].Requests {
			select {
			case r := <-all:
				req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.bytes)))
				if err != nil {
					continue // not even a head
				}
				if body, err := io.ReadAll(req.Body); err == nil {
					t.Errorf("%.200q: the origin saw a whole request, with %d bytes of body", sent, len(body))
				}
				if errors.Is(r.err, os.ErrDeadlineExceeded) {
					t.Errorf("%.200q: the origin's connection was not closed", sent)
				}
			case <-time.After(patience):
				if wait {
					t.Errorf("%.200q: the origin's connection is open", sent)
				}
			}
		}
	}
	const head = "POST /x HTTP/1.1\r\nHost: a\r\n"
	const inSized, inPieces = head + "Content-Length: 200000\r\n\r\n", head + "Transfer-Encoding: chunked\r\n\r\n"
	for _, rst := range []bool{false, true} {
		for _, wait := range []bool{false, true} {
			f(inSized, wait, rst)
			f(inSized+"x", wait, rst)
			f(inSized+pattern(1, 199_999), wait, rst)
			f(head+"Content-Length: 2\r\n\r\nx", wait, rst)
			f(head+"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", wait, rst)

			f(inPieces, wait, rst)
			f(inPieces+"5", wait, rst)
			f(inPieces+"5\r\n", wait, rst)
			f(inPieces+"5\r\nhel", wait, rst)
			f(inPieces+"5\r\nhello", wait, rst)
			f(inPieces+"5\r\nhello\r", wait, rst)
			f(inPieces+"5\r\nhello\r\n", wait, rst)
			f(inPieces+"5\r\nhello\r\n0", wait, rst)
			f(inPieces+"5\r\nhello\r\n0\r\n", wait, rst)
			f(inPieces+"5\r\nhello\r\n0\r\n\r", wait, rst)
			f(inPieces+"5\r\nhello\r\n0\r\nX-Sum: 1\r\n", wait, rst)
			f(inPieces+inChunks.piece(pattern(1, 199_999))+"fff\r\n"+pattern(2, 0xffe), wait, rst)
		}
	}
}

// TestTruncatedResponse breaks responses off. What the client gets must not look whole to a parser that is not ours.
func TestTruncatedResponse(t *testing.T) {
	checkLeaks(t)
	f := func(proto, sent string, rst bool) {
		t.Helper()
		for _, wait := range []bool{false, true} {
			seen := make(chan struct{}, 1)
			origin := RawOrigin(t, func(c *net.TCPConn) {
				limitConn(t, c)
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(c, sent)
				if wait {
					<-seen // the head is at the client already
				}
				if rst {
					_ = c.SetLinger(0)
				}
			})
			gw := streamTo(t, origin, "")
			c := gw.dialIn(t, 10*time.Second)
			c.Send("GET /x " + proto + "\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(c.R, nil)
			if err != nil {
				if wait {
					t.Errorf("%s, %.200q: no response: %v", proto, sent, err)
				}
				continue // broken before there was anything: as good
			}
			seen <- struct{}{}
			got, err := io.ReadAll(resp.Body)
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				t.Errorf("%s, %.200q: the response does not end", proto, sent)
			case err == nil && (wait || resp.StatusCode != 502):
				t.Errorf("%s, %.200q: the client saw a whole response: %d %.200q", proto, sent, resp.StatusCode, got)
			case err != nil && proto == "HTTP/1.0" && resp.ContentLength < 0 && !errors.Is(err, syscall.ECONNRESET):
				t.Errorf("%s, %.200q: got %v, want a reset", proto, sent, err)
			}
			c.isForgotten(t, gw)
		}
	}
	const head = "HTTP/1.1 200 OK\r\n"
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		for _, rst := range []bool{false, true} {
			f(proto, head+"Content-Length: 200000\r\n\r\n", rst)
			f(proto, head+"Content-Length: 200000\r\n\r\nx", rst)
			f(proto, head+"Content-Length: 200000\r\n\r\n"+pattern(1, 199_999), rst)
			f(proto, head+"Content-Length: 2\r\n\r\nx", rst)
			f(proto, head+"Transfer-Encoding: chunked\r\n\r\n", rst)
			f(proto, head+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello", rst)
			f(proto, head+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", rst)
			f(proto, head+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", rst)
			f(proto, head+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n", rst)
			f(proto, head+"Transfer-Encoding: chunked\r\n\r\n"+inChunks.piece(pattern(1, 300_000))+"5\r\nhel", rst)
			f(proto, head+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzzz\r\n", rst) // nonsense
		}
		f(proto, head+"\r\n", true)
		f(proto, head+"\r\nhello", true)
		f(proto, head+"\r\n"+pattern(1, 300_000), true)
	}
}

// TestResetMetByWrite has an origin that resets while the gateway sends it an upload and reads its response, which ends
// with the connection. The kernel tells of a reset once: that the one who writes hears of it must not make the one who
// reads believe in the end of the body.
func TestResetMetByWrite(t *testing.T) {
	checkLeaks(t)
	reading := make(chan struct{})
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		_ = c.SetReadBuffer(16 << 10)
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
		<-reading
		_ = c.SetLinger(0)
	})
	gw := streamTo(t, origin, "")
	for range 30 {
		c := gw.dialIn(t, 10*time.Second)
		c.Send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			send(c.TCPConn, sized, 100_000_000/(64<<10)*(64<<10), new(atomic.Int64))
		}()
		resp := c.response(t, "POST", 200)
		if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		reading <- struct{}{}
		if got, err := io.ReadAll(resp.Body); err == nil {
			t.Fatalf("the client saw a whole response: %q", got)
		}
		c.Close()
		<-sent
	}
}

// TestGoneClientIsNoFailure: that a client goes away says nothing about the origin, and costs no panic.
func TestGoneClientIsNoFailure(t *testing.T) {
	checkLeaks(t)
	before := proxy.Panics.Load()
	var waiting atomic.Int64
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		waiting.Add(1)
		_, _ = io.Copy(io.Discard, c)
		waiting.Add(-1)
	})
	gw := streamTo(t, origin, "")
	const clients = 50
	conns := make([]*streamClient, clients)
	for i := range conns {
		conns[i] = gw.dialIn(t, 10*time.Second)
		conns[i].Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	until(t, "all requests wait at the origin", func() bool { return waiting.Load() == clients })
	began := time.Now()
	for _, c := range conns {
		reset(t, c.TCPConn)
	}
	until(t, "all of them are gone", func() bool { return waiting.Load() == 0 })
	if took := time.Since(began); took > goneWithin {
		t.Errorf("the last one went after %v", took)
	}
	conns[0].isForgotten(t, gw)
	if s := gw.Runtime.Services()[0].Endpoints[0]; s.LeftOut || s.Failures > 0 || s.Open > 0 {
		t.Errorf("the origin is thought of as %+v", s)
	}
	if n := proxy.Panics.Load() - before; n > 0 {
		t.Errorf("%d panics", n)
	}
}

func inFlight(gw *Gateway) int64 {
	n := int64(0)
	for _, s := range gw.Runtime.Services() {
		for _, e := range s.Endpoints {
			n += e.InFlight
		}
	}
	return n
}

// until waits for a state that nobody tells of.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// blackhole returns an address that accepts nothing and refuses nothing: a listener with a full backlog, to which the
// kernel does not even say no.
func blackhole(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 10 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			if !strings.Contains(err.Error(), "timeout") {
				t.Fatal(err)
			}
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog does not fill")
	return ""
}
