package server_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"sluice/proxy/proxytest"
)

// own3 answers by itself.
const own3 = all3 + "routes: { all: { match: \"/**\", respond: { text: hello } } }\n"

// TestH3_flood: each flood ends its connection, and no other one.
func TestH3_flood(t *testing.T) {
	s := newStage(t, all3)
	defer close(s.goOn) // an origin does not see that a client goes whose body it does not read
	other := s.h3()
	alive := func() {
		t.Helper()
		st := other.request("GET", "/", true)
		for path := range s.began {
			if path == "/" { // else it is the attacker's one request
				break
			}
		}
		st.want("200", "hello")
	}
	calmed := uint64(0)
	f := func(name string, open func(c *h3client) func() error) {
		t.Helper()
		c := s.h3()
		alive()
		attack := open(c)
		for range 100_000 {
			if attack() != nil || c.Context().Err() != nil {
				break
			}
		}
		c.wantEnd(h3ExcessiveLoad)
		alive()
		if calmed++; s.Server.Counts().Calmed != calmed {
			t.Errorf("%s: %d connections were calmed, want %d", name, s.Server.Counts().Calmed, calmed)
		}
	}
	again := func(str io.Writer, b []byte) func() error {
		return func() error {
			_, err := str.Write(b)
			return err
		}
	}
	f("MAX_PUSH_ID", func(c *h3client) func() error { return again(c.control, frame(0xd, number(1))) })
	f("GOAWAY", func(c *h3client) func() error { return again(c.control, frame(0x7, number(0))) })
	f("priorities", func(c *h3client) func() error { return again(c.control, frame(0xf0700, number(0), []byte("u=1"))) })
	f("unknown frames", func(c *h3client) func() error { return again(c.control, frame(0x21)) })
	f("unknown frames before a head", func(c *h3client) func() error { return again(c.open(), frame(0x21)) })
	f("empty DATA", func(c *h3client) func() error { return again(c.request("POST", "/upload", false), frame(0x0)) })
	f("table capacities", func(c *h3client) func() error { return again(c.uni(2, nil), []byte{0x20}) })
	f("cancellations", func(c *h3client) func() error { return again(c.uni(3, nil), []byte{0x41}) })
	f("unknown streams", func(c *h3client) func() error {
		return func() error {
			str, err := c.OpenUniStreamSync(c.Context())
			if err == nil {
				_, _ = str.Write(number(0x21))
				str.CancelWrite(h3NoError)
			}
			return err
		}
	})
	f("requests that are given up", func(c *h3client) func() error {
		return func() error {
			str, err := c.OpenStreamSync(c.Context())
			if err == nil {
				_, _ = str.Write(frame(0x1, section(usual("GET", "/hold")...)))
				str.CancelRead(h3Cancelled)
				str.CancelWrite(h3Cancelled)
			}
			for len(s.began) > 0 {
				<-s.began
			}
			for len(s.gone) > 0 {
				<-s.gone
			}
			return err
		}
	})
}

// TestH3_grudge: who has flooded and comes again does not begin anew.
func TestH3_grudge(t *testing.T) {
	s := newStage(t, all3)
	defer close(s.goOn)
	done := make(chan struct{})
	defer close(done)
	go func() { // whatever reaches the origin
		for {
			select {
			case <-s.began:
			case <-s.gone:
			case <-done:
				return
			}
		}
	}()
	flood := func() (given int) {
		t.Helper()
		c := s.h3()
		for ; given < 100_000; given++ {
			str, err := c.OpenStreamSync(c.Context())
			if err != nil {
				break
			}
			_, _ = str.Write(frame(0x1, section(usual("GET", "/hold")...)))
			str.CancelRead(h3Cancelled)
			str.CancelWrite(h3Cancelled)
		}
		c.wantEnd(h3ExcessiveLoad)
		return given
	}
	if first := flood(); first < 500 {
		t.Errorf("%d requests could be given up, want 500", first)
	}
	for range 3 {
		before := time.Now()
		again := flood()
		// Meanwhile it has earned 50 a second, and those of some round trips are given up before it learns that it is over.
		if earned := int(time.Since(before) / (20 * time.Millisecond)); again > 400+earned {
			t.Errorf("who was told to calm down could give up %d requests more, and had earned %d", again, earned)
		}
	}
}

// TestH3_streams: a client may have so many streams, and one that it has given up counts until what served it is done.
func TestH3_streams(t *testing.T) {
	s := newStage(t, all3+"limits: { streams: 2 }\n")
	c := s.h3()
	one, two := c.request("GET", "/hold", true), c.request("GET", "/hold", true)
	s.expect(s.began, "/hold")
	s.expect(s.began, "/hold")
	if _, err := c.OpenStream(); err == nil {
		t.Error("a third stream could be opened")
	}
	one.cancel()
	s.expect(s.gone, "/hold")
	three := c.request("GET", "/", true)
	s.expect(s.began, "/")
	three.want("200", "hello")
	close(s.goOn)
	two.want("200", "held")
}

// TestH3_perClient: connections of TCP and QUIC count together, and so do requests.
func TestH3_perClient(t *testing.T) {
	s := newStage(t, all3+"limits: { per_client: 3, connections: 4 }\n")
	one, two := s.h3(), s.h3()
	a, b := one.request("GET", "/hold", true), two.request("GET", "/hold", true)
	s.expect(s.began, "/hold")
	s.expect(s.began, "/hold")
	c := one.request("GET", "/hold", true)
	s.expect(s.began, "/hold")
	two.request("GET", "/", true).wantReset(h3Rejected)
	third := s.dial() // over TCP
	s.open(3)
	s.endsAtOnce(h3ExcessiveLoad)
	for range 3 {
		s.goOn <- struct{}{}
	}
	a.want("200", "held")
	b.want("200", "held")
	c.want("200", "held")
	third.Close()
	s.open(2)
	d := s.h3().request("GET", "/", true)
	s.expect(s.began, "/")
	d.want("200", "hello")
	if n := s.Server.Counts(); n.QUIC != 3 || n.Open != 3 || n.Refused != 2 {
		t.Errorf("got %+v", n)
	}
}

// endsAtOnce connects, and wants the connection to end with this code. It may be over before the dialler has said that there is one.
func (s *stage) endsAtOnce(code quic.ApplicationErrorCode) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.Addr, tls3(), &quic.Config{})
	if err == nil {
		newH3client(s.t, conn).wantEnd(code)
	} else if ended, ok := errors.AsType[*quic.ApplicationError](err); !ok || ended.ErrorCode != code || !ended.Remote {
		s.t.Fatalf("the connection ends with %v, want %#x", err, uint64(code))
	}
}

// TestH3_slow: a client that does not take a response, or does not send its request, is given up.
func TestH3_slow(t *testing.T) {
	t.Parallel() // it waits most of the time
	long := &stage{t: t, Gateway: proxytest.Start(t, all3+"limits: { min_rate: 1MiB/s, header_timeout: 500ms }\n"+
		"routes: { all: { match: \"/**\", respond: { text: "+strings.Repeat("long", 1000)+" } } }\n")}
	c := long.quic(&quic.Config{InitialStreamReceiveWindow: 10, MaxStreamReceiveWindow: 10})
	c.control = c.uni(0, frame(0x4))
	long.reset(c.request("GET", "/", true), h3ExcessiveLoad)
	s := newStage(t, all3+"limits: { min_rate: 1MiB/s, header_timeout: 500ms }\n")
	c = s.h3()
	st := c.request("POST", "/upload", false, "content-length", "10")
	st.data("0", false)
	s.expect(s.began, "/upload")
	if st.want("408", "*"); !strings.Contains(string(st.body), "slow_request") {
		t.Errorf("got %s", st.body)
	}
	// So is one whose head does not end, or whose request does not.
	c.open(frame(0x1, section(usual("GET", "/")...))[:10]).wantReset(h3Rejected)
	c.request("GET", "/", false).wantReset(h3Rejected)
}

// reset waits until the gateway has reset a stream from which nothing is read meanwhile.
func (s *stage) reset(st *h3stream, code quic.StreamErrorCode) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		_ = st.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := st.Peek(make([]byte, 11))
		if reset, ok := errors.AsType[*quic.StreamError](err); ok {
			if reset.ErrorCode != code || !reset.Remote {
				s.t.Errorf("got %v, want %#x", err, uint64(code))
			}
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("the stream is not reset: %v", err)
		}
	}
}

// TestH3_stalled: what nobody takes stays with who sends it, either way, and other streams of the connection go on.
func TestH3_stalled(t *testing.T) {
	sent, stop := make(chan int64, 1), make(chan struct{})
	defer close(stop)
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/short":
			_, _ = io.WriteString(w, "short")
			return
		case "/up":
			select {
			case <-stop:
			case <-r.Context().Done():
			}
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
	s := &stage{t: t, Gateway: proxytest.Start(t, all3+fmt.Sprintf(
		"limits: { body_bytes: off }\nservices: { o: { to: [\"http://%s\"] } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin))}
	c := s.h3()
	short := func() {
		t.Helper()
		c.request("GET", "/short", true).want("200", "short")
	}
	short()
	before := heapInUse()
	c.request("GET", "/long", true)
	if last := standstill(sent); last < 0 || last > 64<<20 {
		t.Errorf("%d bytes were taken for a client that reads none", last)
	}
	short()
	up := c.request("POST", "/up", false)
	taken := make(chan int64, 1)
	go func() {
		piece := frame(0x0, make([]byte, 64<<10))
		for total := int64(0); total < 256<<20; {
			n, err := up.Write(piece)
			if total += int64(n); err != nil {
				return
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
	short()
	if grown := heapInUse() - before; grown > 16<<20 { // the client's part included
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	up.cancel()
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestH3_many: many streams at a time on few connections, with bodies both ways, of a client that is nobody's test tool.
func TestH3_many(t *testing.T) {
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "X-Length")
		_, _ = w.Write(b)
		w.Header().Set("X-Length", fmt.Sprint(len(b)))
	})
	gw := proxytest.Start(t, all3+fmt.Sprintf("limits: { min_rate: off, header_timeout: 1m }\n"+
		"services: { o: { to: [\"http://%s\"], timeouts: { connect: 1m } } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin))
	tr := &http3.Transport{TLSClientConfig: tls3(), DisableCompression: true}
	defer tr.Close()
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			body := strings.Repeat(fmt.Sprintf("%03d ", i), 1+i*i/4)
			req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+gw.Addr+"/", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			if i%2 == 0 {
				req.ContentLength = -1
			}
			req.Header.Set("TE", "trailers")
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != body || resp.Trailer.Get("X-Length") != fmt.Sprint(len(body)) {
				t.Errorf("%d: got %s with %d bytes, %.300q, want %d; %v, trailers %v", i, resp.Status, len(got), got, len(body), err, resp.Trailer)
			}
		})
	}
	all.Wait()
}

// deaf is a socket on which nothing is heard until it is allowed to.
type deaf struct {
	net.PacketConn
	hear chan struct{}
}

func (d *deaf) ReadFrom(p []byte) (int, net.Addr, error) {
	<-d.hear
	return d.PacketConn.ReadFrom(p)
}

// socket is a UDP socket at an address of the loopback network.
func socket(t *testing.T, ip string) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// via is a transport over a socket.
func via(t *testing.T, pc net.PacketConn) *quic.Transport {
	t.Helper()
	tr := &quic.Transport{Conn: pc}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func (s *stage) udpAddr() net.Addr {
	s.t.Helper()
	a, err := net.ResolveUDPAddr("udp", s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// TestH3_handshakes: handshakes that go no further take a part of the places only, and who proves its address is served all the same.
func TestH3_handshakes(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := &stage{t: t, Gateway: proxytest.Start(t, own3+"limits: { handshakes: 16, handshake_timeout: 8s }\n")}
	begin := func(ip string) {
		hear := make(chan struct{})
		tr := via(t, &deaf{socket(t, ip), hear})
		t.Cleanup(func() { close(hear) }) // first, or else the transport waits for it
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		t.Cleanup(func() { cancel(); <-done })
		go func() {
			defer close(done)
			if _, err := tr.Dial(ctx, s.udpAddr(), tls3(), &quic.Config{}); err == nil {
				t.Error("who hears nothing is connected")
			}
		}()
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %+v, %+v", what, s.Server.Handshakes(), s.Server.Counts())
			}
		}
	}
	begin("127.0.0.2")
	until("the first one begins", func() bool { return s.Server.Handshakes().UnderWay == 1 })
	begin("127.0.0.2") // it is asked for a proof, and does not hear it
	until("a proof is asked for", func() bool { return s.Server.Counts().Retried >= 1 })
	for i := range 3 {
		begin(fmt.Sprintf("127.0.0.%d", 3+i))
	}
	until("others begin", func() bool { return s.Server.Handshakes().UnderWay == 4 })
	begin("127.0.0.9")
	retried := s.Server.Counts().Retried
	s.h3().request("GET", "/", true).want("200", "hello")
	if h, c := s.Server.Handshakes(), s.Server.Counts(); h.UnderWay != 4 || h.Completed != 1 || h.Refused != 0 || c.Retried <= retried {
		t.Errorf("got %+v and %+v", h, c)
	}
	until("they are given up", func() bool { h := s.Server.Handshakes(); return h.UnderWay == 0 && h.Failed == 4 })
}

// prover is a socket on which nothing is heard but that the address has to be proven. So many packets get out, and again as an answer to that.
type prover struct {
	net.PacketConn
	most int32
	sent atomic.Int32
}

func (p *prover) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.PacketConn.ReadFrom(b)
		if err != nil || n > 0 && b[0]&0xf0 == 0xf0 { // a Retry, RFC 9000 section 17.2.5
			p.sent.Store(0)
			return n, from, err
		}
	}
}

func (p *prover) WriteTo(b []byte, to net.Addr) (int, error) {
	if p.sent.Add(1) > p.most {
		return len(b), nil
	}
	return p.PacketConn.WriteTo(b, to)
}

// TestH3_crowded: clients that prove their addresses and do not go on with their handshakes shut nobody out, whether they send all of
// their ClientHello or the first of its two packets.
func TestH3_crowded(t *testing.T) {
	t.Parallel() // it waits most of the time
	f := func(packets int32, over3 bool) {
		t.Helper()
		s := &stage{t: t, Gateway: proxytest.Start(t, own3+"limits: { handshakes: 16, handshake_timeout: 60s }\n")}
		ctx, cancel := context.WithCancel(context.Background())
		var greedy sync.WaitGroup
		defer greedy.Wait()
		defer cancel()
		for i := range 16 {
			tr := via(t, &prover{PacketConn: socket(t, fmt.Sprintf("127.0.0.%d", 2+i/2)), most: packets})
			greedy.Go(func() {
				if _, err := tr.Dial(ctx, s.udpAddr(), tls3(), &quic.Config{HandshakeIdleTimeout: time.Minute}); err == nil {
					t.Error("who hears nothing is connected")
				}
			})
			for end := time.Now().Add(patience); s.Server.Handshakes().UnderWay != i+1; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("with %d handshakes: %+v", i+1, s.Server.Handshakes())
				}
			}
		}
		for range 4 {
			c, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, ServerName: "test.localhost"})
			if err != nil {
				t.Fatalf("over TCP: %v", err)
			}
			// Its place is given back by the time that there is an answer.
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
			answer, readErr := io.ReadAll(c)
			if err := errors.Join(err, readErr); err != nil || !strings.HasSuffix(string(answer), "hello") {
				t.Fatalf("over TCP: %q, %v", answer, err)
			}
			c.Close()
			if over3 {
				s.h3().request("GET", "/", true).want("200", "hello")
			}
		}
	}
	f(100, true)
	f(1, false)
}

// TestH3_proxied: a balancer whose connections begin with a PROXY header has none over UDP, and is neither served nor believed.
func TestH3_proxied(t *testing.T) {
	s := &stage{t: t, Gateway: proxytest.Start(t, `
listen: { web: { address: "127.0.0.1:0", tls: self-signed, http: [h1, h3], proxy_protocol: { from: [127.0.0.2] }, trust: [127.0.0.0/8] } }
routes: { own: { match: "/**", use: [{ headers: { response: { set: { X-Client: $client.ip } } } }], respond: { text: own } } }
`)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := via(t, socket(t, "127.0.0.2")).Dial(ctx, s.udpAddr(), tls3(), &quic.Config{})
	if refused, ok := errors.AsType[*quic.TransportError](err); !ok || refused.ErrorCode != quic.ConnectionRefused {
		t.Errorf("the balancer got %v", err)
	}
	conn, err := via(t, socket(t, "127.0.0.3")).Dial(ctx, s.udpAddr(), tls3(), &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := newH3client(t, conn)
	if st := c.request("GET", "/", true, "x-forwarded-for", "192.0.2.1").want("200", "own"); st.fields["x-client"] != "192.0.2.1" {
		t.Errorf("the client is %s", st.fields["x-client"])
	}
	move := func(ip string) {
		t.Helper()
		path, err := conn.AddPath(via(t, socket(t, ip)))
		if err == nil {
			err = path.Probe(ctx)
		}
		if err == nil {
			err = path.Switch()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Who moves is whom it is seen as now. The gateway follows with the first packet after the proof.
	move("127.0.0.4")
	for end := time.Now().Add(patience); ; {
		st := c.request("GET", "/", true).want("200", "own")
		if st.fields["x-client"] == "127.0.0.4" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the client has moved and is still %s", st.fields["x-client"])
		}
	}
	move("127.0.0.2")
	for end := time.Now().Add(patience); c.Context().Err() == nil && time.Now().Before(end); {
		if str, err := c.OpenStream(); err == nil {
			_, _ = str.Write(frame(0x1, section(usual("GET", "/")...)))
			str.Close()
			_, _ = io.ReadAll(str)
		}
	}
	c.wantEnd(0x101)
	if n := s.Server.Counts().Unproxied; n < 2 {
		t.Errorf("%d connections were counted as lacking the header, want 2", n)
	}
}

// TestH3_certificates: clients show certificates as over TCP, also when they resume a session.
func TestH3_certificates(t *testing.T) {
	ca, caKey := issue(t, nil, nil, "authority")
	caFile := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	partner, partnerKey := issue(t, ca, caKey, "app.partner.example")
	s := &stage{t: t, Gateway: proxytest.Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", tls: edge, http: [h1, h3] } }
tls: { edge: { certificates: self-signed, client_certs: { ca: %s, mode: request } } }
routes:
  open: { match: /open, respond: { text: open } }
  partners: { match: /partners, respond: { text: partner }, use: [ { client_cert: { san: ["*.partner.example"] } } ] }
`, caFile))}
	config := tls3()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{partner.Raw}, PrivateKey: partnerKey}, nil
	}
	for _, resumed := range []bool{false, true} {
		conn, err := quic.DialAddr(t.Context(), s.Addr, config, &quic.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c := newH3client(t, conn)
		c.request("GET", "/partners", true).want("200", "partner")
		if got := conn.ConnectionState().TLS.DidResume; got != resumed {
			t.Errorf("resumed is %t, want %t", got, resumed)
		}
		conn.CloseWithError(h3NoError, "")
	}
	c := s.h3()
	c.request("GET", "/open", true).want("200", "open")
	if st := c.request("GET", "/partners", true).want("403", "*"); !strings.Contains(string(st.body), "client_certificate_required") {
		t.Errorf("got %s", st.body)
	}
}
