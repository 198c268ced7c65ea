package proxytest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// TestWebSocket speaks WebSocket on both ends, with a library that is not ours.
func TestWebSocket(t *testing.T) {
	checkLeaks(t)
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		if _, err := ws.Upgrade(c); err != nil {
			t.Error(err)
			return
		}
		for {
			data, op, err := wsutil.ReadClientData(c)
			if err != nil {
				var closed wsutil.ClosedError
				if !errors.As(err, &closed) || closed.Code != ws.StatusNormalClosure {
					t.Errorf("the origin's end: %v", err)
				}
				return
			}
			if err := wsutil.WriteServerMessage(c, op, data); err != nil {
				t.Error(err)
				return
			}
		}
	})
	c := streamTo(t, origin, "").dialIn(t, 30*time.Second)
	c.upgrade(t)
	f := func(op ws.OpCode, message string) {
		t.Helper()
		sent := make(chan error, 1)
		go func() { sent <- wsutil.WriteClientMessage(c.TCPConn, op, []byte(message)) }()
		got, gotOp, err := wsutil.ReadServerData(c.both())
		if err != nil || gotOp != op || string(got) != message {
			t.Fatalf("got %v %.100q, %v; want %v %.100q", gotOp, got, err, op, message)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	f(ws.OpText, "hello")
	f(ws.OpBinary, "\x00\xff\r\n\r\n")
	f(ws.OpText, pattern(1, 125))
	f(ws.OpText, pattern(2, 70_000))
	for i := range 4 {
		f(ws.OpBinary, pattern(i, 1<<20))
	}
	for i := range 200 {
		f(ws.OpText, fmt.Sprint(i))
	}
	if err := ws.WriteFrame(c.TCPConn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "bye")))); err != nil {
		t.Fatal(err)
	}
	// The origin answers with a close frame of its own, and closes.
	h, err := ws.ReadFrame(c.R)
	if err != nil || h.Header.OpCode != ws.OpClose {
		t.Fatalf("got %v, %v; want the origin's close frame", h.Header, err)
	}
	if b, err := c.R.ReadByte(); err != io.EOF {
		t.Fatalf("got %x, %v; want the end", b, err)
	}
}

// testTunnelHalfClose ends the two directions one after the other. What is sent in the other one still arrives, however
// late it is read.
func testTunnelHalfClose(t *testing.T) {
	const late = 1200 * time.Millisecond // longer than the gateway takes to look whether its peers are there
	data := pattern(1, 3<<20)            // more than sockets hold, so that it is on its way for a while
	f := func(first string, wait time.Duration) {
		t.Helper()
		end := make(chan error, 1)
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			_ = c.SetReadBuffer(64 << 10)
			if _, err := ws.Upgrade(c); err != nil {
				end <- err
				return
			}
			if first == "client" {
				if b, err := io.ReadAll(c); err != nil || string(b) != "last words" {
					end <- fmt.Errorf("the origin got %q, %v", b, err)
					return
				}
				_, err := io.WriteString(c, data)
				end <- err
				return
			}
			if _, err := io.WriteString(c, "last words"); err != nil {
				end <- err
				return
			}
			_ = c.CloseWrite()
			time.Sleep(wait)
			if b, err := io.ReadAll(c); err != nil || string(b) != data {
				end <- fmt.Errorf("the origin got %d bytes, %v; want %d", len(b), err, len(data))
				return
			}
			end <- nil
		})
		gw := streamTo(t, origin, "")
		c := gw.dialIn(t, 20*time.Second)
		_ = c.SetReadBuffer(64 << 10)
		c.upgrade(t)
		if first == "client" {
			c.Send("last words")
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
			if b, err := io.ReadAll(c.R); err != nil || string(b) != data {
				t.Errorf("the client got %d bytes, %v; want %d", len(b), err, len(data))
			}
		} else {
			if b, err := io.ReadAll(c.R); err != nil || string(b) != "last words" {
				t.Fatalf("the client got %q, %v", b, err)
			}
			c.Send(data)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-end; err != nil {
			t.Error(err)
		}
		c.Close()
		c.isForgotten(t, gw)
	}
	f("client", 0)
	f("client", late)
	f("origin", 0)
	f("origin", late)
}

// TestTunnelBreaks has one side reset a tunnel: the other one's ends as well, and not as if all had been said.
func TestTunnelBreaks(t *testing.T) {
	checkLeaks(t)
	f := func(first string) {
		t.Helper()
		end := make(chan error, 1)
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			if _, err := ws.Upgrade(c); err != nil {
				end <- err
				return
			}
			b := make([]byte, 4)
			if _, err := io.ReadFull(c, b); err != nil {
				end <- err
				return
			}
			if first == "origin" {
				_ = c.SetLinger(0)
				end <- nil
				return
			}
			_, err := io.WriteString(c, "pong")
			if err == nil {
				_, err = c.Read(b)
			}
			end <- err
		})
		gw := streamTo(t, origin, "")
		c := gw.dialIn(t, 10*time.Second)
		c.upgrade(t)
		c.Send("ping")
		if first == "origin" {
			if err := <-end; err != nil {
				t.Fatal(err)
			}
			if _, err := c.R.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the origin reset the tunnel, the client saw %v", err)
			}
		} else {
			if _, err := io.ReadFull(c.R, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			reset(t, c.TCPConn)
			if err := <-end; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client reset the tunnel, the origin saw %v", err)
			}
		}
		c.isForgotten(t, gw)
	}
	f("origin")
	f("client")
}

// testTunnelSilence ends a tunnel in which nobody says anything, and only that.
func testTunnelSilence(t *testing.T) {
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		if _, err := ws.Upgrade(c); err != nil {
			return // the gateway has waited for too long already, which the client sees
		}
		_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // not spliced: that keeps pipes
	})
	gw := streamTo(t, origin, "", "timeouts: { tunnel: 600ms, idle: 300ms, try: 300ms }")
	var c *streamClient
	var began time.Time
	inPace(t, 300*time.Millisecond, func(p *pace) error {
		c = gw.dialIn(t, 20*time.Second)
		in, _, err := ws.Dialer{}.Upgrade(c.TCPConn, &url.URL{Scheme: "ws", Host: "a", Path: "/ws"})
		if err != nil {
			return err
		}
		if in != nil {
			c.R = in
		}
		for range 12 {
			p.step()
			began = time.Now()
			if _, err := io.WriteString(c, "x"); err != nil {
				return err
			}
			if _, err := c.R.ReadByte(); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond) // the tunnel lives on its little traffic for twice as long as it could be silent
		}
		return nil
	})
	if _, err := c.R.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the silent tunnel did not end: %v", err)
	}
	if took := time.Since(began); took < 600*time.Millisecond || took > 600*time.Millisecond+endsWithin {
		t.Errorf("the silent tunnel ended after %v", took)
	}
}

// TestEarlyFrames sends frames right behind the request, before anybody has agreed to switch, and gets the origin's that
// come right behind its answer.
func TestEarlyFrames(t *testing.T) {
	checkLeaks(t)
	frame := func(text string) string {
		var b bytes.Buffer
		if err := wsutil.WriteClientText(&b, []byte(text)); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	f := func(size int) {
		t.Helper()
		message := pattern(size, size)
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			in := bufio.NewReader(c)
			if _, err := http.ReadRequest(in); err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, switching+"\x82\x05early")
			got, err := wsutil.ReadClientText(struct {
				io.Reader
				io.Writer
			}{in, c})
			if err != nil || string(got) != message {
				t.Errorf("the origin got %.100q, %v; want %.100q", got, err, message)
			}
			_ = wsutil.WriteServerText(c, got)
		})
		c := streamTo(t, origin, "").dialIn(t, 10*time.Second)
		c.Send(upgradeRequest + frame(message))
		if resp := c.response(t, "GET", 101); resp.Header.Get("Upgrade") != "websocket" {
			t.Fatalf("got %v", resp.Header)
		}
		for _, want := range []string{"early", message} {
			got, _, err := wsutil.ReadServerData(c.both())
			if err != nil || string(got) != want {
				t.Fatalf("got %.100q, %v; want %.100q", got, err, want)
			}
		}
	}
	f(1)
	f(1000)
	f(3500)
	f(10_000)
	f(200_000)
}

// TestUpgradeRefused has an origin that does not want to switch: its answer is one like any other.
func TestUpgradeRefused(t *testing.T) {
	checkLeaks(t)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		if r.URL.Query().Has("chunked") {
			w.WriteHeader(403)
			w.(http.Flusher).Flush()
		} else {
			w.Header().Set("Content-Length", "2")
			w.WriteHeader(403)
		}
		_, _ = io.WriteString(w, "no")
	})
	gw := streamTo(t, origin, "")
	f := func(query string) {
		t.Helper()
		c := gw.dialIn(t, 10*time.Second)
		c.Send(strings.Replace(upgradeRequest, "/ws", "/ws?"+query, 1))
		c.bodyIs(t, c.response(t, "GET", 403), "no")
		c.goesOn(t)
	}
	f("sized")
	f("chunked")
}

// TestUnaskedSwitch has an origin that switches protocols of its own accord: nothing of what follows is for anybody.
func TestUnaskedSwitch(t *testing.T) {
	checkLeaks(t)
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Error(err)
			return
		}
		if got := r.Header.Get("Upgrade"); got != "" {
			t.Errorf("an upgrade to %s reached the origin", got)
		}
		_, _ = io.WriteString(c, switching+"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
		_, _ = io.Copy(io.Discard, c) // until the gateway has closed
	})
	gw := streamTo(t, origin, "")
	f := func(request string) {
		t.Helper()
		c := gw.dialIn(t, 10*time.Second)
		c.Send(request)
		resp := c.response(t, "GET", 502)
		if b, err := io.ReadAll(resp.Body); err != nil || bytes.Contains(b, []byte("secret")) {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	f("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n")
	f("POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
	// Nobody switches to anything but WebSocket, and nobody with a body or in HTTP/1.0.
	f("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
	f("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
	f("GET /ws HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	f("POST /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc")
}

const upgradeRequest = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// upgrade makes the connection a WebSocket, as the library's client does it.
func (c *streamClient) upgrade(t testing.TB) {
	t.Helper()
	in, _, err := ws.Dialer{}.Upgrade(c.TCPConn, &url.URL{Scheme: "ws", Host: "a", Path: "/ws"})
	if err != nil {
		t.Fatal(err)
	}
	if in != nil {
		c.R = in // it has read beyond the head
	}
}

// both reads through the buffer and writes to the connection.
func (c *streamClient) both() io.ReadWriter {
	return struct {
		io.Reader
		io.Writer
	}{c.R, c.TCPConn}
}

// isForgotten waits until the gateway has nothing to do with anybody.
func (c *streamClient) isForgotten(t testing.TB, gw *Gateway) {
	t.Helper()
	until(t, "nothing is left of the exchange", func() bool { return gw.Server.Counts().Open == 0 && inFlight(gw) == 0 })
}

// limitConn bounds what an origin waits for.
func limitConn(t testing.TB, c net.Conn) {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Error(err)
	}
}

// reset closes a connection so that the other side sees a reset.
func reset(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if err := c.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
