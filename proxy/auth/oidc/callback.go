package oidc

import (
	"net/url"
	"strings"
)

// callback is what a provider sends over a browser (RFC 6749 section 4.1.2, RFC 9207).
type callback struct {
	state, code, refused, issuer string
	hasIssuer                    bool
}

// callbackMax bounds what is looked at. Codes are some hundred bytes at most, but for those that are tokens themselves.
const callbackMax = 8 << 10

// parseCallback reads a query. A parameter that is there twice could mean two things, so it means none; others than these are ignored, as
// providers add their own.
func parseCallback(query []byte) (callback, error) {
	var c callback
	if len(query) > callbackMax {
		return c, errCallback
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(string(query), "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return c, errCallback
		}
		var into *string
		switch name {
		case "state":
			into = &c.state
		case "code":
			into = &c.code
		case "error":
			into = &c.refused
		case "iss":
			into, c.hasIssuer = &c.issuer, true
		default:
			continue
		}
		if seen[name] {
			return c, errCallback
		}
		seen[name] = true
		if *into, err = url.QueryUnescape(value); err != nil {
			return c, errCallback
		}
	}
	switch {
	case len(c.state) != len(written(make([]byte, 16))):
		return c, errCallback
	case (c.code == "") == (c.refused == ""):
		return c, errCallback
	case strings.ContainsFunc(c.state+c.refused, func(r rune) bool { return r < 0x21 || r > 0x7e }):
		return c, errCallback
	}
	return c, nil
}
