package proxytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestDelimiter(t *testing.T) {
	// The messages in a row, each cut into these pieces; want is one letter per piece: whole or partial.
	f := func(want string, pieces ...string) {
		t.Helper()
		var in delimiter
		got := ""
		for _, p := range pieces {
			if begins := got == "" || got[len(got)-1] == 'w'; in.fresh() != begins {
				t.Fatalf("after %q: fresh is %v", got, in.fresh())
			}
			whole, err := in.add([]byte(p))
			switch {
			case err != nil:
				got += "!"
			case whole:
				got += "w"
			default:
				got += "p"
			}
		}
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	const head = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"
	f("w", "GET / HTTP/1.1\r\n\r\n")
	f("ppw", "GET / HT", "TP/1.1\r\n\r", "\n")
	f("w", head+"12345")
	f("pw", head, "12345")
	f("pppw", head[:20], head[20:]+"1", "23", "45")
	f("wpwpw", head+"12345", head+"1", "2345", head[:9], head[9:]+"12345")
	f("!", head+"123456")
	f("p!", head, "123456")
	f("w", "A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	f("pppww", "A\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r", "\n0\r\n", "\r\n", "A\r\n\r\n")
	f("p!", "A\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\nB")
}

// TestMemory runs exchanges of every shape over a network of memory.
func TestMemory(t *testing.T) {
	page := strings.Repeat("x", 1<<10)
	m := NewMemory()
	sized := m.Canned(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(page), page))
	large := m.Canned(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 100*len(page), strings.Repeat(page, 100)))
	chunked := m.Canned(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(page), page))
	gw := m.Start(t, fmt.Sprintf(`
services: { sized: { to: ["http://%s"] }, large: { to: ["http://%s"] }, chunked: { to: ["http://%s"] }, nowhere: { to: ["http://192.0.2.99:80"] } }
routes:
  sized: { match: /sized, to: sized }
  large: { match: /large, to: large }
  chunked: { match: /chunked, to: chunked }
  nowhere: { match: /nowhere, to: nowhere }
`, sized, large, chunked))
	f := func(status int, request string) {
		t.Helper()
		r := m.Replay(t, status, request)
		for _, n := range []int{1, 100, 1} {
			if err := r.Do(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
	post := func(n int) string {
		return fmt.Sprintf("POST /sized HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("y", n))
	}
	f(200, get("/sized"))
	f(200, get("/large"))
	f(200, get("/chunked"))
	f(404, get("/none"))
	f(502, get("/nowhere"))
	f(200, post(4<<10))
	f(200, post(64<<10))
	f(200, "POST /sized HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

	served := uint64(0)
	for _, s := range gw.Runtime.Services() {
		if s.Name != "nowhere" {
			served += s.Endpoints[0].Requests
		}
	}
	if want := uint64(6 * 102); served != want {
		t.Errorf("the origins were asked %d times, want %d", served, want)
	}
}

// TestMemoryTells sees that a response other than the one wanted, or none, is an error and stays one.
func TestMemoryTells(t *testing.T) {
	m := NewMemory()
	gw := m.Start(t, "limits: { requests_per_connection: 3 }\nroutes: { a: { match: /a, respond: { status: 204 } } }")
	const request = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
	wrong := m.Replay(t, 200, request)
	for range 2 {
		if err := wrong.Do(5); err == nil || !strings.Contains(err.Error(), "204 No Content") {
			t.Errorf("got %v, want the wrong status", err)
		}
	}
	cut := m.Replay(t, 204, request)
	for range 2 {
		if err := cut.Do(5); err != io.ErrUnexpectedEOF {
			t.Errorf("got %v, want an unexpected end", err)
		}
	}
	ended := m.Replay(t, 204, request)
	if err := ended.Do(1); err != nil {
		t.Fatal(err)
	}
	gw.Stop()
	if err := ended.Do(1); err != net.ErrClosed {
		t.Errorf("got %v from a gateway that has stopped", err)
	}
	if _, err := m.dial(context.Background(), "tcp", "192.0.2.1:80"); err == nil {
		t.Error("somebody listens where nobody was put")
	}
}

// TestMemoryDeadline wakes a reader, as a sweeper does.
func TestMemoryDeadline(t *testing.T) {
	c := newMemoryConn(&cannedPeer{})
	failed := make(chan error)
	read := func() {
		_, err := c.Read(make([]byte, 1))
		failed <- err
	}
	f := func(act func() error, want error) {
		t.Helper()
		go read()
		if err := act(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			if !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("the read goes on, want %v", want)
		}
	}
	f(func() error { return c.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded)
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v from a write after its deadline", err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	f(c.Close, net.ErrClosed)
}
