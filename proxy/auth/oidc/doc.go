// Package oidc lets people sign in with a browser at an OpenID provider (OpenID Connect Core 1.0, the authorization code flow with PKCE).
//
// A page that is asked for without a session leads to the provider; what it is to come back to travels along in a sealed cookie of that
// attempt, so that several tabs may do that at once. The callback trades the code for an ID token, and what that says becomes the session: a
// sealed cookie, too, so that every host that has the same secret knows it and none has to keep anything. Sessions that were opened before are
// remembered, and cost no allocation.
//
// Nothing that comes from a browser is believed before it was opened: seal.go. Read policy.go for the way of a request, login.go for that of an
// attempt and of its callback, idtoken.go for what a provider has to say, session.go for what a session is and cookies.go for how it travels,
// refresh.go for how it goes on, logout.go for how it ends, and history.go for what is known of that.
package oidc
