package proxy

import (
	"errors"
	"fmt"
	"strings"

	"sluice/router"
)

// URLText is the template of a part of a URL: a path, a query, a host. A Template does not know where in a URL its
// variables stand; a URLText is cut up so that each value is made fit for its place.
type URLText []URLPiece

// URLPiece is literal text, or one variable and how its value is escaped.
type URLPiece struct {
	Text  string
	Value *Template // nil for literal text
	Keep  *ByteSet  // bytes of the value that stay as they are; nil: all of them
}

// Append appends the text with x's values filled in.
func (t URLText) Append(dst []byte, x *Exchange) []byte {
	for i := range t {
		p := &t[i]
		if p.Value == nil {
			dst = append(dst, p.Text...)
			continue
		}
		start := len(dst)
		dst = p.Value.Append(dst, x, Raw)
		if p.Keep != nil {
			dst = EscapeURLTail(dst, start, p.Keep)
		}
	}
	return dst
}

// AppendSample appends the text with an "x" for every variable.
func (t URLText) AppendSample(dst []byte) []byte {
	for _, p := range t {
		if p.Value != nil {
			dst = append(dst, 'x')
		}
		dst = append(dst, p.Text...)
	}
	return dst
}

// CheckText refuses literal text that no URL may hold behind its host.
func (t URLText) CheckText() error {
	sample := t.AppendSample(nil)
	for i, c := range sample {
		if !URLBytes[c] {
			return fmt.Errorf("percent-encode the character %q", c)
		}
		if c == '%' && (i+2 >= len(sample) || unhex(sample[i+1]) > 15 || unhex(sample[i+2]) > 15) {
			return errors.New("two hexadecimal digits must follow %; a percent sign by itself is %25")
		}
	}
	return nil
}

// ParseURLText compiles text. keep says which bytes of a variable's value stay as they are, if it stands behind the
// text before; both are given as they are written.
func ParseURLText(text string, p *router.Pattern, keep func(before, variable string) *ByteSet) (URLText, error) {
	var pieces URLText
	literal := 0 // where the current literal text begins in text
	for at := 0; at < len(text); {
		if text[at] != '$' && text[at] != '{' {
			at++
			continue
		}
		end := at + variableLen(text[at:])
		value, err := ParseTemplate(text[at:end], p, true)
		if err != nil {
			return nil, err
		}
		if literal < at {
			pieces = append(pieces, URLPiece{Text: text[literal:at]})
		}
		if dollar, static := value.Static(); static {
			pieces = append(pieces, URLPiece{Text: dollar})
		} else {
			pieces = append(pieces, URLPiece{Value: value, Keep: keep(text[:at], text[at:end])})
		}
		at, literal = end, end
	}
	if literal < len(text) {
		pieces = append(pieces, URLPiece{Text: text[literal:]})
	}
	return pieces, nil
}

// variableLen is the length of the variable that s begins with: "{name}", "$$", or "$" and a name as a Template reads
// it. What stands behind the name is text: in "$path.tenant.example.com" it is part of a host.
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
	return 1 + len(variableName(s[1:]))
}

// IsCaptured reports whether the variable is a path parameter.
func IsCaptured(variable string) bool {
	return variable[0] == '{' || strings.HasPrefix(variable, "$path.")
}

// IsVariable reports whether the variable is name, perhaps with text behind it.
func IsVariable(variable, name string) bool {
	rest, ok := strings.CutPrefix(variable, name)
	return ok && (rest == "" || !IsAlphanumeric(rest[0]))
}

// IsAlphanumeric reports an ASCII letter or digit.
func IsAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// ByteSet marks bytes that may stand for themselves.
type ByteSet [256]bool

var (
	// Unreserved characters mean the same everywhere in a URL (RFC 3986 section 2.3).
	Unreserved = alphanumericAnd("-._~")

	// URLBytes may stand in a URL behind its host (RFC 3986 sections 3.3 and 3.4). The percent sign is among them: what
	// is escaped already stays escaped once.
	URLBytes = alphanumericAnd("-._~!$&'()*+,;=:@/?%")

	// CapturedInQuery keeps the escapes of a value captured from the path. What stands for itself in a path but
	// ends a value in a query ("&", ";", "#") or means a space there ("+") is escaped.
	CapturedInQuery = alphanumericAnd("-._~!$'()*,=:@/%")
)

func alphanumericAnd(others string) (s ByteSet) {
	for c := range len(s) {
		s[c] = IsAlphanumeric(byte(c))
	}
	for _, c := range others {
		s[c] = true
	}
	return s
}

// EscapeURLTail percent-encodes the bytes of dst[start:] that are not in keep. Nearly all values have none.
func EscapeURLTail(dst []byte, start int, keep *ByteSet) []byte {
	const hex = "0123456789ABCDEF"
	end := len(dst)
	first := start
	for first < end && keep[dst[first]] {
		first++
	}
	if first == end {
		return dst
	}
	// The escaped form is put behind the value and then moved into its place: no second buffer is needed.
	for i := first; i < end; i++ {
		if c := dst[i]; keep[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	n := copy(dst[first:], dst[end:])
	return dst[:first+n]
}
