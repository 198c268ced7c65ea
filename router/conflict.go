package router

import (
	"slices"
	"strings"
)

// findConflicts reports the routes that specificity does not decide between, and the
// places that hold too much to be looked through.
func (b *builder) findConflicts() {
	b.tree.hosts.each(func(s *site) { b.checkNode(s.root) })
}

func (b *builder) checkNode(n *node) {
	b.checkPath(n.leaf)
	b.checkPath(n.rest)
	if len(n.dynamic) > maxParametersPerPlace {
		i := slices.Min(routesBelow(n.dynamic[maxParametersPerPlace].next))
		b.report(Invalid, i, "", "%s: more than %d different parameters begin at the same place, and a lookup would try them all",
			b.pattern(i), maxParametersPerPlace)
	} else {
		b.checkRegexes(n.dynamic)
	}
	n.each(b.checkNode)
}

// checkPath compares the routes of one path, which differ in methods and predicates
// only.
func (b *builder) checkPath(entries []entry) {
	if len(entries) > maxRoutesPerPath {
		i := entries[maxRoutesPerPath].route
		b.report(Invalid, i, "", "%s: more than %d routes share this path, and a lookup would try them all",
			b.pattern(i), maxRoutesPerPath)
		return
	}
	for i := range entries {
		// They are sorted by count, and only equals can tie.
		for j := i + 1; j < len(entries) && entries[j].count == entries[i].count; j++ {
			if len(b.problems) >= maxProblems {
				return
			}
			if entries[i].methods&entries[j].methods != 0 && !excluding(&entries[i], &entries[j]) {
				b.reportTie(entries[i].route, entries[j].route)
			}
		}
	}
}

func (b *builder) reportTie(one, other int) {
	one, other = min(one, other), max(one, other)
	first, second := b.tree.routes[one], b.tree.routes[other]
	if sameDemands(&b.entries[one], &b.entries[other]) {
		b.report(Conflict, other, first.name, "%s and %s of route %q take the same requests: give one of them a method or predicate of its own",
			second.pattern, first.pattern, first.name)
		return
	}
	b.report(Conflict, other, first.name,
		"%s and %s of route %q may match the same request and have as many predicates: add a predicate to one of them, or make them exclude each other",
		second.pattern, first.pattern, first.name)
}

// checkRegexes compares the routes below the parameters of one place that differ in
// their regex only. Neither regex is more specific, so no request may match a route
// below the one and a route below the other.
func (b *builder) checkRegexes(parameters []dynamic) {
	for i, d := range parameters {
		for _, e := range parameters[i+1:] {
			if d.suffix != e.suffix || d.regex == nil || e.regex == nil || !b.overlap(d.regex, e.regex) {
				continue
			}
			below := routesBelow(e.next)
			for _, one := range routesBelow(d.next) {
				for _, other := range below {
					if len(b.problems) >= maxProblems {
						return
					}
					if b.mayMeet(one, other) {
						b.reportRegexes(one, other, d.regex, e.regex)
					}
				}
			}
		}
	}
}

func (b *builder) reportRegexes(one, other int, r, q *segmentRegex) {
	if one > other {
		one, other, r, q = other, one, q, r
	}
	first, second := b.tree.routes[one], b.tree.routes[other]
	b.report(Conflict, other, first.name,
		"%s and %s of route %q may match the same request, because their regexes %s and %s may match the same segment: make the regexes exclude each other",
		second.pattern, first.pattern, first.name, q.text, r.text)
}

// routesBelow returns the routes of all paths that lead through n.
func routesBelow(n *node) []int {
	var found []int
	for _, e := range n.leaf {
		found = append(found, e.route)
	}
	for _, e := range n.rest {
		found = append(found, e.route)
	}
	n.each(func(child *node) { found = append(found, routesBelow(child)...) })
	return found
}

// mayMeet reports whether one request may match both routes of one host.
func (b *builder) mayMeet(one, other int) bool {
	e, f := &b.entries[one], &b.entries[other]
	// As taken: there is no preference for an explicit HEAD across two paths.
	return taken(e.methods)&taken(f.methods) != 0 && !excluding(e, f) &&
		b.pathsMeet(b.segments[one], b.segments[other])
}

func (b *builder) pathsMeet(p, q []segment) bool {
	for i := 0; ; i++ {
		switch {
		case i < len(p) && p[i].kind == rest, i < len(q) && q[i].kind == rest:
			return true
		case i == len(p) || i == len(q):
			return len(p) == len(q)
		case !b.segmentsMeet(p[i], q[i]):
			return false
		}
	}
}

// segmentsMeet reports whether one segment may match both, neither being "**". False
// is a proof.
func (b *builder) segmentsMeet(s, t segment) bool {
	if t.kind == literal {
		s, t = t, s
	}
	switch {
	case t.kind == literal:
		return s.prefix == t.prefix
	case s.kind == literal:
		return b.takes(t, s.prefix)
	case !strings.HasPrefix(s.prefix, t.prefix) && !strings.HasPrefix(t.prefix, s.prefix):
		return false
	case !strings.HasSuffix(s.suffix, t.suffix) && !strings.HasSuffix(t.suffix, s.suffix):
		return false
	case s.prefix != t.prefix || s.suffix != t.suffix || s.regex == "" || t.regex == "":
		return true
	}
	return b.overlap(b.regexes[s.regex], b.regexes[t.regex])
}

// takes reports whether a parameter takes a segment.
func (b *builder) takes(s segment, text string) bool {
	value, ok := strings.CutPrefix(text, s.prefix)
	if !ok {
		return false
	}
	value, ok = strings.CutSuffix(value, s.suffix)
	return ok && value != "" && (s.regex == "" || b.regexes[s.regex].matcher.MatchString(value))
}

func (b *builder) overlap(r, q *segmentRegex) bool {
	if r == q {
		return true
	}
	key := [2]*segmentRegex{r, q}
	result, known := b.overlaps[key]
	if !known {
		result = r.overlaps(q)
		b.overlaps[key] = result
	}
	return result
}

// excluding reports whether the predicates of two routes provably never hold for the
// same request.
func excluding(e, f *entry) bool {
	for i := range e.checks {
		for j := range f.checks {
			if e.checks[i].excludes(&f.checks[j]) {
				return true
			}
		}
	}
	return false
}

// sameDemands reports whether two routes have the same methods and predicates.
func sameDemands(e, f *entry) bool {
	return e.methods == f.methods && slices.EqualFunc(e.checks, f.checks, func(c, d check) bool {
		return c.source == d.source && c.Predicate == d.Predicate
	})
}

func (b *builder) pattern(route int) string {
	return b.tree.routes[route].pattern.String()
}
