package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// pair is a TCP connection over the loopback interface.
func pair(t testing.TB) (ours, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		a.Close()
	})
	if err := a.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return a.(*net.TCPConn), c.(*net.TCPConn)
}

// v2 builds a header of version 2.
func v2(command, family byte, addresses string, tlvs ...string) string {
	rest := addresses + strings.Join(tlvs, "")
	b := append([]byte(nil), signature...)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(b) + rest
}

func tlv(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

const (
	addresses4 = "\xc0\x00\x02\x09\x0a\x00\x00\x01\x12\x34\x01\xbb" // 192.0.2.9:4660 to 10.0.0.1:443
	ipv6       = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
)

var source4, destination4 = netip.MustParseAddrPort("192.0.2.9:4660"), netip.MustParseAddrPort("10.0.0.1:443")

func TestRead(t *testing.T) {
	const payload = "GET / HTTP/1.1\r\n\r\nPROXY TCP4"
	f := func(header string, want Header) {
		t.Helper()
		for _, piece := range []int{len(header) + len(payload), 1, 7} {
			ours, theirs := pair(t)
			go func() {
				pauses := 0
				for all := header + payload; all != ""; {
					n := min(piece, len(all))
					if _, err := io.WriteString(theirs, all[:n]); err != nil {
						t.Error(err)
						return
					}
					all = all[n:]
					if pauses++; pauses < 50 { // each lets the reader look at what there is
						time.Sleep(100 * time.Microsecond)
					}
				}
				theirs.CloseWrite()
			}()
			got, err := Read(ours)
			if err != nil || got != want {
				t.Fatalf("%.40q in pieces of %d: got %+v, %v, want %+v", header, piece, got, err, want)
			}
			if rest, err := io.ReadAll(ours); string(rest) != payload || err != nil {
				t.Fatalf("%.40q in pieces of %d: what follows is %q, %v", header, piece, rest, err)
			}
		}
	}
	f("PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n", Header{Source: source4, Destination: destination4})
	f("PROXY TCP6 2001:db8::1 2001:db8::1 1 65535\r\n", Header{
		Source: netip.MustParseAddrPort("[2001:db8::1]:1"), Destination: netip.MustParseAddrPort("[2001:db8::1]:65535")})
	f("PROXY UNKNOWN\r\n", Header{Local: true})
	f(v2(1, 0x11, addresses4), Header{Source: source4, Destination: destination4})
	f(v2(1, 0x21, ipv6+ipv6+"\x00\x01\xff\xff"), Header{
		Source: netip.MustParseAddrPort("[2001:db8::1]:1"), Destination: netip.MustParseAddrPort("[2001:db8::1]:65535")})
	f(v2(0, 0x00, ""), Header{Local: true})
	f(v2(0, 0x11, addresses4), Header{Local: true})
	f(v2(1, 0x31, strings.Repeat("a", 216)), Header{}) // a unix socket
	f(v2(1, 0x11, addresses4, tlv(0x02, "shop.example"), tlv(0x20, "\x01\x00\x00\x00\x00"+tlv(0x21, "TLSv1.3")), tlv(0xe0, "custom")),
		Header{Source: source4, Destination: destination4, TLS: true, TLSVersion: "TLSv1.3", Authority: "shop.example"})
	f(v2(1, 0x11, addresses4, tlv(0x20, "\x00\x00\x00\x00\x00")), Header{Source: source4, Destination: destination4})
	f(v2(1, 0x11, addresses4, tlv(0x02, "shop example\n")), Header{Source: source4, Destination: destination4})
	f(v2(1, 0x11, addresses4, tlv(0x04, strings.Repeat("\x00", 4000))), Header{Source: source4, Destination: destination4})
}

func TestReadErrors(t *testing.T) {
	f := func(sent, want string) {
		t.Helper()
		ours, theirs := pair(t)
		if _, err := io.WriteString(theirs, sent); err != nil {
			t.Fatal(err)
		}
		theirs.CloseWrite()
		if got, err := Read(ours); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %+v, %v, want an error with %q", sent, got, err, want)
		}
	}
	f("", "unexpected EOF")
	f("PROXY TCP4 192.0.2.9", "unexpected EOF")
	f(v2(1, 0x11, addresses4)[:20], "unexpected EOF")
	f("GET / HTTP/1.1\r\n\r\n", "there is no PROXY header")
	f("\x16\x03\x01\x02\x00\x01", "there is no PROXY header")
	f("\r\n\r\nGET / HTTP/1.1\r\n\r\n", "there is no PROXY header")
	f("PROXY TCP4 192.0.2.9 10.0.0.1 4660\r\n", "broken")
	f("PROXY TCP4 192.0.2.9 10.0.0.1 4660 70000\r\n", "broken")
	f("PROXY TCP4 2001:db8::1 10.0.0.1 4660 443\r\n", "broken")
	f("PROXY "+strings.Repeat("x", 200)+"\r\n", "without an end")
	f(v2(1, 0x11, addresses4, tlv(0x04, strings.Repeat("\x00", 4097))), "at most")
	f(v2(1, 0x11, addresses4[:8]), "broken")
	f(v2(1, 0x11, addresses4, "\x02\x00\xff"), "broken")
	f(v2(7, 0x11, addresses4), "broken")
}

// TestReadDeadline: who sends half a header is not waited for longer than the connection's deadline.
func TestReadDeadline(t *testing.T) {
	ours, theirs := pair(t)
	if err := ours.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(theirs, "PROXY TCP4"); err != nil {
		t.Fatal(err)
	}
	_, err := Read(ours)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v", err)
	}
}

// FuzzParse: whatever the bytes are, what is taken is a prefix, and no larger than a header may be.
func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\nGET"))
	f.Add([]byte(v2(1, 0x11, addresses4, tlv(0x02, "shop.example"), tlv(0x20, "\x01\x00\x00\x00\x00"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, err := headerSize(b)
		if err != nil || size == 0 {
			return
		}
		if size > len(b) || size > maxV2 {
			t.Fatalf("a header of %d bytes in %d", size, len(b))
		}
		// The same is found as soon as its last byte is there, and not before.
		for _, n := range []int{size - 1, size / 2} {
			if early, err := headerSize(b[:n]); early != 0 || err != nil {
				t.Fatalf("found %d bytes, %v in the first %d", early, err, n)
			}
		}
		if h, err := parse(bytes.Clone(b[:size])); err == nil && len(h.Authority) > 255 {
			t.Fatalf("%+v", h)
		}
	})
}
