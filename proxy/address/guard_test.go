package address

import (
	"net/netip"
	"strings"
	"testing"

	"sluice/proxy"
)

// parse reads prefixes and addresses separated by spaces.
func parse(t testing.TB, text string) []netip.Prefix {
	t.Helper()
	var prefixes []netip.Prefix
	for word := range strings.FieldsSeq(text) {
		if !strings.Contains(word, "/") {
			addr := netip.MustParseAddr(word)
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefixes = append(prefixes, netip.MustParsePrefix(word))
	}
	return prefixes
}

func check(g *Guard, addr netip.Addr) error {
	x := proxy.Acquire()
	defer x.Release()
	x.Client.Addr = addr
	return g.Check(x)
}

func TestCheck(t *testing.T) {
	f := func(allow, deny, client string, want bool) {
		t.Helper()
		g, err := New(parse(t, allow), parse(t, deny))
		if err != nil {
			t.Fatal(err)
		}
		var addr netip.Addr
		if client != "" {
			addr = netip.MustParseAddr(client)
		}
		switch err := check(g, addr); err {
		case nil, ErrDenied:
			if (err == nil) != want {
				t.Fatalf("unexpected outcome: %v", err)
			}
		default:
			t.Fatalf("unexpected error %v", err)
		}
	}

	// Allow only.
	f("10.0.0.0/8", "", "10.0.0.0", true)
	f("10.0.0.0/8", "", "10.255.255.255", true)
	f("10.0.0.0/8", "", "9.255.255.255", false)
	f("10.0.0.0/8", "", "11.0.0.0", false)
	f("10.0.0.0/8", "", "::1", false)
	f("10.1.2.3/8", "", "10.9.9.9", true)
	f("10.0.0.1", "", "10.0.0.1", true)
	f("10.0.0.1", "", "10.0.0.2", false)
	f("2001:db8::/32", "", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true)
	f("2001:db8::/32", "", "2001:db9::", false)
	f("2001:db8::/32", "", "10.0.0.1", false)
	f("2001:db8::/96", "", "2001:db8::ffff:ffff", true)
	f("2001:db8::/96", "", "2001:db8::1:0:0", false)
	f("2001:db8::/64", "", "2001:db8:0:1::", false)

	// Deny only.
	f("", "10.0.0.0/8", "10.0.0.1", false)
	f("", "10.0.0.0/8", "11.0.0.1", true)
	f("", "10.0.0.0/8", "::1", true)
	f("", "fe80::/10", "fe80::1", false)

	// Deny wins.
	f("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", false)
	f("10.0.0.0/8", "10.1.0.0/16", "10.2.2.3", true)
	f("10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", false)
	f("10.0.0.0/8", "10.0.0.0/8", "10.1.2.3", false)
	f("10.0.0.0/8", "11.0.0.0/8", "12.1.2.3", false)

	// Everything.
	f("0.0.0.0/0", "", "255.255.255.255", true)
	f("0.0.0.0/0", "", "0.0.0.0", true)
	f("0.0.0.0/0", "", "::", false)
	f("::/0", "", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true)
	f("::/0", "", "1.2.3.4", false)
	f("::/0 0.0.0.0/0", "1.2.3.4", "1.2.3.5", true)

	// IPv4 in IPv6, in the list or as the client.
	f("10.0.0.0/8", "", "::ffff:10.0.0.1", true)
	f("", "10.0.0.0/8", "::ffff:10.0.0.1", false)
	f("::ffff:10.0.0.0/104", "", "10.0.0.1", true)
	f("::ffff:10.0.0.0/104", "", "11.0.0.1", false)
	f("", "::ffff:0:0/96", "1.2.3.4", false)
	f("::/0", "", "::ffff:10.0.0.1", false)
	f("", "::/0", "::ffff:10.0.0.1", true)
	f("", "::a00:1", "10.0.0.1", true)

	// A zone names an interface of this host and changes nothing.
	f("fe80::/10", "", "fe80::1%eth0", true)
	f("", "fe80::/10", "fe80::1%eth0", false)

	// Several prefixes, nested, doubled and touching.
	f("10.0.0.0/9 10.128.0.0/9", "", "10.127.255.255", true)
	f("10.0.0.0/9 10.128.0.0/9", "", "10.128.0.0", true)
	f("10.0.0.0/8 10.1.0.0/16 10.0.0.0/8", "", "10.2.0.0", true)
	f("10.0.0.0/8 10.255.255.255 11.0.0.0", "", "11.0.0.0", true)
	f("10.0.0.0/8 10.255.255.255 11.0.0.0", "", "11.0.0.1", false)
	f("10.0.0.0 10.0.0.2", "", "10.0.0.1", false)
	f("ffff:: ::1 10.0.0.1 1.1.1.1", "", "1.1.1.1", true)
	f("ffff:: ::1 10.0.0.1 1.1.1.1", "", "::1", true)
	f("::ffff:ffff:ffff:ffff 0:0:0:1::", "", "0:0:0:1::", true)

	// A client without an address.
	f("0.0.0.0/0 ::/0", "", "", false)
	f("", "0.0.0.0/0 ::/0", "", true)
}

func TestMerge(t *testing.T) {
	f := func(prefixes string, want4, want6 int) {
		t.Helper()
		s, err := NewSet(parse(t, prefixes))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.v4) != want4 || len(s.v6) != want6 {
			t.Fatalf("got %v and %v", s.v4, s.v6)
		}
	}

	f("10.0.0.0/8", 1, 0)
	f("10.0.0.0/9 10.128.0.0/9", 1, 0)
	f("10.128.0.0/9 10.0.0.0/9 10.0.0.0/8", 1, 0)
	f("10.0.0.0 10.0.0.2", 2, 0)
	f("255.255.255.255 0.0.0.0", 2, 0)
	f("0.0.0.0/0 255.255.255.255", 1, 0)
	f("::/0 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::", 0, 1)
	f("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0, 1)
	f("0:0:0:0:ffff:ffff:ffff:ffff 0:0:0:1::", 0, 1)
	f("::/1 8000::/1 1.1.1.1", 1, 1)
}

func TestNewErrors(t *testing.T) {
	f := func(allow, deny []netip.Prefix, want string) {
		t.Helper()
		_, err := New(allow, deny)
		if err == nil {
			t.Fatal("no error")
		}
		if got := err.Error(); !strings.Contains(got, want) {
			t.Fatalf("unexpected error %q", got)
		}
	}

	f(nil, nil, "nothing would be checked")
	f([]netip.Prefix{{}}, nil, "allowed")
	f(nil, []netip.Prefix{{}}, "denied")
	f(nil, parse(t, "::ffff:0:0/95"), "means IPv4 and IPv6")
}

// FuzzCheck compares with a scan of the lists by the standard library.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{4, 10, 0, 0, 0, 8, 4, 10, 1, 0, 0, 16}, []byte{4, 10, 1, 1, 0, 24}, []byte{10, 1, 1, 1})
	f.Add([]byte{6, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, []byte{}, []byte{10, 0, 0, 1})
	f.Add([]byte{4, 255, 255, 255, 255, 32, 4, 0, 0, 0, 0, 1}, []byte{}, []byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, allowed, denied, client []byte) {
		allow, deny := decode(allowed), decode(denied)
		g, err := New(allow, deny)
		if err != nil {
			return
		}
		addr, _ := netip.AddrFromSlice(client) // no address, too
		clients := []netip.Addr{addr}
		for _, p := range append(allow, deny...) {
			clients = append(clients, p.Addr(), p.Masked().Addr(), p.Addr().Next(), p.Masked().Addr().Prev())
		}
		for _, client := range clients {
			want := !scan(deny, client) && (len(allow) == 0 || scan(allow, client))
			if got := check(g, client) == nil; got != want {
				t.Fatalf("allow %v, deny %v: %s is admitted: %v", allow, deny, client, got)
			}
		}
	})
}

// decode reads prefixes: a byte that chooses the family (4 or 6, say), the address, a byte for its bits.
func decode(b []byte) []netip.Prefix {
	var prefixes []netip.Prefix
	for len(b) > 0 {
		size := 4
		if b[0]%4 == 2 {
			size = 16
		}
		if len(b) < size+2 {
			break
		}
		addr, _ := netip.AddrFromSlice(b[1 : size+1])
		if addr.Is4In6() {
			addr = addr.Unmap()
		}
		prefixes = append(prefixes, netip.PrefixFrom(addr, int(b[size+1])%(addr.BitLen()+1)))
		b = b[size+2:]
	}
	return prefixes
}

func scan(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
