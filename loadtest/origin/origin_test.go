package origin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// begin serves on a free port until the tests end. It is below those that the kernel gives to clients: another one's connection may have
// taken such a port by the time that it is opened again, and who dials it too early may be given it himself, and be connected to himself.
func begin(t *testing.T) string {
	t.Helper()
	var l net.Listener
	for err := errors.ErrUnsupported; err != nil; { // until one is free
		l, err = net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(5000)))
	}
	address := l.Addr().String()
	l.Close()
	failed := make(chan error, 1)
	go func() { failed <- Serve(netip.MustParseAddrPort(address)) }()
	for range 2000 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address
		}
		select {
		case err := <-failed:
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("it does not listen after 20 seconds")
	return ""
}

func TestOriginAnswers(t *testing.T) {
	address := begin(t)
	f := func(method, path, body string, status int, want string) {
		t.Helper()
		var sent io.Reader
		if body != "" {
			sent = strings.NewReader(body)
		}
		request, err := http.NewRequest(method, "http://"+address+path, sent)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer response.Body.Close()
		got, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		if response.StatusCode != status || want != "" && string(got) != want {
			t.Errorf("%s %s: %d with %d bytes, %.60q; want %d with %d bytes", method, path, response.StatusCode, len(got), got, status, len(want))
		}
	}
	f("GET", "/100", "", 200, string(Body(100)))
	f("GET", "/1k", "", 200, string(Body(1<<10)))
	f("GET", "/a/b/1k?c=/d", "", 200, string(Body(1<<10)))
	f("GET", "/100k", "", 200, string(Body(100<<10)))
	f("GET", "/page", "", 200, string(Page))
	f("GET", "/1m", "", 200, string(Body(1<<20)))

	f("POST", "/upload", "hello", 200, `{"received":5}`)
	f("POST", "/x/upload", strings.Repeat("y", 1<<20), 200, `{"received":1048576}`)
	f("POST", "/upload", "", 200, `{"received":0}`)

	// The origin closes after a 404. A GET that meets the closed connection is sent again by the client, a POST is not: it goes
	// first, and without a body, which would be left unread.
	f("POST", "/1k", "", 404, "")
	f("GET", "/", "", 404, "")
	f("GET", "/2k", "", 404, "")
	f("GET", "/upload", "", 404, "")
	f("GET", "/socket", "", 404, "")
}

// say sends bytes in pieces and returns the bodies of so many answers.
func say(t *testing.T, address string, answers int, pieces ...string) []string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, piece := range pieces {
		if _, err := io.WriteString(c, piece); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // so that it arrives as a piece
	}
	var bodies []string
	r := bufio.NewReader(c)
	for range answers {
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return append(bodies, "cut")
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, fmt.Sprintf("%d %.40s", response.StatusCode, body))
	}
	return bodies
}

func TestOriginReadsPieces(t *testing.T) {
	address := begin(t)
	f := func(want string, pieces ...string) {
		t.Helper()
		if got := strings.Join(say(t, address, strings.Count(want, "|")+1, pieces...), "|"); got != want {
			t.Errorf("%q: %q, want %q", pieces, got, want)
		}
	}
	small := fmt.Sprintf("200 %.40s", Body(100))
	f(small, "GET /100 HT", "TP/1.1\r\nHost: a\r", "\n\r\n")
	f(small+"|"+small, "GET /100 HTTP/1.1\r\n\r\nGET /100 HTTP/1.1\r\n\r\n")
	f(`200 {"received":3}|`+small, "POST /upload HTTP/1.1\r\ncontent-length: 3\r\n\r\n", "ab", "cGET /100 HTTP/1.1\r\n\r\n")

	chunked := "POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	f(`200 {"received":5}|`+small, chunked+"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /100 HTTP/1.1\r\n\r\n")
	f(`200 {"received":3}`, chunked, "3", "\r\nab", "c\r", "\n0\r\nX: y\r", "\n\r", "\n")
	f("cut", chunked+"x\r\n")
	f("cut", chunked+"1\r\naXX")
	f("cut", chunked+strings.Repeat("1", lineMax+1))
	f("cut", "POST /upload HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
	f("cut", "GET /100 HTTP/1.1\r\nX: "+strings.Repeat("y", headMax))
}

func TestOriginEchoes(t *testing.T) {
	address := begin(t)
	c, _, _, err := ws.Dial(t.Context(), "ws://"+address+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"", "hello", strings.Repeat("a", 125), strings.Repeat("b", 126), strings.Repeat("c", payloadMax)} {
		if err := wsutil.WriteClientText(c, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := wsutil.ReadServerText(c)
		if err != nil || string(got) != want {
			t.Errorf("%d bytes came back as %d: %v", len(want), len(got), err)
		}
	}
	if err := wsutil.WriteClientText(c, make([]byte, payloadMax+1)); err != nil {
		t.Fatal(err)
	}
	if _, err := wsutil.ReadServerText(c); err == nil {
		t.Error("a message that is too long was taken")
	}
}
