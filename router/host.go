package router

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxHostBytes is the longest name that DNS has (RFC 1035 section 2.3.4).
const maxHostBytes = 253

// hosts holds one tree of paths for each host that a route names.
type hosts struct {
	exact    map[string]*site
	wildcard map[string]*site // by suffix: "example.com" for "*.example.com"
	any      *site            // nil if each route names a host
	longest  int              // bytes of the longest key of wildcard
}

// site is the routes of one host.
type site struct {
	root    *node
	methods uint64 // all that its routes take
}

// next returns the trees that may hold the route of a host, the most specific one
// first. It is called with 0, then with what it returned, until that is negative;
// the site is nil at the end only.
//
// A suffix longer than any in the configuration is not even hashed: the host comes
// from the client, and a name of ten thousand dots must not cost ten thousand
// look-ups.
func (h *hosts) next(host []byte, from int) (*site, int) {
	if from == 0 {
		from = max(1, len(host)-h.longest-1) // from 1: "*" is at least one byte
		if s := h.exact[string(host)]; s != nil {
			return s, from
		}
	}
	for h.longest > 0 && from < len(host) {
		dot := bytes.IndexByte(host[from:], '.')
		if dot < 0 {
			break
		}
		from += dot + 1
		if s := h.wildcard[string(host[from:])]; s != nil {
			return s, from
		}
	}
	return h.any, -1
}

// site returns the tree for the host of a pattern, made if need be.
func (h *hosts) site(host string) *site {
	if host == "" {
		if h.any == nil {
			h.any = &site{root: &node{}}
		}
		return h.any
	}
	sites := h.exact
	if suffix, ok := strings.CutPrefix(host, "*."); ok {
		sites, host = h.wildcard, suffix
		h.longest = max(h.longest, len(host))
	}
	s := sites[host]
	if s == nil {
		s = &site{root: &node{}}
		sites[host] = s
	}
	return s
}

// each calls f for every tree, in an order that does not change from run to run.
func (h *hosts) each(f func(*site)) {
	for _, sites := range []map[string]*site{h.exact, h.wildcard} {
		for _, host := range slices.Sorted(maps.Keys(sites)) {
			f(sites[host])
		}
	}
	if h.any != nil {
		f(h.any)
	}
}

// canonicalHost checks the host of a pattern and returns it in lower case.
func canonicalHost(host string) (string, error) {
	host = strings.ToLower(host)
	name, wild := strings.CutPrefix(host, "*.")
	switch {
	case host == "":
		return "", nil
	case host == "*":
		return "", errors.New("host \"*\": leave the host out to match any")
	case len(host) > maxHostBytes:
		return "", fmt.Errorf("host of %d bytes: no name is longer than %d", len(host), maxHostBytes)
	case strings.IndexByte(name, '*') >= 0:
		return "", fmt.Errorf("host %q: \"*\" stands only for the whole of the first labels, as in \"*.example.com\"", host)
	case name[0:min(1, len(name))] == "[" && !wild:
		return host, checkAddress(host)
	}
	if strings.IndexByte(name, ':') >= 0 {
		return "", fmt.Errorf("host %q: a pattern names no port", host)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return "", fmt.Errorf("host %q has an empty label", host)
		}
		for i := range len(label) {
			if c := label[i]; c >= 0x80 {
				return "", fmt.Errorf("host %q is not ASCII: write its punycode form (xn--...)", host)
			} else if !isAlphanumeric(c) && c != '-' && c != '_' {
				return "", fmt.Errorf("host %q contains %q, which no host has", host, string(c))
			}
		}
	}
	return host, nil
}

// checkAddress checks an IPv6 address in brackets (RFC 3986 section 3.2.2).
func checkAddress(host string) error {
	inner, closed := strings.CutSuffix(host[1:], "]")
	if !closed || inner == "" || strings.Trim(inner, "0123456789abcdef:.") != "" {
		return fmt.Errorf("host %q: an IPv6 address is written [2001:db8::1], without a port", host)
	}
	return nil
}
