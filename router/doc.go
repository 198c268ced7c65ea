// Package router finds the route of a request: host + path + method +
// predicates → value. A [Table] is built once by [New], never changes, and is
// looked up by any number of goroutines at once without allocating.
//
// # Patterns
//
//	GET api.shop.example/v1/orders/**       one method, one host, everything below a path
//	GET|POST *.shop.example/search/{kind}   two methods, any sub-domain, one whole segment
//	/items/{id:[0-9]+}                      any method, any host, a segment that is a number
//	/files/{name}.json                      a literal prefix or suffix around the parameter
//
// A {parameter} takes exactly one non-empty segment (or the non-empty part of it
// between its prefix and suffix); a regex must match all of what is taken. "**"
// stands only at the end and takes the rest: "/api/**" matches "/api", "/api/"
// and all that is below. Otherwise a trailing slash is significant. Paths are
// compared in the form that [NormalizePath] gives them, so a regex sees "%2F",
// never a decoded slash. A [Predicate] looks at a header field, a query parameter,
// a cookie or a field of a JSON body.
//
// # Specificity
//
// The order of routes never matters. Of the routes that match a request in full
// (host, path, method and predicates) the most specific one takes it:
//
//  1. Host: an exact host, then *.wildcards (one or more labels), the longest
//     suffix first, then any host. A host under which no route matches in full
//     falls back to the next.
//  2. Path, segment by segment from the left: a literal; a parameter with a
//     longer literal prefix; with a longer suffix; with a regex; a bare
//     parameter; "**".
//  3. More predicates before fewer. Naming methods counts as one predicate.
//
// Two routes that this leaves undecided although one request could match both are
// a Conflict, and New builds no table. That is so at one path with as many
// predicates on either side (parameter names make no difference), and at two paths
// that part ways at two regexes which may match the same segment. It is no conflict
// where the two provably exclude one another: other methods; other literals,
// prefixes that differ, or present and absent, for the same name; a literal that
// the other's prefix or regex does not match; regexes with no segment in common.
//
// # Methods
//
// A route for GET takes HEAD as well (RFC 9110 section 9.3.2), exactly as specific
// as it is for GET; where it ties with a route that takes HEAD by itself, that one
// is preferred. So HEAD goes where GET goes unless somebody said otherwise. OPTIONS
// goes to a route that takes it; if there is none but the path exists, the outcome
// is [Options] and the caller answers it. [MethodNotAllowed] means that everything
// but the method matches somewhere.
//
// # Cost
//
// The paths of a host are a radix tree. Its literal edges are compressed, and a
// parameter always ends where its segment ends, so each node can be reached at one
// position of a path only: a lookup visits each node at most once however it
// backtracks, and its cost is bounded by the configuration, never by the path.
package router
