package browser

import (
	"bytes"
	"strings"
)

// origins is a set of pages, by their origin as browsers send it (RFC 6454 section 7).
type origins struct {
	all    bool
	exact  map[string]bool
	nested []nested
}

// nested are all pages below a domain: https://*.shop.example:8443 is every host that ends in .shop.example with one label or
// more before it.
type nested struct {
	before string // "https://"
	after  string // ".shop.example:8443"
}

func newOrigins(list []string) origins {
	o := origins{exact: make(map[string]bool, len(list))}
	for _, text := range list {
		if text == "*" {
			o.all = true
		} else if before, after, ok := strings.Cut(text, "*"); ok {
			o.nested = append(o.nested, nested{before, after})
		} else {
			o.exact[text] = true
		}
	}
	return o
}

// admit reports whether a page is in the set. No page never is, unless all are.
func (o *origins) admit(page []byte) bool {
	if o.all || o.exact[string(page)] {
		return true
	}
	for i := range o.nested {
		if o.nested[i].holds(page) {
			return true
		}
	}
	return false
}

func (n *nested) holds(page []byte) bool {
	if len(page) <= len(n.before)+len(n.after) || !bytes.HasPrefix(page, []byte(n.before)) || !bytes.HasSuffix(page, []byte(n.after)) {
		return false
	}
	// What stands for the asterisk is labels of a host: "https://evil.example/.shop.example" must not do, whoever would send it.
	for _, c := range page[len(n.before) : len(page)-len(n.after)] {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return page[len(n.before)] != '.'
}
