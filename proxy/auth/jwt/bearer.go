package jwt

import (
	"bytes"

	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/wire"
)

// find returns the token, and whether it came as one that is bound to a key (RFC 9449 section 7.1). There must be one and no more: the service
// might take another than the one that was judged.
func (g *Guard) find(x *proxy.Exchange) (token []byte, bound bool, err error) {
	head := &x.Request.Head
	n := 0
	switch {
	case g.options.Cookie != "":
		for name, value := range x.Cookies() {
			if string(name) == g.options.Cookie {
				token = value
				n++
			}
		}
	case g.options.Header != "":
		for value := range head.Values(g.options.Header) {
			token = value
			n++
		}
		if rest, ok := bearer(token); ok {
			token = rest
		}
	default:
		for value := range head.ValuesKnown(wire.Authorization) {
			token, _ = bearer(value) // other schemes are for the service
			if token == nil && g.options.DPoP != nil {
				token, bound = credentials(value, "dpop ")
			}
			n++
		}
	}
	switch {
	case n > 1:
		return nil, false, g.unbound.ambiguous
	case len(token) == 0:
		return nil, false, g.unbound.missing
	case g.options.DPoPRequired && !bound:
		return nil, false, g.unbound.invalid.With(errPlain)
	}
	return token, bound, nil
}

// bearer takes the scheme away, which is written in any case (RFC 9110 section 11.1).
func bearer(value []byte) ([]byte, bool) { return credentials(value, "bearer ") }

func credentials(value []byte, scheme string) ([]byte, bool) {
	if len(value) < len(scheme) || !wire.EqualFold(value[:len(scheme)], scheme) {
		return nil, false
	}
	return bytes.Trim(value[len(scheme):], " \t"), true
}

// strip takes the token out of the request. Of cookies the others stay.
func (g *Guard) strip(x *proxy.Exchange) {
	head := &x.Request.Head
	switch {
	case g.options.Cookie != "":
		x.StripCookie(g.options.Cookie)
	case g.options.Header != "":
		head.Del(g.options.Header)
		x.Request.Decided = append(x.Request.Decided, g.options.Header)
	default:
		head.DelKnown(wire.Authorization.Bit())
		x.Request.Decided = append(x.Request.Decided, "Authorization")
		if g.options.DPoP != nil {
			head.Del(dpop.Field)
			x.Request.Decided = append(x.Request.Decided, dpop.Field)
		}
	}
}
