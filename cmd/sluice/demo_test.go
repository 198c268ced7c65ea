package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// TestDemo tries everything that the demo says can be tried.
func TestDemo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := launch(t, "demo", "--listen", taken.Addr().String(), "--admin", "127.0.0.1:0")
	address := p.address("demo")
	web, adm := "http://"+address, "http://"+p.address("admin")
	f := func(url string, want int, wantBody string) {
		t.Helper()
		if status, body := get(url); status != want || !strings.Contains(body, wantBody) {
			t.Errorf("%s: %d %q, want %d %q", url, status, body, want, wantBody)
		}
	}
	f(web+"/", 200, "Sluice is running")
	f(web+"/items/7", 200, `"X-Item": "7"`)
	f(web+"/items/x", 404, "no_route")
	f(web+"/split", 200, `"uri": "/split"`)
	f(web+"/api/users?page=2", 200, `"uri": "/v1/users?page=2"`)
	f(web+"/teapot", 418, `{"short":"stout"}`)
	f(web+"/old/users", 200, `"uri": "/v1/users"`) // the client follows
	f(web+"/socket", 426, "speaks WebSocket")
	f(adm+"/v1/routes", 200, `"name": "split"`)
	if !strings.Contains(p.log(), "is taken: using a free port instead") {
		t.Error("nothing was said about the address that is taken")
	}

	t.Run("sticky", func(t *testing.T) { testSticky(t, web+"/split") })
	t.Run("events", func(t *testing.T) { testEvents(t, web+"/events") })
	t.Run("websocket", func(t *testing.T) { testEcho(t, "ws://"+address+"/socket") })

	// A client that has left an event stream is noticed with the next event.
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "every connection ending", func() bool {
		_, body := get(adm + "/metrics")
		return strings.Contains(body, "\nsluice_connections_open 0\n")
	})
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// testSticky makes sure that a client stays where its cookie says.
func testSticky(t *testing.T, url string) {
	sides := map[string]bool{}
	var cookie *http.Cookie
	for range 20 {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if cookie != nil {
			req.AddCookie(cookie)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if got := res.Cookies(); len(got) > 0 {
			cookie = got[0]
		}
		sides[res.Header.Get("Server")] = true
	}
	if cookie == nil || len(sides) != 1 {
		t.Errorf("a client with the cookie %v was on %v", cookie, sides)
	}
}

// testEvents makes sure that an event arrives while the stream goes on.
func testEvents(t *testing.T, url string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "id: 1" || !lines.Scan() || !strings.HasPrefix(lines.Text(), `data: {"origin":"blue"`) {
		t.Errorf("the first event is %q (%v)", lines.Text(), lines.Err())
	}
}

func testEcho(t *testing.T, url string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, _, err := ws.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	f := func(op ws.OpCode, text string) {
		t.Helper()
		if err := wsutil.WriteClientMessage(c, op, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, gotOp, err := wsutil.ReadServerData(c)
		if err != nil || string(got) != text || gotOp != op {
			t.Errorf("%d bytes came back as %d (%v)", len(text), len(got), err)
		}
	}
	f(ws.OpText, "")
	f(ws.OpText, "hello")
	f(ws.OpText, strings.Repeat("x", 125))
	f(ws.OpBinary, strings.Repeat("x", 126))
	f(ws.OpBinary, strings.Repeat("x", 1<<16-1))
	f(ws.OpBinary, strings.Repeat("x", 1<<16))

	g := func(op, want ws.OpCode) {
		t.Helper()
		if err := wsutil.WriteClientMessage(c, op, []byte{3, 232}); err != nil { // 1000: a normal closure
			t.Fatal(err)
		}
		frame, err := ws.ReadFrame(c)
		if err != nil || frame.Header.OpCode != want || string(frame.Payload) != "\x03\xe8" {
			t.Errorf("%v is answered with %v (%v)", op, frame, err)
		}
	}
	g(ws.OpPing, ws.OpPong)
	g(ws.OpClose, ws.OpClose)
}
