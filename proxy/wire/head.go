package wire

import (
	"iter"
)

// Head is the ordered list of a message's header fields. Fields that were received lie in the borrowed block
// they arrived in; fields that were added lie in the head's own buffer. Editing never moves a field that it
// does not name. The zero value is an empty head. A Head must not be used concurrently.
type Head struct {
	block  []byte
	added  []byte
	fields []field
	seen   uint64 // one bit per Known that was ever present: a quick "certainly not there"
}

// field is one line: where it starts and ends (with CRLF), and where its value lies.
type field struct {
	start, end           uint32
	valueStart, valueEnd uint32
	nameLen              uint16
	known                Known
	flags                uint8
}

const (
	flagAdded   uint8 = 1 << iota // lies in added, not in block
	flagDropped                   // removed; kept in place so that indexes stay valid
)

// Reset empties the head and lets go of the borrowed block.
func (h *Head) Reset() {
	h.block = nil
	h.fields = h.fields[:0]
	h.seen = 0
	if cap(h.added) > addedKeepMax {
		h.added = nil
	}
	h.added = h.added[:0]
}

// addedKeepMax caps what a pooled head keeps, so that one large header does not stay for ever.
const addedKeepMax = 16 << 10

// Len returns the number of fields present.
func (h *Head) Len() int {
	n := 0
	for i := range h.fields {
		if h.fields[i].flags&flagDropped == 0 {
			n++
		}
	}
	return n
}

// All yields name and value of every field in order. The slices are valid until the next edit.
func (h *Head) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := range h.fields {
			f := &h.fields[i]
			if f.flags&flagDropped == 0 && !yield(h.name(f), h.value(f)) {
				return
			}
		}
	}
}

// Get returns the value of the first field called name (in any case), or nil if there is none. A field that is
// present with an empty value yields an empty, non-nil slice.
func (h *Head) Get(name string) []byte {
	if i := h.find(name, 0); i >= 0 {
		return h.value(&h.fields[i])
	}
	return nil
}

// Once returns the value of the field called name if there is exactly one.
func (h *Head) Once(name string) ([]byte, bool) {
	i := h.find(name, 0)
	if i < 0 || h.find(name, i+1) >= 0 {
		return nil, false
	}
	return h.value(&h.fields[i]), true
}

// Has reports whether a field called name is present.
func (h *Head) Has(name string) bool { return h.find(name, 0) >= 0 }

// GetKnown is Get for a field that the scan recognises.
func (h *Head) GetKnown(k Known) []byte {
	if h.seen&(1<<k) == 0 {
		return nil
	}
	for i := range h.fields {
		if f := &h.fields[i]; f.known == k && f.flags&flagDropped == 0 {
			return h.value(f)
		}
	}
	return nil
}

// HasKnown reports whether a recognised field is present.
func (h *Head) HasKnown(k Known) bool { return h.seen&(1<<k) != 0 && h.GetKnown(k) != nil }

// Values yields the value of every field called name, in order.
func (h *Head) Values(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := h.find(name, 0); i >= 0; i = h.find(name, i+1) {
			if !yield(h.value(&h.fields[i])) {
				return
			}
		}
	}
}

// ValuesKnown yields the value of every field of a recognised name, in order.
func (h *Head) ValuesKnown(k Known) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if h.seen&(1<<k) == 0 {
			return
		}
		for i := range h.fields {
			if f := &h.fields[i]; f.known == k && f.flags&flagDropped == 0 && !yield(h.value(f)) {
				return
			}
		}
	}
}

// CountKnown returns how many fields of a recognised name are present.
func (h *Head) CountKnown(k Known) int {
	n := 0
	for range h.ValuesKnown(k) {
		n++
	}
	return n
}

// NthKnown returns the value of the nth field of a recognised name, counted from 0, or nil.
func (h *Head) NthKnown(k Known, n int) []byte {
	for v := range h.ValuesKnown(k) {
		if n == 0 {
			return v
		}
		n--
	}
	return nil
}

// Add appends a field. The name must be a token; bytes of the value that no field may carry (controls but the
// tab) become spaces, so that a value taken from a request can never end a line.
func (h *Head) Add(name string, value []byte) { addField(h, name, value) }

// AddString is Add for a string.
func (h *Head) AddString(name, value string) { addField(h, name, value) }

func addField[V string | []byte](h *Head, name string, value V) {
	start := len(h.added)
	h.added = append(h.added, name...)
	h.added = append(h.added, ':', ' ')
	valueStart := len(h.added)
	h.added = append(h.added, value...)
	blankControls(h.added[valueStart:])
	valueEnd := len(h.added)
	h.added = append(h.added, '\r', '\n')
	k := identify(h.added[start : start+len(name)])
	h.seen |= 1 << k
	h.fields = append(h.fields, field{
		start: uint32(start), end: uint32(len(h.added)), valueStart: uint32(valueStart), valueEnd: uint32(valueEnd),
		nameLen: uint16(len(name)), known: k, flags: flagAdded,
	})
}

// AddKnown appends a recognised field with a value of the gateway's own, or one that was proven to be free of control bytes:
// neither the name nor the value is looked at again.
func (h *Head) AddKnown(k Known, value []byte) { addKnown(h, k, value) }

// AddKnownString is AddKnown for a string.
func (h *Head) AddKnownString(k Known, value string) { addKnown(h, k, value) }

func addKnown[V string | []byte](h *Head, k Known, value V) {
	name := fieldNames[k]
	start := uint32(len(h.added))
	valueStart := start + uint32(len(name))
	h.added = append(h.added, name...)
	h.added = append(h.added, value...)
	h.added = append(h.added, '\r', '\n')
	h.seen |= 1 << k
	h.fields = append(h.fields, field{
		start: start, end: uint32(len(h.added)), valueStart: valueStart, valueEnd: valueStart + uint32(len(value)),
		nameLen: uint16(len(name) - len(": ")), known: k, flags: flagAdded,
	})
}

// AddOwn appends a field of the gateway's own that is none of the known ones, as the line "Name: value" without its end. nameLen is the
// length of the name. Neither the name nor the value is looked at again.
func (h *Head) AddOwn(line []byte, nameLen int) {
	start := uint32(len(h.added))
	h.added = append(h.added, line...)
	h.added = append(h.added, '\r', '\n')
	h.seen |= 1 << Other
	h.fields = append(h.fields, field{
		start: start, end: uint32(len(h.added)), valueStart: start + uint32(nameLen) + 2, valueEnd: start + uint32(len(line)),
		nameLen: uint16(nameLen), known: Other, flags: flagAdded,
	})
}

// Set replaces every field called name by one with this value: in the place of the first, else at the end.
func (h *Head) Set(name string, value []byte) {
	i := h.find(name, 0)
	if i < 0 {
		h.Add(name, value)
		return
	}
	h.Add(name, value)
	last := len(h.fields) - 1
	h.fields[i] = h.fields[last]
	h.fields = h.fields[:last]
	for j := h.find(name, i+1); j >= 0; j = h.find(name, j+1) {
		h.fields[j].flags |= flagDropped
	}
}

// SetString is Set for a string.
func (h *Head) SetString(name, value string) {
	if h.find(name, 0) < 0 {
		h.AddString(name, value)
		return
	}
	h.Set(name, []byte(value))
}

// Del removes every field called name.
func (h *Head) Del(name string) {
	for i := h.find(name, 0); i >= 0; i = h.find(name, i+1) {
		h.fields[i].flags |= flagDropped
	}
}

// DelFold is Del for a name taken from a message, a Connection option say.
func (h *Head) DelFold(name []byte) {
	for i := range h.fields {
		if f := &h.fields[i]; f.flags&flagDropped == 0 && equalFold(h.name(f), name) {
			f.flags |= flagDropped
		}
	}
}

// DelAlike removes every field that an origin may take for one called name, though it is spelled otherwise: CGI and WSGI make the same variable of
// a dash and of an underscore. Fields called name stay.
func (h *Head) DelAlike(name string) {
	for i := range h.fields {
		f := &h.fields[i]
		if int(f.nameLen) == len(name) && f.flags&flagDropped == 0 && alike(h.name(f), name) {
			f.flags |= flagDropped
		}
	}
}

// alike compares names of the same length, of which one has a dash where the other has an underscore, at least once.
func alike(a []byte, b string) (found bool) {
	for i, c := range a {
		x, y := lower[c], lower[b[i]]
		if x == y {
			continue
		}
		if x != '-' && x != '_' || y != '-' && y != '_' {
			return false
		}
		found = true
	}
	return found
}

// DelKnown removes every field of the recognised names in mask (a union of Known.Bit).
func (h *Head) DelKnown(mask uint64) {
	if h.seen&mask == 0 {
		return
	}
	for i := range h.fields {
		if f := &h.fields[i]; uint64(1)<<f.known&mask != 0 {
			f.flags |= flagDropped
		}
	}
	h.seen &^= mask
}

// AppendTo appends every field line, received ones byte for byte, without the empty line that ends a head.
func (h *Head) AppendTo(dst []byte) []byte {
	// Neighbours in the same buffer are copied as one run.
	var from []byte
	var start, end uint32
	for i := range h.fields {
		f := &h.fields[i]
		if f.flags&flagDropped != 0 {
			continue
		}
		src := h.source(f)
		if f.start == end && len(from) > 0 && &from[0] == &src[0] {
			end = f.end
			continue
		}
		dst = append(dst, from[start:end]...)
		from, start, end = src, f.start, f.end
	}
	return append(dst, from[start:end]...)
}

func (h *Head) source(f *field) []byte {
	if f.flags&flagAdded != 0 {
		return h.added
	}
	return h.block
}

func (h *Head) name(f *field) []byte {
	return h.source(f)[f.start : f.start+uint32(f.nameLen)]
}

func (h *Head) value(f *field) []byte {
	return h.source(f)[f.valueStart:f.valueEnd:f.valueEnd]
}

// find returns the index of the next field called name from index i on, or -1.
func (h *Head) find(name string, i int) int {
	for ; i < len(h.fields); i++ {
		f := &h.fields[i]
		if int(f.nameLen) == len(name) && f.flags&flagDropped == 0 && equalFoldString(h.name(f), name) {
			return i
		}
	}
	return -1
}

func blankControls(b []byte) {
	for i, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			b[i] = ' '
		}
	}
}

// equalFold compares ASCII case-insensitively.
func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower[c] != lower[b[i]] {
			return false
		}
	}
	return true
}

func equalFoldString(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	if string(a) == b { // as most are written
		return true
	}
	for i, c := range a {
		if lower[c] != lower[b[i]] {
			return false
		}
	}
	return true
}

// EqualFold reports whether a message's token equals s, ASCII case ignored.
func EqualFold(a []byte, s string) bool { return equalFoldString(a, s) }

var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] = byte(i) + 'a' - 'A'
		}
	}
	return
}()
