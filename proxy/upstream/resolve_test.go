package upstream

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// fixedResolver always gives the same addresses; none is an error.
type fixedResolver []string

func (r fixedResolver) Lookup(context.Context, string) ([]netip.Addr, time.Duration, error) {
	if len(r) == 0 {
		return nil, 0, errors.New("no such name")
	}
	return parseAddrs(r...), time.Hour, nil
}

func parseAddrs(list ...string) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range list {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs
}

func (s *Service) addresses() []string {
	var list []string
	for _, e := range s.set.Load().endpoints {
		list = append(list, e.name)
	}
	return list
}

// TestResolveMixed makes endpoints of names and addresses side by side, in the order of the configuration.
func TestResolveMixed(t *testing.T) {
	for range 20 { // names are looked up while the other targets are still being read
		s := testService(t, func(o *Options) {
			o.Resolver = fixedResolver{"192.0.2.2", "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.3", "2001:db8::1"}
		},
			target("one.example:80"), target("192.0.2.9:81"), Target{Network: "unix", Host: "/run/a.sock", Weight: 1}, target("two.example:82"), target("[::1]:83"))
		want := []string{"192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80", "[2001:db8::1]:80", "192.0.2.9:81", "/run/a.sock",
			"192.0.2.1:82", "192.0.2.2:82", "192.0.2.3:82", "[2001:db8::1]:82", "[::1]:83"}
		if got := s.addresses(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// TestResolveMoves has a name move to another address under traffic: what stays keeps its connections, what goes finishes
// what is in flight.
func TestResolveMoves(t *testing.T) {
	more, closed := make(chan bool), make(chan string, 4)
	port := ""
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, port))
		if err != nil {
			t.Skipf("no port that is free on three loopback addresses: %s", err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		listen(t, l, func(c net.Conn, r *bufio.Reader, n int) {
			answerAll(c, r, n, func(_ int, req *http.Request, _ string) string {
				if req.URL.Path == "/slow" {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
					<-more
					return "2"
				}
				return ok(ip)
			})
			closed <- ip
		})
	}
	at := func(ip string) string { return net.JoinHostPort(ip, port) }
	s := testService(t, func(o *Options) { o.Resolver = fixedResolver{"127.0.0.1", "127.0.0.2"} }, target("moving.example:"+port))
	move := func(addresses ...string) {
		s.update.Lock()
		defer s.update.Unlock()
		s.rebuild([][]string{addresses})
	}
	expect(t, s, "GET", "/", "", "200 127.0.0.1")
	stays := s.endpointAt(1)
	expect(t, s, "GET", "/", "", "200 127.0.0.2")
	x := newExchange("GET", "/slow", "")
	defer end(x)
	if err := s.Serve(x, nil); err != nil || x.Endpoint != at("127.0.0.1") {
		t.Fatal(err, x.Endpoint)
	}
	goes := s.endpointAt(0)

	move(at("127.0.0.2"), at("127.0.0.3"))
	if s.endpointAt(0) != stays {
		t.Fatal("an endpoint that stays was made anew")
	}
	for range 4 {
		y := newExchange("GET", "/", "")
		if _, err := serve(s, y); err != nil || y.Endpoint == at("127.0.0.1") {
			t.Fatal(err, y.Endpoint)
		}
		end(y)
	}
	if open, idle := stays.pool.counts(); open != 1 || idle != 1 || stays.requests.Load() != 3 {
		t.Fatalf("the endpoint that stays has %d connections, %d idle, after %d requests", open, idle, stays.requests.Load())
	}
	close(more)
	body, err := io.ReadAll(&x.Response.Body)
	if string(body) != "12" || err != nil {
		t.Fatalf("%q %v", body, err)
	}
	if err := x.Response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if ip := receive(t, "the connection of what has gone is closed", closed); ip != "127.0.0.1" {
		t.Fatal(ip)
	}
	if open, _ := goes.pool.counts(); open != 0 {
		t.Fatalf("%d connections are left", open)
	}
}

// dnsServer answers on a loopback port, over UDP and TCP, with what f says.
func dnsServer(t testing.TB, f func(q dnsmessage.Question, tcp bool, m *dnsmessage.Message)) string {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answer := func(query []byte, tcp bool) []byte {
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
			t.Errorf("not a query: %v", err)
			return nil
		}
		m.Response, m.Additionals = true, nil
		f(m.Questions[0], tcp, &m)
		packed, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return packed
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		udp.Close()
		t.Skipf("the port is free for UDP only: %s", err)
	}
	listen(t, tcp, func(c net.Conn, r *bufio.Reader, _ int) {
		var size [2]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(r, query); err != nil {
			return
		}
		a := answer(query, true)
		// In pieces, as a stream may come.
		for _, b := range append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	})
	done := make(chan bool)
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := udp.WriteTo(answer(buf[:n], false), from); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		udp.Close()
		<-done
	})
	return udp.LocalAddr().String()
}

func TestSystemResolver(t *testing.T) {
	server := dnsServer(t, func(q dnsmessage.Question, tcp bool, m *dnsmessage.Message) {
		add := func(name string, ttl uint32, body dnsmessage.ResourceBody) {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}, Body: body,
			})
		}
		v4, v6 := q.Type == dnsmessage.TypeA, q.Type == dnsmessage.TypeAAAA
		switch name := q.Name.String(); {
		case name == "two.test." && v4:
			add(name, 30, &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}})
			add(name, 7, &dnsmessage.AResource{A: [4]byte{192, 0, 2, 2}})
		case name == "six.test." && v6:
			add(name, 90, &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}})
		case name == "alias.test." && v4:
			// An alias holds no longer than what it stands for, and the other way round.
			add(name, 5, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("real.test.")})
			add("real.test.", 600, &dnsmessage.AResource{A: [4]byte{192, 0, 2, 3}})
		case name == "zero.test." && v4:
			add(name, 0, &dnsmessage.AResource{A: [4]byte{192, 0, 2, 4}})
		case name == "large.test." && v4 && !tcp:
			m.Truncated = true
		case name == "large.test." && v4:
			for i := range 100 {
				add(name, 40+uint32(i), &dnsmessage.AResource{A: [4]byte{198, 51, 100, byte(i)}})
			}
		case name == "gone.test.":
			m.RCode = dnsmessage.RCodeNameError
		case name == "broken.test.":
			m.RCode = dnsmessage.RCodeServerFailure
		}
	})
	f := func(host string, ttl time.Duration, want ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		got, gotTTL, err := systemResolver{server: server}.Lookup(ctx, host)
		if len(want) == 0 {
			if err == nil {
				t.Fatalf("%s: got %v, want an error", host, got)
			}
			return
		}
		slices.SortFunc(got, netip.Addr.Compare)
		if err != nil || gotTTL != ttl || !slices.Equal(got, parseAddrs(want...)) {
			t.Fatalf("%s: got %v for %s, %v; want %v for %s", host, got, gotTTL, err, want, ttl)
		}
	}
	f("two.test.", 7*time.Second, "192.0.2.1", "192.0.2.2")
	f("six.test.", 90*time.Second, "2001:db8::1")
	f("alias.test.", 5*time.Second, "192.0.2.3")
	f("zero.test.", 0, "192.0.2.4")
	var many []string
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String())
	}
	f("large.test.", 40*time.Second, many...)
	f("gone.test.", 0)
	f("broken.test.", 0)
	f("empty.test.", 0)
}

// FuzzTTL feeds the TTL reader what a broken or hostile server may send.
func FuzzTTL(f *testing.F) {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{Response: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("a.test."), Class: dnsmessage.ClassINET, TTL: 9},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}},
	}
	packed, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(packed[:len(packed)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		var w ttlWatch
		w.message(b)
		if got := w.ttl(); got < 0 || w.any && got > 1<<32*time.Second {
			t.Fatal(got)
		}
	})
}
