// Package compress holds the policy that compresses responses: zstd, brotli or gzip, as the client's Accept-Encoding has it (RFC 9110
// section 12.5.3).
//
// Read policy.go first: which responses, and what is decided when. head.go says what becomes of their fields. body.go does the work: a
// body that is all there is compressed at once and keeps a Content-Length; any other is compressed as it comes, and nothing of it is
// held back while the origin is waited for. encoders.go lends the encoders, and bounds how much memory they take. secrets.go is for
// routes whose answers hold what the client keeps from others (BREACH).
package compress
