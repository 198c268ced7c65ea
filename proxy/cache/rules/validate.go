package rules

import (
	"bytes"

	"sluice/proxy/wire"
)

// NotModified decides whether a GET or HEAD that a stored 200 would answer is answered with 304 instead (RFC 9110 section 13.2.2, RFC 9111
// section 4.3.2): If-None-Match, or else If-Modified-Since. changed is the Last-Modified of the stored response, or its Date if it has none.
func NotModified(req *wire.Head, etag []byte, changed int64) bool {
	listed := false
	for line := range req.Values("if-none-match") {
		listed = true
		if matchesAny(line, etag) {
			return true
		}
	}
	if listed || changed == 0 {
		return false
	}
	var since []byte
	for line := range req.Values("if-modified-since") {
		if since != nil {
			return false // a list of dates is no date
		}
		since = line
	}
	at, ok := ParseDate(since)
	return ok && changed <= at
}

// matchesAny compares a list of entity tags, or "*", weakly with one.
func matchesAny(list, etag []byte) bool {
	if string(trim(list)) == "*" {
		return true
	}
	opaque, _, ok := splitTag(etag)
	if !ok {
		return false
	}
	for len(list) > 0 {
		var tag []byte
		var whole bool
		if tag, list, whole = nextTag(list); whole && bytes.Equal(tag, opaque) {
			return true
		}
	}
	return false
}

// nextTag cuts the first entity tag off a list, without its "W/". It returns false if what stands there is none. A tag may hold commas.
func nextTag(list []byte) (opaque, rest []byte, ok bool) {
	for len(list) > 0 && (list[0] == ' ' || list[0] == '\t' || list[0] == ',') {
		list = list[1:]
	}
	if len(list) >= 2 && list[0] == 'W' && list[1] == '/' {
		list = list[2:]
	}
	if len(list) > 0 && list[0] == '"' {
		if end := bytes.IndexByte(list[1:], '"'); end >= 0 {
			opaque, rest = list[:end+2], trim(list[end+2:])
			if len(rest) == 0 || rest[0] == ',' {
				return opaque, rest, true
			}
			list = rest // what is glued to a tag spoils it
		}
	}
	if comma := bytes.IndexByte(list, ','); comma >= 0 {
		return nil, list[comma+1:], false
	}
	return nil, nil, false
}

// splitTag takes an entity tag apart (RFC 9110 section 8.8.3). The opaque part keeps its quotation marks.
func splitTag(etag []byte) (opaque []byte, weak, ok bool) {
	if len(etag) >= 2 && etag[0] == 'W' && etag[1] == '/' {
		etag, weak = etag[2:], true
	}
	n := len(etag)
	if n < 2 || etag[0] != '"' || etag[n-1] != '"' || bytes.IndexByte(etag[1:n-1], '"') >= 0 {
		return nil, false, false
	}
	return etag, weak, true
}

func sameStrong(a, b []byte) bool {
	x, weakX, okX := splitTag(a)
	y, weakY, okY := splitTag(b)
	return okX && okY && !weakX && !weakY && bytes.Equal(x, y)
}

func sameWeak(a, b []byte) bool {
	x, _, okX := splitTag(a)
	y, _, okY := splitTag(b)
	return okX && okY && bytes.Equal(x, y)
}

// Ask makes a request one that an origin answers with 304 if a stored response still holds (RFC 9111 section 4.3.1), whatever the client's own
// conditions are; without a stored one, or if it has no validator, one for the whole.
func Ask(req, stored *wire.Head) {
	for _, name := range [...]string{"if-none-match", "if-modified-since", "if-range", "range"} {
		req.Del(name)
	}
	if stored == nil {
		return
	}
	if etag := stored.Get("etag"); etag != nil {
		req.Add("If-None-Match", etag)
	}
	if changed := stored.Get("last-modified"); changed != nil {
		req.Add("If-Modified-Since", changed)
	}
}

// Freshens reports whether a 304 speaks of a stored response (RFC 9111 section 4.3.4): it has the same strong validator, or else the same weak one.
// A bare 304 speaks of the only one that was asked about. If not, the origin has to be asked for the whole.
func Freshens(fresh, stored *wire.Head) bool {
	if etag := fresh.Get("etag"); etag != nil {
		if _, weak, ok := splitTag(etag); ok && !weak {
			return sameStrong(etag, stored.Get("etag"))
		}
		return sameWeak(etag, stored.Get("etag")) || bytes.Equal(etag, stored.Get("etag"))
	}
	if changed := fresh.Get("last-modified"); changed != nil {
		return sameDate(changed, stored.Get("last-modified"))
	}
	return true
}

// HeadFreshens reports whether the 200 to a HEAD speaks of a stored response to GET, so that Merge may update that (RFC 9111 section 4.3.5). If not,
// the stored one is stale. Content-Length, which is not in a head, is for the caller to compare.
func HeadFreshens(fresh, stored *wire.Head) bool {
	if etag := fresh.Get("etag"); etag != nil && !sameStrong(etag, stored.Get("etag")) && !sameWeak(etag, stored.Get("etag")) {
		return false
	}
	if changed := fresh.Get("last-modified"); changed != nil && !sameDate(changed, stored.Get("last-modified")) {
		return false
	}
	return true
}

func sameDate(a, b []byte) bool {
	x, okX := ParseDate(a)
	y, okY := ParseDate(b)
	if okX && okY {
		return x == y
	}
	return bytes.Equal(a, b)
}
