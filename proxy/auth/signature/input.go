package signature

import "bytes"

// componentsMax is how many parts of a request one signature may cover.
const componentsMax = 32

// input is what a request says of its signature: what is signed, in which order, and how.
type input struct {
	components [componentsMax]component
	n          int
	text       []byte // all of it in its one form, as it is signed itself

	created, expires       int64
	hasCreated, hasExpires bool
	nonce, alg, keyID, tag []byte
	hasNonce, hasAlg       bool
	hasKeyID, hasTag       bool
}

// component is one part of a request (RFC 9421 section 2).
type component struct {
	name       []byte
	begin, end int // of its identifier, in the text of the input
	form       form
	of         []byte // the member of a dictionary, or the parameter of a query
}

// form is what of a field is signed.
type form uint8

const (
	plain      form = iota // its value as it is
	structured             // sf: in its one form
	member                 // key: one member of it
	encoded                // bs: each line in base64
	parameter              // name: one parameter, of @query-param
)

// parseInput reads an inner list with its parameters (section 2.3). It reports false for what is malformed, and for what is not understood.
func parseInput(in *input, raw []byte) bool {
	*in = input{text: in.text[:0]}
	r := reader{in: raw}
	if !r.take('(') {
		return false
	}
	out := append(in.text, '(')
	for {
		begin := r.at
		r.spaces()
		if r.take(')') {
			break
		}
		if in.n > 0 {
			if begin == r.at {
				return false
			}
			out = append(out, ' ')
		}
		if in.n == componentsMax {
			return false
		}
		c := &in.components[in.n]
		var ok bool
		if out, ok = c.parse(&r, out); !ok {
			return false
		}
		for i := range in.n { // each once (section 2)
			other := &in.components[i]
			if bytes.Equal(out[other.begin:other.end], out[c.begin:c.end]) {
				return false
			}
		}
		in.n++
	}
	out = append(out, ')')
	var seen names
	for r.next() == ';' {
		var name []byte
		var value bare
		var ok bool
		if out, name, value, ok = r.parameter(out); !ok || !seen.add(name) || !in.set(name, value) {
			return false
		}
	}
	in.text = out
	return r.done()
}

// set takes a parameter of the signature. One that is not known is signed, and means nothing.
func (in *input) set(name []byte, v bare) bool {
	texts := func(to *[]byte, has *bool) bool {
		*to, *has = v.value, true
		return v.kind == text && !v.escape
	}
	switch string(name) {
	case "created":
		in.created, in.hasCreated = v.number, true
		return v.kind == integer && v.number >= 0
	case "expires":
		in.expires, in.hasExpires = v.number, true
		return v.kind == integer && v.number >= 0
	case "nonce":
		return texts(&in.nonce, &in.hasNonce)
	case "alg":
		return texts(&in.alg, &in.hasAlg)
	case "keyid":
		return texts(&in.keyID, &in.hasKeyID)
	case "tag":
		return texts(&in.tag, &in.hasTag)
	}
	return true
}

// parse reads the identifier of a component, and appends it.
func (c *component) parse(r *reader, dst []byte) ([]byte, bool) {
	*c = component{begin: len(dst)}
	dst, v, ok := r.item(dst)
	if !ok || v.kind != text || v.escape || len(v.value) == 0 {
		return dst, false
	}
	c.name = v.value
	var seen names
	for r.next() == ';' {
		var name []byte
		if dst, name, v, ok = r.parameter(dst); !ok || !seen.add(name) || !c.set(name, v) {
			return dst, false
		}
	}
	c.end = len(dst)
	return dst, c.isKnown()
}

// set takes a parameter of a component. Those that are about another message (req, tr) are not for requests, or cannot be seen yet.
func (c *component) set(name []byte, v bare) bool {
	if c.form != plain {
		return false // no two of them go together
	}
	flag := v.kind == boolean && v.number == 1
	word := v.kind == text && !v.escape
	switch string(name) {
	case "sf":
		c.form = structured
		return flag
	case "bs":
		c.form = encoded
		return flag
	case "key":
		c.form, c.of = member, v.value
		return word
	case "name":
		c.form, c.of = parameter, v.value
		return word
	}
	return false
}

// isKnown reports whether there is such a component of requests.
func (c *component) isKnown() bool {
	if c.name[0] == '@' {
		switch string(c.name) {
		case "@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query":
			return c.form == plain
		case "@query-param":
			return c.form == parameter
		}
		return false
	}
	for _, b := range c.name { // a name of a field, in lower case
		if !isTokenByte(b) || 'A' <= b && b <= 'Z' {
			return false
		}
	}
	switch c.form {
	case parameter:
		return false
	case structured:
		return shapes[string(c.name)] != 0
	}
	return true
}

// id is the identifier of a component, as it is signed.
func (in *input) id(i int) []byte {
	c := &in.components[i]
	return in.text[c.begin:c.end]
}

// covers reports whether a component is signed.
func (in *input) covers(id []byte) bool {
	for i := range in.n {
		if bytes.Equal(in.id(i), id) {
			return true
		}
	}
	return false
}
