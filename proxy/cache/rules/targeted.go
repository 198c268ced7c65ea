package rules

import "sluice/proxy/wire"

// parseTargeted reads CDN-Cache-Control (RFC 9213 section 3.1) on top of r, and reports whether it counts. It is a Dictionary of RFC 8941,
// read strictly: if it is empty or not one, it is as if it were not there (section 2.1).
func parseTargeted(h *wire.Head, r Response) (Response, bool) {
	members := 0
	for line := range h.Values("cdn-cache-control") {
		if line = trim(line); len(line) == 0 {
			continue
		}
		p := structured{rest: line}
		for {
			name, v := p.member()
			if p.failed {
				return r, false
			}
			members++
			if v.kind != kindBoolean || v.number != 0 { // "no-store=?0" says that it is not there
				r.note(name, v.seconds())
			}
			if !p.comma() {
				break
			}
		}
		if p.failed {
			return r, false
		}
	}
	return r, members > 0
}

// structured reads Structured Fields (RFC 8941 section 4.2) as far as a cache asks.
type structured struct {
	rest   []byte
	failed bool
}

type structuredKind uint8

const (
	kindBoolean structuredKind = iota // number is 0 or 1
	kindInteger
	kindOther
)

type structuredValue struct {
	kind   structuredKind
	number int64
}

// seconds is the value as a span. "Consumers do not coerce": what is not an integer is none (RFC 9213 section 2.1).
func (v structuredValue) seconds() int64 {
	if v.kind != kindInteger || v.number < 0 {
		return 0
	}
	return min(v.number, DeltaMax)
}

// member reads a key and its value with its parameters, which say nothing to us.
func (p *structured) member() (name []byte, v structuredValue) {
	name = p.key()
	v = structuredValue{kindBoolean, 1}
	if p.skip('=') {
		if p.skip('(') {
			p.innerList()
			v = structuredValue{kind: kindOther}
		} else {
			v = p.bareItem()
		}
	}
	p.parameters()
	return name, v
}

// comma steps over what separates two members, and returns false at the end.
func (p *structured) comma() bool {
	p.rest = trim(p.rest)
	if p.failed || len(p.rest) == 0 {
		return false
	}
	if !p.skip(',') {
		p.failed = true
		return false
	}
	if p.rest = trim(p.rest); len(p.rest) == 0 {
		p.failed = true // a comma at the end
	}
	return !p.failed
}

func (p *structured) key() []byte {
	i := 0
	for i < len(p.rest) {
		c := p.rest[i]
		if !('a' <= c && c <= 'z' || c == '*' || i > 0 && (c-'0' <= 9 || c == '_' || c == '-' || c == '.')) {
			break
		}
		i++
	}
	return p.take(i)
}

func (p *structured) parameters() {
	for p.skip(';') {
		for p.skip(' ') {
		}
		p.key()
		if p.skip('=') {
			p.bareItem()
		}
	}
}

func (p *structured) innerList() {
	for !p.failed {
		for p.skip(' ') {
		}
		if p.skip(')') {
			return
		}
		p.bareItem()
		p.parameters()
		if len(p.rest) == 0 || p.rest[0] != ' ' && p.rest[0] != ')' {
			p.failed = true
		}
	}
}

func (p *structured) bareItem() structuredValue {
	other := structuredValue{kind: kindOther}
	if len(p.rest) == 0 {
		p.failed = true
		return other
	}
	switch c := p.rest[0]; {
	case c == '-' || c-'0' <= 9:
		return p.number()
	case c == '"':
		p.text()
	case c == '?':
		if len(p.rest) < 2 || p.rest[1]-'0' > 1 {
			p.failed = true
			return other
		}
		return structuredValue{kindBoolean, int64(p.take(2)[1] - '0')}
	case c == ':':
		i := 1
		for i < len(p.rest) && p.rest[i] != ':' {
			if c := p.rest[i]; !(c|0x20-'a' < 26 || c-'0' <= 9 || c == '+' || c == '/' || c == '=') {
				p.failed = true
			}
			i++
		}
		p.take(i + 1)
	case c == '*' || c|0x20-'a' < 26:
		i := 1
		for i < len(p.rest) && (p.rest[i] == ':' || p.rest[i] == '/' || wire.IsToken(p.rest[i:i+1])) {
			i++
		}
		p.take(i)
	default:
		p.failed = true
	}
	return other
}

// number reads an integer of up to 15 digits, or a decimal of up to 12 and 3.
func (p *structured) number() structuredValue {
	negative := p.skip('-')
	var n int64
	i := 0
	for i < len(p.rest) && p.rest[i]-'0' <= 9 {
		if i == 15 {
			p.failed = true
			return structuredValue{kind: kindOther}
		}
		n = n*10 + int64(p.rest[i]-'0')
		i++
	}
	p.take(i)
	if p.skip('.') {
		j := 0
		for j < len(p.rest) && p.rest[j]-'0' <= 9 {
			j++
		}
		p.failed = p.failed || i > 12 || j > 3
		p.take(j)
		return structuredValue{kind: kindOther}
	}
	if negative {
		n = -n
	}
	return structuredValue{kindInteger, n}
}

// text reads a String: printable ASCII, with a backslash only before a quotation mark or another one.
func (p *structured) text() {
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.take(i + 1)
			return
		case c == '\\':
			if i++; i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				p.failed = true
				return
			}
		case c < ' ' || c > '~':
			p.failed = true
			return
		}
	}
	p.failed = true
}

// take steps over n bytes, which have to be there and not none.
func (p *structured) take(n int) []byte {
	if n == 0 || n > len(p.rest) {
		p.failed = true
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *structured) skip(c byte) bool {
	if !p.failed && len(p.rest) > 0 && p.rest[0] == c {
		p.rest = p.rest[1:]
		return true
	}
	return false
}
