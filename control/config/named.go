package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// Named is a mapping in the order of the file.
type Named[T any] []Entry[T]

// Entry is one name of a mapping and what it stands for. Pos is the place of the name.
type Entry[T any] struct {
	Name  string
	Pos   Pos
	Value T
}

// Get finds an entry by its exact name. It walks the list: build a map for many look-ups. The pointer leads into
// the list.
func (m Named[T]) Get(name string) (*T, bool) {
	for i := range m {
		if m[i].Name == name {
			return &m[i].Value, true
		}
	}
	return nil, false
}

// Names returns the names in the order of the file.
func (m Named[T]) Names() []string {
	names := make([]string, len(m))
	for i := range m {
		names[i] = m[i].Name
	}
	return names
}

func (m *Named[T]) decode(d *decoder, n *node, path string, f field) {
	entries, ok := d.mapping(n, path)
	if !ok {
		return
	}
	rule := nameRules[f.names]
	first := make(map[string]Pos, len(entries))
	*m = make(Named[T], 0, len(entries))
	for _, e := range entries {
		where := joinPath(path, e.key)
		if hint := rule.check(e.key); hint != "" {
			d.report.fail(e.pos, where, fmt.Sprintf("%q is not a valid %s", clip(e.key), rule.what), hint)
		}
		identity := e.key
		if rule.foldCase {
			identity = strings.ToLower(e.key)
		}
		if pos, twice := first[identity]; twice {
			d.report.fail(e.pos, where, fmt.Sprintf("the %s stands here twice", rule.what), fmt.Sprintf("first at %s", pos))
			continue
		}
		first[identity] = e.pos
		*m = append(*m, Entry[T]{Name: e.key, Pos: e.pos})
		d.value(e.value, where, reflect.ValueOf(&(*m)[len(*m)-1].Value).Elem(), field{})
	}
}

// nameRule says what the keys of a Named may look like. check returns a hint when a key may not.
type nameRule struct {
	what     string
	foldCase bool
	pattern  string // for the schema
	check    func(string) string
}

var nameRules = map[string]nameRule{
	"":       thingNames,
	"thing":  thingNames,
	"header": {what: "header name", foldCase: true, pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", check: checkHeaderName},
	"cookie": {what: "cookie name", pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", check: checkHeaderName},
	"status": {what: "status or error code", pattern: "^([45][0-9][0-9]|[45]xx|[a-z][a-z0-9_]*)$", check: checkErrorName},
	"kept":   {what: "status whose answers can be kept", pattern: "^([2-5]xx|[2-5][0-9][0-9](-[2-5][0-9][0-9])?)$", check: checkKeptStatus},
	"answer": {what: "status", pattern: "^[1-5]([0-9][0-9]|xx)$", check: checkAnswerStatus},
	"sni":    {what: "name of a server", foldCase: true, pattern: `^(\*\.)?[A-Za-z0-9_.-]+$`, check: checkServerName},
	"label":  {what: "name of a label", pattern: "^[A-Za-z0-9_-]{1,64}$", check: checkLabelName},
	"keyid":  {what: "id of a signing key", pattern: `^[ !#-\[\]-~]{1,256}$`, check: checkKeyID},
	"any":    {what: "name", pattern: "^.+$", check: checkAnyName},
}

var thingNames = nameRule{what: "name", pattern: "^[a-z0-9][a-z0-9_.-]{0,63}$", check: checkThingName}

// nameBytesMax bounds the names of listeners, services, policies and routes: they become metric labels.
const nameBytesMax = 64

func checkThingName(s string) string {
	if s == "" || len(s) > nameBytesMax || !isLowerAlnum(s[0]) {
		return "a name begins with a-z or 0-9 and has at most 64 characters"
	}
	for _, c := range []byte(s) {
		if !isLowerAlnum(c) && !strings.ContainsRune("-_.", rune(c)) {
			return "a name is made of a-z, 0-9, - _ and ."
		}
	}
	return ""
}

func isLowerAlnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// headerNameBytesMax bounds header and cookie names.
const headerNameBytesMax = 256

// checkHeaderName wants a token (RFC 9110 section 5.6.2).
func checkHeaderName(s string) string {
	if s == "" || len(s) > headerNameBytesMax {
		return "it has between 1 and 256 characters"
	}
	for _, c := range []byte(s) {
		if !isTokenByte(c) {
			return "it is made of letters, digits and !#$%&'*+-.^_`|~"
		}
	}
	return ""
}

func isTokenByte(c byte) bool {
	return isAlnum(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func checkErrorName(s string) string {
	const hint = "write a status such as 404, a class such as 5xx, or an error code such as upstream_timeout"
	if len(s) == 3 && (s[0] == '4' || s[0] == '5') {
		if s[1:] == "xx" || isDigit(s[1]) && isDigit(s[2]) {
			return ""
		}
		return hint
	}
	if s == "" || s[0] < 'a' || s[0] > 'z' || len(s) > nameBytesMax {
		return hint
	}
	if slices.ContainsFunc([]byte(s), func(c byte) bool { return !isLowerAlnum(c) && c != '_' }) {
		return hint
	}
	return ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func checkAnyName(s string) string {
	if s == "" || len(s) > headerNameBytesMax {
		return "it has between 1 and 256 characters"
	}
	return ""
}

// checkServerName wants a name that a client can ask for with TLS (RFC 6066 section 3), or a wildcard for some.
func checkServerName(s string) string {
	name := strings.TrimPrefix(s, "*.")
	_, err := netip.ParseAddr(name)
	switch {
	case strings.HasSuffix(s, "."):
		return "clients send it without the dot at the end"
	case strings.Contains(name, "*"):
		return "a wildcard stands for the first labels as a whole: *.example.com"
	case err == nil || !isHost(name):
		return "clients ask for host names, such as db.shop.example"
	}
	return ""
}
