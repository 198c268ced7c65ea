// Package oauth asks the endpoints of an OAuth 2 provider, on behalf of those who need what it answers: keys of tokens, what a token is worth
// (RFC 7662), tokens for a browser that has signed in or for a service (RFC 6749).
//
// A Provider knows where the endpoints are, from the configuration or from the document that the issuer has for that, which it fetches in the
// background. A Client is who the gateway is to the provider: it posts forms and reads the answers. Flights lets those who ask the same at the
// same time ask once, and a Probe notices when a provider is there again. What was answered is remembered in package recall.
//
// Whatever comes back is bounded in size and time, no redirect is followed, and no error repeats what was sent: tokens, codes and secrets.
package oauth
