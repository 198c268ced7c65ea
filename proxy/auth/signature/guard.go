package signature

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/consumer"
)

// Options say which signatures are accepted.
type Options struct {
	Keys       *Keys
	Components []string // that have to be signed, such as "@method", or `@query-param;name="a"`
	// MaxAge is how long a signature is good after it was made, and Leeway how far the clocks may be apart.
	MaxAge, Leeway time.Duration
	Label          string  // of the signature that counts; empty: there is just one
	Tag            string  // that it has to have; empty: any
	Nonces         *Nonces // nil: a request may come again
	BodyMax        int     // bytes of a body whose digest is signed
	AnyBody        bool    // a body's digest need not be signed
	Require        consumer.Requirement
}

// Guard admits those who have signed their request. Immutable but for what it remembers of nonces; safe for concurrent use.
type Guard struct {
	options  Options
	required [][]byte // identifiers
	accept   string   // of Accept-Signature

	now func() time.Time // the wall clock; tests replace it
}

// signatureBytesMax is longer than any signature: one of RSA with 8,192 bits.
const signatureBytesMax = 1 << 10

// linesBytesMax bounds what a request may say of its signatures.
const linesBytesMax = 16 << 10

// contentDigest is the identifier of the field.
var contentDigest = []byte(`"content-digest"`)

// New returns a guard.
func New(o Options) (*Guard, error) {
	g := &Guard{options: o, now: time.Now}
	label := o.Label
	if label == "" {
		label = "sig1"
	}
	var ids []string
	for _, c := range o.Components {
		id, err := identifier(c)
		if err != nil {
			return nil, err
		}
		g.required, ids = append(g.required, id), append(ids, string(id))
	}
	if !o.AnyBody && !slices.Contains(ids, string(contentDigest)) {
		ids = append(ids, string(contentDigest)) // if there is a body
	}
	accept := label + "=(" + strings.Join(ids, " ")
	if accept += ");created"; o.Tag != "" {
		accept += `;tag="` + o.Tag + `"`
	}
	g.accept = accept
	return g, o.Require.Check()
}

// identifier makes the identifier of a component of what a configuration says: a name, and perhaps parameters.
func identifier(text string) ([]byte, error) {
	name, parameters, more := strings.Cut(text, ";")
	quoted := `"` + name + `"`
	if more {
		quoted += ";" + parameters
	}
	var c component
	r := reader{in: []byte(quoted)}
	id, ok := c.parse(&r, nil)
	if !ok || !r.done() {
		return nil, fmt.Errorf("%.60q is no component of a request that can be signed", text)
	}
	return id, nil
}

// Derived are the components that are no fields, for people (RFC 9421 section 2.2).
const Derived = `@method, @target-uri, @authority, @scheme, @request-target, @path, @query or @query-param;name="..."`

// CheckComponent returns what is wrong with a component in a configuration, or nil.
func CheckComponent(text string) error { _, err := identifier(text); return err }

// state is the memory that a check needs.
type state struct {
	input      input
	inputs     []byte // lines of Signature-Input, which input leads into
	signatures []byte // lines of Signature, then those of Content-Digest
	junk       []byte // what is read and not needed in its one form
	base       []byte
	signature  [signatureBytesMax]byte
	sum        [sha256.Size]byte
}

var states = sync.Pool{New: func() any { return new(state) }}

// keptMax is how much memory goes back for the next one.
const keptMax = 64 << 10

func (s *state) free() {
	if cap(s.base)+cap(s.junk)+cap(s.inputs)+cap(s.signatures) <= keptMax {
		s.input = input{text: s.input.text[:0]} // it leads into a request
		states.Put(s)
	}
}

// Check returns nil, one of this package's errors, or what the body has failed with.
func (g *Guard) Check(x *proxy.Exchange) error {
	s := states.Get().(*state)
	defer s.free()
	err := g.check(x, s)
	if e, ok := err.(*proxy.Error); ok && e.Status == 401 {
		x.OnHead(g)
	}
	return err
}

// EditHead says what has to be signed (RFC 9421 section 5), in an answer that asks for it.
func (g *Guard) EditHead(x *proxy.Exchange) {
	if x.Err != nil && x.Err.Challenge == challenge { // not the answer of an origin, in mode report
		x.Response.Head.SetString("Accept-Signature", g.accept)
	}
}

func (g *Guard) check(x *proxy.Exchange, s *state) error {
	signature, err := g.find(x, s)
	if err != nil {
		return err
	}
	in := &s.input
	now := g.now().Unix()
	if err := g.judge(in, now); err != nil {
		return err
	}
	var ok bool
	if s.base, ok = appendBase(s.base[:0], x, in); !ok {
		return errAbsent
	}
	key, problem := g.options.Keys.find(in)
	right := key.verify(s.base, signature, s.sum[:]) // also with a decoy, and always by the key's own algorithm
	switch {
	case problem != nil: // and a right signature then is one of somebody else
		return problem
	case !right:
		return errUnknown
	case key.expires != 0 && now >= key.expires:
		return errKeyEnded
	}
	if err := g.judgeBody(x, s); err != nil {
		return err
	}
	if err := g.once(s, key, now); err != nil {
		return err
	}
	x.Identify(key.identity, false)
	if !g.options.Require.Allows(key.plan, key.scopes) {
		return ErrInsufficient // whoever it is, it is proven: the log and those who only report want to know
	}
	return nil
}

// find returns the signature that counts, and fills the state's input with what is said of it.
func (g *Guard) find(x *proxy.Exchange, s *state) ([]byte, error) {
	head := &x.Request.Head
	var ok, ok2 bool
	s.inputs, ok = joined(s.inputs[:0], head.Values("Signature-Input"))
	s.signatures, ok2 = joined(s.signatures[:0], head.Values("Signature"))
	switch {
	case !ok || !ok2:
		return nil, ErrMalformed
	case len(s.inputs) == 0 || len(s.signatures) == 0:
		return nil, ErrNone
	}
	label, raw, n, ok := s.memberOf(s.inputs, g.options.Label)
	switch {
	case !ok:
		return nil, ErrMalformed
	case g.options.Label == "" && n > 1:
		return nil, errMany
	case raw == nil:
		return nil, errNoLabel
	}
	_, encoded, _, ok := s.memberOf(s.signatures, string(label))
	if !ok || encoded == nil || !parseInput(&s.input, raw) {
		return nil, ErrMalformed
	}
	r := reader{in: encoded}
	_, v, ok := r.item(s.junk[:0])
	if !ok || v.kind != binaryItem || !r.done() || strict.DecodedLen(len(v.value)) > signatureBytesMax {
		return nil, ErrMalformed
	}
	size, err := strict.Decode(s.signature[:], v.value)
	if err != nil {
		return nil, ErrMalformed
	}
	return s.signature[:size], nil
}

// joined appends the lines of a field.
func joined(dst []byte, lines iter.Seq[[]byte]) ([]byte, bool) {
	for line := range lines {
		if len(dst)+len(line) > linesBytesMax {
			return dst, false
		}
		if len(dst) > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, line...)
	}
	return dst, true
}

// memberOf returns the member of a dictionary that has a label, or the last one if the label is empty, and how many there are. What it
// returns is nil if there is none.
func (s *state) memberOf(field []byte, label string) (name, raw []byte, n int, ok bool) {
	r := reader{in: field}
	r.spaces()
	var seen names
	for ; !r.done(); n++ {
		out, key, value, ok := r.member(s.junk[:0])
		s.junk = out[:0]
		if !ok || !seen.add(key) {
			return nil, nil, n, false
		}
		if label == "" || string(key) == label {
			name, raw = key, value
		}
	}
	return name, raw, n, true
}

// judge looks at all that can be judged without a key.
func (g *Guard) judge(in *input, now int64) error {
	leeway := int64(g.options.Leeway / time.Second)
	switch {
	case !in.hasCreated:
		return errNoTime
	case in.created > now+leeway:
		return errEarly
	case in.created < now-leeway-int64(g.options.MaxAge/time.Second):
		return errOld
	case in.hasExpires && in.expires+leeway <= now:
		return errExpired
	case !in.hasKeyID:
		return errNoKeyID
	case g.options.Tag != "" && string(in.tag) != g.options.Tag:
		return errTag
	case g.options.Nonces != nil && len(in.nonce) == 0:
		return errNoNonce
	}
	for _, id := range g.required {
		if !in.covers(id) {
			return ErrUncovered
		}
	}
	return nil
}

// judgeBody wants the body to be signed, by its digest, and to be what that says.
func (g *Guard) judgeBody(x *proxy.Exchange, s *state) error {
	body := &x.Request.Body
	if !s.input.covers(contentDigest) {
		if body.Size() != 0 && !body.Absent() && !g.options.AnyBody {
			return ErrUnsignedBody
		}
		return nil
	}
	whole, err := x.Gather(body, g.options.BodyMax)
	if err != nil {
		return err
	}
	var ok bool
	if s.signatures, ok = joined(s.signatures[:0], x.Request.Head.Values("Content-Digest")); !ok || !digestMatches(s.signatures, whole, s.junk) {
		return ErrDigest
	}
	return nil
}

// once wants the nonce to be new. It comes last: only who has signed a request can fill the memory.
func (g *Guard) once(s *state, k *key, now int64) error {
	if g.options.Nonces == nil {
		return nil
	}
	s.junk = binary.BigEndian.AppendUint32(s.junk[:0], uint32(len(s.input.keyID)))
	s.junk = append(append(s.junk, s.input.keyID...), s.input.nonce...)
	sum := sha256.Sum256(s.junk)
	return g.options.Nonces.add(nonce(sum[:len(nonce{})]), k.identity.Subject(), g.options.Keys.consumers, now)
}
