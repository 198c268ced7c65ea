package server

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"unsafe"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// fillRequest turns the scanned head into the exchange's request. After it, what is matched, judged and sent is one
// message: hop-by-hop fields and framing are gone, and the fields that tell the origin about the client are ours.
func (c *h1) fillRequest(x *proxy.Exchange) error {
	m, r := &c.message, &x.Request
	x.Received = proxy.Received{Method: m.Method, Target: m.Target, Minor: m.Minor, Proto: protos[m.Minor]}
	r.Method = methodString(m.Method)
	r.Scheme = c.from.scheme()
	authority := r.Head.GetKnown(wire.Host)
	target, err := splitTarget(m, r.Method, &authority)
	if err != nil {
		return err
	}
	x.Received.Origin = target
	r.Host = lowerHost(x, authority)
	r.Path, r.Query, r.HasQuery = target, nil, false
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		r.Path, r.Query, r.HasQuery = target[:i], target[i+1:], true
	}
	if err := c.fillBody(x); err != nil {
		return err
	}
	// Only WebSocket is switched to: any other protocol (h2c above all) would carry requests past the routes.
	if m.Upgrade && m.Minor == 1 && !r.Body.Flowing() && r.Body.Size() == 0 &&
		wire.EqualFold(r.Head.GetKnown(wire.Upgrade), "websocket") {
		r.Upgrade = "websocket"
	}
	r.TakesTrailers = takesTrailers(&r.Head)
	wire.DropHopByHop(m, &r.Head)
	r.Head.DelKnown(wire.Host.Bit() | wire.Expect.Bit())
	identify(x, c.settings, c.from.peerText, via[x.Received.Minor])
	return nil
}

var protos = [...]string{"HTTP/1.0", "HTTP/1.1"}

// methodString spares an allocation for the methods in use.
func methodString(m []byte) string {
	switch string(m) {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "HEAD":
		return "HEAD"
	case "OPTIONS":
		return "OPTIONS"
	case "PATCH":
		return "PATCH"
	}
	return string(m)
}

// splitTarget returns path and query of the request target (RFC 9112 section 3.2): the origin form. Whoever judges the target as it was
// received takes it from here, as Received.Origin, and never takes the target apart once more: what two places take apart they take apart
// differently one day, and then what was judged is not what is sent. The authority of an absolute form takes the place of Host, whatever
// that says.
func splitTarget(m *wire.Message, method string, authority *[]byte) ([]byte, error) {
	t := m.Target
	switch {
	case method == "CONNECT":
		return nil, errConnectMethod
	case t[0] == '/':
		return t, nil
	case len(t) == 1 && t[0] == '*' && method == "OPTIONS":
		return t, nil
	}
	rest, ok := cutScheme(t)
	if !ok {
		return nil, wire.ErrTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if !wire.ValidHost(rest[:end]) {
		return nil, wire.ErrTarget
	}
	*authority = rest[:end]
	switch {
	case end == len(rest) && method == "OPTIONS":
		return asterisk, nil // RFC 9112 section 3.2.4
	case end == len(rest):
		return slash, nil
	case rest[end] == '?':
		return append(append(make([]byte, 0, len(rest)), '/'), rest[end:]...), nil
	}
	return rest[end:], nil
}

var slash, asterisk = []byte("/"), []byte("*")

var errConnectMethod = &wire.Refusal{Status: 501, Code: "connect_not_supported", Detail: "CONNECT asks for a forward proxy; this is a gateway."}
var errExpectation = &wire.Refusal{Status: 417, Code: "expectation_failed", Detail: "The only expectation that can be met is 100-continue."}

func cutScheme(t []byte) ([]byte, bool) {
	for _, scheme := range [...]string{"http://", "https://"} {
		if len(t) > len(scheme) && wire.EqualFold(t[:len(scheme)], scheme) {
			return t[len(scheme):], true
		}
	}
	return nil, false
}

// lowerHost makes a host comparable. Nearly all are lower case already.
func lowerHost(x *proxy.Exchange, h []byte) []byte {
	for _, b := range h {
		if 'A' <= b && b <= 'Z' {
			s := append(x.Scratch(), h...)
			for i, b := range s {
				if 'A' <= b && b <= 'Z' {
					s[i] = b + 'a' - 'A'
				}
			}
			return x.KeepScratch(s)
		}
	}
	return h
}

// fillBody derives the body from its framing. What arrived with the head is its prefix.
func (c *h1) fillBody(x *proxy.Exchange) error {
	m, r, u := &c.message, &x.Request, &c.upload
	expect := r.Head.GetKnown(wire.Expect)
	if expect != nil && m.Minor == 1 {
		if !wire.EqualFold(expect, "100-continue") {
			return errExpectation
		}
	}
	switch {
	case m.Chunked:
		u.begin(wire.Chunked, 0, &r.Trailers)
		r.Body.SetFlow(nil, u, -1)
	case m.ContentLength > 0:
		prefix := c.in.Bytes()
		if int64(len(prefix)) >= m.ContentLength {
			prefix = prefix[:m.ContentLength]
			c.in.Skip(len(prefix))
			u.taken = m.ContentLength
			r.Body.SetWhole(prefix)
			return nil
		}
		c.in.Skip(len(prefix))
		if expect == nil && m.ContentLength <= gatherMax {
			if prefix = c.gather(x, prefix, int(m.ContentLength)); int64(len(prefix)) == m.ContentLength {
				u.taken = m.ContentLength
				r.Body.SetWhole(prefix)
				return nil
			}
		}
		u.taken = int64(len(prefix))
		u.begin(wire.Length, m.ContentLength-int64(len(prefix)), nil)
		r.Body.SetFlow(prefix, u, m.ContentLength)
	default:
		return nil
	}
	if expect != nil && m.Minor == 1 && c.in.Buffered() == 0 && u.taken == 0 {
		r.ExpectContinue = true
		u.expecting = true
	}
	return nil
}

// gatherMax is up to which length a body is taken in at once if it has arrived: whole, it goes upstream in one write
// with its head, can be sent again, and needs no second goroutine. More would not fit beside the head.
const gatherMax = 12 << 10

// gather adds to the bytes that came with the head what has arrived since, without waiting.
func (c *h1) gather(x *proxy.Exchange, prefix []byte, size int) []byte {
	buf := wire.GetBuf(wire.Medium)
	x.Hold(buf)
	n := copy(buf.B, prefix)
	n += c.TryRead(buf.B[n:size])
	return buf.B[:n]
}

// identify decides who the client is and tells the origin: X-Forwarded-For, -Proto and -Host, Forwarded (RFC 7239),
// Via and X-Request-Id. What an untrusted peer claims in these fields is thrown away; what a trusted one claims is
// kept and added to, but for Forwarded. peer is the other end's address as text, empty if it has none.
func identify(x *proxy.Exchange, settings *settings, peer []byte, via string) {
	h := &x.Request.Head
	if x.Client.Trusted {
		believe(x, settings)
	} else {
		h.DelKnown(wire.XForwardedFor.Bit() | wire.XForwardedHost.Bit() | wire.XForwardedProto.Bit() | wire.XForwardedOther.Bit() |
			wire.XRealIP.Bit() | wire.XRequestID.Bit())
	}
	// Of these nobody's word is taken: balancers that tend to X-Forwarded-For pass them on from anybody.
	h.DelKnown(wire.Forwarded.Bit() | wire.ClientCert.Bit() | wire.ClientCertChain.Bit())
	if c := x.Client.Certificate; c != nil {
		h.AddKnownString(wire.ClientCert, c.Field)
	}
	if x.ID == nil {
		x.ID = x.KeepScratch(newRequestID(x.Scratch()))
		h.AddKnown(wire.XRequestID, x.ID)
	}
	if len(peer) == 0 {
		peer = unknown
	}
	addForwardedFor(x, peer)
	if !x.Client.Trusted || !h.HasKnown(wire.XForwardedProto) {
		h.AddKnownString(wire.XForwardedProto, x.Request.Scheme)
	}
	if (!x.Client.Trusted || !h.HasKnown(wire.XForwardedHost)) && len(x.Request.Host) > 0 {
		h.AddKnown(wire.XForwardedHost, x.Request.Host)
	}
	h.AddKnown(wire.Forwarded, forwarded(x, peer))
	h.AddKnownString(wire.Via, via)
}

var unknown = []byte("unknown")

// via names the protocol that the message was received with (RFC 9110 section 7.6.3).
var via = [...]string{"1.0 sluice", "1.1 sluice"}

// addForwardedFor appends an address to X-Forwarded-For.
func addForwardedFor(x *proxy.Exchange, peer []byte) {
	h := &x.Request.Head
	if !h.HasKnown(wire.XForwardedFor) {
		h.AddKnown(wire.XForwardedFor, peer)
		return
	}
	list := x.Scratch()
	for v := range h.ValuesKnown(wire.XForwardedFor) {
		list = append(append(list, v...), ", "...)
	}
	h.Set("X-Forwarded-For", x.KeepScratch(append(list, peer...)))
}

// forwarded is the value of Forwarded (RFC 7239): for=192.0.2.1;host=example.com;proto=http, and behind a trusted proxy
// that one as a second element. What was received under this name is not kept, from nobody: a proxy that tends to
// X-Forwarded-For passes a client's Forwarded on as it is, and the two would disagree.
func forwarded(x *proxy.Exchange, peer []byte) []byte {
	client := peer
	if len(x.Client.Text) > 0 {
		client = x.Client.Text
	}
	b := appendNode(x.Scratch(), client)
	if host := x.Request.Host; len(host) > 0 {
		b = append(b, ";host="...)
		if bytes.IndexByte(host, ':') >= 0 {
			b = append(append(append(b, '"'), host...), '"')
		} else {
			b = append(b, host...)
		}
	}
	b = append(append(b, ";proto="...), x.Request.Scheme...)
	if x.Client.Addr != x.Client.Peer.Addr() {
		b = appendNode(append(b, ", "...), peer)
	}
	return x.KeepScratch(b)
}

func appendNode(dst, address []byte) []byte {
	dst = append(dst, "for="...)
	if bytes.IndexByte(address, ':') >= 0 {
		return append(append(append(dst, `"[`...), address...), `]"`...)
	}
	return append(dst, address...)
}

// believe takes over what a trusted proxy says about the client: the nearest untrusted address of X-Forwarded-For, the
// scheme it came with, and its request id.
func believe(x *proxy.Exchange, settings *settings) {
	h := &x.Request.Head
	for v := range h.ValuesKnown(wire.XForwardedProto) {
		for item := range wire.Items(v) { // the last one is the nearest proxy's
			switch {
			case wire.EqualFold(item, "https"):
				x.Request.Scheme = "https"
			case wire.EqualFold(item, "http"):
				x.Request.Scheme = "http"
			}
		}
	}
	if id := h.GetKnown(wire.XRequestID); validRequestID(id) && h.CountKnown(wire.XRequestID) == 1 {
		x.ID = id
	} else {
		h.DelKnown(wire.XRequestID.Bit())
	}
	// From the right: each trusted hop vouches for the one before it. Several fields are one list.
	addr := x.Client.Addr
	for i := h.CountKnown(wire.XForwardedFor) - 1; i >= 0 && settings.trusts(addr); i-- {
		list := h.NthKnown(wire.XForwardedFor, i)
		for len(list) > 0 && settings.trusts(addr) {
			item := list
			if j := bytes.LastIndexByte(list, ','); j >= 0 {
				item, list = list[j+1:], list[:j]
			} else {
				list = nil
			}
			next, ok := parseForwarded(bytes.TrimSpace(item))
			if !ok {
				i = 0 // whoever stands behind something unreadable is not known
				break
			}
			addr = next
		}
	}
	if addr != x.Client.Addr {
		x.Client.Addr = addr
		x.Client.Text = x.KeepScratch(addr.AppendTo(x.Scratch()))
	}
}

// parseForwarded reads an address, an IPv6 address in brackets, or either with a port.
func parseForwarded(b []byte) (netip.Addr, bool) {
	if len(b) == 0 || len(b) > 64 {
		return netip.Addr{}, false
	}
	// The parsers keep no part of the text but in an error, which is dropped here. To try one after the other would allocate errors.
	text := unsafe.String(unsafe.SliceData(b), len(b))
	var addr netip.Addr
	var err error
	switch {
	case text[0] == '[' && text[len(text)-1] == ']':
		addr, err = netip.ParseAddr(text[1 : len(text)-1])
	case text[0] == '[' || strings.Count(text, ":") == 1:
		var p netip.AddrPort
		p, err = netip.ParseAddrPort(text)
		addr = p.Addr()
	default:
		addr, err = netip.ParseAddr(text)
	}
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.Unmap().WithZone(""), true
}

// validRequestID bounds what is taken over into logs and answers.
func validRequestID(id []byte) bool {
	return len(id) >= 8 && len(id) <= 128 && wire.IsToken(id)
}

// newRequestID appends 128 random bits in hex: unique across hosts without asking anybody. They are no secret.
func newRequestID(dst []byte) []byte {
	const digits = "0123456789abcdef"
	var text [32]byte
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 16 {
		text[i], text[16+i] = digits[a&15], digits[b&15]
		a, b = a>>4, b>>4
	}
	return append(dst, text[:]...)
}

// takesTrailers reports whether TE names trailers (RFC 9110 section 10.1.4). It speaks of the connection to the client, so that
// it goes with the other fields that do; what the upstream does with trailers may depend on it.
func takesTrailers(h *wire.Head) bool {
	for value := range h.ValuesKnown(wire.TE) {
		for item := range wire.Items(value) {
			if wire.EqualFold(item, "trailers") {
				return true
			}
		}
	}
	return false
}
