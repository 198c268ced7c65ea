package dpop

import (
	"strings"

	"sluice/proxy"
	"sluice/router"
)

// isTarget reports whether htu is the URL of the request, as the client sees it: over the scheme that a trusted proxy says it came with, for
// the host that it has asked for, and the path before anything rewrites it. Query and fragment do not count (RFC 9449 section 4.3). Both are
// compared in their normal form (RFC 3986 section 6.2): upper and lower case, the standard port, dot segments and needless escapes are no difference.
func isTarget(htu string, x *proxy.Exchange) bool {
	if i := strings.IndexAny(htu, "?#"); i >= 0 {
		htu = htu[:i]
	}
	scheme, rest, ok := strings.Cut(htu, "://")
	if !ok || !strings.EqualFold(scheme, x.Request.Scheme) {
		return false
	}
	host, path := rest, "/"
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	port := ":80"
	if x.Request.Scheme == "https" {
		port = ":443"
	}
	if host == "" || !strings.EqualFold(strings.TrimSuffix(host, port), strings.TrimSuffix(string(x.Request.Host), port)) {
		return false
	}
	normal, err := router.NormalizePath(nil, []byte(path))
	return err == nil && string(normal) == string(x.MatchedPath)
}
