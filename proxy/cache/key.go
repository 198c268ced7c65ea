package cache

import (
	"bytes"
	"encoding/binary"
	"slices"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/store"
)

// A key is, in this order: the space of the policy, the scheme in one byte, host, path and query as purges name them, and behind a
// zero byte whatever else the policy wants in it. Where the origin names Vary, the keys of its answers go on behind another zero byte.
// No part of a request can hold a zero byte.

// buildKey makes the key of the request; nil if it is too long.
func (v *visit) buildKey() {
	r := &v.x.Request
	v.buildKeyOf(r.Host, r.Path, r.Query, r.HasQuery)
}

func (v *visit) buildKeyOf(host, path, query []byte, hasQuery bool) {
	x, p := v.x, v.p
	b := append(x.Scratch(), p.Space...)
	scheme := byte('h')
	if x.Request.Scheme == "https" {
		scheme = 's'
	}
	b = append(b, scheme)
	b = append(b, host...)
	b = append(b, path...)
	b = appendQuery(b, p.Query, query, hasQuery)
	v.urlEnd = len(b)
	if len(p.Headers) > 0 {
		b = append(b, 0)
		b = rules.AppendVariant(b, p.vary, &x.Request.Head, p.Codings)
	}
	for _, name := range p.Cookies {
		b = append(b, 0)
		for pair := range x.CookiePairs(name) { // origins disagree about which one of several counts
			b = append(append(b, ';'), pair...)
		}
	}
	for _, path := range p.Claims {
		// With its length: unlike what a request holds, a claim may hold a zero byte.
		value := x.Identity.Claim(path)
		b = append(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
		b = append(b, value...)
	}
	if !p.Shared {
		if key := x.Identity.Key(); key != nil {
			if c := p.cache; !c.identified.Load() {
				c.identified.Store(true)
			}
			b = append(append(b, 0, '@'), key...)
		}
		for _, i := range x.Others() { // each by a policy that may have told the origin something
			b = append(append(b, 0, '+'), i.Key()...)
		}
		if c := x.Client.Certificate; c != nil && c.Identity != x.Identity && !slices.Contains(x.Others(), c.Identity) { // the origin is told, and may answer by it
			p.cache.identified.Store(true)
			b = append(append(b, 0, 'c'), c.Identity.Key()...)
		}
	}
	if len(b) > keyMax {
		v.key = nil
		return
	}
	v.key = x.KeepScratch(b)
}

// keyMax leaves room for what Vary names.
const keyMax = store.KeyMax / 2

// private reports whether what is kept for a URL may lie under other keys than that of x: for a part of the clients, or for one alone.
func (p *Policy) private() bool {
	return len(p.Headers)+len(p.Cookies)+len(p.Claims) > 0 || !p.Shared && p.cache.identified.Load()
}

// appendQuery appends the query, or the parameters in names that belong to the key, each with all the values that it has. nil is all
// of it, as it was sent.
func appendQuery(b []byte, names []string, query []byte, hasQuery bool) []byte {
	if names == nil {
		if hasQuery {
			b = append(append(b, '?'), query...)
		}
		return b
	}
	separator := byte('?')
	for _, name := range names {
		for q := query; len(q) > 0; {
			var pair []byte
			pair, q, _ = bytes.Cut(q, ampersand)
			if key, _, _ := bytes.Cut(pair, equals); proxy.UnescapesTo(key, name) {
				b = append(append(b, separator), pair...)
				separator = '&'
			}
		}
	}
	return b
}

var ampersand, equals = []byte("&"), []byte("=")

// appendVariant makes the key of what the request selects among the answers that differ by the fields in names; nil if it is too
// long. id tells them from those that were there before an invalidation.
func (v *visit) appendVariant(names, id []byte) []byte {
	b := append(v.x.Scratch(), v.key...)
	b = append(b, 0)
	b = append(b, id...)
	b = rules.AppendVariant(b, names, &v.x.Request.Head, v.p.Codings)
	if len(b) > store.KeyMax {
		return nil
	}
	return v.x.KeepScratch(b)
}
