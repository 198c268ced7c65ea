package transform

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/router"
)

// ErrBadPath refuses a request whose rewritten path would not be a normal one.
var ErrBadPath = &proxy.Error{Status: 400, Code: "bad_rewrite", Detail: "The values in this request make no valid path for the origin.", Side: proxy.ByClient}

// Path gives the request the path that a template yields and, if the template has a "?", the query that stands
// behind it.
type Path struct {
	path    proxy.URLText
	query   proxy.URLText
	queries bool // the template has a "?": the query is replaced, if only by none
}

// NewPath compiles a template such as "/find/{kind}" or "/find?kind=$path.kind". Without a "?" the query stays as
// it is; "/find?" drops it.
//
// Values are made fit for where they stand. In the path, what was captured from the path stays as it is, and any
// other value ($query.q, say) becomes part of one segment, its slashes escaped. In the query, what was captured
// keeps its escapes and everything that would end the value is escaped; any other value is escaped so that
// decoding it gives that value. $request.query standing for whole pairs ("/x?$request.query&more=1") is copied.
func NewPath(text string, p *router.Pattern) (*Path, error) {
	pathText, queryText, queries := strings.Cut(text, "?")
	if !strings.HasPrefix(pathText, "/") && !proxy.IsVariable(pathText, "$request.path") {
		return nil, fmt.Errorf("cannot rewrite the path to %q: it must begin with a slash or with $request.path", text)
	}
	if strings.Contains(pathText, "$request.uri") {
		return nil, fmt.Errorf("cannot rewrite the path to %q: $request.uri brings its query along: use $request.path", text)
	}
	t := &Path{queries: queries}
	var err error
	if t.path, err = proxy.ParseURLText(pathText, p, inPath); err != nil {
		return nil, fmt.Errorf("cannot rewrite the path to %q: %w", text, err)
	}
	if err = checkPath(t.path); err != nil {
		return nil, fmt.Errorf("cannot rewrite the path to %q: %w", text, err)
	}
	if t.query, err = proxy.ParseURLText(queryText, p, inQuery); err != nil {
		return nil, fmt.Errorf("cannot rewrite the query to %q: %w", queryText, err)
	}
	if err = t.query.CheckText(); err != nil {
		return nil, fmt.Errorf("cannot rewrite the query to %q: %w", queryText, err)
	}
	return t, nil
}

// Serve rewrites path and query, or refuses with ErrBadPath.
func (t *Path) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	if err := t.rewrite(x); err != nil {
		return err
	}
	return next.Serve(x)
}

func (t *Path) rewrite(x *proxy.Exchange) error {
	if isAsterisk(x.Request.Path) {
		return nil
	}
	buf := wire.GetBuf(wire.Small)
	defer buf.Free()
	target := t.path.Append(buf.B[:0], x)
	pathEnd := len(target)
	target = t.query.Append(target, x)
	if !isNormal(target[:pathEnd]) {
		return ErrBadPath
	}
	target = keep(x, target)
	x.Request.Path = target[:pathEnd:pathEnd]
	if t.queries {
		x.Request.Query = target[pathEnd:]
		x.Request.HasQuery = len(x.Request.Query) > 0
	}
	return nil
}

// isAsterisk tells the path of "OPTIONS *", which stands for the whole server and has nothing to rewrite
// (RFC 9110 section 9.3.7).
func isAsterisk(path []byte) bool { return len(path) == 1 && path[0] == '*' }

// isNormal reports whether normalising path would change nothing. The path of a request that is refused is at
// most garbage: it is not worth a buffer.
func isNormal(path []byte) bool {
	normal, err := router.NormalizePath(nil, path)
	return err == nil && bytes.Equal(normal, path)
}

// keep copies b to memory that lives as long as the exchange.
func keep(x *proxy.Exchange, b []byte) []byte {
	dst := x.Scratch()
	if cap(dst) < len(b) {
		// Ask for more than is needed: what is kept here serves the exchanges to come.
		dst = make([]byte, 0, max(scratchMin, 2*len(b)))
	}
	return x.KeepScratch(append(dst, b...))
}

// scratchMin is what scratch memory grows to at least, in bytes: enough for the rewrites of most routes.
const scratchMin = 1 << 10

// checkPath finds at configuration time what would be refused whatever the values are.
func checkPath(pieces proxy.URLText) error {
	sample := pieces.AppendSample(nil)
	for _, c := range sample {
		if c >= 0x80 {
			return errors.New("percent-encode what is not ASCII (RFC 3986 section 2.5)")
		}
	}
	if len(pieces) > 0 && pieces[0].Value != nil {
		// It is $request.path, which brings its slash along.
		sample = append([]byte("/"), sample...)
	}
	normal, err := router.NormalizePath(nil, sample)
	if err != nil {
		return err
	}
	if !bytes.Equal(normal, sample) {
		return errors.New("the path is not in its normal form: resolve dot segments, write escapes in upper case and unreserved characters without an escape")
	}
	return nil
}
