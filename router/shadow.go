package router

import "strings"

// findShadowed reports routes that can provably never be reached.
//
// Within one path there are none: a route that comes first has as many predicates as
// the other, which is a Conflict if they are the same, or more, and then it leaves
// requests to the other. What is left are parameters that match nothing, and
// parameters with a regex that matches everything, which come before bare ones.
func (b *builder) findShadowed() {
	shapes := map[string][]int{} // routes by host and path with all such regexes left out
	for i := range b.segments {
		if !b.reportEmpty(i) {
			shape := b.shape(i)
			shapes[shape] = append(shapes[shape], i)
		}
	}
	for i := range b.segments {
		for _, other := range shapes[b.shape(i)] {
			if b.shadows(other, i) {
				first := b.tree.routes[other]
				b.report(Shadowed, i, first.name, "%s is never reached: %s of route %q is more specific and takes all its requests",
					b.pattern(i), first.pattern, first.name)
				break
			}
		}
	}
}

// reportEmpty reports a route with a regex that matches no segment.
func (b *builder) reportEmpty(route int) bool {
	for _, s := range b.segments[route] {
		if s.regex != "" && !b.overlap(b.regexes[s.regex], anySegment) {
			b.report(Shadowed, route, "", "%s is never reached: no segment of a path matches the regex %s", b.pattern(route), s.regex)
			return true
		}
	}
	return false
}

// anySegment matches every segment.
var anySegment = func() *segmentRegex {
	r, err := newSegmentRegex(`[^/]+`)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return r
}()

// shape returns the host and path of a route without names, a regex that takes
// everything counting as none.
func (b *builder) shape(route int) string {
	var out strings.Builder
	out.WriteString(b.tree.routes[route].pattern.Host)
	for _, s := range b.segments[route] {
		if s.kind == parameter {
			s.name = "x"
			if s.regex != "" && b.regexes[s.regex].takesAll() {
				s.regex = ""
			}
		}
		out.WriteByte('/')
		out.WriteString(s.String())
	}
	return out.String()
}

// shadows reports whether the first of two routes of one shape comes before the other
// and takes all its requests.
func (b *builder) shadows(first, other int) bool {
	return b.precedes(first, other) && b.entries[first].covers(&b.entries[other])
}

// precedes reports whether first has the regex where the paths of two routes of one
// shape part ways.
func (b *builder) precedes(first, other int) bool {
	for i, s := range b.segments[first] {
		if t := b.segments[other][i]; s.regex != t.regex {
			return t.regex == ""
		}
	}
	return false
}

// covers reports whether, their paths aside, e provably takes all that f takes.
func (e *entry) covers(f *entry) bool {
	if f.methods&^taken(e.methods) != 0 {
		return false
	}
	for i := range e.checks {
		implied := false
		for j := range f.checks {
			implied = implied || f.checks[j].implies(&e.checks[i])
		}
		if !implied {
			return false
		}
	}
	return true
}
