package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// JSON is a value written as YAML, rendered once. Keys keep the order of the file.
type JSON struct{ Data []byte }

func (j *JSON) decode(d *decoder, n *node, path string, _ field) {
	var b bytes.Buffer
	if d.json(n, path, &b) {
		j.Data = b.Bytes()
	}
}

// jsonNumber is the grammar of RFC 8259 section 6. What looks like a number in YAML only (007, 1_000, 0x1F) is text.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (d *decoder) json(n *node, path string, b *bytes.Buffer) bool {
	switch n.kind {
	case nullNode:
		b.WriteString("null")
		return !n.broken
	case listNode:
		b.WriteByte('[')
		ok := true
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			ok = d.json(item, indexPath(path, i), b) && ok
		}
		b.WriteByte(']')
		return ok
	case mapNode:
		return d.jsonObject(n, path, b)
	}
	if !d.expand(n, path) {
		return false
	}
	// What ${...} put in is text: a variable cannot change the type of a field.
	if n.plain && n.parts == nil && (n.text == "true" || n.text == "false" || jsonNumber.MatchString(n.text)) {
		b.WriteString(n.text)
		return true
	}
	writeJSONString(b, n.text)
	return true
}

func (d *decoder) jsonObject(n *node, path string, b *bytes.Buffer) bool {
	b.WriteByte('{')
	ok := true
	first := map[string]Pos{}
	for i, e := range n.entries {
		where := joinPath(path, e.key)
		if pos, twice := first[e.key]; twice {
			d.report.fail(e.pos, where, "the key stands here twice", fmt.Sprintf("first at %s", pos))
			ok = false
			continue
		}
		first[e.key] = e.pos
		if i > 0 {
			b.WriteByte(',')
		}
		writeJSONString(b, e.key)
		b.WriteByte(':')
		ok = d.json(e.value, where, b) && ok
	}
	b.WriteByte('}')
	return ok
}

// writeJSONString leaves <, > and & alone: the text goes into an application/json body, not into a page.
func writeJSONString(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("BUG: a string cannot be written as JSON: " + err.Error())
	}
	b.Truncate(b.Len() - 1) // Encode ends with a line feed
}
