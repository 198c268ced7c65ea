package browser

import (
	"bytes"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Cookies adds attributes to the cookies that origins set and have forgotten them for. What an origin says of SameSite stays.
type Cookies struct {
	secure, httpOnly bool
	sameSite         string // "Lax", "Strict"; empty: none is added
	except           map[string]bool
}

// NewCookies returns the policy. Cookies of the names in except are left as they are.
func NewCookies(secure, httpOnly bool, sameSite string, except []string) *Cookies {
	c := &Cookies{secure: secure, httpOnly: httpOnly, sameSite: sameSite, except: make(map[string]bool, len(except))}
	for _, name := range except {
		c.except[name] = true
	}
	return c
}

// Serve hands on, and changes what comes back.
func (c *Cookies) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	if err := next.Serve(x); err != nil {
		return err
	}
	h := &x.Response.Head
	if h.CountKnown(wire.SetCookie) > 0 {
		c.complete(x, h)
	}
	return nil
}

// complete rewrites all cookies if one of them lacks something, so that they stay in their order.
func (c *Cookies) complete(x *proxy.Exchange, h *wire.Head) {
	buf := x.Scratch()
	var room [16]int
	ends := room[:0]
	changed := false
	for value := range h.ValuesKnown(wire.SetCookie) {
		before := len(buf) + len(value)
		buf = c.appendCookie(buf, value)
		ends = append(ends, len(buf))
		changed = changed || len(buf) != before
	}
	if !changed {
		return
	}
	h.DelKnown(wire.SetCookie.Bit())
	begin := 0
	for _, end := range ends {
		h.AddKnown(wire.SetCookie, buf[begin:end]) // what was received, and text of ours: nothing that a field may not carry
		begin = end
	}
}

// appendCookie appends a cookie with what it lacks (RFC 6265 section 4.1.1).
func (c *Cookies) appendCookie(dst, cookie []byte) []byte {
	pair, attributes := cut(cookie, ';')
	name, _ := cut(pair, '=')
	dst = append(dst, cookie...)
	if c.except[string(bytes.TrimSpace(name))] {
		return dst
	}
	var secure, httpOnly, sameSite bool
	for len(attributes) > 0 {
		var one []byte
		one, attributes = cut(attributes, ';')
		key, _ := cut(one, '=')
		key = bytes.TrimSpace(key)
		secure = secure || wire.EqualFold(key, "secure")
		httpOnly = httpOnly || wire.EqualFold(key, "httponly")
		sameSite = sameSite || wire.EqualFold(key, "samesite")
	}
	if c.secure && !secure {
		dst = append(dst, "; Secure"...)
	}
	if c.httpOnly && !httpOnly {
		dst = append(dst, "; HttpOnly"...)
	}
	if c.sameSite != "" && !sameSite {
		dst = append(append(dst, "; SameSite="...), c.sameSite...)
	}
	return dst
}

func cut(b []byte, at byte) (before, after []byte) {
	if i := bytes.IndexByte(b, at); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}
