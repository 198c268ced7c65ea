package router

import (
	"cmp"
	"fmt"
	"slices"
)

// Limits of one place in a tree, because a lookup tries all that stand there.
const (
	maxParametersPerPlace = 64   // different regexes and suffixes behind the same text
	maxRoutesPerPath      = 1024 // told apart by method and predicates alone
)

// namedPattern is a route without its value.
type namedPattern struct {
	name    string
	pattern Pattern
}

// builder makes a tree and collects problems on the way.
type builder struct {
	tree     tree
	segments [][]segment // of each route; nil where the pattern is invalid
	entries  []entry     // of each route
	regexes  map[string]*segmentRegex
	overlaps map[[2]*segmentRegex]bool
	problems []Problem
}

// build returns nil if there are errors among the problems.
func build(routes []namedPattern) (*tree, []Problem) {
	b := builder{
		regexes:  map[string]*segmentRegex{},
		overlaps: map[[2]*segmentRegex]bool{},
		segments: make([][]segment, len(routes)),
		entries:  make([]entry, len(routes)),
	}
	b.parse(routes)
	b.insert()
	b.findConflicts()
	if !b.failed() {
		b.findShadowed()
	}
	slices.SortStableFunc(b.problems, func(p, q Problem) int {
		warning := func(p Problem) int {
			if p.Kind == Shadowed {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(warning(p), warning(q)), cmp.Compare(p.Index, q.Index))
	})
	failed := b.failed()
	b.problems = b.problems[:min(len(b.problems), maxProblems)]
	if failed {
		return nil, b.problems
	}
	return &b.tree, b.problems
}

func (b *builder) report(kind ProblemKind, index int, other string, format string, args ...any) {
	b.problems = append(b.problems, Problem{
		Kind:    kind,
		Index:   index,
		Route:   b.tree.routes[index].name,
		Other:   other,
		Message: fmt.Sprintf(format, args...),
	})
}

func (b *builder) failed() bool {
	return slices.ContainsFunc(b.problems, func(p Problem) bool { return p.Kind != Shadowed })
}

// parse fills routes, segments, regexes and methods.
func (b *builder) parse(routes []namedPattern) {
	b.tree.routes = slices.Clone(routes)
	patterns := make([]Pattern, len(routes))
	for i, r := range routes {
		pattern, segments, err := r.pattern.canonical()
		if err != nil {
			b.report(Invalid, i, "", "%v", err)
			continue
		}
		b.tree.routes[i].pattern = pattern
		b.segments[i] = segments
		patterns[i] = pattern
		b.compileRegexes(i)
	}
	methods, i, err := newMethodSet(patterns)
	if err != nil {
		b.report(Invalid, i, "", "%v", err)
	}
	b.tree.methods = methods
}

func (b *builder) compileRegexes(route int) {
	for _, s := range b.segments[route] {
		if s.regex == "" || b.regexes[s.regex] != nil {
			continue
		}
		regex, err := newSegmentRegex(s.regex)
		if err != nil {
			panic("BUG: parsePath let a regex pass: " + err.Error())
		}
		b.regexes[s.regex] = regex
	}
}

// insert makes the trees of the valid routes, unless their methods are too many.
func (b *builder) insert() {
	b.tree.hosts = hosts{exact: map[string]*site{}, wildcard: map[string]*site{}}
	if b.tree.methods == nil {
		return
	}
	for i, segments := range b.segments {
		if segments == nil {
			continue
		}
		p := b.tree.routes[i].pattern
		e := entry{methods: b.tree.methods.bits(p.Methods), checks: newChecks(p), route: i}
		e.count = len(e.checks) + min(1, len(p.Methods))
		b.entries[i] = e
		s := b.tree.hosts.site(p.Host)
		s.methods |= e.methods
		s.root.insert(segments, b.regexes, e)
	}
	b.tree.hosts.each(func(s *site) { s.root.sort() })
}
