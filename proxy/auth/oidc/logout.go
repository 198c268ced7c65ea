package oidc

import (
	"bytes"
	"net/url"

	"sluice/proxy"
)

// logout ends a session: its cookies go, what somebody has kept of them opens nothing on this host any more, and the provider, if it has a place
// for that, is told (OpenID Connect RP-Initiated Logout 1.0).
func (p *Policy) logout(x *proxy.Exchange, f *found) error {
	switch {
	case x.Request.Method != "GET" && x.Request.Method != "POST":
		return notAllowed(x, "GET, POST")
	case !ownPage(x):
		return ErrCrossSite
	}
	query := url.Values{"client_id": {p.s.options.Client.ID()}}
	one, _ := p.s.open(f)
	if one != nil {
		p.s.ended.add(one.id, one.expires, p.s.now().Unix())
		p.s.logouts.Add(1)
		query.Set("id_token_hint", one.idToken)
	}
	set(x, p.s.names.endSession(f))
	place, placed := p.place(x)
	m := p.s.options.Client.Provider().Metadata()
	switch {
	case m != nil && m.EndSession != "" && (one != nil || saysFrom(x)):
		if p.options.Goodbye != "" && placed {
			query.Set("post_logout_redirect_uri", place+p.options.Goodbye)
		}
		lead(x, withQuery(m.EndSession, query))
	case p.options.Goodbye != "" && placed:
		lead(x, place+p.options.Goodbye)
	default:
		r := &x.Response
		r.Status, r.Reason = 200, nil
		r.Head.AddString("Content-Type", "text/plain; charset=utf-8")
		r.Head.AddString("Cache-Control", "no-store")
		r.Body.SetWhole([]byte("You are signed out.\n"))
	}
	return nil
}

// saysFrom reports whether the browser says whose page has caused a request. Older ones do not; for them it is the session that tells who has, as
// its cookies do not come with the pictures of other sites' pages, which must not lead people to the provider's end of their sessions there.
func saysFrom(x *proxy.Exchange) bool {
	return x.Request.Head.Has("sec-fetch-site") || x.Request.Head.Has("origin")
}

// ownPage reports whether a page of the gateway's own origin has caused a request, or the user herself, or no browser at all: a page of somebody
// else could sign people out just by being looked at.
func ownPage(x *proxy.Exchange) bool {
	r := &x.Request
	origin, site := r.Head.Get("origin"), r.Head.Get("sec-fetch-site")
	switch {
	case string(site) == "same-origin", string(site) == "none":
		return true
	case len(site) > 0:
		return false
	case len(origin) == 0:
		return true
	}
	scheme, host, ok := bytes.Cut(origin, []byte("://"))
	return ok && bytes.Equal(host, r.Host) && !(r.Scheme == "https" && string(scheme) != "https")
}
