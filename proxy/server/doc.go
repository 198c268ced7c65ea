// Package server is the edges: they accept connections, turn what arrives into exchanges, run them and write the
// responses.
//
// The life of a request, in the order to read: listener.go accepts whom its Door lets in, proxied.go learns from a balancer who that is, h1.go
// loops over the requests of a connection, request.go fills the exchange, upload.go lends the request's body, serve.go routes it and runs the
// chain, response.go writes what came of it, tunnel.go copies if that is another protocol, and h1.go finishes the exchange. server.go counts
// all connections, and ends them. misdirected.go says which requests have come over the wrong connection, call.go what becomes of calls of gRPC
// whose clients' time is over; hsts.go and altsvc.go add what clients are to remember. ask.go serves what the gateway asks itself, and
// caught.go keeps bugs from ending the process. A connection that is unused for long gives its goroutines up until it is used again, except over QUIC.
//
// With TLS, hello.go waits for what the client says first, tls.go makes the handshake, and crowd.go says who makes room for others when
// there are too many of them.
//
// HTTP/2 comes in through h2.go: a listener that speaks both versions hands a connection over when its first line turns out
// to be the preface of HTTP/2. There, h2head.go decodes heads, h2request.go fills the exchange, h2body.go takes what the client
// sends, h2stream.go serves and responds, h2write.go writes, h2ended.go knows which streams are no more, and h2flood.go says how much a
// client may ask for nothing, and who is shunned after that. From serve.go on there is one way for all. What HTTP/2 to origins has in common
// with it is in package wire/frames.
//
// HTTP/3 comes in over UDP: quic.go has the socket, which accepts and refuses, and quichandshake.go makes a connection of what
// arrives. There, h3.go begins streams and ends connections, h3control.go hears what the client says of itself, h3frame.go and
// h3head.go read frames and heads, h3body.go takes what the client sends, h3stream.go serves and responds, and h3write.go writes
// heads. What is the same for HTTP/2 is in decoded.go, which judges heads, and streamed.go, which cuts responses into pieces.
//
// What is passed on as it is, nobody reads: passage.go reads the name that a client asks for with TLS, and relay.go copies.
//
// The loop is our own, and not fasthttp.Server's: that one waits for up to 8 KiB of a body before its handler runs,
// ends a truncated upload in a clean EOF, holds buffers on idle connections in streaming mode, and closes a response
// body before its first byte is written. fasthttp.Server does serve the admin listener and the demo origins.
package server
