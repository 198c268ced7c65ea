package respond

import (
	"errors"
	"fmt"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/router"
)

// ErrBadTarget refuses a request whose values make no valid host for a redirect.
var ErrBadTarget = &proxy.Error{Status: 400, Code: "bad_redirect", Detail: "The values in this request make no valid target for the redirect.", Side: proxy.ByClient}

// Redirect sends the client elsewhere, with an empty body.
//
// Where a target may lead is decided by its text alone and not by values:
//
//   - "/new/$path.rest", "$path.rest" or "$query.next" name no host, so they stay on the client's: however many
//     slashes and backslashes the values bring to the front, one slash is sent.
//   - "https://shop.example/$path.rest" leads to that host. Before a host is complete, only $request.host and
//     parameters in front of a literal dot ("https://{tenant}.shop.example/") may stand, and the host must be
//     one when they are filled in.
type Redirect struct {
	status    int
	scheme    *proxy.Template // "https:", say; nil: no host is named
	authority proxy.URLText
	open      bool // a variable is in the authority
	path      proxy.URLText
	query     proxy.URLText
	fragment  proxy.URLText
}

// NewRedirect compiles a redirect with status 301, 302, 303, 307 or 308 to a template. Its query is what the
// template says, and nothing else is added: "/new?$request.query" keeps that of the request.
//
// Values are made fit for where they stand. In the path, what was captured from the path, $request.path and
// $request.uri keep their escapes; any other value ($query.q, say) becomes part of one segment, its slashes escaped.
// In the query and the fragment, what was captured keeps its escapes and everything that would end the value is
// escaped; any other value is escaped so that decoding it gives that value. $request.query standing for whole
// pairs is copied.
func NewRedirect(to string, p *router.Pattern, status int) (*Redirect, error) {
	r := &Redirect{status: status}
	switch status {
	case 301, 302, 303, 307, 308:
	default:
		return nil, fmt.Errorf("cannot redirect with status %d: use 301, 302, 303, 307 or 308", status)
	}
	if err := r.parse(to, p); err != nil {
		return nil, fmt.Errorf("cannot redirect to %q: %w", to, err)
	}
	return r, nil
}

// Serve answers with the redirect, or refuses with ErrBadTarget.
func (r *Redirect) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	buf := wire.GetBuf(wire.Small)
	defer buf.Free()
	location, ok := r.appendLocation(buf.B[:0], x)
	if !ok {
		return ErrBadTarget
	}
	redirect(x, r.status, location)
	return nil
}

func redirect(x *proxy.Exchange, status int, location []byte) {
	x.Response.Status, x.Response.Reason = status, nil
	x.Response.Head.Add("Location", location)
	setBody(x, nil, 0)
}

func (r *Redirect) appendLocation(dst []byte, x *proxy.Exchange) ([]byte, bool) {
	if r.scheme == nil {
		return sameHost(r.appendRest(append(dst, '/'), x)), true
	}
	dst = r.scheme.Append(dst, x, proxy.Raw)
	dst = append(dst, "//"...)
	start := len(dst)
	dst = r.authority.Append(dst, x)
	if r.open && !wire.ValidHost(dst[start:]) {
		return dst, false
	}
	end := len(dst)
	dst = r.appendRest(dst, x)
	// The path is "*" in OPTIONS *: nothing may grow on to the host.
	return dst, len(dst) == end || strings.IndexByte("/?#", dst[end]) >= 0
}

// appendRest appends path, query and fragment. A "?" or "#" with nothing behind it is left out.
func (r *Redirect) appendRest(dst []byte, x *proxy.Exchange) []byte {
	dst = r.path.Append(dst, x)
	dst = appendPart(dst, '?', r.query, x)
	return appendPart(dst, '#', r.fragment, x)
}

func appendPart(dst []byte, mark byte, pieces proxy.URLText, x *proxy.Exchange) []byte {
	start := len(dst)
	dst = pieces.Append(append(dst, mark), x)
	if len(dst) == start+1 {
		return dst[:start]
	}
	return dst
}

// sameHost makes of all slashes and backslashes at the front of target, of which there is at least one, a single
// slash. Browsers take "//evil.example" and "/\evil.example" for another host (RFC 3986 section 4.2, URL Standard
// section 4.4), and what decodes "%5C" too early would, too.
func sameHost(target []byte) []byte {
	n := 0
	for n < len(target) {
		rest := target[n:]
		switch {
		case rest[0] == '/' || rest[0] == '\\':
			n++
			continue
		case len(rest) >= 3 && rest[0] == '%' && rest[1] == '5' && rest[2]|0x20 == 'c':
			n += 3
			continue
		}
		break
	}
	target[n-1] = '/'
	return target[n-1:]
}

func (r *Redirect) parse(to string, p *router.Pattern) error {
	if strings.ContainsRune(to, '\\') {
		return errors.New("a backslash has no place in a URL; browsers take it for a slash")
	}
	rest, err := r.parseHost(to, p)
	if err != nil {
		return err
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	path, query, queries := strings.Cut(rest, "?")
	if queries && strings.Contains(path, "$request.uri") {
		return errors.New("$request.uri brings its query along: use $request.path?$request.query")
	}
	if r.path, err = proxy.ParseURLText(path, p, inPath); err != nil {
		return err
	}
	if r.query, err = proxy.ParseURLText(query, p, inQuery); err != nil {
		return err
	}
	if r.fragment, err = proxy.ParseURLText(fragment, p, inQuery); err != nil {
		return err
	}
	for _, pieces := range []proxy.URLText{r.path, r.query, r.fragment} {
		if err := pieces.CheckText(); err != nil {
			return err
		}
	}
	return nil
}

// parseHost takes scheme and authority, if there are any, off the front.
func (r *Redirect) parseHost(to string, p *router.Pattern) (rest string, err error) {
	scheme, afterScheme, hasScheme := strings.Cut(to, "://")
	switch {
	case hasScheme && isScheme(scheme):
		scheme += ":"
	case strings.HasPrefix(to, "//"):
		scheme, afterScheme = "", to[2:]
	case strings.HasPrefix(to, "/") || strings.HasPrefix(to, "$") || strings.HasPrefix(to, "{"):
		return to, nil
	default:
		return "", errors.New(`it must begin with a slash, a scheme ("https://shop.example/") or a variable`)
	}
	if r.scheme, err = proxy.ParseTemplate(scheme, p, false); err != nil {
		return "", err
	}
	end := authorityLen(afterScheme)
	if r.authority, err = proxy.ParseURLText(afterScheme[:end], p, inHost); err != nil {
		return "", err
	}
	if err := r.checkAuthority(); err != nil {
		return "", err
	}
	if !wire.ValidHost(r.authority.AppendSample(nil)) {
		return "", fmt.Errorf("%q is not a host with or without a port", afterScheme[:end])
	}
	return afterScheme[end:], nil
}

// checkAuthority sees to it that values cannot choose another host than the text means: behind a parameter comes a
// dot, and behind the last one a label.
func (r *Redirect) checkAuthority() error {
	for i, p := range r.authority {
		if p.Value == nil {
			continue
		}
		r.open = true
		if proxy.IsVariable(p.Value.String(), "$request.host") {
			continue
		}
		var next string
		if i+1 < len(r.authority) {
			next = r.authority[i+1].Text
		}
		last := i+2 >= len(r.authority)
		if !strings.HasPrefix(next, ".") || last && (len(next) == 1 || !proxy.IsAlphanumeric(next[1])) {
			return fmt.Errorf("%s would choose the host: only $request.host and a {parameter} before a dot may be part of one; else end the host with a slash", p.Value)
		}
	}
	return nil
}

// isScheme reports whether s is the scheme of a URL (RFC 3986 section 3.1) or the variable for the request's.
func isScheme(s string) bool {
	if s == "$request.scheme" {
		return true
	}
	for i := range len(s) {
		if !proxy.IsAlphanumeric(s[i]) && (i == 0 || strings.IndexByte("+-.", s[i]) < 0) {
			return false
		}
	}
	return s != "" && s[0] > '9'
}

// authorityLen is where the authority ends: at a delimiter or at a variable that begins with a slash.
func authorityLen(s string) int {
	for i := range len(s) {
		if strings.IndexByte("/?#", s[i]) >= 0 || proxy.IsVariable(s[i:], "$request.path") || proxy.IsVariable(s[i:], "$request.uri") {
			return i
		}
	}
	return len(s)
}
