package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Template is text with $variables, such as "/find/$path.kind". Values that ${...} put in are text, never
// variables: their dollars are doubled in Text.
type Template struct {
	Text string
	Pos  Pos
}

// Piece is a part of a template: literal text, or the name of a variable without its dollar ("path.kind").
// A variable made of digits ("1") is a group of a regex rewrite.
type Piece struct {
	Literal  string
	Variable string
}

// Phase is when a variable is known.
type Phase uint8

const (
	PhaseRequest  Phase = iota // from the beginning
	PhaseResponse              // once the response head is there
	PhaseError                 // in the body of an error
	PhaseLog                   // in the access log
)

// Variable is a name that may stand in a template.
type Variable struct {
	Name  string // "request.id", or "path." for a family that a name follows
	Doc   string
	Phase Phase
}

// Variables lists every variable. A name that ends in a dot is a family: $path.id, $header.X-Kind.
var Variables = []Variable{
	{"path.", "a parameter of the matched path; $path.rest is what ** took", PhaseRequest},
	{"query.", "a query parameter", PhaseRequest},
	{"header.", "a header field of the request", PhaseRequest},
	{"cookie.", "a cookie of the request", PhaseRequest},
	{"jwt.", "a claim of what the client has proven about itself, such as $jwt.sub; $jwt.a.b is b inside a", PhaseRequest},
	{"consumer", "the name of the client, as it was proven", PhaseRequest},
	{"consumer.group", "the group of the consumer, or who else vouches for the client", PhaseRequest},
	{"consumer.", "the plan or a label of the consumer, or its scope", PhaseRequest},
	{"client.ip", "the address of the client", PhaseRequest},
	{"client.country", "the country of the client's address, after the database of a countries policy", PhaseRequest},
	{"client.port", "the port of the client", PhaseRequest},
	{"request.id", "the id of the request", PhaseRequest},
	{"request.method", "the method", PhaseRequest},
	{"request.path", "the path, without the query", PhaseRequest},
	{"request.host", "the host the client asked for", PhaseRequest},
	{"request.scheme", "http or https", PhaseRequest},
	{"request.uri", "path and query", PhaseRequest},
	{"request.query", "the query, without the question mark", PhaseRequest},
	{"route", "the name of the route", PhaseRequest},
	{"service", "the name of the service", PhaseRequest},
	{"endpoint", "the address of the service that answered", PhaseResponse},
	{"response.status", "the status of the response", PhaseResponse},
	{"response.header.", "a header field of the response", PhaseResponse},
	{"response.bytes", "what was sent to the client, head included", PhaseLog},
	{"error.code", "the stable code of the error", PhaseError},
	{"error.status", "the status of the error", PhaseError},
	{"error.title", "the error in words", PhaseError},
	{"error.detail", "the error in a sentence", PhaseError},
}

// LogVariables may stand in the format of the access log in addition: the keys of its JSON form.
var LogVariables = []string{
	"time", "request_id", "client", "method", "host", "path", "query", "proto", "status", "route", "service", "endpoint",
	"attempts", "bytes_in", "bytes_out", "duration_ms", "upstream_ms", "cache", "user_agent", "referer", "error", "cause", "policy",
	"aborted", "would_refuse", "sni", "ech", "tls_fingerprint",
}

// SplitTemplate takes a template apart. With braces, {name} is another way to write $path.name (rewrite.path).
//
// A variable is a dollar and words of a-z and _ joined by dots; in a family, what follows the first dot is a name of
// letters, digits, - and _. What follows $jwt. may hold dots: claims lie in claims. $$ is a literal dollar.
func SplitTemplate(text string, braces bool) ([]Piece, error) {
	var pieces []Piece
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			pieces = append(pieces, Piece{Literal: literal.String()})
			literal.Reset()
		}
	}
	for text != "" {
		switch {
		case strings.HasPrefix(text, "$$"):
			literal.WriteByte('$')
			text = text[2:]
		case text[0] == '$':
			name := variableName(text[1:])
			if name == "" {
				return nil, errors.New("a dollar stands alone; a literal dollar is written $$")
			}
			flush()
			pieces = append(pieces, Piece{Variable: name})
			text = text[1+len(name):]
		case braces && text[0] == '{':
			name, rest, closed := strings.Cut(text[1:], "}")
			if !closed || !isVariableName(name) {
				return nil, errors.New("a brace must hold the name of a path parameter: {name}")
			}
			flush()
			pieces = append(pieces, Piece{Variable: "path." + name})
			text = rest
		default:
			literal.WriteByte(text[0])
			text = text[1:]
		}
	}
	flush()
	return pieces, nil
}

// variableName gives the variable at the beginning of s, or "".
func variableName(s string) string {
	if n := span(s, isDigit); n > 0 {
		return s[:n]
	}
	n := span(s, isWordByte)
	if n == 0 || n == len(s) || s[n] != '.' {
		return s[:n]
	}
	after := s[n+1:]
	if !isFamily(s[:n+1]) {
		more := span(after, isWordByte)
		if more == 0 { // the dot ends a sentence
			return s[:n]
		}
		if n += 1 + more; n == len(s) || s[n] != '.' || !isFamily(s[:n+1]) {
			return s[:n]
		}
		after = s[n+1:]
	}
	more := span(after, isNameByte)
	if more > 0 {
		n += 1 + more
	}
	// Claims lie in claims: $jwt.realm_access.roles.
	for nested := s[:n] != "jwt" && strings.HasPrefix(s, "jwt."); nested && n < len(s) && s[n] == '.'; n += 1 + more {
		if more = span(s[n+1:], isNameByte); more == 0 {
			break
		}
	}
	return s[:n]
}

func span(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isWordByte(c byte) bool { return c >= 'a' && c <= 'z' || c == '_' }
func isNameByte(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }

func isFamily(prefix string) bool {
	for _, v := range Variables {
		if v.Name == prefix {
			return strings.HasSuffix(prefix, ".")
		}
	}
	return false
}

func (t *Template) decode(d *decoder, n *node, path string, _ field) {
	t.Pos = n.pos
	text, ok := d.scalar(n, path, "text, which may hold $variables")
	if !ok {
		return
	}
	t.Text = text
	if n.parts == nil {
		return
	}
	var b strings.Builder
	for _, p := range n.parts {
		if p.substituted {
			p.text = strings.ReplaceAll(p.text, "$", "$$")
		}
		b.WriteString(p.text)
	}
	t.Text = b.String()
}

// templateRules says what one template may hold.
type templateRules struct {
	phase    Phase
	braces   bool // {name} stands for $path.name
	groups   int  // $0 to $groups are allowed; -1 for none
	oneLine  bool // a header value or a URL
	required bool // may not be empty
	log      bool // LogVariables are allowed
}

// template checks one template: syntax, and that every variable is known, and known by then.
func (v *validator) template(t Template, path string, rules templateRules) []Piece {
	if rules.required && t.Text == "" {
		v.fail(path, "is empty", "")
		return nil
	}
	if rules.oneLine && strings.ContainsAny(t.Text, "\r\n\x00") {
		v.fail(path, "must be one line", "a block (|) ends in a line break; write the value in quotes")
		return nil
	}
	pieces, err := SplitTemplate(t.Text, rules.braces)
	if err != nil {
		v.fail(path, err.Error(), "")
		return nil
	}
	for _, p := range pieces {
		if p.Variable != "" {
			v.variable(p.Variable, path, rules)
		}
	}
	return pieces
}

func (v *validator) variable(name, path string, rules templateRules) {
	if isDigits(name) {
		switch {
		case rules.groups < 0:
			v.fail(path, fmt.Sprintf("$%s is a group of a regex rewrite, there is none here", name), "a literal dollar is written $$")
		case len(name) > 3 || mustInt(name) > rules.groups:
			v.fail(path, fmt.Sprintf("there is no group $%s", name), fmt.Sprintf("groups of the expression: %d", rules.groups))
		}
		return
	}
	if rules.log && slices.Contains(LogVariables, name) {
		return
	}
	known := make([]string, 0, len(Variables))
	for _, candidate := range Variables {
		family := strings.HasSuffix(candidate.Name, ".")
		if name == candidate.Name || family && strings.HasPrefix(name, candidate.Name) {
			if candidate.Phase > rules.phase {
				v.fail(path, fmt.Sprintf("$%s is not known here", name), phaseHint(candidate.Phase))
			}
			if name == "client.country" {
				if why := v.config.NoCountry(); why != "" {
					v.fail(path, "$client.country is not known: "+why, "policies: { home: { countries: { database: FILE, ... } } }, used or not")
				}
			}
			return
		}
		if family {
			candidate.Name += "NAME"
		}
		known = append(known, "$"+candidate.Name)
	}
	if v.config.Substituted(v.config.At(path)) { // "$header.${NAME}" makes a name out of what must not be shown
		v.fail(path, "holds a name that is not a variable", didYouMean("", "variables", known))
		return
	}
	hint := didYouMean("", "variables", known)
	if near := nearestVariable(name); near != "" {
		hint = fmt.Sprintf("did you mean $%s? %s", near, hint)
	}
	v.fail(path, fmt.Sprintf("$%s is not a variable", clip(name)), hint)
}

// nearestVariable is nearest for variables: in a family, what was written after the dot stays.
func nearestVariable(written string) string {
	var known []string
	for _, v := range Variables {
		words, name := strings.Split(v.Name, "."), "NAME"
		if !strings.HasSuffix(v.Name, ".") {
			known = append(known, v.Name)
			continue
		}
		if parts := strings.SplitN(written, ".", len(words)); len(parts) == len(words) {
			name = parts[len(parts)-1]
		}
		known = append(known, v.Name+name)
	}
	return nearest(written, known)
}

func phaseHint(p Phase) string {
	switch p {
	case PhaseLog:
		return "it exists in the access log"
	case PhaseResponse:
		return "it exists once the response is there: in response headers and the access log"
	}
	return "it exists in the bodies of errors"
}
