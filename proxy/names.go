package proxy

import "strings"

// Names is what is passed through, by the name that a client asks for with TLS. Immutable.
type Names struct {
	exact, wildcard map[string]*Way // of wildcards, what follows "*."
}

// NewNames makes a table of exact names and of wildcards, "*.example.com", which stand for one or more labels, as in routes.
func NewNames(ways map[string]*Way) *Names {
	n := &Names{exact: make(map[string]*Way), wildcard: make(map[string]*Way)}
	for name, way := range ways {
		name = strings.ToLower(name)
		if suffix, ok := strings.CutPrefix(name, "*."); ok {
			n.wildcard[suffix] = way
		} else {
			n.exact[name] = way
		}
	}
	return n
}

// Find returns where connections for a name, in lower case, are passed on to: by the exact name, then by the longest wildcard; nil:
// nowhere. What is no host name is under no wildcard either: it goes on to logs and to the service.
func (n *Names) Find(name string) *Way {
	if way := n.exact[name]; way != nil {
		return way
	}
	if len(name) > 253 || !isHostText(name) || strings.Contains("."+name+".", "..") {
		return nil
	}
	for {
		_, suffix, ok := strings.Cut(name, ".")
		if !ok {
			return nil
		}
		if way := n.wildcard[suffix]; way != nil {
			return way
		}
		name = suffix
	}
}

// Same reports whether two tables pass the same names through, wherever to.
func (n *Names) Same(o *Names) bool {
	if n == nil || o == nil {
		return n == o
	}
	return sameKeys(n.exact, o.exact) && sameKeys(n.wildcard, o.wildcard)
}

func sameKeys(a, b map[string]*Way) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if b[name] == nil {
			return false
		}
	}
	return true
}

func isHostText(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
