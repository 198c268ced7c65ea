// Package ocsp keeps proof at hand that certificates are not revoked (RFC 6960), to be sent along with them (RFC 6066 section 8).
//
//	answer.go    what a responder has said, and whether that is to be believed
//	ask.go       asking one
//	stapler.go   when to ask, and what there is to staple
//	folder.go    answers that outlive the process
//
// An answer is stapled if the certificate's issuer has signed it, or somebody whom the issuer has appointed for that (section
// 4.2.2.2), if it is about this certificate and says good, and while it is valid. It is asked for again when half of that time is
// over. Whatever else a responder says, and if it says nothing, the last good answer stays until it ends: clients that were given none
// would mostly go on, and those that insist would not. Only if the answer is that the certificate is revoked does the good one
// end at once. That answer is not stapled: it is the operator's to act on, which the log and a metric ask for, and clients that
// want to know ask the responder.
//
// # Limits
//
// An answer has at most 32 KiB and takes at most ten seconds; four are fetched at a time for a set of certificates. A responder that fails
// is asked again after one minute, then two and so on up to an hour. Nothing of this happens in a handshake.
package ocsp
