// Package signature admits consumers who sign their requests (HTTP message signatures, RFC 9421), and says who they are.
//
// Guard is the policy. fields.go reads structured fields (RFC 9651) and writes them in their one form, input.go takes what a request says of
// its signature apart, base.go puts together what is signed, key.go verifies it, digest.go compares the body with its Content-Digest (RFC
// 9530), and nonces.go remembers what may be shown once.
//
// What is signed is the request as the client has sent it, whatever the gateway makes of it later. All that is read of a request is bounded,
// and what is not understood is refused: a signature that covers something else than it seems to is worse than none. Checking one of
// hmac-sha256 allocates nothing.
package signature
