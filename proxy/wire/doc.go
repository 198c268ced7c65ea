// Package wire is HTTP/1.1 as bytes: strict scans of request and response heads, the ordered list of header
// fields that they yield (Head), the chunked coding, pooled buffers, and connections that read and write with
// as few system calls as the kernel allows. It knows nothing of routes, policies or services; the edge and the
// upstream both build on it, so what one side accepts is what the other side sends.
//
// Why not the header types of fasthttp: a proxy has to prove a head unambiguous before it trusts it, and that
// strict scan already finds every name and value. A Head keeps those places as an index over the received
// bytes, so that fields nobody edited reach the other side byte for byte and in order. fasthttp's types would
// parse the same bytes a second time, copy each field, re-create an Authorization field from userinfo, merge
// cookies and reorder what they treat specially. BenchmarkScanRequest measures both: the scan with its index
// takes little more than half the time of fasthttp's RequestHeader.Read, which proves less, and sending it on copies runs of
// bytes.
//
// References: RFC 9110 (semantics), RFC 9112 (HTTP/1.1).
package wire
