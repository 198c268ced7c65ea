package router

import (
	"cmp"
	"slices"
	"strings"
)

// node is a node of the radix tree of one host: a place in the path.
//
// Whatever leads to it, literal text and whole parameters, ends at one byte of a
// given path only, because a parameter takes all up to the end of its segment (less
// its suffix). That is what bounds backtracking.
type node struct {
	text     string    // the literal bytes that lead here from the parent
	first    string    // the first byte of each child's text
	children []node    // in the order of first; side by side, a lookup's cost is cache misses
	dynamic  []dynamic // parameters that begin here, the most specific first
	leaf     []entry   // the routes of a path that ends here, the most specific first
	rest     []entry   // the routes of "**" in the place of the next segment, likewise
}

// dynamic is a parameter. Its literal prefix is in the node's text, so a longer
// prefix is found before a shorter one.
type dynamic struct {
	suffix string
	regex  *segmentRegex // nil takes anything
	next   *node
}

// entry is a route at the end of its path.
type entry struct {
	methods uint64 // bits, see methodSet
	checks  []check
	route   int // index in New's slice
	count   int // of predicates, naming methods being one
}

// insert adds a route to the tree.
func (n *node) insert(segments []segment, regexes map[string]*segmentRegex, e entry) {
	text := "" // literal bytes since the last parameter
	for _, s := range segments {
		if s.kind == rest {
			n = n.descend(text) // without a slash: "/api/**" matches "/api"
			n.rest = append(n.rest, e)
			return
		}
		text += "/" + s.prefix
		if s.kind == parameter {
			n = n.descend(text).parameter(s.suffix, regexes[s.regex])
			text = ""
		}
	}
	n = n.descend(text)
	n.leaf = append(n.leaf, e)
}

// descend returns the node that text leads to from n, made if need be. The next
// insertion may move it.
func (n *node) descend(text string) *node {
	for text != "" {
		i := strings.IndexByte(n.first, text[0])
		if i < 0 {
			n.first += text[:1]
			n.children = append(n.children, node{text: text})
			return &n.children[len(n.children)-1]
		}
		child := &n.children[i]
		common := commonPrefix(child.text, text)
		if common < len(child.text) {
			lower := *child
			lower.text = child.text[common:]
			*child = node{text: text[:common], first: lower.text[:1], children: []node{lower}}
		}
		n, text = child, text[common:]
	}
	return n
}

func commonPrefix(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

// parameter returns the node behind a parameter that begins at n, made if need be.
func (n *node) parameter(suffix string, regex *segmentRegex) *node {
	for _, d := range n.dynamic {
		if d.suffix == suffix && d.regex == regex {
			return d.next
		}
	}
	d := dynamic{suffix: suffix, regex: regex, next: &node{}}
	n.dynamic = append(n.dynamic, d)
	return d.next
}

// sort puts everything below n in the order in which a lookup tries it.
func (n *node) sort() {
	slices.SortStableFunc(n.dynamic, func(a, b dynamic) int {
		return cmp.Or(
			cmp.Compare(len(b.suffix), len(a.suffix)),
			strings.Compare(a.suffix, b.suffix),
			// Regexes that could both match are a Conflict where it matters:
			// this order among them is for Explain.
			compareRegexes(a.regex, b.regex),
		)
	})
	slices.SortStableFunc(n.leaf, compareEntries)
	slices.SortStableFunc(n.rest, compareEntries)
	n.each(func(child *node) { child.sort() })
}

// each calls f for the nodes right below n.
func (n *node) each(f func(*node)) {
	for i := range n.children {
		f(&n.children[i])
	}
	for _, d := range n.dynamic {
		f(d.next)
	}
}

func compareRegexes(a, b *segmentRegex) int {
	switch {
	case a == b:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return strings.Compare(a.text, b.text)
}

// compareEntries puts the more specific route first. Of two equal ones the route
// that takes HEAD by itself precedes the one that takes it because it takes GET.
func compareEntries(a, b entry) int {
	return cmp.Or(
		cmp.Compare(b.count, a.count),
		cmp.Compare(b.methods&headBit, a.methods&headBit),
	)
}

// child returns the child whose text begins with c, or nil.
func (n *node) child(c byte) *node {
	if i := strings.IndexByte(n.first, c); i >= 0 {
		return &n.children[i]
	}
	return nil
}

// matches reports whether the parameter takes value, which has lost its suffix.
func (d *dynamic) matches(value []byte) bool {
	return len(value) > 0 && (d.regex == nil || d.regex.matcher.Match(value))
}
