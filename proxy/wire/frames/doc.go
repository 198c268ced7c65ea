// Package frames is what both sides of HTTP/2 (RFC 9113) have in common: the edge, which serves clients, and the connections to
// origins. It says how large things may be, reads frames and judges what is wrong with them, makes blocks of fields and splits
// them into frames, counts windows, and counts what a peer asks for beside its messages.
//
// Streams, and who waits for what, are each side's own: the edge shares its windows out among requests that it does not
// trust, the other side gives an origin as much room as it has readers.
//
// Frames and header compression themselves are x/net/http2's Framer and hpack.
package frames
