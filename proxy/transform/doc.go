// Package transform holds the policies that change a request or the head of a response and then hand on:
//
//   - Headers sets, adds and removes fields;
//   - Path, Prefix and Regex give the request another path, Path also another query;
//   - Host gives it another host.
//
// What was received and what was matched stays as it was: only x.Request changes, and variables such as $path.id
// go on meaning what the route captured.
//
// A rewritten path is normal again (see router.NormalizePath) or the request is refused. That is a refusal and
// not a repair: if a value could bring in "..", resolving it would let a client choose another part of the origin
// than the one the rewrite leads to.
//
// All policies are immutable and safe for concurrent use. None allocates per request, a regex that captures aside.
package transform
