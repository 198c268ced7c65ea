package compress

import (
	"fmt"
	"strings"

	"sluice/proxy/wire"
)

// DefaultTypes are what is worth compressing, where the configuration does not say. Images, films, archives and most fonts are
// compressed already.
var DefaultTypes = []string{
	"text/*", "application/json", "application/*+json", "application/xml", "application/*+xml", "application/javascript",
	"application/x-javascript", "application/yaml", "application/x-ndjson", "application/wasm", "application/vnd.ms-fontobject",
	"image/svg+xml", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon", "font/ttf", "font/otf",
}

// types are media types, of which parts may be left open.
type types []mediaType

// mediaType is a type, any subtype of it ("text/*"), any with a suffix ("application/*+json"), or any at all ("*/*").
type mediaType struct {
	kind    string // empty: any
	subtype string // empty: any; of one with a suffix that, with its "+"
	suffix  bool
}

func newTypes(list []string) (types, error) {
	var all types
	for _, text := range list {
		kind, subtype, ok := strings.Cut(strings.ToLower(text), "/")
		t := mediaType{kind: kind, subtype: subtype}
		if kind == "*" && subtype == "*" {
			t = mediaType{}
		} else if subtype == "*" {
			t.subtype = ""
		} else if rest, open := strings.CutPrefix(subtype, "*+"); open {
			t.subtype, t.suffix = "+"+rest, true
		}
		plain := t.kind + strings.TrimPrefix(t.subtype, "+")
		if !ok || plain != "" && (!wire.IsToken(plain) || strings.Contains(plain, "*")) || t.suffix && t.subtype == "+" || subtype == "" || kind == "" {
			return nil, fmt.Errorf("%q is no media type such as text/*, application/json or application/*+json", text)
		}
		all = append(all, t)
	}
	return all, nil
}

// has reports whether a Content-Type is one of them. A response without one is of no type, unless any will do.
func (t types) has(contentType []byte) bool {
	name := contentType
	for i, c := range name {
		if c == ';' || c == ' ' || c == '\t' {
			name = name[:i]
			break
		}
	}
	slash := -1
	for i, c := range name {
		if c == '/' {
			slash = i
			break
		}
	}
	for i := range t {
		m := &t[i]
		switch {
		case m.kind == "":
			return true
		case slash < 0 || !wire.EqualFold(name[:slash], m.kind):
		case m.suffix && endsIn(name[slash+1:], m.subtype), m.subtype == "", !m.suffix && wire.EqualFold(name[slash+1:], m.subtype):
			return true
		}
	}
	return false
}

// endsIn wants something before the suffix.
func endsIn(name []byte, suffix string) bool {
	return len(name) > len(suffix) && wire.EqualFold(name[len(name)-len(suffix):], suffix)
}
