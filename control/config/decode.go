package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder fills Config from nodes. It goes on after a problem, so that one run finds them all.
type decoder struct {
	options     Options
	report      *report
	at          map[string]Pos  // where each path stands
	substituted map[Pos]bool    // the values that ${...} went into
	files       map[string]bool // everything that was read
	included    []string        // those of them that include names, in the order of reading
	patterns    map[string]bool // everything that include globbed
	structs     map[reflect.Type]structInfo
}

// decodable is a value that reads itself from a node: units, templates, and all that has more than one form.
type decodable interface {
	decode(d *decoder, n *node, path string, f field)
}

// shortForm is a struct that may also be written as something else than a mapping. decodeShort reports false for
// a node that is not such a form.
type shortForm interface {
	decodeShort(d *decoder, n *node, path string) bool
}

// field is what the tags of a struct field say.
type field struct {
	index      []int // see reflect.Value.FieldByIndex
	key        string
	doc        string
	fallback   string
	hasDefault bool
	required   bool
	enum       []string
	min, max   string
	off        bool
	offAlone   bool // nothing else may be 0
	names      string
}

type structInfo struct {
	fields []field
	keys   []string // in the order of the struct
	later  []string // known, not available in this build
	// instead are keys that one may expect here, and that are called otherwise or stand elsewhere.
	instead []string
	hints   map[string]string // what to do instead of a key in later, or in instead
	pos     int               // index of the field Pos, or -1
}

// value decodes n into v.
func (d *decoder) value(n *node, path string, v reflect.Value, f field) {
	d.at[path] = n.pos
	if target, ok := v.Addr().Interface().(decodable); ok {
		target.decode(d, n, path, f)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.kind == nullNode {
			d.report.fail(n.pos, path, "has no value", "write one, or remove the key")
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, path, v.Elem(), f)
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.String:
		if text, ok := d.word(n, path, f); ok {
			v.SetString(text)
		}
	case reflect.Int:
		if number, ok := d.integer(n, path, f); ok {
			v.SetInt(int64(number))
		}
	case reflect.Bool:
		if yes, ok := d.boolean(n, path); ok {
			v.SetBool(yes)
		}
	default:
		panic(fmt.Sprintf("BUG: config cannot decode a %s", v.Type()))
	}
}

func (d *decoder) structure(n *node, path string, v reflect.Value) {
	info := d.info(v.Type())
	if info.pos >= 0 {
		v.Field(info.pos).Set(reflect.ValueOf(n.pos))
	}
	if short, ok := v.Addr().Interface().(shortForm); ok && n.kind != mapNode && n.kind != nullNode {
		if short.decodeShort(d, n, path) {
			d.defaults(n.pos, path, v, nil)
			return
		}
	}
	entries, ok := d.mapping(n, path)
	if !ok {
		return
	}
	present := map[string]Pos{}
	for _, e := range entries {
		f, known := info.field(e.key)
		if !known {
			d.unknown(e, path, info)
			continue
		}
		if first, twice := present[e.key]; twice {
			d.report.fail(e.pos, joinPath(path, e.key), "the key stands here twice", fmt.Sprintf("first at %s", first))
			continue
		}
		present[e.key] = e.pos
		d.value(e.value, joinPath(path, e.key), v.FieldByIndex(f.index), f)
	}
	d.defaults(n.pos, path, v, present)
}

// mapping gives the entries of a mapping; nothing at all counts as an empty one.
func (d *decoder) mapping(n *node, path string) ([]nodeEntry, bool) {
	switch {
	case n.broken:
		return nil, false
	case n.kind == mapNode, n.kind == nullNode:
		return n.entries, true
	}
	d.wants(n, path, "a mapping (key: value)", "")
	return nil, false
}

func (d *decoder) unknown(e nodeEntry, path string, info structInfo) {
	where := joinPath(path, e.key)
	for _, key := range info.later {
		if key == e.key {
			d.report.fail(e.pos, where, notYet(key), cmp.Or(info.hints[key], "remove it"))
			return
		}
	}
	if slices.Contains(info.instead, e.key) {
		d.report.fail(e.pos, where, "unknown key", info.hints[e.key])
		return
	}
	if meant := nearest(e.key, info.keys); path == "" && meant != "" {
		d.report.touched[meant] = true // it may be the section that is missed: what is not in that one says nothing
	}
	near := didYouMean(e.key, "valid keys", info.keys)
	if later := nearest(e.key, info.later); later != "" && nearest(e.key, info.keys) == "" {
		near = fmt.Sprintf("%s is close, but %s; %s", later, notYet(later), near)
	}
	d.report.fail(e.pos, where, "unknown key", near)
}

// notYet says that the product knows a word and this build cannot serve it.
func notYet(what string) string { return what + " is not available in this build yet" }

// defaults fills the keys that are absent.
func (d *decoder) defaults(pos Pos, path string, v reflect.Value, present map[string]Pos) {
	for _, f := range d.info(v.Type()).fields {
		if _, ok := present[f.key]; ok {
			continue
		}
		target, where := v.FieldByIndex(f.index), joinPath(path, f.key)
		switch {
		case f.hasDefault:
			if target.IsZero() { // a short form may have set it
				d.value(&node{kind: scalarNode, pos: pos, text: f.fallback, plain: true}, where, target, f)
				delete(d.at, where) // at holds what is written
			}
		case f.required:
			// A key that was mistyped, or is not available yet, has been reported; it may be the one that is missed.
			if target.IsZero() && !d.report.touched[path] && !d.report.touched[where] {
				d.report.fail(pos, where, "is required", f.doc)
			}
		case target.Kind() == reflect.Struct && !isScalarStruct(target):
			d.defaults(pos, where, target, nil)
		}
	}
}

// isScalarStruct tells a value such as a Template from a section of the file.
func isScalarStruct(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(decodable)
	return ok
}

// Scalars. Each reports false when the value cannot be used, after it has reported why.

// scalar gives the text of a scalar after substitution.
func (d *decoder) scalar(n *node, path, wanted string) (string, bool) {
	if n.broken {
		return "", false
	}
	if n.kind != scalarNode {
		d.wants(n, path, wanted, "")
		return "", false
	}
	if !d.expand(n, path) {
		return "", false
	}
	return n.text, true
}

// wants reports a value of the wrong kind.
func (d *decoder) wants(n *node, path, wanted, hint string) {
	if n.broken {
		return
	}
	d.report.fail(n.pos, path, fmt.Sprintf("wants %s, got %s", wanted, d.show(n)), hint)
}

// show describes a value for a message, without giving away what ${...} put into it.
func (d *decoder) show(n *node) string {
	switch {
	case n.kind == nullNode:
		return "nothing"
	case n.kind == mapNode:
		return "a mapping"
	case n.kind == listNode:
		return "a list"
	case n.parts != nil:
		return "the substituted value"
	case n.plain:
		return clip(n.text)
	}
	return strconv.Quote(clip(n.text))
}

// shownBytesMax is how much of a value a message repeats.
const shownBytesMax = 60

func clip(s string) string {
	if len(s) > shownBytesMax {
		s = strings.ToValidUTF8(s[:shownBytesMax], "") + "..."
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}

func (d *decoder) word(n *node, path string, f field) (string, bool) {
	wanted := "text"
	if len(f.enum) > 0 {
		wanted = oneOf(f.enum)
	}
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return "", false
	}
	if len(f.enum) == 0 {
		return text, true
	}
	for _, word := range f.enum {
		if text == word {
			return text, true
		}
	}
	hint := ""
	if near := nearest(text, f.enum); near != "" && n.parts == nil {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	d.wants(n, path, wanted, hint)
	return "", false
}

func (d *decoder) integer(n *node, path string, f field) (int, bool) {
	wanted := orOff("a whole number", f)
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return 0, false
	}
	if f.off && text == "off" {
		return 0, true
	}
	if !n.plain && n.parts == nil {
		d.wants(n, path, wanted, "remove the quotes")
		return 0, false
	}
	number, err := strconv.Atoi(text)
	if err != nil || text != strconv.Itoa(number) {
		d.wants(n, path, wanted, "")
		return 0, false
	}
	if len(f.enum) > 0 && !slices.Contains(f.enum, text) {
		d.wants(n, path, oneOf(f.enum), "")
		return 0, false
	}
	if f.min != "" && number < mustInt(f.min) {
		d.wants(n, path, "at least "+f.min, "")
		return 0, false
	}
	if f.max != "" && number > mustInt(f.max) {
		d.wants(n, path, "at most "+f.max, "")
		return 0, false
	}
	return number, true
}

// mustInt reads a bound out of a tag.
func mustInt(tag string) int {
	number, err := strconv.Atoi(tag)
	if err != nil {
		panic("BUG: the tag " + tag + " is not a number")
	}
	return number
}

func (d *decoder) boolean(n *node, path string) (yes, ok bool) {
	text, ok := d.scalar(n, path, "true or false")
	if !ok {
		return false, false
	}
	if text != "true" && text != "false" || !n.plain && n.parts == nil {
		d.wants(n, path, "true or false", "without quotes")
		return false, false
	}
	return text == "true", true
}

// info reads the tags of a struct type, once.
func (d *decoder) info(t reflect.Type) structInfo {
	if info, ok := d.structs[t]; ok {
		return info
	}
	info := readTags(t)
	d.structs[t] = info
	return info
}

func readTags(t reflect.Type) structInfo {
	info := structInfo{pos: -1, hints: map[string]string{}}
	info.read(t, nil)
	return info
}

// read adds the fields of t, and of what is embedded there: keys that several sections have in common.
func (info *structInfo) read(t reflect.Type, within []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(slices.Clone(within), i)
		if sf.Anonymous {
			info.read(sf.Type, index)
			continue
		}
		if instead := sf.Tag.Get("instead"); instead != "" {
			info.instead = append(info.instead, instead)
			info.hints[instead] = sf.Tag.Get("hint")
		}
		if later := sf.Tag.Get("later"); later != "" {
			keys := strings.Split(later, ",")
			info.later = append(info.later, keys...)
			for _, key := range keys {
				info.hints[key] = sf.Tag.Get("hint")
			}
		}
		if within == nil && sf.Name == "Pos" && sf.Type == reflect.TypeFor[Pos]() {
			info.pos = i
		}
		key := sf.Tag.Get("cfg")
		if key == "" {
			continue
		}
		f := field{
			index: index, key: key,
			doc: sf.Tag.Get("doc"), required: sf.Tag.Get("required") == "true",
			min: sf.Tag.Get("min"), max: sf.Tag.Get("max"),
			off: sf.Tag.Get("off") != "", offAlone: sf.Tag.Get("off") == "alone", names: sf.Tag.Get("names"),
		}
		f.fallback, f.hasDefault = sf.Tag.Lookup("default")
		if enum := sf.Tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, ",")
		}
		info.fields = append(info.fields, f)
		info.keys = append(info.keys, key)
	}
}

func (s structInfo) field(key string) (field, bool) {
	for _, f := range s.fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// Text is a string with its place, kept where a later step may have something to say about it.
type Text struct {
	Text string
	Pos  Pos
}

func (t *Text) decode(d *decoder, n *node, path string, f field) {
	t.Pos = n.pos
	if text, ok := d.word(n, path, f); ok {
		t.Text = text
	}
}

// List is one value or a list of them.
type List[T any] []T

func (l *List[T]) decode(d *decoder, n *node, path string, f field) {
	if n.kind != listNode {
		var one T
		d.value(n, path, reflect.ValueOf(&one).Elem(), f)
		*l = List[T]{one}
		return
	}
	*l = make(List[T], len(n.items))
	for i, item := range n.items {
		d.value(item, indexPath(path, i), reflect.ValueOf(&(*l)[i]).Elem(), f)
	}
}

// Prefix is a network such as 10.0.0.0/8; a single address counts as the network of that address alone.
type Prefix struct{ netip.Prefix }

func (p *Prefix) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "a network such as 10.0.0.0/8, or an address"
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		p.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		d.wants(n, path, wanted, "")
		return
	}
	if prefix.Masked() != prefix {
		hint := ""
		if n.parts == nil {
			hint = fmt.Sprintf("write %s for the network, or %s for the one address", prefix.Masked(), prefix.Addr())
		}
		d.report.fail(n.pos, path, "the network has bits set beyond its length", hint)
		return
	}
	p.Prefix = prefix
}
