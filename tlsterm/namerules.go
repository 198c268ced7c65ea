package tlsterm

import (
	"bytes"
	"strings"
)

// NameRules say which rules for client certificates hold for a name: for that of SNI when a connection is made, and for the host
// of a request, which has no business on a connection that was made by other rules. Immutable.
type NameRules struct {
	exact     map[string]int
	wildcards map[string]int // "*.example.com" as "example.com"
	longest   int            // bytes of the longest key of wildcards
	rest      int            // for all other names, and where there is none
	named     bool           // there is more than rest
}

// NewNameRules numbers the rules from 1 on, in their order. Where two have the same name, the first one counts.
func NewNameRules(list []ClientCerts) *NameRules {
	r := &NameRules{exact: map[string]int{}, wildcards: map[string]int{}}
	for i, c := range list {
		if len(c.Names) == 0 && r.rest == 0 {
			r.rest = i + 1
		}
		for _, name := range c.Names {
			r.named = true
			into, name := r.exact, strings.ToLower(name)
			if parent, ok := strings.CutPrefix(name, "*."); ok {
				into, name = r.wildcards, parent
				r.longest = max(r.longest, len(parent))
			}
			if into[name] == 0 {
				into[name] = i + 1
			}
		}
	}
	return r
}

// Of returns the number of the rule for a name, which is in lower case, with no port and no dot at its end, or 0 if there is none. A wildcard stands
// for any number of labels, and the most specific one counts: names are compared as the hosts of routes are, so that what a route
// takes for a host is what the rule is for. It allocates nothing.
func (r *NameRules) Of(name []byte) int {
	if rule, ok := r.exact[string(name)]; ok {
		return rule
	}
	// No suffix that is longer than any wildcard is looked up: a name of ten thousand dots must not cost as many.
	for from := max(1, len(name)-r.longest-1); r.longest > 0 && from < len(name); {
		next := bytes.IndexByte(name[from:], '.')
		if next < 0 {
			break
		}
		from += next + 1
		if rule, ok := r.wildcards[string(name[from:])]; ok {
			return rule
		}
	}
	return r.rest
}

// OfServerName is Of for the name of SNI, which may be written in any case, or be empty.
func (r *NameRules) OfServerName(name string) int { return r.Of([]byte(strings.ToLower(name))) }
