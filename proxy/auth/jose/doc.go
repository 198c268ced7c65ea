// Package jose reads what is signed: tokens in the compact form of JWS (RFC 7515), the keys that verify them (RFC 7517) and the
// claims inside (RFC 7519).
//
// What a token says about itself decides nothing. Its key decides how it is verified, and keys come from where the configuration says
// that they are; a token that brings its own is refused. Everything is bounded, and read strictly: a name that stands in an object twice,
// padding or a stray bit in base64url, a header that says crit, a key with several meanings are errors, because another reader may take
// them for something else.
//
// Read token.go for the form of a token, algorithm.go for how signatures are verified, key.go and set.go for which keys are good for it,
// weak.go for those that are good for nothing, json.go for objects.
//
// The signatures are the standard library's and circl's. Keys are read here rather than by a library for two reasons: libraries leave most
// of what has to be judged to the caller (use, key_ops, the algorithm, weak moduli, two keys of one name), and none that we know reads keys of
// Ed448 and ML-DSA with this version of Go. What then is left of a library is thirty lines. The tests compare with go-jose.
package jose
