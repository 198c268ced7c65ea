package proxytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/tlsterm"
)

// passageGateway passes connections on to an origin; more is appended to the configuration.
func passageGateway(t testing.TB, service, more string) (*Gateway, *passageLog) {
	t.Helper()
	log := &passageLog{t: t, file: filepath.Join(t.TempDir(), "access.log")}
	gw := Start(t, fmt.Sprintf("listen: { db: { address: \":1\", tcp: db, %s } }\nlog: { access: { to: %s } }\nservices: { db: { %s } }\n", more, log.file, service))
	log.gw = gw
	return gw, log
}

// passageLog is an access log of passages.
type passageLog struct {
	t    testing.TB
	gw   *Gateway
	file string
}

// lines stops the gateway and returns what it has logged, in the order of its end.
func (l *passageLog) lines() []map[string]any {
	l.t.Helper()
	l.gw.Stop()
	text, err := os.ReadFile(l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	var lines []map[string]any
	for line := range strings.Lines(string(text)) {
		fields := map[string]any{}
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&fields); err != nil {
			l.t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, fields)
	}
	return lines
}

// want compares fields of the only line.
func (l *passageLog) want(pairs ...any) {
	l.t.Helper()
	lines := l.lines()
	if len(lines) != 1 {
		l.t.Fatalf("%d lines: %v", len(lines), lines)
	}
	for i := 0; i < len(pairs); i += 2 {
		if got := fmt.Sprint(lines[0][pairs[i].(string)]); got != fmt.Sprint(pairs[i+1]) {
			l.t.Errorf("%s is %s, want %v, in %v", pairs[i], got, pairs[i+1], lines[0])
		}
	}
}

// series returns the value of a series of the metrics, or -1.
func (g *Gateway) series(name string) float64 {
	var b bytes.Buffer
	if err := g.Metrics.WritePrometheus(&b); err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			if _, err := fmt.Sscan(value, &v); err != nil {
				g.t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

// shout is an origin that answers with all that it was sent, in upper case, after the end of it.
func shout(t testing.TB) string {
	return RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		all, err := io.ReadAll(c)
		if err == nil {
			_, err = c.Write(bytes.ToUpper(all))
		}
		if err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the origin: %v", err)
		}
	})
}

// echo is an origin that sends back what comes.
func echo(t testing.TB) string {
	return RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		_, _ = io.Copy(c, c) // which may be ended from either side
		_ = c.CloseWrite()
	})
}

func (c *Client) roundTrip(s string) {
	c.t.Helper()
	limitConn(c.t, c)
	c.Send(s)
	got := make([]byte, len(s))
	if _, err := io.ReadFull(c.R, got); err != nil || string(got) != s {
		c.t.Fatalf("got %q, %v; want %q", got, err, s)
	}
}

// wantReset waits until the connection is reset.
func (c *Client) wantReset() {
	c.t.Helper()
	limitConn(c.t, c)
	if b, err := io.ReadAll(c.R); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("got %q, %v; want a reset", b, err)
	}
}

// wantNone dials, and waits until the connection is reset, which it may be before Dial knows that it was made.
func (g *Gateway) wantNone(ip string) {
	g.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", g.Addr)
	if err == nil {
		defer c.Close()
		limitConn(g.t, c)
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		g.t.Fatalf("got %v; want a reset", err)
	}
}

// TestPassage: the ends of both sides are passed on as such, and the log and the metrics tell what was.
func TestPassage(t *testing.T) {
	origin := shout(t)
	gw, log := passageGateway(t, "to: tcp://"+origin, "")
	c := gw.Dial()
	limitConn(t, c)
	c.Send("hello, ")
	c.Send("you")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c.R); err != nil || string(got) != "HELLO, YOU" {
		t.Fatalf("got %q, %v", got, err)
	}
	gw.Stop()
	f := func(series string, want float64) {
		t.Helper()
		if got := gw.series(series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	f(`sluice_passages_total{listener="db",service="db",ended="client"}`, 1)
	f(`sluice_passages_open{listener="db",service="db"}`, 0)
	f(`sluice_passage_bytes_total{listener="db",service="db",direction="in"}`, 10)
	f(`sluice_passage_bytes_total{listener="db",service="db",direction="out"}`, 10)
	log.want("kind", "passage", "listener", "db", "client", "127.0.0.1", "service", "db", "endpoint", origin, "attempts", 1,
		"bytes_in", 10, "bytes_out", 10, "ended", "client", "proto", "TCP", "cause", nil)
}

// TestPassageLarge moves much both ways at once, to a unix socket's client as well.
func TestPassageLarge(t *testing.T) {
	const size = 16 << 20
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	want := sha256.Sum256(data)
	gw, _ := passageGateway(t, "to: tcp://"+echo(t), "")
	path := filepath.Join(t.TempDir(), "s")
	nl, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	gw.Server.Listen("socket", nl, gw.plan(fmt.Sprintf("listen: { db: { address: \":1\", tcp: db } }\nservices: { db: tcp://%s }\n", echo(t))).Listeners[0].Listening)
	f := func(network, address string) {
		t.Helper()
		c, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		limitConn(t, c)
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			if err == nil {
				err = c.(interface{ CloseWrite() error }).CloseWrite()
			}
			sent <- err
		}()
		h := sha256.New()
		if n, err := io.Copy(h, c); err != nil || n != size || [32]byte(h.Sum(nil)) != want {
			t.Errorf("%s: %d bytes came back, %v", network, n, err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	f("tcp", gw.Addr)
	f("unix", path)
}

// TestPassageBreaks: a side that breaks is a reset to the other one.
func TestPassageBreaks(t *testing.T) {
	arrived, ends := make(chan bool, 1), make(chan error, 1)
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		var b [5]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			t.Error(err)
			return
		}
		if string(b[:]) == "break" {
			_, _ = c.Write([]byte("some"))
			_ = c.SetLinger(0)
			return
		}
		arrived <- true
		_, err := c.Read(b[:])
		ends <- err
	})
	gw, log := passageGateway(t, "to: tcp://"+origin, "")
	c := gw.Dial()
	c.Send("break")
	c.wantReset()

	c = gw.Dial()
	c.Send("hello")
	if err := c.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	await(t, arrived)
	c.Close()
	if err := <-ends; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the origin sees %v, want a reset", err)
	}
	// The line of a passage comes after its client has heard of the end, and may come after the next one's.
	lines := log.lines()
	var ended []string
	for _, line := range lines {
		ended = append(ended, fmt.Sprint(line["ended"]))
	}
	slices.Sort(ended)
	if !slices.Equal(ended, []string{"client_reset", "origin_reset"}) {
		t.Errorf("the log has %v", lines)
	}
}

// TestPassageAnother: an endpoint that cannot be reached, or has no room, costs no connection while there is another one.
func TestPassageAnother(t *testing.T) {
	dead, good := refusingAddress(t), echo(t)
	gw, log := passageGateway(t, fmt.Sprintf("to: [tcp://%s, tcp://%s]", dead, good), "")
	for range 4 {
		c := gw.Dial()
		c.roundTrip("ping")
		c.Close()
	}
	for _, line := range log.lines() {
		if line["ended"] != "client" || line["endpoint"] != good {
			t.Errorf("the log has %v", line)
		}
	}

	gw, log = passageGateway(t, fmt.Sprintf("to: [tcp://%s, tcp://%s]", refusingAddress(t), dead), "")
	gw.wantNone("127.0.0.1")
	log.want("ended", "unreachable", "attempts", 2, "bytes_in", 0)

	gw, log = passageGateway(t, fmt.Sprintf("to: [tcp://%s, tcp://%s], pool: { connections: 1 }", good, echo(t)), "")
	one, two := gw.Dial(), gw.Dial()
	one.roundTrip("ping")
	two.roundTrip("ping")
	gw.wantNone("127.0.0.1")
	one.Close()
	eventually(t, "there is room", func() bool { return inFlight(gw) == 1 })
	three := gw.Dial()
	three.roundTrip("ping")
	two.Close()
	three.Close()
	busy := 0 // its line may come after that of one, which is closed when busy's client has heard already
	for _, line := range log.lines() {
		if line["ended"] == "busy" {
			busy++
		}
	}
	if busy != 1 {
		t.Errorf("%d of %v are busy", busy, log.lines())
	}
}

// testPassageIdle: silence ends a passage, and a byte now and then keeps it.
func testPassageIdle(t *testing.T) {
	gw, log := passageGateway(t, "to: tcp://"+echo(t)+", timeouts: { tunnel: 1s }", "")
	c := gw.Dial()
	c.roundTrip("ping")
	c.wantReset()
	log.want("ended", "idle", "bytes_in", 4)

	gw, _ = passageGateway(t, "to: tcp://"+echo(t)+", timeouts: { tunnel: 2s }", "")
	c = gw.Dial()
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c.roundTrip("ping")
	}
}

// TestPassageAllow: who is not allowed does not reach the service.
func TestPassageAllow(t *testing.T) {
	gw, log := passageGateway(t, "to: tcp://"+echo(t), "allow: 127.0.0.2")
	c := gw.DialFrom("127.0.0.2")
	c.roundTrip("ping")
	c.Close()
	gw.wantNone("127.0.0.3")
	for _, line := range log.lines() {
		if line["client"] == "127.0.0.3" && (line["ended"] != "not_allowed" || line["endpoint"] != nil) {
			t.Errorf("the log has %v", line)
		}
	}
}

// TestPassageLimits: connections that are passed on count as all do, and the client is whom the PROXY header names.
func TestPassageLimits(t *testing.T) {
	gw := Start(t, fmt.Sprintf(`
listen: { db: { address: ":1", tcp: db, proxy_protocol: { from: 127.0.0.9 } } }
limits: { connections: 3, per_client: 1 }
services: { db: tcp://%s }
`, echo(t)))
	one := gw.DialFrom("127.0.0.2")
	one.roundTrip("ping")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	if c, err := d.Dial("tcp", gw.Addr); err == nil { // else it was ended before Dial knew that it was made
		limitConn(t, c)
		if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a second connection is served: %d bytes, %v", n, err)
		}
		c.Close()
	}
	const header = "PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n"
	proxied := gw.DialFrom("127.0.0.9")
	proxied.Send(header)
	proxied.roundTrip("ping")
	another := gw.DialFrom("127.0.0.9")
	another.Send(header)
	if b, err := another.R.ReadByte(); err == nil {
		t.Errorf("a second connection of a client behind a balancer is served: %q", b)
	}
	one.Close()
	eventually(t, "the first connection is forgotten", func() bool { return gw.Server.Counts().Open == 1 })
	one = gw.DialFrom("127.0.0.2")
	one.roundTrip("ping")
	one.Close()
	proxied.Close()
}

// TestPassageReload: connections go on where they are, and new ones go where they are told now.
func TestPassageReload(t *testing.T) {
	named := func(name string) string {
		return RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			for b := make([]byte, 1); ; {
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
				_, _ = c.Write([]byte(name)) // the test sees what is missing
			}
		})
	}
	ask := func(c *Client, want string) {
		t.Helper()
		limitConn(t, c)
		c.Send("?")
		if b, err := c.R.ReadByte(); err != nil || string(b) != want {
			t.Errorf("got %c, %v; want %s", b, err, want)
		}
	}
	const config = "listen: { db: { address: \":1\", tcp: %s } }\nservices: { %s: tcp://%s }\n"
	gw := Start(t, fmt.Sprintf(config, "a", "a", named("a")))
	a := gw.Dial()
	ask(a, "a")
	gw.Reload(fmt.Sprintf(config, "b", "b", named("b")))
	b := gw.Dial()
	ask(b, "b")
	ask(a, "a")
	if got := gw.series(`sluice_passages_open{listener="db",service="a"}`); got != -1 {
		t.Errorf("metrics of a service that nothing is passed on to any more: %v", got)
	}
	gw.Reload("routes: { all: { match: /**, respond: { text: hello } } }")
	c := gw.Dial()
	limitConn(t, c)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if line, err := c.R.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Errorf("got %q, %v", line, err)
	}
	ask(a, "a")
	ask(b, "b")
}

// TestPassageDrain: a drain waits for passages, and cuts those that do not end.
func TestPassageDrain(t *testing.T) {
	gw, log := passageGateway(t, "to: tcp://"+echo(t), "")
	short, long := gw.Dial(), gw.Dial()
	short.roundTrip("ping")
	long.roundTrip("ping")
	ctx, cut := context.WithCancel(context.Background())
	defer cut()
	over := make(chan error, 1)
	go func() { over <- gw.Server.Shutdown(ctx) }()
	eventually(t, "nobody listens any more", func() bool {
		c, err := net.Dial("tcp", gw.Addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	short.roundTrip("pong")
	long.roundTrip("pong")
	short.Close()
	eventually(t, "one is left", func() bool { return gw.Server.Counts().Open == 1 })
	select {
	case err := <-over:
		t.Fatalf("the drain has ended: %v", err)
	default:
	}
	cut()
	long.wantReset()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("the drain ends with %v", err)
	}
	// The connection that found out who listens may be there as well.
	if lines := log.lines(); len(lines) < 2 || lines[len(lines)-2]["ended"] != "client" || lines[len(lines)-1]["ended"] != "drained" {
		t.Errorf("the log has %v", lines)
	}
}

// tlsOrigin is an origin that ends TLS, and answers with the name that it was asked for and what it was sent.
func tlsOrigin(t testing.TB, name string) string {
	t.Helper()
	term, err := tlsterm.Open(tlsterm.Options{Name: "origin", Certificates: []tlsterm.Source{{SelfSigned: []string{name}}}})
	if err != nil {
		t.Fatal(err)
	}
	return RawOrigin(t, func(nc *net.TCPConn) {
		limitConn(t, nc)
		c := tls.Server(nc, term.Config())
		all, err := io.ReadAll(c)
		if err != nil {
			return // the client's business
		}
		fmt.Fprintf(c, "%s got %s for %s", name, all, c.ConnectionState().ServerName)
		_ = c.CloseWrite()
	})
}

// askTLS says hello to a name with TLS and returns the answer, or why there is none.
func askTLS(t testing.TB, c net.Conn, name string) string {
	t.Helper()
	defer c.Close()
	limitConn(t, c)
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err := s.Handshake(); err != nil {
		return err.Error()
	}
	if _, err := io.WriteString(s, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(s)
	if err != nil {
		return err.Error()
	}
	return string(all)
}

// TestPassthrough: TLS goes on to the service of the name that the client asks for; other names are refused.
func TestPassthrough(t *testing.T) {
	log := &passageLog{t: t, file: filepath.Join(t.TempDir(), "access.log")}
	gw := Start(t, fmt.Sprintf(`
listen: { public: { address: ":1", passthrough: { DB.shop.example: db, "*.legacy.example": legacy, "*.very.legacy.example": db } } }
log: { access: { to: %s } }
services: { db: tcp://%s, legacy: tcp://%s }
`, log.file, tlsOrigin(t, "db"), tlsOrigin(t, "legacy")))
	log.gw = gw
	f := func(name, want string) {
		t.Helper()
		if got := askTLS(t, gw.Dial().TCPConn, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	const refused = "remote error: tls: unrecognized name"
	f("db.shop.example", "db got hello for db.shop.example")
	f("DB.SHOP.example", "db got hello for DB.SHOP.example")
	f("a.legacy.example", "legacy got hello for a.legacy.example")
	f("a.b.legacy.example", "legacy got hello for a.b.legacy.example")
	f("a.very.legacy.example", "db got hello for a.very.legacy.example")
	f("legacy.example", refused)
	f("shop.example", refused)
	f("", refused)
	for _, line := range log.lines() {
		if line["proto"] != "TLS" || len(fmt.Sprint(line["tls_fingerprint"])) != 36 {
			t.Errorf("the log has %v", line)
		}
		if known := line["service"] != nil; known != (line["ended"] != "unrecognized_name") {
			t.Errorf("the log has %v", line)
		}
	}
	if got := gw.series(`sluice_passages_total{listener="public",service="",ended="unrecognized_name"}`); got != 3 {
		t.Errorf("%v connections for unknown names", got)
	}
}

// TestPassthroughBeside: names that are not passed through end here, with HTTP/1.1 and HTTP/2, on the same listener.
func TestPassthroughBeside(t *testing.T) {
	gw := Start(t, fmt.Sprintf(`
listen: { public: { address: ":1", tls: self-signed, http: [h1, h2], passthrough: { db.shop.example: db } } }
services: { db: tcp://%s }
routes: { all: { match: /**, respond: { text: "from here" } } }
`, tlsOrigin(t, "db")))
	if got := askTLS(t, gw.Dial().TCPConn, "db.shop.example"); got != "db got hello for db.shop.example" {
		t.Errorf("got %q", got)
	}
	f := func(protocol string) {
		t.Helper()
		c := gw.Dial()
		limitConn(t, c)
		// In pieces, as they may come.
		s := tls.Client(&inPieces{c.TCPConn}, &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example", NextProtos: []string{protocol}})
		if err := s.Handshake(); err != nil {
			t.Fatal(err)
		}
		request, want := "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n", "from here"
		if protocol == "h2" {
			request, want = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00\x00\x04\x01"
		}
		if _, err := io.WriteString(s, request); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for !strings.Contains(string(got), want) {
			b := make([]byte, 1000)
			n, err := s.Read(b)
			got = append(got, b[:n]...)
			if err != nil {
				t.Fatalf("%s: got %q, %v", protocol, got, err)
			}
		}
	}
	f("http/1.1")
	f("h2")
}

// inPieces writes a few bytes at a time.
type inPieces struct{ *net.TCPConn }

func (c *inPieces) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var m int
		m, err = c.TCPConn.Write(p[:min(len(p), 100)])
		n, p = n+m, p[m:]
	}
	return n, err
}

// TestPassthroughNoHello: who says nothing, or not what is expected, holds nothing for longer than a handshake may take.
func TestPassthroughNoHello(t *testing.T) {
	const yaml = `
listen: { public: { address: ":1", passthrough: { db.shop.example: db } } }
limits: { handshake_timeout: %s }
services: { db: tcp://%s }
`
	origin := tlsOrigin(t, "db")
	f := func(gw *Gateway, sent, want string) {
		t.Helper()
		c := gw.Dial()
		limitConn(t, c)
		c.Send(sent)
		// That of which not all was read ends in a reset.
		if got, err := io.ReadAll(c.R); err != nil && !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(string(got), want) {
			t.Errorf("%.20q: got %q, %v", sent, got, err)
		}
	}
	short, long := Start(t, fmt.Sprintf(yaml, "300ms", origin)), Start(t, fmt.Sprintf(yaml, "20s", origin))
	f(short, "", "")
	f(short, "\x16\x03\x01\x02\x00\x01\x00", "")
	f(long, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 ") // at once, in time however busy the machine
	f(long, "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "\x15\x03")
	for _, gw := range []*Gateway{short, long} {
		eventually(t, "all are gone", func() bool { return gw.Server.Counts().Open == 0 })
		if got := gw.Server.Handshakes().Failed; got != 2 {
			t.Errorf("%d handshakes failed", got)
		}
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestPassageBackpressure: a side that does not read stops the other one, after what fits into buffers.
func TestPassageBackpressure(t *testing.T) {
	over := make(chan struct{})
	origin := RawOrigin(t, func(c *net.TCPConn) { <-over })
	gw, _ := passageGateway(t, "to: tcp://"+origin, "")
	c := gw.Dial()
	defer close(over)
	const most = 64 << 20
	sent := 0
	for b := make([]byte, 1<<20); sent < most; {
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Write(b)
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if sent >= most {
		t.Errorf("%d bytes went to an origin that reads none", sent)
	}
}

// TestPassageLastWords: what a side has said before it ends reaches the other, whatever that still says.
func TestPassageLastWords(t *testing.T) {
	const size = 1 << 20
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Error(err)
		}
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c) // until the client ends
	})
	gw, log := passageGateway(t, "to: tcp://"+origin, "")
	c := gw.Dial()
	limitConn(t, c)
	c.Send("one")
	if n, err := io.Copy(io.Discard, c.R); n != size || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
	c.Send("two")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is over", func() bool { return gw.Server.Counts().Open == 0 })
	log.want("ended", "origin", "bytes_in", 6, "bytes_out", size)
}

// TestPassageHalfBreaks: who has said all still learns that the answer is cut short.
func TestPassageHalfBreaks(t *testing.T) {
	origin := RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
		_, _ = c.Write([]byte("half an ans"))
		_ = c.SetLinger(0)
	})
	gw, log := passageGateway(t, "to: tcp://"+origin, "")
	c := gw.Dial()
	c.Send("question")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.wantReset()
	lines := log.lines()
	if line := lines[0]; len(lines) != 1 || line["ended"] != "client" || !strings.Contains(fmt.Sprint(line["cause"]), "reset by peer") {
		t.Errorf("the log has %v", lines)
	}

	over := make(chan struct{})
	defer close(over)
	gw, log = passageGateway(t, "to: tcp://"+RawOrigin(t, func(c *net.TCPConn) {
		limitConn(t, c)
		_, _ = io.ReadAll(c)
		_, _ = c.Write([]byte("half an ans"))
		<-over
	})+", timeouts: { tunnel: 1s }", "")
	c = gw.Dial()
	c.Send("question")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.wantReset()
	log.want("ended", "idle", "bytes_out", 11)
}

// TestPassageHash: the connections of one client go to one endpoint.
func TestPassageHash(t *testing.T) {
	gw, log := passageGateway(t, fmt.Sprintf("to: [tcp://%s, tcp://%s, tcp://%s], balance: { by: hash, on: client }", echo(t), echo(t), echo(t)), "")
	// Which one is chance, as the ports are. One of the three may have four tenths of the ring, and then all of so many clients with a probability of 1e-12.
	const clients = 32
	for i := range 2 * clients {
		c := gw.DialFrom(fmt.Sprintf("127.0.0.%d", 1+i%clients))
		c.roundTrip("ping")
		c.Close()
		// Who has more under way than others hands on.
		eventually(t, "it is over", func() bool { return gw.Server.Counts().Open == 0 && inFlight(gw) == 0 })
	}
	endpoints, used := map[any]any{}, map[any]bool{}
	for _, line := range log.lines() {
		if before := endpoints[line["client"]]; before != nil && before != line["endpoint"] {
			t.Errorf("%v goes to %v and to %v", line["client"], before, line["endpoint"])
		}
		endpoints[line["client"]] = line["endpoint"]
		used[line["endpoint"]] = true
	}
	if len(used) < 2 {
		t.Errorf("%d clients go to %d endpoint", clients, len(used))
	}
}

// TestPassageStorm: connections that end in every way, all at once and while the configuration changes, leave nothing behind.
func TestPassageStorm(t *testing.T) { passageStorm(t, 200) }

// TestSoakPassageStorm is the same for longer.
func TestSoakPassageStorm(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	passageStorm(t, 20_000)
}

func passageStorm(t *testing.T, connections int) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { checkGoroutines(t, before) })
	config := "listen: { db: { address: \":1\", tcp: db } }\nlimits: { per_client: off }\nservices: { db: { to: [" +
		fmt.Sprintf("tcp://%s, tcp://%s, tcp://%s], ", echo(t), shout(t), refusingAddress(t)) + "pool: { connections: off }, timeouts: { tunnel: %s } } }\n"
	gw := Start(t, fmt.Sprintf(config, "1h"))
	const seed = 20261126
	var clients sync.WaitGroup
	for worker := range 8 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range connections / 8 {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(worker))}}
				nc, err := d.Dial("tcp", gw.Addr)
				if err != nil {
					t.Error(err)
					return
				}
				stormOne(t, nc.(*net.TCPConn), random)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		clients.Wait()
	}()
	for n := 1; ; n++ {
		select {
		case <-done:
			eventually(t, "all connections are gone", func() bool {
				inFlight := int64(0)
				for _, e := range gw.Runtime.Services()[0].Endpoints {
					inFlight += e.InFlight
				}
				return gw.Server.Counts().Open == 0 && inFlight == 0 && gw.series(`sluice_passages_open{listener="db",service="db"}`) == 0
			})
			return
		case <-time.After(20 * time.Millisecond):
			gw.Reload(fmt.Sprintf(config, fmt.Sprintf("%dm", 1+n%50))) // another service each time
		}
	}
}

// stormOne does with a connection what a client may do.
func stormOne(t *testing.T, c *net.TCPConn, random *rand.Rand) {
	defer c.Close()
	limitConn(t, c)
	data := make([]byte, random.IntN(200<<10))
	switch random.IntN(5) {
	case 0: // at once
	case 1:
		_ = c.SetLinger(0)
	case 2:
		_, _ = c.Write(data) // it is none of this one's business whether somebody takes it
		_ = c.SetLinger(0)
	case 3:
		_, _ = c.Write(data)
	default:
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			if err == nil {
				err = c.CloseWrite()
			}
			wrote <- err
		}()
		got, err := io.ReadAll(c)
		if err != nil || len(got) != len(data) {
			t.Errorf("%d of %d bytes came back, %v", len(got), len(data), err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	}
}
