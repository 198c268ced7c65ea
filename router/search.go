package router

import "bytes"

// tree is the part of a table that does not depend on its values.
type tree struct {
	hosts   hosts
	methods methodSet
	routes  []namedPattern // canonical, in New's order; for Explain
}

// search is one walk for a request. It lives on the stack.
type search struct {
	request *Request
	methods uint64 // what a route must take one of
	purpose purpose

	exist bool // a route takes the request but for its method
	maybe bool // so may one whose predicates were not looked at

	allowed uint64   // for collectMethods
	visited []*entry // for listRoutes
}

// purpose is what a walk does with the routes of a path that matches.
type purpose uint8

const (
	findRoute      purpose = iota // stop at the first that takes the request
	collectMethods                // add up the methods of those whose predicates hold
	listRoutes                    // note them all
)

func (t *tree) lookup(r *Request, m *Match) (int, Outcome) {
	m.Index, m.count = -1, 0
	if len(r.Path) == 0 || r.Path[0] != '/' {
		return -1, t.lookupAsterisk(r)
	}
	s := search{request: r, methods: t.methods.asked(r.Method)}
	if t.walk(&s, m) {
		return m.Index, Found
	}
	if !s.exist && s.maybe {
		// Only now are the predicates of routes for other methods looked at: they
		// may cost more than the lookup, and nearly never decide anything.
		s.methods = anyMethod
		s.exist = t.walk(&s, m)
		m.Index, m.count = -1, 0
	}
	switch {
	case !s.exist:
		return -1, NotFound
	case string(r.Method) == "OPTIONS":
		return -1, Options
	}
	return -1, MethodNotAllowed
}

// lookupAsterisk answers for a path that no pattern can match. "*" asks about the
// host as a whole (RFC 9110 section 9.3.7).
func (t *tree) lookupAsterisk(r *Request) Outcome {
	if string(r.Path) != "*" || string(r.Method) != "OPTIONS" {
		return NotFound
	}
	for from := 0; from >= 0; {
		var s *site
		if s, from = t.hosts.next(r.Host, from); s != nil {
			return Options
		}
	}
	return NotFound
}

func (t *tree) appendAllow(dst []byte, r *Request) []byte {
	if string(r.Path) == "*" {
		return t.methods.appendAllow(dst, t.hostMethods(r.Host))
	}
	s := search{request: r, methods: anyMethod, purpose: collectMethods}
	var m Match
	t.walk(&s, &m)
	return t.methods.appendAllow(dst, s.allowed)
}

// hostMethods returns what any route takes that a host could lead to.
func (t *tree) hostMethods(host []byte) uint64 {
	bits := uint64(0)
	for from := 0; from >= 0; {
		var s *site
		if s, from = t.hosts.next(host, from); s != nil {
			bits |= s.methods
		}
	}
	return bits
}

// walk searches the trees of the request's host and reports whether it found a route.
func (t *tree) walk(s *search, m *Match) bool {
	for from := 0; from >= 0; {
		var site *site
		if site, from = t.hosts.next(s.request.Host, from); site == nil {
			continue
		}
		if s.walk(site.root, m, 0, 0) {
			return true
		}
	}
	return false
}

// walk searches below n, which ends before path[at], with count parameters taken. It
// tries the most specific continuation first and comes back to the others, so that
// what it finds first is the most specific full match.
//
// It enters a node at most once per search (see node), so it takes at most as many
// steps as the host has nodes, each in time linear in the segment, however long the
// path is. For patterns with k alternatives in each of d segments that is k^d, which
// is then also how many routes somebody has written.
func (s *search) walk(n *node, m *Match, at, count int) bool {
	path := s.request.Path
	for at < len(path) {
		child := n.child(path[at])
		if child != nil && !startsWith(path[at:], child.text) {
			child = nil
		}
		if len(n.dynamic) == 0 && len(n.rest) == 0 {
			if child == nil {
				return false
			}
			// Nothing here to come back to.
			n, at = child, at+len(child.text)
			continue
		}
		if child != nil && s.walk(child, m, at+len(child.text), count) {
			return true
		}
		return s.walkDynamic(n, m, at, count) || path[at] == '/' && s.takeRest(n, m, at+1, count)
	}
	return len(n.leaf) > 0 && s.accept(n.leaf, m, count) || s.takeRest(n, m, at, count)
}

// walkDynamic tries the parameters that begin at n.
func (s *search) walkDynamic(n *node, m *Match, at, count int) bool {
	if len(n.dynamic) == 0 {
		return false
	}
	path := s.request.Path
	segment := path[at:]
	if slash := bytes.IndexByte(segment, '/'); slash >= 0 {
		segment = segment[:slash]
	}
	for i := range n.dynamic {
		d := &n.dynamic[i]
		size := len(segment) - len(d.suffix)
		if size <= 0 || string(segment[size:]) != d.suffix || !d.matches(segment[:size]) {
			continue
		}
		m.spans[count] = span{uint32(at), uint32(at + size)}
		if s.walk(d.next, m, at+len(segment), count+1) {
			return true
		}
	}
	return false
}

// takeRest tries the routes that end in "**" at n, which takes all from path[at].
func (s *search) takeRest(n *node, m *Match, at, count int) bool {
	if len(n.rest) == 0 {
		return false
	}
	m.spans[count] = span{uint32(at), uint32(len(s.request.Path))}
	return s.accept(n.rest, m, count+1)
}

// accept looks at the routes whose path matches, the most specific first, and reports
// whether the search is over.
func (s *search) accept(entries []entry, m *Match, count int) bool {
	for i := range entries {
		e := &entries[i]
		switch {
		case s.purpose == listRoutes:
			s.visited = append(s.visited, e)
		case e.methods&s.methods == 0:
			s.exist = s.exist || len(e.checks) == 0
			s.maybe = true
		case !e.holds(s.request.Values):
		case s.purpose == collectMethods:
			s.allowed |= e.methods
		default:
			m.Index, m.count = e.route, count
			return true
		}
	}
	return false
}

// holds reports whether all predicates but the method hold.
func (e *entry) holds(values Values) bool {
	for i := range e.checks {
		if !e.checks[i].holds(values) {
			return false
		}
	}
	return true
}

func startsWith(path []byte, text string) bool {
	return len(path) >= len(text) && string(path[:len(text)]) == text
}
