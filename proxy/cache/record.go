package cache

import (
	"bytes"
	"encoding/binary"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/wire"
)

// record is what is kept with a body: everything but the lines of the head, which follow it. The same bytes are a flight's head.
type record struct {
	kind   kind
	status int
	life   rules.Life
	born   int64 // wire.Now when the response was made, by its age when it came
	via    string

	lastModified, date int64 // Unix seconds, 0 if there is none
	etagAt, etagLen    int   // in the lines
	modifiedAt, modLen int

	// Of kindVary, in the memory of what was decoded.
	names, id []byte

	headAt int // where the lines begin
}

// kind is what a record is about.
type kind uint8

const (
	kindObject kind = iota + 1
	kindVary        // the answers lie under other keys, which hold what a request says in the fields of names
	kindPass        // answers to this are not for the cache: a note, so that nobody waits for one
)

// Where things stand.
const (
	recordLen = 68
	idLen     = 8
)

const (
	flagNoCache = 1 << iota
	flagMustRevalidate
	flagImmutable
	flagHeuristic
)

// vias are what Via can be: the version that an origin has spoken.
var vias = [...]string{"", "1.0 sluice", "1.1 sluice", "2.0 sluice"}

func (r *record) append(dst []byte) []byte {
	if r.kind == kindPass {
		return append(dst, byte(kindPass))
	}
	if r.kind == kindVary {
		return append(append(append(dst, byte(kindVary)), r.id...), r.names...)
	}
	le := binary.LittleEndian
	flags := byte(0)
	for i, set := range [...]bool{r.life.NoCache, r.life.MustRevalidate, r.life.Immutable, r.life.Heuristic} {
		if set {
			flags |= flagNoCache << i
		}
	}
	via := 0
	for i, v := range vias {
		if v == r.via {
			via = i
		}
	}
	dst = append(dst, byte(kindObject), flags, byte(via), 0)
	dst = le.AppendUint16(dst, uint16(r.status))
	for _, n := range [...]int{r.etagLen, r.modLen, 0} {
		dst = le.AppendUint16(dst, uint16(n))
	}
	for _, n := range [...]int{r.etagAt, r.modifiedAt} {
		dst = le.AppendUint32(dst, uint32(n))
	}
	for _, n := range [...]int64{r.born, r.life.Fresh, r.life.StaleWhileRevalidate, r.life.StaleIfError, r.lastModified, r.date} {
		dst = le.AppendUint64(dst, uint64(n))
	}
	return dst
}

// decode reports whether b, which it borrows, is a record.
func (r *record) decode(b []byte) bool {
	*r = record{}
	if len(b) == 0 {
		return false
	}
	r.kind = kind(b[0])
	switch r.kind {
	case kindPass:
		return true
	case kindVary:
		if len(b) < 1+idLen {
			return false
		}
		r.id, r.names = b[1:1+idLen:1+idLen], b[1+idLen:]
		return true
	case kindObject:
	default:
		return false
	}
	if len(b) < recordLen || int(b[2]) >= len(vias) {
		return false
	}
	le := binary.LittleEndian
	flags := b[1]
	r.via = vias[b[2]]
	r.status = int(le.Uint16(b[4:]))
	r.etagLen, r.modLen = int(le.Uint16(b[6:])), int(le.Uint16(b[8:]))
	r.etagAt, r.modifiedAt = int(le.Uint32(b[12:])), int(le.Uint32(b[16:]))
	at := func(i int) int64 { return int64(le.Uint64(b[20+8*i:])) }
	r.born = at(0)
	r.life = rules.Life{
		Fresh: at(1), StaleWhileRevalidate: at(2), StaleIfError: at(3),
		NoCache: flags&flagNoCache != 0, MustRevalidate: flags&flagMustRevalidate != 0,
		Immutable: flags&flagImmutable != 0, Heuristic: flags&flagHeuristic != 0,
	}
	r.lastModified, r.date = at(4), at(5)
	r.headAt = recordLen
	lines := len(b) - recordLen
	return r.etagAt+r.etagLen <= lines && r.modifiedAt+r.modLen <= lines
}

// find notes where in the lines the validators stand.
func (r *record) find(lines []byte) {
	r.etagAt, r.etagLen = span(lines, "etag:")
	r.modifiedAt, r.modLen = span(lines, "last-modified:")
}

// span finds the value of the first line that begins with a name in lower case.
func span(lines []byte, name string) (at, n int) {
	for from := 0; from < len(lines); {
		end := from + bytes.IndexByte(lines[from:], '\n') + 1
		if line := lines[from:end]; len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			value := bytes.TrimLeft(line[len(name):], " \t")
			trimmed := bytes.TrimRight(value, " \t\r\n")
			if len(trimmed) > 0xffff {
				return 0, 0
			}
			return end - len(value), len(trimmed)
		}
		from = end
	}
	return 0, 0
}

// etag is the entity tag in the lines, empty if there is none.
func (r *record) etag(lines []byte) []byte { return lines[r.etagAt : r.etagAt+r.etagLen] }

// modified is Last-Modified as it was sent, empty if there is none.
func (r *record) modified(lines []byte) []byte { return lines[r.modifiedAt : r.modifiedAt+r.modLen] }

// age is how many seconds ago the response was made.
func (r *record) age(now int64) int64 { return max(now-r.born, 0) / int64(time.Second) }

// judge takes down how long the response can be used, by what its head has said; asked and now are wire.Now of when it was asked for
// and when it came.
func (r *record) judge(said *rules.Response, p *Policy, x *proxy.Exchange, asked, now int64) {
	wall := time.Now().Unix()
	if said.Date == 0 {
		said.Date = wall
	}
	age := rules.InitialAge(said, wall-(now-asked)/int64(time.Second), wall)
	r.life = rules.Lifetime(r.status, said, p.rules(x))
	if p.Rules.Overrides(r.status, said) {
		r.life.Fresh += age // the operator's time begins when the answer comes, however old it says to be
	}
	r.born = now - age*int64(time.Second)
	r.date, r.lastModified = said.Date, said.LastModified
}

// build puts the record and the lines of the head together.
func (r *record) build(h *wire.Head) []byte {
	meta := h.AppendTo(make([]byte, recordLen, 1<<10))
	r.find(meta[recordLen:])
	r.headAt = recordLen
	r.append(meta[:0])
	return meta
}

// keepFor is how long it can be of use.
func (r *record) keepFor(said *rules.Response, now int64) time.Duration {
	return time.Duration(rules.KeepFor(r.age(now), &r.life, said.HasValidator())) * time.Second
}
