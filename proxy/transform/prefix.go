package transform

import (
	"fmt"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/router"
)

// Prefix takes a prefix off the path and may put another one there. A prefix ends where a segment ends: "/legacy"
// is a prefix of "/legacy" and "/legacy/x", not of "/legacybooks". A path without it stays as it is.
type Prefix struct {
	from, to string // without a slash at the end; "" is the root
}

// NewStrip makes "/legacy/x" become "/x", and "/legacy" become "/". A slash at the end of prefix makes no
// difference.
func NewStrip(prefix string) (*Prefix, error) {
	p, err := NewReplace(prefix, "/")
	if err != nil {
		return nil, err
	}
	if p.from == "" {
		return nil, fmt.Errorf("cannot strip %q: nothing would change", prefix)
	}
	return p, nil
}

// NewReplace makes "/old/x" become "/new/x", and "/old" become "/new". From "/" it puts the other prefix before
// every path. Slashes at the end of either make no difference.
func NewReplace(from, to string) (*Prefix, error) {
	p := new(Prefix)
	var err error
	if p.from, err = cleanPrefix(from); err != nil {
		return nil, err
	}
	if p.to, err = cleanPrefix(to); err != nil {
		return nil, err
	}
	return p, nil
}

// Serve rewrites the path and hands on.
func (p *Prefix) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	p.rewrite(x)
	return next.Serve(x)
}

// rewrite need not normalise: cut at a slash, a normal path leaves two normal ones, and those joined are normal.
func (p *Prefix) rewrite(x *proxy.Exchange) {
	path := x.Request.Path
	if len(path) < len(p.from) || string(path[:len(p.from)]) != p.from || isAsterisk(path) {
		return
	}
	rest := path[len(p.from):]
	switch {
	case len(rest) > 0 && rest[0] != '/':
		return
	case p.to == "" && len(rest) > 0:
		x.Request.Path = rest
	case p.to == "":
		x.Request.Path = root
	default:
		buf := wire.GetBuf(len(p.to) + len(rest))
		x.Request.Path = keep(x, append(append(buf.B[:0], p.to...), rest...))
		buf.Free()
	}
}

// root is shared by all exchanges: without room behind it, nobody can append to it in place.
var root = []byte("/")[:1:1]

func cleanPrefix(prefix string) (string, error) {
	normal, err := router.NormalizePath(nil, []byte(prefix))
	if err != nil {
		return "", fmt.Errorf("cannot use %q as a prefix: %w", prefix, err)
	}
	return strings.TrimRight(string(normal), "/"), nil
}
