// Package transcode holds the policies that let clients of one protocol call services of another:
//
//   - GRPCWeb lets browsers call services of gRPC: gRPC-Web, in binary and as text, becomes gRPC.
//
// Read grpcweb.go first (what happens to a call), then answer.go (the messages and trailers that come back) and text.go (base64
// both ways).
//
// Messages pass as they come, whatever their size: what is in memory is a buffer of a call in text, and the trailers.
package transcode
