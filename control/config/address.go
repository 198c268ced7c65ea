package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is a place to listen on.
type Address struct {
	Network string // "tcp" or "unix"; empty when the address is missing or was refused
	Address string // "host:port" with an empty host for every address, or the path of the socket
	Pos     Pos
}

// String returns the address the way it is written in the file.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return a.Address
}

// Private reports whether only this machine can connect: a loopback address or a unix socket.
func (a Address) Private() bool {
	if a.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// overlaps reports whether the kernel would refuse to bind both. Port 0 takes a free port each time.
func (a Address) overlaps(b Address) bool {
	if a.Network != b.Network {
		return false
	}
	if a.Network == "unix" {
		return a.Address == b.Address
	}
	hostA, portA, errA := net.SplitHostPort(a.Address)
	hostB, portB, errB := net.SplitHostPort(b.Address)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}

func isWildcard(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

func (a *Address) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "an address such as 127.0.0.1:8080, :8080 or unix:/run/sluice.sock"
	a.Pos = n.pos
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	network, address, hint := parseAddress(text)
	if network == "" {
		if n.parts != nil {
			hint = ""
		}
		d.wants(n, path, wanted, hint)
		return
	}
	a.Network, a.Address = network, address
}

// socketPathBytesMax is what a sockaddr_un holds, less its final zero (unix(7)).
const socketPathBytesMax = 107

func parseAddress(s string) (network, address, hint string) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !isSocketPath(path) {
			return "", "", "the path of a socket begins with / and has at most 107 characters"
		}
		return "unix", path, ""
	}
	if isDigits(s) {
		return "", "", "write :" + s + " for every address of this machine"
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", "", "the port is missing, or an IPv6 address lacks its brackets"
	}
	number, ok := parsePort(port)
	if !ok {
		return "", "", "a port is a number from 0 to 65535"
	}
	if host == "*" {
		return "", "", "write :" + port + " for every address"
	}
	if host != "" && !isHost(host) {
		return "", "", "this is not a host name or an IP address"
	}
	return "tcp", net.JoinHostPort(host, strconv.Itoa(number)), ""
}

func isSocketPath(path string) bool {
	return strings.HasPrefix(path, "/") && len(path) > 1 && len(path) <= socketPathBytesMax && !strings.ContainsRune(path, 0)
}

func parsePort(s string) (int, bool) {
	if !isDigits(s) || len(s) > 5 {
		return 0, false
	}
	port, err := strconv.Atoi(s)
	return port, err == nil && port <= 65535
}

// isHost accepts an IP address without brackets, or a name: labels of letters, digits, - and _ (which container
// networks use, though RFC 952 does not allow it).
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if strings.Contains(s, ":") || len(s) > 253 {
		return false
	}
	allDigits := true
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !isNameByte(c) {
				return false
			}
		}
		allDigits = allDigits && isDigits(label)
	}
	return !allDigits // 10.0.1.300 is a mistyped address, not a name
}
