package transform

import (
	"strings"

	"sluice/proxy"
	"sluice/router"
)

// piece is a part of a path or query template: literal text, or one variable and how its value is made fit for
// the place. proxy.Template does not know where in a URI its variables stand, so the template is cut up here.
type piece struct {
	text   string
	value  *proxy.Template // nil for literal text
	escape *byteSet        // bytes of the value that stay as they are; nil: all of them
}

// appendPieces appends the text with x's values filled in.
func appendPieces(dst []byte, pieces []piece, x *proxy.Exchange) []byte {
	for i := range pieces {
		p := &pieces[i]
		if p.value == nil {
			dst = append(dst, p.text...)
			continue
		}
		start := len(dst)
		dst = p.value.Append(dst, x, proxy.Raw)
		if p.escape != nil {
			dst = escapeTail(dst, start, p.escape)
		}
	}
	return dst
}

// appendSample appends the text with an "x" for every variable.
func appendSample(dst []byte, pieces []piece) []byte {
	for _, p := range pieces {
		if p.value != nil {
			dst = append(dst, 'x')
		}
		dst = append(dst, p.text...)
	}
	return dst
}

// parsePieces cuts text into pieces. choose says how a variable is escaped that stands behind the text before.
func parsePieces(text string, p *router.Pattern, choose func(before, variable string) *byteSet) ([]piece, error) {
	var pieces []piece
	literal := 0 // where the current literal text begins in text
	for at := 0; at < len(text); {
		if text[at] != '$' && text[at] != '{' {
			at++
			continue
		}
		end := at + variableLen(text[at:])
		value, err := proxy.ParseTemplate(text[at:end], p, true)
		if err != nil {
			return nil, err
		}
		if literal < at {
			pieces = append(pieces, piece{text: text[literal:at]})
		}
		if dollar, static := value.Static(); static {
			pieces = append(pieces, piece{text: dollar})
		} else {
			pieces = append(pieces, piece{value: value, escape: choose(text[:at], text[at:end])})
		}
		at, literal = end, end
	}
	if literal < len(text) {
		pieces = append(pieces, piece{text: text[literal:]})
	}
	return pieces, nil
}

// variableLen is the length of the variable that s begins with: "{name}", "$$", or "$" and all that may belong to
// a name. If the name ends earlier ("$request.id-a"), the template has the rest as text; that is made of
// unreserved characters, which no escape touches.
func variableLen(s string) int {
	if s[0] == '{' {
		if end := strings.IndexByte(s, '}'); end >= 0 {
			return end + 1
		}
		return len(s) // ParseTemplate says what is wrong
	}
	if strings.HasPrefix(s, "$$") {
		return 2
	}
	n := 1
	for n < len(s) && (isAlphanumeric(s[n]) || s[n] == '.' || s[n] == '_' || s[n] == '-') {
		n++
	}
	return n
}

// pathEscape is how variables in a path are escaped. What comes from the path is normal already.
func pathEscape(_, variable string) *byteSet {
	if isCaptured(variable) || isVariable(variable, "$request.path") {
		return nil
	}
	return &unreserved
}

// queryEscape is how variables in a query are escaped.
func queryEscape(before, variable string) *byteSet {
	switch {
	case isCaptured(variable):
		return &capturedInQuery
	case isVariable(variable, "$request.query") && (before == "" || strings.HasSuffix(before, "&")):
		return nil
	}
	return &unreserved
}

// isCaptured reports whether the variable is a path parameter.
func isCaptured(variable string) bool {
	return variable[0] == '{' || strings.HasPrefix(variable, "$path.")
}

// isVariable reports whether the variable is name, perhaps with text behind it.
func isVariable(variable, name string) bool {
	rest, ok := strings.CutPrefix(variable, name)
	return ok && (rest == "" || !isAlphanumeric(rest[0]))
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
