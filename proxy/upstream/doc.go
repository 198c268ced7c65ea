// Package upstream sends exchanges to origins: it balances over a service's endpoints, keeps their
// connections alive and speaks HTTP/1.1 or HTTP/2 itself.
//
// Read service.go first (choose an endpoint, try, try again where that is safe), then h1.go (one request and its
// response over one connection), pump.go (the request body, while the response is already being read) and pool.go. The same for HTTP/2 are
// h2.go (the pool, and what is tried again), h2conn.go, h2head.go, h2stream.go and h2pump.go. errors.go has the failures, call.go is about
// the time that clients of gRPC give their calls, and tunnel.go copies once an origin has switched to another protocol.
//
// endpoint.go is one address: it opens connections, retries, and is left out for a while when it cannot be reached. balance.go chooses among
// endpoints, and split.go among services. resolve.go looks host names up, and follows what becomes of them. health.go says when endpoints
// are asked whether they are well and what follows from that, healthcheck.go how.
//
// caught.go is what becomes of a bug in a goroutine that works for no request.
//
// Connections to a service may begin with a PROXY header (proxied.go). One that does is never used for what another client sends: see
// pool.go and h2pools.go.
//
// Connections that are passed on as they are, and which nobody here reads, are opened by connect.go.
//
// A response that fits into the buffer its head came in is whole when Serve returns, and the connection is free
// for the next request before the client has read a byte. Everything else flows: at most one buffer of it is in
// memory at a time.
package upstream
