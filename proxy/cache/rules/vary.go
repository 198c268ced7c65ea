package rules

import (
	"bytes"
	"unsafe"

	"sluice/proxy/wire"
)

// VaryMax is how many fields a response may vary by. What varies by more is taken for "*": no two requests would be alike.
const VaryMax = 16

// AppendVary appends the names of the request fields that a response varies by (RFC 9110 section 12.5.5) as AppendVariant wants them: in
// lower case, sorted, each once, with a comma between. It returns false if no request matches: "*", what is no name, more than VaryMax names.
func AppendVary(dst []byte, h *wire.Head) ([]byte, bool) {
	var names varyNames
	if !names.collect(h) {
		return dst, false
	}
	for i, name := range names.list[:names.n] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendLower(dst, name)
	}
	return dst, true
}

// varyNames are distinct names in their order.
type varyNames struct {
	list [VaryMax][]byte
	n    int
}

func (v *varyNames) collect(h *wire.Head) bool {
	for line := range h.Values("vary") {
		for name := range wire.Items(line) {
			if string(name) == "*" || !wire.IsToken(name) || !v.insert(name) {
				return false
			}
		}
	}
	return true
}

func (v *varyNames) insert(name []byte) bool {
	i := 0
	for ; i < v.n; i++ {
		switch compareFold(name, v.list[i]) {
		case 0:
			return true
		case -1:
			if v.n == VaryMax {
				return false
			}
			copy(v.list[i+1:v.n+1], v.list[i:v.n])
			v.list[i] = name
			v.n++
			return true
		}
	}
	if v.n == VaryMax {
		return false
	}
	v.list[v.n] = name
	v.n++
	return true
}

// AppendVariant appends what tells the variants of a resource apart: the values in a request of the fields that names lists, as AppendVary wrote
// it, in a form that is the same for requests that mean the same (RFC 9111 section 4.1). Every value ends with a byte that none can hold, so
// that what one field says cannot be read as what another does. It is at most somewhat longer than the fields themselves.
//
// If codings are given, a policy after the cache makes one of them by Accept-Encoding, and what it would choose is all that counts; the origin then
// must not see more of the field than that. Without, the set of the codings that the client accepts counts, though not in which order it likes them.
func AppendVariant(dst, names []byte, req *wire.Head, codings []string) []byte {
	for len(names) > 0 {
		name := names
		if i := bytes.IndexByte(names, ','); i >= 0 {
			name, names = names[:i], names[i+1:]
		} else {
			names = nil
		}
		dst = append(appendField(dst, name, req, codings), '\n')
	}
	return dst
}

func appendField(dst, name []byte, req *wire.Head, codings []string) []byte {
	if string(name) == "accept-encoding" && codings != nil {
		coding, ok := wire.NegotiateCoding(req, codings)
		if !ok {
			return append(dst, '!')
		}
		return append(dst, coding...)
	}
	if !req.Has(text(name)) {
		return append(dst, 0) // not what an empty field is
	}
	switch string(name) {
	case "accept-encoding":
		return appendCodings(dst, req)
	case "accept", "accept-charset", "accept-language":
		return appendAccept(dst, text(name), req)
	case "cookie":
		return appendLines(dst, name, req, "; ")
	}
	return appendLines(dst, name, req, ", ")
}

// appendLines joins the lines of a field of which nothing more is known.
func appendLines(dst, name []byte, req *wire.Head, between string) []byte {
	first := true
	for line := range req.Values(text(name)) {
		if !first {
			dst = append(dst, between...)
		}
		dst = append(dst, trim(line)...)
		first = false
	}
	return dst
}

// appendAccept writes a list of weighted ranges without white space, in lower case but for the values of parameters, and with the shortest
// weights. Its order stays: of two ranges with one weight a server may like the first.
func appendAccept(dst []byte, name string, req *wire.Head) []byte {
	start := len(dst)
	for line := range req.Values(name) {
		for rest := line; len(rest) > 0; {
			var item []byte
			item, rest, _ = cutItem(rest)
			if item = trim(item); len(item) == 0 {
				continue
			}
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = appendRange(dst, item)
		}
	}
	return dst
}

// appendRange writes one item: a range, parameters and a weight.
func appendRange(dst, item []byte) []byte {
	for first := true; first || len(item) > 0; first = false {
		var part []byte
		part, item = cutParameter(item)
		if part = trim(part); len(part) == 0 {
			continue
		}
		i := bytes.IndexByte(part, '=')
		switch {
		case first:
			dst = appendLower(dst, part)
		case i == 1 && part[0]|0x20 == 'q':
			dst = appendWeight(dst, part)
		case i < 0:
			dst = appendLower(append(dst, ';'), part)
		default:
			dst = append(appendLower(append(dst, ';'), part[:i]), part[i:]...)
		}
	}
	return dst
}

// cutParameter cuts at the first semicolon outside a quoted string.
func cutParameter(b []byte) (part, rest []byte) {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == ';':
			return b[:i], b[i+1:]
		case b[i] == '"' && i > 0 && b[i-1] == '=':
			end := quotedEnd(b, i+1)
			if end < 0 {
				return b, nil
			}
			i = end
		}
	}
	return b, nil
}

// appendWeight writes "q=0.80" as ";q=0.8", and the weight of what has none as nothing.
func appendWeight(dst, part []byte) []byte {
	weight, ok := wire.ParseWeight(part[len("q="):])
	switch {
	case !ok:
		return appendLower(append(dst, ';'), part)
	case weight == 1000:
		return dst
	case weight == 0:
		return append(dst, ";q=0"...)
	}
	dst = append(dst, ";q=0."...)
	for unit := 100; weight > 0; unit /= 10 {
		dst = append(dst, byte('0'+weight/unit))
		weight %= unit
	}
	return dst
}

// codingsMax bounds how many codings a request's set may have. The lines of a request with more are taken as they are.
const codingsMax = 16

// appendCodings writes the set of content codings that a request accepts, sorted; with "*" those that it does not accept, too, each after a "-",
// and so the identity if it is not accepted. A coding that nobody knows stays: the origin may.
func appendCodings(dst []byte, req *wire.Head) []byte {
	var set codingSet
	for line := range req.Values("accept-encoding") {
		for item := range wire.Items(line) {
			name, weight, ok := wire.SplitWeight(item)
			if ok && !set.insert(name, weight) {
				return appendLines(append(dst, '?'), []byte("accept-encoding"), req, ", ")
			}
		}
	}
	return set.append(dst)
}

// AppendCodings writes Accept-Encoding for an origin whose answer is kept for all whose codings are the same set, so that it sees no more than what
// tells variants apart. It returns false if it leaves the field as it is: there is none, or too much in it.
func AppendCodings(dst []byte, req *wire.Head) ([]byte, bool) {
	var set codingSet
	given := false
	for line := range req.Values("accept-encoding") {
		given = true
		for item := range wire.Items(line) {
			name, weight, ok := wire.SplitWeight(item)
			if ok && !set.insert(name, weight) {
				return dst, false
			}
		}
	}
	start := len(dst)
	for i := range set.n {
		name, weight := set.names[i], set.weights[i]
		switch {
		case is(name, "identity"):
			if weight > 0 {
				continue // that goes without saying
			}
		case weight == 0 && set.weight("*") <= 0:
			continue // as if it were not named
		}
		if len(dst) > start {
			dst = append(dst, ", "...)
		}
		if dst = appendLower(dst, name); weight == 0 {
			dst = append(dst, ";q=0"...)
		}
	}
	switch {
	case set.weight("*") == 0 && set.weight("identity") < 0: // "*" stands for it, too
		if len(dst) > start {
			dst = append(dst, ", "...)
		}
		dst = append(dst, "identity;q=0"...)
	case given && len(dst) == start:
		dst = append(dst, "identity"...)
	}
	return dst, given
}

// codingSet holds distinct codings in their order with their weights.
type codingSet struct {
	names   [codingsMax][]byte
	weights [codingsMax]int
	n       int
}

func (s *codingSet) insert(name []byte, weight int) bool {
	if is(name, "x-gzip") || is(name, "x-compress") {
		name = name[len("x-"):]
	}
	i := 0
	for i < s.n && compareFold(s.names[i], name) < 0 {
		i++
	}
	if i < s.n && compareFold(s.names[i], name) == 0 {
		s.weights[i] = min(s.weights[i], weight)
		return true
	}
	if s.n == codingsMax {
		return false
	}
	copy(s.names[i+1:s.n+1], s.names[i:s.n])
	copy(s.weights[i+1:s.n+1], s.weights[i:s.n])
	s.names[i], s.weights[i] = name, weight
	s.n++
	return true
}

func (s *codingSet) weight(name string) int {
	for i := range s.n {
		if is(s.names[i], name) {
			return s.weights[i]
		}
	}
	return Absent
}

func (s *codingSet) append(dst []byte) []byte {
	start := len(dst)
	rest, identity := s.weight("*"), s.weight("identity")
	if identity == 0 || identity < 0 && rest == 0 {
		dst = append(dst, "-identity"...)
	}
	for i := range s.n {
		name := s.names[i]
		if is(name, "identity") || s.weights[i] == 0 && rest <= 0 {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		if s.weights[i] == 0 {
			dst = append(dst, '-')
		}
		dst = appendLower(dst, name)
	}
	return dst
}

func appendLower(dst, b []byte) []byte {
	start := len(dst)
	dst = append(dst, b...)
	lowerCase(dst[start:])
	return dst
}

func lowerCase(b []byte) {
	for i, c := range b {
		b[i] = lower(c)
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// compareFold orders names as bytes.Compare orders them in lower case.
func compareFold(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	switch {
	case len(a) < len(b):
		return -1
	case len(a) > len(b):
		return 1
	}
	return 0
}

// text lends bytes as a string to a callee that does not keep it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
