package address

import (
	"fmt"
	"net/netip"
	"strings"
)

// NetworksMax is how many networks Read takes.
const NetworksMax = 4 << 20

// problemsMax is how many lines Read says something about.
const problemsMax = 10

// Problem is what is wrong with a line. It does not repeat the line: the file may be another one than was meant, with secrets in it.
type Problem struct {
	Line    int // from 1
	Message string
}

// Read reads a list of networks: one in a line, an address or a prefix such as 192.0.2.0/24 or 2001:db8::/32, of which host bits may be
// set. What follows # or ; is a comment. It goes on after a line that is wrong, and returns the first few of these, and how many there are.
func Read(text string) (networks []netip.Prefix, problems []Problem, wrong int) {
	return read(text, NetworksMax)
}

func read(text string, most int) (networks []netip.Prefix, problems []Problem, wrong int) {
	networks = make([]netip.Prefix, 0, min(strings.Count(text, "\n")+1, most))
	text = strings.TrimPrefix(text, "\ufeff")
	number := 0
	for line := range strings.Lines(text) {
		number++
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p, err := network(line)
		if err == "" && len(networks) == most {
			return nil, []Problem{{number, fmt.Sprintf("the list has more than %d networks", most)}}, 1
		}
		if err != "" {
			if wrong++; len(problems) < problemsMax {
				problems = append(problems, Problem{number, err})
			}
			continue
		}
		networks = append(networks, p)
	}
	return networks, problems, wrong
}

func network(line string) (netip.Prefix, string) {
	if !strings.Contains(line, "/") {
		addr, err := netip.ParseAddr(line)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, "wants an address or a network such as 192.0.2.0/24"
		}
		return netip.PrefixFrom(addr, addr.BitLen()), ""
	}
	p, err := netip.ParsePrefix(line)
	if err != nil {
		return netip.Prefix{}, "wants a network such as 192.0.2.0/24 or 2001:db8::/32"
	}
	if p.Addr().Is4In6() && p.Bits() < 96 {
		return netip.Prefix{}, "means IPv4 and IPv6 addresses: write a prefix of 96 bits or more, or the IPv4 prefix itself"
	}
	return p, ""
}
