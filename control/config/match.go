package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Match says which requests a route takes: the short form is in Pattern ("GET api.example.com/v1/**"), the long form
// in the other fields. Methods, hosts and paths are read by the router; here they are text with a place.
type Match struct {
	Pattern Text             // the short form; its text is empty for the long form
	Methods List[Text]       `cfg:"method" doc:"one method or a list; any by default"`
	Host    Text             `cfg:"host" doc:"api.example.com or *.example.com; any by default"`
	Path    Text             `cfg:"path" doc:"/items/{id}, /items/{id:[0-9]+} or /files/**; any by default"`
	Headers Named[Predicate] `cfg:"headers" names:"header" doc:"what header fields must be"`
	Query   Named[Predicate] `cfg:"query" names:"any" doc:"what query parameters must be"`
	Cookies Named[Predicate] `cfg:"cookies" names:"cookie" doc:"what cookies must be"`
	JSON    Named[Predicate] `cfg:"json" names:"any" doc:"what fields of a JSON body must be, by dotted path: user.country"`
	Pos     Pos
}

func (m *Match) decodeShort(d *decoder, n *node, path string) bool {
	m.Pattern.decode(d, n, path, field{})
	return true
}

// Predicate is a condition on one value: a literal, present, absent, prefix X, regex X or is X.
type Predicate struct {
	Kind  PredicateKind
	Value string // the literal, prefix or regular expression (RE2); empty for present and absent
	Pos   Pos
}

// PredicateKind is how a predicate compares.
type PredicateKind uint8

const (
	Is PredicateKind = iota
	Present
	Absent
	HasPrefix
	MatchesRegex
)

// predicateBytesMax bounds a literal or an expression.
const predicateBytesMax = 4096

func (p *Predicate) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "a literal, present, absent, prefix X, regex X or is X"
	p.Pos = n.pos
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	if len(text) > predicateBytesMax {
		d.report.fail(n.pos, path, fmt.Sprintf("is longer than %d bytes", predicateBytesMax), "")
		return
	}
	word, value, valued := strings.Cut(text, " ")
	switch {
	case text == "present":
		p.Kind = Present
	case text == "absent":
		p.Kind = Absent
	case word == "is" && valued:
		p.Value = value
	case word == "prefix" && value != "":
		p.Kind, p.Value = HasPrefix, value
	case word == "regex" && value != "":
		p.Kind, p.Value = MatchesRegex, value
		d.expression(n, path, value)
	case word == "prefix" || word == "regex" || text == "is":
		d.report.fail(n.pos, path, fmt.Sprintf("%s needs a value", word), fmt.Sprintf("the literal word is written: is %s", word))
	default:
		p.Value = text
	}
}

// expression checks a regular expression. Its message would repeat the expression, so a substituted one gets none.
func (d *decoder) expression(n *node, path, expression string) {
	if _, err := regexp.Compile(expression); err != nil {
		hint := ""
		if n.parts == nil {
			hint = clip(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		d.report.fail(n.pos, path, "is not a regular expression (RE2)", hint)
	}
}

// methodBytesMax bounds a method.
const methodBytesMax = 32

func (v *validator) match(m Match, path string) {
	if !v.written(path) {
		return // required, and reported
	}
	if m.Pattern.Pos.Line > 0 {
		v.shortMatch(m.Pattern, path)
		return
	}
	if len(m.Methods)+len(m.Headers)+len(m.Query)+len(m.Cookies)+len(m.JSON) == 0 && m.Host.Text == "" && m.Path.Text == "" {
		v.fail(path, "matches nothing in particular", `path: "/**" takes every request`)
	}
	for i, method := range m.Methods {
		v.method(method, v.item(path+".method", i))
	}
	if m.Path.Text != "" && m.Path.Text[0] != '/' && m.Path.Text != "**" {
		v.failAt(m.Path.Pos, path+".path", "a path begins with /, got "+v.show(m.Path.Text, m.Path.Pos), "the host goes into host, the method into method")
	}
	v.matchedPath(m.Path, path+".path")
	for _, j := range m.JSON {
		if strings.HasPrefix(j.Name, ".") || strings.HasSuffix(j.Name, ".") || strings.Contains(j.Name, "..") {
			v.failAt(j.Pos, joinPath(path+".json", j.Name), "the dotted path has an empty step", "user.country, for example")
		}
	}
}

func (v *validator) method(method Text, path string) {
	switch upper := strings.ToUpper(method.Text); {
	case len(method.Text) > methodBytesMax || checkHeaderName(method.Text) != "":
		v.failAt(method.Pos, path, v.show(method.Text, method.Pos)+" is not a method", "GET, for example")
	case upper != method.Text:
		hint := ""
		if !v.config.Substituted(method.Pos) {
			hint = "did you mean " + upper + "?"
		}
		v.failAt(method.Pos, path, "methods are written in capitals", hint)
	default:
		v.registered(method, path)
	}
}

// methods are those of IANA's registry that a client can ask for: PRI and * are reserved.
var methods = strings.Fields(`GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY
	ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF
	MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE
	UPDATEREDIRECTREF VERSION-CONTROL`)

// registered warns of a method that is likely a typing error: an own one works all the same.
func (v *validator) registered(method Text, path string) {
	if slices.Contains(methods, method.Text) {
		return
	}
	hint := ""
	if near := nearest(method.Text, methods); near != "" && !v.config.Substituted(method.Pos) {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	v.warn(path, v.show(method.Text, method.Pos)+" is none of the registered methods", hint)
}

// shortMatch looks at the short form for what its reader, the router, would say less clearly or could not know.
func (v *validator) shortMatch(pattern Text, path string) {
	if strings.TrimSpace(pattern.Text) == "" {
		v.fail(path, "is empty", `"GET /items/{id}", for example`)
		return
	}
	words, target := splitShort(pattern.Text)
	if len(words) > 1 && !slices.ContainsFunc(words, func(word string) bool { return !isCapitals(word) }) {
		v.fail(path, "a space or a comma stands between methods", "several are written GET|POST /path")
		return
	}
	if len(words) == 1 {
		for method := range strings.SplitSeq(words[0], "|") {
			if isCapitals(method) { // the router refuses others
				v.registered(Text{method, pattern.Pos}, path)
			}
		}
	}
	v.matchedPath(Text{target, pattern.Pos}, path)
}

// takes reports whether requests of a method match.
func (m *Match) takes(method string) bool {
	var methods []string
	for _, t := range m.Methods {
		methods = append(methods, t.Text)
	}
	if words, _ := splitShort(m.Pattern.Text); len(words) > 0 {
		methods = strings.Split(words[0], "|")
	}
	return len(methods) == 0 || slices.Contains(methods, method)
}

// splitShort takes the words in front of the path off the short form, and the host off the path.
func splitShort(pattern string) (words []string, path string) {
	before, path, found := strings.Cut(pattern, "/")
	if !found {
		return nil, ""
	}
	words = strings.FieldsFunc(before, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' })
	if len(words) > 0 && strings.HasSuffix(before, words[len(words)-1]) {
		words = words[:len(words)-1] // the host
	}
	return words, "/" + strings.TrimSpace(path)
}

func isCapitals(s string) bool {
	return checkHeaderName(s) == "" && strings.ToUpper(s) == s && !strings.Contains(s, ".")
}

// matchedPath looks at the literal text of a path.
func (v *validator) matchedPath(pattern Text, path string) {
	for _, segment := range segments(pattern.Text) {
		switch {
		case strings.Contains(segment, "?"):
			v.failAt(pattern.Pos, path, "a path has no query", "the query goes into match.query: { path: /search, query: { q: present } }")
			return
		case len(segment) > 1 && segment[0] == ':':
			v.warn(path, "a segment that begins with : is a literal here", "a parameter is written {id}")
		}
	}
}

// segments splits the path of a match at the slashes outside of braces, as the router does, and leaves only a { of what
// stands in braces. It is empty for a path that the router refuses because of its braces.
func segments(path string) []string {
	if path == "" {
		return nil
	}
	var list []string
	var segment []byte
	depth := 0
	for i := 1; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '\\' && depth > 0:
			i++
			continue
		case c == '/' && depth == 0:
			list = append(list, string(segment))
			segment = segment[:0]
			continue
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if depth == 0 && c != '}' || depth == 1 && c == '{' {
			segment = append(segment, c)
		}
	}
	if depth != 0 {
		return nil
	}
	return append(list, string(segment))
}

// path is the path of either form; any path is /**.
func (m Match) path() string {
	if m.Pattern.Text != "" {
		_, path := splitShort(m.Pattern.Text)
		return path
	}
	if m.Path.Text == "" {
		return "/**"
	}
	return m.Path.Text
}

// mayHavePrefix reports whether a path that the match takes may begin with the prefix, a clean one. It is true where that
// cannot be read off the literal segments that the match begins with.
func (m Match) mayHavePrefix(prefix string) bool {
	matched := segments(m.path())
	if len(matched) == 0 {
		return true
	}
	for i, want := range segments(prefix) {
		switch {
		case i == len(matched):
			return false
		case !isPlainSegment(matched[i]) || !isPlainSegment(want): // **, a parameter, an escape
			return true
		case matched[i] != want:
			return false
		}
	}
	return true
}

// isPlainSegment reports whether a segment is the same in every spelling: it has only unreserved characters (RFC 3986
// section 2.3).
func isPlainSegment(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > 0x7f || !isAlnum(byte(c)) && !strings.ContainsRune("-._~", c) })
}

var parameterInPattern = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)[:}]`)

// parameters are the names of the path parameters of a match, as far as they can be read off without the router.
func (m Match) parameters() []string {
	pattern := m.Pattern.Text + m.Path.Text
	names := []string{}
	for _, found := range parameterInPattern.FindAllStringSubmatch(pattern, -1) {
		names = append(names, found[1])
	}
	if strings.HasSuffix(pattern, "**") {
		names = append(names, "rest")
	}
	return names
}
