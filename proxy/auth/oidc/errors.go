package oidc

import (
	"errors"

	"sluice/proxy"
)

// What browsers are refused with. The log has the cause.
var (
	ErrNeeded = &proxy.Error{Status: 401, Code: "login_required", Side: proxy.ByClient, Challenge: `Cookie realm="sluice"`,
		Detail: "You have to be signed in here, and are not. Load the page anew."}
	ErrFailed = &proxy.Error{Status: 400, Code: "login_failed", Side: proxy.ByClient,
		Detail: "Signing in did not work. Begin again at the page that you wanted."}
	ErrDenied = &proxy.Error{Status: 403, Code: "login_denied", Side: proxy.ByClient,
		Detail: "The identity provider has not let you sign in."}
	ErrForbidden = &proxy.Error{Status: 403, Code: "login_insufficient", Side: proxy.ByClient,
		Detail: "You are signed in, and this is not allowed to you."}
	ErrProvider = &proxy.Error{Status: 502, Code: "login_provider", Side: proxy.ByUpstream,
		Detail: "The identity provider gave an answer that cannot be accepted."}
	ErrUnavailable = &proxy.Error{Status: 503, Code: "login_unavailable", Side: proxy.ByGateway, RetryAfter: 5,
		Detail: "Nobody can sign in at the moment."}
	ErrInsecure = &proxy.Error{Status: 400, Code: "login_insecure", Side: proxy.ByClient,
		Detail: "Signing in works over https only."}
	ErrCrossSite = &proxy.Error{Status: 403, Code: "cross_site", Side: proxy.ByClient,
		Detail: "A page of another site may not sign you out."}
	ErrMethod = &proxy.Error{Status: 405, Code: "method_not_allowed", Side: proxy.ByClient,
		Detail: "Browsers come here with GET; to sign out, with POST, too."}
)

// Causes of ErrFailed: what was wrong with a callback.
var (
	errCallback = errors.New("the callback is not what a provider sends")
	errAttempt  = errors.New("the login was not begun in this browser, or its cookie is gone")
	errState    = errors.New("the state is of another login")
	errOld      = errors.New("the login took too long")
	errUsed     = errors.New("the callback has come before")
	errMixUp    = errors.New("the callback is of another issuer, or does not say of which")
	errPlace    = errors.New("the login was begun at another host")
	errCode     = errors.New("the provider does not accept the code")
)

// Causes of ErrProvider: what was wrong with what a provider has said.
var (
	errNoIDToken = errors.New("the provider gives no ID token")
	errType      = errors.New("the ID token is of another type")
	errIssuer    = errors.New("the ID token is of another issuer")
	errAudience  = errors.New("the ID token is for another client")
	errSubject   = errors.New("the ID token says not whom it is about")
	errTime      = errors.New("the times of the ID token are none, have passed or are to come")
	errNonce     = errors.New("the ID token is of another login")
	errAccess    = errors.New("the ID token belongs to another access token")
	errOther     = errors.New("the ID token is about somebody else")
)
