package oidc

import (
	"bytes"
	"net"
	"strings"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// Options say what a policy wants, and where it answers itself.
type Options struct {
	Sessions *Sessions
	Reader   *jwt.Reader // what claims have to be, and where they go
	Callback string      // the path that the provider leads back to
	Logout   string      // the path that signs out
	Goodbye  string      // the path to come to after that; empty: wherever the provider leads
	Place    string      // scheme and host that browsers know the gateway by; empty: as they say
	Remember int         // how many sessions
}

// Policy admits people who have signed in, and lets the others do so. Immutable but for what it remembers; safe for concurrent use. For a
// session that it remembers it allocates nothing.
type Policy struct {
	options Options
	s       *Sessions
	opened  *recall.Answers[*opened]
}

// opened is a session that was opened, with what a policy makes of it. Immutable.
type opened struct {
	*session
	claims *jwt.Claims
	// When something is to be done about it, as of wire.Now; 0: never.
	renew   int64 // its browser gets a new cookie, so that it does not end for having been left alone
	refresh int64 // the provider is asked whether it goes on
}

// New returns a policy.
func New(o Options) *Policy {
	const sessionBytesUsual = 8 << 10
	return &Policy{options: o, s: o.Sessions, opened: recall.NewAnswers[*opened](o.Remember, sessionBytesUsual)}
}

// Sessions are those of the policy.
func (p *Policy) Sessions() *Sessions { return p.s }

// Remembered is how many sessions are.
func (p *Policy) Remembered() int { return p.opened.Len() }

// Serve hands on who has signed in. Others are led to the provider if they are browsers that load a page, and refused otherwise.
func (p *Policy) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	p.options.Reader.Prepare(x)
	f := p.s.names.find(x)
	switch path := x.Request.Path; {
	case string(path) == p.options.Callback:
		return p.callback(x, &f)
	case string(path) == p.options.Logout:
		return p.logout(x, &f)
	}
	o := p.session(x, &f)
	if o == nil {
		return p.begin(x)
	}
	if f.some {
		x.StripCookieFamily(p.s.names.base)
	}
	if err := p.options.Reader.Tell(x, o.claims); err != nil {
		return ErrForbidden.With(proxy.AsError(err).Cause) // browsers know nothing of the token that its answer speaks of
	}
	x.ByAuthorization = false // what stands there is not looked at
	return next.Serve(x)
}

// session returns the session of a request, nil if it has none.
func (p *Policy) session(x *proxy.Exchange, f *found) *opened {
	sum, ok := p.s.sum(f)
	if !ok {
		return nil
	}
	now := jwt.NowOf(x)
	o, ok := p.opened.Find(sum, now)
	if !ok {
		if o = p.open(sum, f); o == nil {
			return nil
		}
	}
	switch {
	case p.s.ended.has(o.id):
		return nil
	case o.refresh != 0 && now >= o.refresh:
		return p.goOn(x, sum, o, f)
	case o.renew != 0 && now >= o.renew:
		again := *o.session
		again.seen = p.s.now().Unix()
		if fields, err := p.s.fields(&again, f); err == nil { // it did fit when it was made
			set(x, fields)
		}
	}
	return o
}

// rememberMax is how long a session is not looked at again: a clock that was wrong then may be right now.
const rememberMax = time.Hour

func (p *Policy) open(sum recall.Sum, f *found) *opened {
	one, old := p.s.open(f)
	if one == nil {
		return nil
	}
	o := p.judge(one)
	if old { // so that the former secret is soon not needed any more
		o.renew = 1
	}
	now := wire.Now()
	left := time.Duration(one.ends(p.s.options.Idle)-p.s.now().Unix()) * time.Second
	p.opened.Add(sum, o, now, now+int64(min(left, rememberMax)), o.claims.Bytes()+2*len(one.idToken)+len(one.refresh))
	return o
}

// judge looks at what the claims of a session allow, and when something is to be done about it.
func (p *Policy) judge(one *session) *opened {
	o := &opened{session: one, claims: p.options.Reader.Judge("oidc", p.s.options.Issuer, one.subject, one.claims, nil)}
	now, unix := wire.Now(), p.s.now().Unix()
	at := func(second int64) int64 { return max(1, now+(second-unix)*int64(time.Second)) }
	if idle := p.s.options.Idle; idle > 0 {
		const pieces = 8 // a cookie is made anew this often while somebody goes on
		o.renew = at(one.seen + int64(idle/pieces/time.Second))
	}
	if one.refresh != "" && one.access > 0 {
		o.refresh = at(one.access)
	}
	return o
}

// place is the scheme and host that the browser knows the gateway by. Cookies that are sent over https alone want that it is https, or this
// machine.
func (p *Policy) place(x *proxy.Exchange) (string, bool) {
	if p.options.Place != "" {
		return p.options.Place, true
	}
	host := string(x.Request.Host)
	return x.Request.Scheme + "://" + host, host != "" && (x.Request.Scheme == "https" || isThisMachine(host))
}

func isThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// navigates reports whether a browser loads a page, so that it can be led to another. What a script asks for would end at the provider's
// page, which it can neither see nor show.
func navigates(x *proxy.Exchange) bool {
	r := &x.Request
	if r.Method != "GET" && r.Method != "HEAD" || r.Upgrade != "" {
		return false
	}
	if mode := r.Head.Get("sec-fetch-mode"); mode != nil {
		switch string(r.Head.Get("sec-fetch-dest")) {
		case "", "document", "iframe", "frame":
			return string(mode) == "navigate"
		}
		return false
	}
	for accept := range r.Head.Values("accept") {
		if bytes.Contains(accept, html) {
			return true
		}
	}
	return false
}

var html = []byte("text/html")

// lead answers with a redirect that nobody keeps.
func lead(x *proxy.Exchange, to string) {
	r := &x.Response
	r.Status, r.Reason = 303, nil
	r.Head.AddString("Location", to)
	r.Head.AddString("Cache-Control", "no-store")
	if x.Request.Method == "HEAD" {
		r.Body.SetAbsent(0)
	} else {
		r.Body.SetWhole(nil)
	}
}

// fail counts a callback that came to nothing, and lets the log know what a provider has done wrong.
func (s *Sessions) fail(refused *proxy.Error) *proxy.Error {
	s.failed.Add(1)
	if refused.Side == proxy.ByUpstream {
		s.tell("somebody could not sign in, as the provider gave an answer that cannot be accepted", refused.Cause)
	}
	return refused
}
