package limit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	"sluice/proxy"
)

// Key says what of a request is counted by: requests with the same values share a bucket. Without a part all requests do.
type Key []Part

// Part is one value of a key, as the configuration names it: "ip", "header" with a Name and so on; see sources.
type Part struct {
	Source string
	Name   string // of the header field, cookie, parameter
	V4, V6 int    // for ip: how many bits count
}

// KeyPartsMax bounds the parts of one key.
const KeyPartsMax = 4

// source is a kind of value that a key can be made of. read returns the value, or false if the request has none: such requests
// share a bucket, too. It allocates nothing, and what it returns is used at once.
type source struct {
	read   func(p *part, x *proxy.Exchange) ([]byte, bool)
	secret bool // people are shown a hash of the value
}

// sources are the words of a key expression. A new one is a line here, and one in control/config.
var sources = map[string]source{
	"header": {read: readHeader, secret: true},
	"cookie": {read: readCookie, secret: true},
	"query":  {read: readQuery, secret: true},
	"path":   {read: readPath},
	"host":   {read: readHost},
	"route":  {read: readRoute},
	// Who is asking, as a policy before has proven it. Those of whom nothing was proven share a bucket.
	"consumer": {read: readConsumer},
	"claim":    {read: readClaim},
	"ip":       {}, // see part.hash: an address is no text, and needs none to be counted
}

func readConsumer(_ *part, x *proxy.Exchange) ([]byte, bool) {
	name := x.Identity.Name()
	return name, len(name) > 0
}

func readClaim(p *part, x *proxy.Exchange) ([]byte, bool) {
	value := x.Identity.Claim(p.Name)
	return value, value != nil
}

// What is sent several times is taken for absent: origins may take the last one, and nobody is to get a new bucket by another first one.
func readHeader(p *part, x *proxy.Exchange) ([]byte, bool) { return x.HeaderOnce(p.Name) }
func readCookie(p *part, x *proxy.Exchange) ([]byte, bool) { return x.CookieOnce(p.Name) }
func readQuery(p *part, x *proxy.Exchange) ([]byte, bool)  { return x.QueryOnce(p.Name) }

func readPath(p *part, x *proxy.Exchange) ([]byte, bool) {
	return x.Match.Value(x.MatchedPath, p.index), true
}

// readHost leaves the port and the dot at the end away, as routing does: nobody gets a new bucket by asking for another.
func readHost(_ *part, x *proxy.Exchange) ([]byte, bool) {
	host := proxy.HostName(x.Request.Host)
	return host, len(host) > 0
}

func readRoute(p *part, _ *proxy.Exchange) ([]byte, bool) { return p.route, true }

// keyer is a Key on a route: where in its pattern a path parameter is, is known.
type keyer struct {
	parts []part
	salt  uint64 // tells the windows of a table apart
}

type part struct {
	Part
	source
	index int    // of a path parameter
	route []byte // the name of the route
	mask  [16]byte
}

// newKeyers says what is wrong with keys on a route. Without one nobody asks them for requests.
func newKeyers(by []Key, route *proxy.Route) ([]keyer, error) {
	keys := make([]keyer, len(by))
	for i, k := range by {
		var err error
		if keys[i], err = newKeyer(k, i, route); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func newKeyer(k Key, window int, route *proxy.Route) (keyer, error) {
	if len(k) > KeyPartsMax {
		return keyer{}, fmt.Errorf("a key has at most %d parts", KeyPartsMax)
	}
	out := keyer{salt: uint64(window+1) * 0x9E3779B97F4A7C15}
	for _, p := range k {
		s, ok := sources[p.Source]
		if !ok {
			return keyer{}, fmt.Errorf("nothing is known to count by %q", p.Source)
		}
		made := part{Part: p, source: s}
		switch {
		case p.Source == "ip" && (p.V4 < 1 || p.V4 > 32 || p.V6 < 1 || p.V6 > 128):
			return keyer{}, fmt.Errorf("no addresses have prefixes of %d and %d bits", p.V4, p.V6)
		case p.Source == "ip":
			made.mask = prefixMask(p.V6)
		case route == nil:
		case p.Source == "route":
			made.route = []byte(route.Name)
		case p.Source == "path":
			if made.index, ok = route.Pattern.Param(p.Name); !ok {
				return keyer{}, fmt.Errorf("per path.%s: the pattern %s of route %s has no parameter %q", p.Name, route.Pattern, route.Name, p.Name)
			}
		}
		out.parts = append(out.parts, made)
	}
	return out, nil
}

func prefixMask(n int) (mask [16]byte) {
	for i := range mask {
		bits := min(max(n-8*i, 0), 8)
		mask[i] = byte(uint(0xFF00) >> bits)
	}
	return mask
}

// hash is the key of a request in a table with this seed.
func (k *keyer) hash(x *proxy.Exchange, seed *seed) uint64 {
	h := k.salt
	for i := range k.parts {
		h = fold(h, k.parts[i].hash(x, seed))
	}
	return clean(h)
}

// Hashes of what is no text.
const (
	absent    = 0x8EBC6AF09C88C6E3 // the request has no such value
	noAddress = 0x589965CC75374CC3 // the client is behind a unix socket
)

func (p *part) hash(x *proxy.Exchange, seed *seed) uint64 {
	if p.read == nil {
		return p.hashAddress(x.Client.Addr, seed)
	}
	value, ok := p.read(p, x)
	if !ok {
		return absent
	}
	return seed.bytes(value)
}

func (p *part) hashAddress(a netip.Addr, seed *seed) uint64 {
	if !a.IsValid() {
		return noAddress
	}
	b := a.As16()
	if a.Is4() || a.Is4In6() {
		// As the IPv6 address that stands for it, whose last 32 bits are its own.
		v4 := uint32(b[12])<<24 | uint32(b[13])<<16 | uint32(b[14])<<8 | uint32(b[15])
		v4 &= ^uint32(0) << (32 - p.V4)
		b[12], b[13], b[14], b[15] = byte(v4>>24), byte(v4>>16), byte(v4>>8), byte(v4)
		return seed.bytes(b[:])
	}
	for i := range b {
		b[i] &= p.mask[i]
	}
	return seed.bytes(b[:])
}

// fold mixes two numbers, of which at least one has a secret in it.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xA0761D6478BD642F, b^0xE7037ED1A0B428DB)
	return hi ^ lo
}

// hashOf is hash for values given as text, one for each part: addresses as they are written, anything else as it is sent.
func (k *keyer) hashOf(values []string, seed *seed) (uint64, error) {
	if len(values) != len(k.parts) {
		return 0, fmt.Errorf("the key has %d parts, and %d values are given", len(k.parts), len(values))
	}
	h := k.salt
	for i := range k.parts {
		p := &k.parts[i]
		if p.read != nil {
			h = fold(h, seed.string(values[i]))
			continue
		}
		text, _, _ := strings.Cut(values[i], "/")
		a, err := netip.ParseAddr(text)
		if err != nil {
			return 0, fmt.Errorf("%q is no address", values[i])
		}
		h = fold(h, p.hashAddress(a.WithZone(""), seed))
	}
	return clean(h), nil
}

// hashAddress is hash for a key of addresses alone.
func (k *keyer) hashAddress(a netip.Addr, seed *seed) uint64 {
	h := k.salt
	for i := range k.parts {
		h = fold(h, k.parts[i].hashAddress(a, seed))
	}
	return clean(h)
}

// appendText appends the key of a request for people, without secrets: "192.0.2.7", or "2001:db8::/64 header X-Api-Key=sha256:…".
func (k *keyer) appendText(dst []byte, x *proxy.Exchange) []byte {
	return k.appendParts(dst, "all requests", func(dst []byte, p *part) []byte { return p.appendText(dst, x) })
}

// appendAddress is appendText for a key of addresses alone.
func (k *keyer) appendAddress(dst []byte, a netip.Addr) []byte {
	return k.appendParts(dst, "all clients", func(dst []byte, p *part) []byte { return p.appendAddress(dst, a) })
}

func (k *keyer) appendParts(dst []byte, none string, one func(dst []byte, p *part) []byte) []byte {
	if len(k.parts) == 0 {
		return append(dst, none...)
	}
	for i := range k.parts {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = one(dst, &k.parts[i])
	}
	return dst
}

func (p *part) appendText(dst []byte, x *proxy.Exchange) []byte {
	if p.read == nil {
		return p.appendAddress(dst, x.Client.Addr)
	}
	value, ok := p.read(p, x)
	switch {
	case !ok:
		return append(append(dst, "no "...), p.String()...)
	case p.secret:
		sum := sha256.Sum256(value)
		dst = append(append(dst, p.String()...), "=sha256:"...)
		return hex.AppendEncode(dst, sum[:shownHashBytes])
	}
	return proxy.AppendEscaped(dst, value[:min(len(value), shownValueBytesMax)], proxy.JSON)
}

const (
	shownHashBytes     = 8
	shownValueBytesMax = 64
)

func (p *part) appendAddress(dst []byte, a netip.Addr) []byte {
	a = a.Unmap().WithZone("")
	n := p.V6
	switch {
	case !a.IsValid():
		return append(dst, "no address"...)
	case a.Is4():
		n = p.V4
	}
	prefix, err := a.Prefix(n)
	if err != nil {
		panic("BUG: a key has more bits than an address: " + err.Error())
	}
	if prefix.IsSingleIP() {
		return prefix.Addr().AppendTo(dst)
	}
	return prefix.AppendTo(dst)
}

// String is the part as it is configured, but for the length of a prefix.
func (p Part) String() string {
	switch {
	case p.Name == "":
		return p.Source
	case p.Source == "path":
		return "path." + p.Name
	}
	return p.Source + " " + p.Name
}
