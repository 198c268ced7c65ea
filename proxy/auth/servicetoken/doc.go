// Package servicetoken shows services a token that they accept, in the place of what the client has sent: one that the gateway gets for itself
// (Own, the client credentials grant, RFC 6749 section 4.4), or one that it gets for the client, in exchange for the client's (Exchanged, RFC 8693).
//
// Read token.go for what a provider's answer has to be, own.go and fetch.go for the gateway's own, exchanged.go for the clients'.
package servicetoken
