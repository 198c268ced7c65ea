package router

// Route is one entry of a table. Name appears in problems and in Explain only.
type Route[V any] struct {
	Name    string
	Pattern Pattern
	Value   V
}

// Table is an immutable set of routes. All its methods may be called by any
// number of goroutines at once.
type Table[V any] struct {
	tree   tree
	values []V
}

// Values is what predicates look at. It is asked only for routes of the request's
// host and path that have such predicates, JSON last.
//
// ok tells a value that is present from one that is absent; a present value may be
// empty. Where a name occurs several times the first counts. A header name comes in
// its canonical form (X-Request-Id). The bytes are not kept.
type Values interface {
	Header(name string) (value []byte, ok bool)
	Query(name string) (value []byte, ok bool)
	Cookie(name string) (value []byte, ok bool)
	JSON(path string) (value []byte, ok bool)
}

// Request is what a lookup needs to know of a request.
type Request struct {
	Method []byte // case-sensitive, as received (RFC 9110 section 9.1)
	Host   []byte // lower case, without port, without a trailing dot
	Path   []byte // as NormalizePath returns it, or "*" for OPTIONS * (RFC 9112 section 3.2.4)
	Values Values // nil counts as nothing being present
}

// Outcome says how a lookup ended.
type Outcome uint8

const (
	// NotFound: no route matches the host, the path and the predicates.
	NotFound Outcome = iota
	// Found: a route takes the request.
	Found
	// MethodNotAllowed: some route takes this very request with another method.
	// The answer is a 405 with Allow (RFC 9110 section 15.5.6).
	MethodNotAllowed
	// Options: the method is OPTIONS, no route takes it, but the path exists (or
	// it is "*" and the host has routes). The answer is an Allow field.
	Options
)

// String returns a word for messages.
func (o Outcome) String() string {
	switch o {
	case NotFound:
		return "not found"
	case Found:
		return "found"
	case MethodNotAllowed:
		return "method not allowed"
	case Options:
		return "options"
	}
	panic("BUG: unknown router.Outcome")
}

// New builds a table of routes. The routes may come in any order; it does not
// change them, nor keep their slices of predicates.
//
// The problems are in the order of the routes, errors first, at most 100 of them.
// The table is nil if one of them is Invalid or a Conflict.
func New[V any](routes []Route[V]) (*Table[V], []Problem) {
	named := make([]namedPattern, len(routes))
	values := make([]V, len(routes))
	for i, r := range routes {
		named[i] = namedPattern{name: r.Name, pattern: r.Pattern}
		values[i] = r.Value
	}
	tree, problems := build(named)
	if tree == nil {
		return nil, problems
	}
	return &Table[V]{tree: *tree, values: values}, problems
}

// Lookup finds the route that takes r and returns its value. It fills m with the
// route's index and what its parameters captured; unless the outcome is Found, the
// value is zero, m.Index is -1 and m holds nothing.
//
// It allocates nothing (regexes aside, whose scratch the standard library pools)
// and keeps neither r nor m.
func (t *Table[V]) Lookup(r *Request, m *Match) (V, Outcome) {
	route, outcome := t.tree.lookup(r, m)
	if outcome != Found {
		var zero V
		return zero, outcome
	}
	return t.values[route], Found
}

// AppendAllow appends the value of the Allow field for r's host and path, such as
// "GET, HEAD, OPTIONS", in alphabetical order: every method that some route would
// take, its other predicates holding. GET implies HEAD, OPTIONS is always there,
// and a route for any method stands for the usual ones and those the table names.
// For the path "*" it lists what any route of the host takes, predicates unseen.
func (t *Table[V]) AppendAllow(dst []byte, r *Request) []byte {
	return t.tree.appendAllow(dst, r)
}

// Explain returns every route whose host and path match r, in the order in which
// Lookup tries them, with the reason why each was taken or passed over. It
// allocates: it is meant for people, not for the request path.
func (t *Table[V]) Explain(r *Request) []Candidate {
	return t.tree.explain(r)
}
