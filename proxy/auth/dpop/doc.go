// Package dpop judges whether a client has the private key that its token is bound to (RFC 9449): with each request it sends a proof, a token
// that the key has signed, of this method and this URL, at this time, with a number that it uses once.
//
// Read proof.go for what a proof says, judge.go for what it has to say, target.go for how URLs are compared, memory.go for the proofs that
// were seen before, nonce.go for numbers that the gateway gives out.
package dpop
