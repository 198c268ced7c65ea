package oidc

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// SessionsOptions say where people sign in, and what their sessions are.
type SessionsOptions struct {
	Client *oauth.Client
	// Refresher asks whether sessions go on. It is the same client at the same provider, apart from Client: a provider that was angered by
	// callbacks with codes that somebody has made up is left alone by Client for a moment, and must be asked about sessions all the same. nil: Client.
	Refresher *oauth.Client
	Keys      *jwt.Keys // of the issuer
	Issuer    string
	Scopes    []string // beside openid
	Cookie    string   // the name of the cookie
	Secrets   [][]byte // the first one seals, all of them open
	Lifetime  time.Duration
	Idle      time.Duration // how long a session may be left alone; 0: as long as it lasts
	History   *History      // of the issuer, the client and the cookie; nil: one of their own
}

// Sessions are what policies share that sign people in at one provider with one cookie: whoever is signed in for one of them is for all, and
// whoever signs out does so for all. Those that differ in something else only, as before and after a reload, share their History. All methods
// are safe for concurrent use.
type Sessions struct {
	*History
	options SessionsOptions
	seal    *seal
	names   names

	logins, failed, refreshed, unrefreshed, logouts atomic.Uint64

	told atomic.Int64 // wire.Now when the log was told of the provider

	now func() time.Time // the wall clock; tests replace it
}

// NewSessions returns sessions; what they ask is started and stopped by whoever has made it.
func NewSessions(o SessionsOptions) (*Sessions, error) {
	if o.History == nil {
		o.History = NewHistory()
	}
	if o.Refresher == nil {
		o.Refresher = o.Client
	}
	s := &Sessions{History: o.History, options: o, names: newNames(o.Cookie), now: time.Now}
	var err error
	s.seal, err = newSeal(o.Secrets, fmt.Sprintf("sluice oidc %q %q %q", o.Issuer, o.Client.ID(), o.Cookie))
	return s, err
}

// Start and Stop are there for what lasts longer than a configuration: nothing happens in the background.
func (s *Sessions) Start() {}

// Stop does nothing.
func (s *Sessions) Stop() {}

// Status is what has happened to sessions.
type Status struct {
	Logins, Failed         uint64 // callbacks that made a session, and that did not
	Refreshed, Unrefreshed uint64 // questions whether a session goes on, and those that had no answer
	Logouts                uint64
}

// Status returns what has happened to sessions.
func (s *Sessions) Status() Status {
	return Status{s.logins.Load(), s.failed.Load(), s.refreshed.Load(), s.unrefreshed.Load(), s.logouts.Load()}
}

// Add adds what has happened to other sessions.
func (s *Status) Add(o Status) {
	s.Logins += o.Logins
	s.Failed += o.Failed
	s.Refreshed += o.Refreshed
	s.Unrefreshed += o.Unrefreshed
	s.Logouts += o.Logouts
}

// open opens what a cookie holds, if that is a session that goes on.
func (s *Sessions) open(f *found) (one *session, old bool) {
	parts, n := f.session()
	if n == 0 {
		return nil, false
	}
	var sealed []byte
	for _, p := range parts[:n] {
		sealed = append(sealed, p...)
	}
	text, old, err := s.seal.open(sealed, sessionPurpose)
	if err != nil {
		return nil, false
	}
	if one, err = unpackSession(text); err != nil || s.ended.has(one.id) {
		return nil, false
	}
	if now := s.now().Unix(); now >= one.ends(s.options.Idle) || one.seen > now+int64(s.options.Lifetime/time.Second) {
		return nil, false
	}
	return one, old
}

// tell lets the log know what a provider has done, once a minute at most.
func (s *Sessions) tell(what string, err error) {
	now := wire.Now()
	if told := s.told.Load(); (told == 0 || now-told >= int64(time.Minute)) && s.told.CompareAndSwap(told, now) {
		slog.Warn(what, "issuer", s.options.Issuer, "error", err)
	}
}

// fields are what lets a browser keep a session.
func (s *Sessions) fields(one *session, has *found) ([]string, error) {
	text, err := one.pack()
	if err != nil {
		return nil, err
	}
	return s.names.setSession(s.seal.close(text, sessionPurpose), has), nil
}

// sum stands for the cookies of a session.
func (s *Sessions) sum(f *found) (recall.Sum, bool) {
	parts, n := f.session()
	if n == 0 {
		return recall.Sum{}, false
	}
	return s.sums.Of(parts[:n]...), true
}
