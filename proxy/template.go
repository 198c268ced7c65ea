package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"sluice/proxy/wire"
	"sluice/router"
)

// Template is text with variables such as $path.id or $client.ip, compiled once, filled in per exchange without
// allocating. A variable that has no value in an exchange is empty. "$$" is a dollar sign.
type Template struct {
	source string
	parts  []part
}

type part struct {
	text     string
	variable variable
	name     string
	index    int
}

type variable uint8

const (
	literal variable = iota
	pathParam
	queryParam
	requestHeader
	requestCookie
	responseHeader
	claim
	consumerName
	consumerGroup
	clientIP
	clientCountry
	clientPort
	requestID
	requestMethod
	requestPath
	requestHost
	requestScheme
	requestURI
	requestQuery
	routeName
	serviceName
	endpointName
	responseStatus
	responseBytes
	errorCode
	errorStatus
	errorTitle
	errorDetail
)

// plainVariables are those that take no name of their own.
var plainVariables = map[string]variable{
	"client.ip": clientIP, "client.port": clientPort, "client.country": clientCountry, "request.id": requestID, "request.method": requestMethod,
	"request.path": requestPath, "request.host": requestHost, "request.scheme": requestScheme, "request.uri": requestURI,
	"request.query": requestQuery, "route": routeName, "service": serviceName, "endpoint": endpointName,
	"response.status": responseStatus, "response.bytes": responseBytes, "error.code": errorCode, "error.status": errorStatus,
	"error.title": errorTitle, "error.detail": errorDetail, "consumer": consumerName, "consumer.group": consumerGroup,
}

var namedVariables = map[string]variable{
	"path": pathParam, "query": queryParam, "header": requestHeader, "cookie": requestCookie, "response.header": responseHeader,
	"jwt": claim, "consumer": claim,
}

// ParseTemplate compiles text. Path parameters are resolved against the route's pattern, so that a name the pattern
// does not have is an error here and not an empty string later. "{name}" stands for "$path.name" if braces is set,
// as in the path of a rewrite.
func ParseTemplate(text string, p *router.Pattern, braces bool) (*Template, error) {
	t := &Template{source: text}
	for rest := text; rest != ""; {
		at := strings.IndexByte(rest, '$')
		if braces {
			at = strings.IndexAny(rest, "${")
		}
		if at < 0 {
			t.addText(rest)
			break
		}
		t.addText(rest[:at])
		rest = rest[at:]
		if rest[0] == '{' {
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return nil, fmt.Errorf("%q has a { without a }", text)
			}
			if err := t.addVariable("path."+rest[1:end], p); err != nil {
				return nil, err
			}
			rest = rest[end+1:]
			continue
		}
		if strings.HasPrefix(rest, "$$") {
			t.addText("$")
			rest = rest[2:]
			continue
		}
		name := variableName(rest[1:])
		if name == "" {
			return nil, fmt.Errorf("%q has a $ that begins no variable; write $$ for a dollar sign", text)
		}
		if err := t.addVariable(name, p); err != nil {
			return nil, err
		}
		rest = rest[1+len(name):]
	}
	return t, nil
}

// variableName returns the name that s begins with: a word, or two joined by a dot. What follows a family's dot may hold
// letters, digits, "-" and "_": a dot behind it belongs to the text, as in "$path.id.json", except after "$jwt.", where claims lie
// in claims.
func variableName(s string) string {
	n := span(s, isWordByte)
	if n == 0 || n == len(s) || s[n] != '.' {
		return s[:n]
	}
	if !isFamily(s[:n]) {
		more := span(s[n+1:], isWordByte)
		if more == 0 {
			return s[:n] // the dot ends a sentence
		}
		if n += 1 + more; n == len(s) || s[n] != '.' || !isFamily(s[:n]) {
			return s[:n]
		}
	}
	more := span(s[n+1:], isNameByte)
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

func isFamily(name string) bool {
	_, ok := namedVariables[name]
	return ok
}

func span(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isWordByte(c byte) bool { return 'a' <= c && c <= 'z' || c == '_' }
func isNameByte(c byte) bool { return IsAlphanumeric(c) || c == '-' || c == '_' }

// Variables returns the names that a template may hold. One that ends in a dot is a family: a name follows.
func Variables() []string {
	var names []string
	for name := range plainVariables {
		names = append(names, name)
	}
	for name := range namedVariables {
		names = append(names, name+".")
	}
	slices.Sort(names)
	return names
}

func (t *Template) addText(s string) {
	if s == "" {
		return
	}
	if n := len(t.parts); n > 0 && t.parts[n-1].variable == literal {
		t.parts[n-1].text += s
		return
	}
	t.parts = append(t.parts, part{text: s})
}

func (t *Template) addVariable(name string, p *router.Pattern) error {
	if v, ok := plainVariables[name]; ok {
		t.parts = append(t.parts, part{variable: v})
		return nil
	}
	dot := strings.IndexByte(name, '.')
	if strings.HasPrefix(name, "response.header.") {
		dot = len("response.header")
	}
	if dot < 0 {
		return fmt.Errorf("unknown variable $%s", name)
	}
	v, ok := namedVariables[name[:dot]]
	arg := name[dot+1:]
	if !ok || arg == "" {
		return fmt.Errorf("unknown variable $%s", name)
	}
	added := part{variable: v, name: arg}
	if v == pathParam {
		if p == nil {
			return fmt.Errorf("$%s is not known here: no route has been chosen", name)
		}
		if added.index, ok = p.Param(arg); !ok {
			return fmt.Errorf("$%s: the pattern %s has no parameter %q", name, p, arg)
		}
	}
	t.parts = append(t.parts, added)
	return nil
}

// String returns the text it was parsed from.
func (t *Template) String() string { return t.source }

// Static returns the text if there is no variable in it.
func (t *Template) Static() (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].variable == literal:
		return t.parts[0].text, true
	}
	return "", false
}

// Escape is how the value of a variable is made safe for its surroundings.
type Escape uint8

// The escapes.
const (
	Raw  Escape = iota
	JSON        // inside a JSON string
	HTML        // in HTML text or a quoted attribute
)

// Append appends the text with x's values filled in.
func (t *Template) Append(dst []byte, x *Exchange, e Escape) []byte {
	for i := range t.parts {
		p := &t.parts[i]
		if p.variable == literal {
			dst = append(dst, p.text...)
			continue
		}
		start := len(dst)
		dst = p.appendValue(dst, x)
		if e != Raw {
			dst = escapeTail(dst, start, e)
		}
	}
	return dst
}

func (p *part) appendValue(dst []byte, x *Exchange) []byte {
	switch p.variable {
	case pathParam:
		return append(dst, x.Match.Value(x.MatchedPath, p.index)...)
	case queryParam:
		// Decoded straight into dst, which may lie in the exchange's scratch already.
		v, _ := x.rawQuery(p.name)
		return AppendUnescaped(dst, v)
	case requestHeader:
		v, _ := x.Header(p.name)
		return append(dst, v...)
	case requestCookie:
		v, _ := x.Cookie(p.name)
		return append(dst, v...)
	case responseHeader:
		return append(dst, x.Response.Head.Get(p.name)...)
	case claim:
		return append(dst, x.Identity.Claim(p.name)...)
	case consumerName:
		return append(dst, x.Identity.Subject()...)
	case consumerGroup:
		return append(dst, x.Identity.Issuer()...)
	case clientIP:
		return append(dst, x.Client.Text...)
	case clientCountry:
		return append(dst, x.Country()...)
	case clientPort:
		return wire.AppendUint(dst, uint64(x.Client.Peer.Port()))
	case requestID:
		return append(dst, x.ID...)
	case requestMethod:
		return append(dst, x.Request.Method...)
	case requestPath:
		return append(dst, x.Request.Path...)
	case requestHost:
		return append(dst, x.Request.Host...)
	case requestScheme:
		return append(dst, x.Request.Scheme...)
	case requestURI:
		return x.AppendURI(dst)
	case requestQuery:
		return append(dst, x.Request.Query...)
	case routeName:
		if x.Route != nil {
			dst = append(dst, x.Route.Name...)
		}
		return dst
	case serviceName:
		return append(dst, x.Service...)
	case endpointName:
		return append(dst, x.Endpoint...)
	case responseStatus:
		return wire.AppendUint(dst, uint64(x.Response.Status))
	case responseBytes:
		return wire.AppendUint(dst, uint64(x.BytesOut))
	}
	if x.Err == nil {
		return dst
	}
	switch p.variable {
	case errorCode:
		return append(dst, x.Err.Code...)
	case errorStatus:
		return wire.AppendUint(dst, uint64(x.Err.Status))
	case errorTitle:
		return append(dst, StatusText(x.Err.Status)...)
	default:
		return append(dst, x.Err.Detail...)
	}
}

// AppendURI appends path and query as they go upstream.
func (x *Exchange) AppendURI(dst []byte) []byte {
	dst = append(dst, x.Request.Path...)
	if x.Request.HasQuery {
		dst = append(dst, '?')
		dst = append(dst, x.Request.Query...)
	}
	return dst
}

// escapeTail escapes dst[start:] in place. Values that need no escape, nearly all, are left as they are.
func escapeTail(dst []byte, start int, e Escape) []byte {
	needs := func(c byte) bool {
		if e == HTML {
			return c == '<' || c == '>' || c == '&' || c == '"' || c == '\''
		}
		return c < ' ' || c == '"' || c == '\\' || c == 0x7f
	}
	if bytes.IndexFunc(dst[start:], func(r rune) bool { return r < 0x80 && needs(byte(r)) || r == utf8.RuneError && e == JSON }) < 0 {
		return dst
	}
	end := len(dst)
	dst = AppendEscaped(dst, dst[start:], e)
	return dst[:start+copy(dst[start:], dst[end:])]
}

func decodeRune[V string | []byte](value V) (rune, int) {
	var b [utf8.UTFMax]byte
	return utf8.DecodeRune(b[:copy(b[:], value)])
}

// AppendEscaped appends value, made safe for its surroundings.
func AppendEscaped[V string | []byte](dst []byte, value V, e Escape) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case e == Raw:
			dst = append(dst, c)
		case e == HTML:
			switch c {
			case '<':
				dst = append(dst, "&lt;"...)
			case '>':
				dst = append(dst, "&gt;"...)
			case '&':
				dst = append(dst, "&amp;"...)
			case '"':
				dst = append(dst, "&#34;"...)
			case '\'':
				dst = append(dst, "&#39;"...)
			default:
				dst = append(dst, c)
			}
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c >= utf8.RuneSelf:
			// JSON is UTF-8, and nothing else (RFC 8259 section 8.1): what is not becomes U+FFFD.
			r, n := decodeRune(value[i:])
			dst = utf8.AppendRune(dst, r)
			i += n - 1
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
