// Package jwt admits clients by a signed token that they bring with each request (RFC 7519, RFC 6750, RFC 8725, RFC 9068).
//
// A Guard looks a token up among those that it has verified before: that is all that happens to nearly every request, without
// allocating. A token that is new is read and verified (package jose), its claims are judged, and the outcome is remembered until it
// expires, the keys change or the list of revoked tokens does. Keys fetches keys in the background and keeps the last good ones;
// while there are none, the routes are closed.
//
// Read guard.go for the way of a request, verify.go for that of a new token, memory.go for what is remembered, keys.go and fetch.go for
// where keys come from, bound.go for tokens that are bound to a key or a certificate, require.go for what claims must be, revoked.go for
// tokens that count no more, and reader.go for what other policies use of all that.
package jwt
