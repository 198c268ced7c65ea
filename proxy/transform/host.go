package transform

import (
	"fmt"
	"slices"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/router"
)

// ErrBadHost refuses a request whose rewritten host would not be one.
var ErrBadHost = &proxy.Error{Status: 400, Code: "bad_rewrite", Detail: "The values in this request make no valid host for the origin.", Side: proxy.ByClient}

// Host gives the request another host, in lower case (RFC 9110 section 4.2.3).
type Host struct {
	fixed []byte          // if no variable is in it
	value *proxy.Template // else
}

// NewHost compiles a template such as "{tenant}.internal" or "origin.example:8080".
func NewHost(text string, p *router.Pattern) (*Host, error) {
	value, err := proxy.ParseTemplate(text, p, true)
	if err != nil {
		return nil, fmt.Errorf("cannot rewrite the host to %q: %w", text, err)
	}
	h := &Host{value: value}
	if fixed, static := value.Static(); static {
		h.fixed, h.value = slices.Clip([]byte(fixed)), nil
		toLower(h.fixed)
		if !wire.ValidHost(h.fixed) {
			return nil, fmt.Errorf("cannot rewrite the host to %q: not a host with or without a port", text)
		}
	}
	return h, nil
}

// Serve rewrites the host and hands on, or refuses with ErrBadHost. The refusal repeats neither host: it may be
// shown to a client that should not learn the names behind the gateway.
func (h *Host) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	if err := h.rewrite(x); err != nil {
		return err
	}
	return next.Serve(x)
}

func (h *Host) rewrite(x *proxy.Exchange) error {
	if h.value == nil {
		x.Request.Host = h.fixed
		return nil
	}
	buf := wire.GetBuf(wire.Small)
	defer buf.Free()
	host := h.value.Append(buf.B[:0], x, proxy.Raw)
	if !wire.ValidHost(host) {
		return ErrBadHost
	}
	toLower(host)
	x.Request.Host = keep(x, host)
	return nil
}

func toLower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}
