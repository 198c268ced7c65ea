package compress

import (
	"bytes"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Whoever sees how long answers are, and can make a browser ask for pages of another site that repeat what was asked for, finds out what
// else stands in them: a guess that is right compresses better (BREACH). Encryption does not help, nor does padding: it only makes
// the attack longer. What the attack needs is a request that another site has made and that the browser adds its user's
// credentials to. Such requests are answered uncompressed; all others are as usual.

// harmless reports whether a request cannot be one of those: it carries nothing that a browser adds by itself, or the site's own pages,
// or the user, have made it.
func harmless(x *proxy.Exchange) bool {
	r := &x.Request
	h := &r.Head
	if !h.HasKnown(wire.Cookie) && !h.HasKnown(wire.Authorization) && x.Client.Certificate == nil {
		return true
	}
	// Browsers say it themselves, and no page can make them say something else (Fetch Metadata). "same-site" is another host, which
	// may be anybody's.
	told := false
	for site := range h.Values("sec-fetch-site") {
		if told = true; !wire.EqualFold(site, "same-origin") && !wire.EqualFold(site, "none") {
			return false
		}
	}
	if told {
		return true
	}
	// Those that do not, and all over plain HTTP: what is missing is not a proof, since a page can do without a Referer.
	if origin := h.Get("origin"); origin != nil {
		return len(ownOrigin(r, origin)) == len(origin)
	}
	referer := h.GetKnown(wire.Referer)
	own := ownOrigin(r, referer)
	return own != nil && (len(referer) == len(own) || referer[len(own)] == '/')
}

// ownOrigin returns the beginning of a URL that is the request's own scheme and host, or nil.
func ownOrigin(r *proxy.Request, url []byte) []byte {
	n := len(r.Scheme) + len("://") + len(r.Host)
	if len(r.Host) == 0 || len(url) < n || !wire.EqualFold(url[:len(r.Scheme)], r.Scheme) {
		return nil
	}
	rest, ok := bytes.CutPrefix(url[len(r.Scheme):n], schemeEnd)
	if !ok || !bytes.EqualFold(rest, r.Host) {
		return nil
	}
	return url[:n]
}

var schemeEnd = []byte("://")
