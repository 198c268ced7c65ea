package config

import (
	"fmt"
	"regexp"
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
		if strings.TrimSpace(m.Pattern.Text) == "" {
			v.fail(path, "is empty", `"GET /items/{id}", for example`)
		}
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
	}
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
