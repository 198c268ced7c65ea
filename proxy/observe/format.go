package observe

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sluice/proxy"
)

// segment is a piece of a format: text, one of our fields, or a variable that package proxy fills in.
type segment struct {
	text     string
	field    *field
	variable *proxy.Template
	query    bool // the variable is a query, without "?"
}

// plainVariables are the variables of every template (proxy.ParseTemplate) that a format may hold. The list is closed:
// what comes new has to be looked at for secrets first.
var plainVariables = []string{
	"client.ip", "client.country", "client.port", "request.id", "request.method", "request.path", "request.host", "request.scheme",
	"request.uri", "request.query", "response.status", "response.bytes", "error.code", "error.status", "error.title",
	"error.detail", "consumer", "consumer.group",
}

// FormatVariables names what a format may hold beyond the variables of every template: the keys of a JSON line.
func FormatVariables() []string {
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].name
	}
	return names
}

// appendFormat appends the line that the format makes of the exchange, and a line feed. Values are escaped as in a JSON
// string: what holds a quote cannot end a quoted part, and nothing can begin another line.
func (n *line) appendFormat(dst []byte, format []segment) []byte {
	for i := range format {
		switch s := &format[i]; {
		case s.field != nil:
			dst = s.field.append(n, dst)
		case s.variable != nil:
			dst = n.appendVariable(dst, s)
		default:
			dst = append(dst, s.text...)
		}
	}
	return append(dst, '\n')
}

// appendVariable fills the variable in at the end of dst, appends its safe form, and moves that to its place.
func (n *line) appendVariable(dst []byte, s *segment) []byte {
	start := len(dst)
	dst = s.variable.Append(dst, n.x, proxy.Raw)
	raw := len(dst)
	value := dst[start:raw:raw]
	// appendText measures the line by len(dst), so the raw value counts twice; that only cuts a little earlier.
	if s.query {
		dst = appendQuery(dst, value, n.also)
	} else {
		dst = appendURL(dst, value, n.also)
	}
	return dst[:start+copy(dst[start:], dst[raw:])]
}

// parseFormat takes a format apart. It is never nil without an error.
func parseFormat(text string, also Secrets) ([]segment, error) {
	if len(text) > formatMax {
		return nil, fmt.Errorf("it is %d bytes long, at most %d are allowed", len(text), formatMax)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || strings.ContainsAny(text, "\u2028\u2029") {
		return nil, errors.New("it must be one line of UTF-8 without control characters")
	}
	var format []segment
	for text != "" {
		at := strings.IndexByte(text, '$')
		if at < 0 {
			return append(format, segment{text: text}), nil
		}
		if at > 0 {
			format = append(format, segment{text: text[:at]})
			text = text[at:]
		}
		if strings.HasPrefix(text, "$$") {
			format = append(format, segment{text: "$"})
			text = text[2:]
			continue
		}
		s, size, err := parseVariable(text[1:], also)
		if err != nil {
			return nil, err
		}
		format = append(format, s)
		text = text[1+size:]
	}
	return format, nil
}

// parseVariable parses the variable that text begins with and returns its length.
func parseVariable(text string, also Secrets) (segment, int, error) {
	word := text[:len(text)-len(strings.TrimLeft(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."))]
	word = strings.TrimRight(word, ".-") // they belong to the text around it
	if word == "" {
		return segment{}, 0, errors.New("a dollar stands alone; a literal dollar is written $$")
	}
	if family, arg := splitFamily(word); family != "" {
		s, err := parseNamed(word, family, arg, also)
		return s, len(word), err
	}
	// "$status-$route" and "$path_x": a plain variable ends where the longest known name does.
	for name := word; name != ""; name = name[:max(0, strings.LastIndexAny(name, "-_."))] {
		for i := range fields {
			if fields[i].name == name {
				return segment{field: &fields[i]}, len(name), nil
			}
		}
		if slices.Contains(plainVariables, name) {
			t, err := proxy.ParseTemplate("$"+name, nil, false)
			return segment{variable: t, query: name == "request.query"}, len(name), err
		}
	}
	return segment{}, 0, fmt.Errorf("$%s is not a variable", word)
}

// splitFamily splits a variable that takes a name: $header.Accept.
func splitFamily(word string) (family, arg string) {
	for _, family := range []string{"path.", "query.", "header.", "cookie.", "response.header.", "consumer."} {
		if arg, ok := strings.CutPrefix(word, family); ok && arg != "" {
			return family, arg
		}
	}
	return "", ""
}

func parseNamed(word, family, arg string, also Secrets) (segment, error) {
	secret := false
	switch family {
	case "cookie.":
		secret = true
	case "query.":
		secret = isSecret([]byte(arg)) || also.holds([]byte(arg))
	case "header.", "response.header.":
		secret = SecretHeader(arg) || also.holds([]byte(arg))
	}
	t, err := proxy.ParseTemplate("$"+word, nil, false)
	if err != nil {
		return segment{}, err
	}
	if secret {
		return segment{text: redacted}, nil
	}
	return segment{variable: t}, nil
}
