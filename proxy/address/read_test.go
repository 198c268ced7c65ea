package address

import (
	"fmt"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		networks, problems, wrong := Read(text)
		var got []string
		for _, n := range networks {
			got = append(got, n.String())
		}
		for _, p := range problems {
			got = append(got, fmt.Sprintf("%d: %s", p.Line, p.Message))
		}
		if s := strings.Join(got, " | "); s != want || wrong != len(problems) {
			t.Errorf("%q: got %s (%d wrong), want %s", text, s, wrong, want)
		}
	}
	f("", "")
	f("10.0.0.0/8", "10.0.0.0/8")
	f("10.0.0.0/8\n2001:db8::/32\n", "10.0.0.0/8 | 2001:db8::/32")
	f("10.1.2.3/8\r\n\t 192.0.2.1 \r\n\r\n2001:db8::1", "10.1.2.3/8 | 192.0.2.1/32 | 2001:db8::1/128")
	f("# a list\n; of another kind\n  # x\n10.0.0.1 # who\n10.0.0.2;SBL1\n10.0.0.3#", "10.0.0.1/32 | 10.0.0.2/32 | 10.0.0.3/32")
	f("\ufeff10.0.0.1\n", "10.0.0.1/32")
	f("::ffff:10.0.0.0/104\n::ffff:10.0.0.1", "::ffff:10.0.0.0/104 | ::ffff:10.0.0.1/128")

	const addr, prefix = "wants an address or a network such as 192.0.2.0/24", "wants a network such as 192.0.2.0/24 or 2001:db8::/32"
	f("10.0.0\n10.0.0.0/8\nlocalhost\n", "10.0.0.0/8 | 1: "+addr+" | 3: "+addr)
	f("10.0.0.0/33", "1: "+prefix)
	f("10.0.0.0/", "1: "+prefix)
	f("10.0.0.0/8/8", "1: "+prefix)
	f("10.0.0.0 /8", "1: "+prefix)
	f("10.0.0.0-10.0.0.9", "1: "+addr)
	f("10.0.0.1 10.0.0.2", "1: "+addr)
	f("010.0.0.1", "1: "+addr)
	f("fe80::1%eth0", "1: "+addr)
	f("fe80::%eth0/64", "1: "+prefix)
	f("::ffff:0:0/95", "1: means IPv4 and IPv6 addresses: write a prefix of 96 bits or more, or the IPv4 prefix itself")
	f("\n\n\x00\n", "3: "+addr)
}

// TestReadBounds: of a file that is none of networks, only the first lines are named, and none is shown.
func TestReadBounds(t *testing.T) {
	_, problems, wrong := Read(strings.Repeat("-----BEGIN SECRET-----\n", 1000))
	if len(problems) != problemsMax || wrong != 1000 || strings.Contains(fmt.Sprint(problems), "SECRET") {
		t.Errorf("%d lines are wrong: %v", wrong, problems)
	}
	for n, want := range map[int]int{1000: 1000, 1001: 0} {
		networks, problems, wrong := read(strings.Repeat("1.1.1.1\n", n), 1000)
		if len(networks) != want || wrong != len(problems) || want == 0 && (wrong != 1 || problems[0].Line != 1001) {
			t.Errorf("of %d there are %d networks, and %v", n, len(networks), problems)
		}
	}
}

// FuzzRead: whatever a file holds, what was read of it is a set that has what each line says.
func FuzzRead(f *testing.F) {
	f.Add("10.0.0.0/8\n# x\n2001:db8::/32\n\n10.0.0.1;x\r\n::ffff:1.2.3.4\nbad\n")
	f.Fuzz(func(t *testing.T, text string) {
		networks, problems, wrong := Read(text)
		if len(problems) > problemsMax || (wrong > 0) != (len(problems) > 0) {
			t.Fatalf("%d lines are wrong: %v", wrong, problems)
		}
		s, err := NewSet(networks)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range networks {
			if a := n.Addr().Unmap(); !s.Contains(a) {
				t.Fatalf("%s is not in the set", n)
			}
		}
	})
}
