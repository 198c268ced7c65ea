// Package introspect admits clients by a token that says nothing by itself: its issuer is asked what it is worth (RFC 7662).
//
// A Guard looks a token up among those that it has asked about: that is all that happens to nearly every request, without allocating. About
// one that is new it asks, once for all who bring it at the same time, and remembers the answer for a short while: good ones in one memory
// and bad ones in another, so that a flood of made-up tokens pushes no good one out. When the issuer does not answer, what is remembered is
// good until its time, and everything else is refused.
//
// Read guard.go for the way of a request, answer.go for what an answer has to say. That the issuer is there again, an oauth.Probe notices.
package introspect
