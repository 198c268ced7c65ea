// Package proxy is the vocabulary of the data plane. Read it first: everything else speaks in its words.
//
// Heads are data, bodies are streams, and Serve returns when the response head is ready.
//
//   - An Exchange is one request and its response, whichever protocol carried them.
//   - A Policy is one step of a route's Chain: it answers, refuses by returning an error, or hands on to next.
//   - A Guard is the common simple policy: it says yes, or no with an *Error, or with an Answer of its own.
//   - An Identity is who the client was proven to be, with what was said about it; policies and templates ask it. Several may
//     prove something: the last one speaks, and all of them tell clients apart where answers are kept.
//   - A Body owns what a message carries: an in-memory prefix and a flow that is still on its way.
//   - An Error is a refusal or failure as a value: status, stable code, side, and whether a retry is safe.
//   - A Passage is one connection that is passed on to a service as it is, and a Carrier a service that takes such.
//   - A Route is a name, a pattern and a chain; a Snapshot is everything one configuration compiled into.
//   - A Listening is how a listener takes connections, and a Door what lets them in, or not.
//
// Rules that go with it:
//
//  1. Bytes from a head or body are valid until the exchange finishes; copy to keep. Built with the tag
//     invariants, pooled memory is overwritten when it is taken back, so that a late use fails loudly in tests.
//  2. Only edges write to clients.
//  3. Hop-by-hop fields go at the edge before the first policy, and from upstream responses before the chain sees
//     them. What is matched, judged and sent is one message: a strict scan (package wire) first proves the head
//     unambiguous, else it is refused; fields that no policy edited reach the other side byte for byte and in
//     order. Framing derives from the Body alone, never from a field.
//  4. Lent bodies are gated: when an exchange finishes, the edge stops reads of its request body, interrupts and
//     joins the one in flight. A late reader never sees the next request's bytes.
//  5. Retry only while no response head was accepted, the request body can be sent again, and the method is
//     idempotent, no byte was written, or the peer says that it has processed nothing.
//  6. A panic is a bug, and never takes another request with it. It is caught and counted (Caught) at the top of the
//     goroutines and timers of the edges, for each connection that is accepted, of connections to origins, of what the cache fetches, and of Go,
//     and in each turn of what keeps services up to date. A request that has no answer yet is answered 500; a connection that
//     cannot go on is closed; what serves many goes on. So a lock that a recover may need is given back by defer.
//
// Heads are wire.Head, an index over the received bytes, and not fasthttp's header types: package wire says why
// and what the difference costs.
package proxy
