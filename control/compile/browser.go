package compile

import (
	"fmt"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/browser"
	"sluice/router"
)

func (b *builder) securityHeadersPolicy(_ string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	h := p.SecurityHeaders
	if h == nil {
		return nil, false, nil
	}
	var fields []browser.Field
	for _, f := range []browser.Field{
		{Name: "X-Content-Type-Options", Value: h.ContentTypeOptions}, {Name: "X-Frame-Options", Value: strings.ToUpper(h.Frame)},
		{Name: "Referrer-Policy", Value: h.Referrer}, {Name: "Content-Security-Policy", Value: h.CSP.Text},
		{Name: "Content-Security-Policy-Report-Only", Value: h.CSPReport.Text}, {Name: "Permissions-Policy", Value: h.Permissions.Text},
		{Name: "Cross-Origin-Opener-Policy", Value: h.Opener}, {Name: "Cross-Origin-Embedder-Policy", Value: h.Embedder},
		{Name: "Cross-Origin-Resource-Policy", Value: h.Resource},
	} {
		if f.Value != "" && !strings.EqualFold(f.Value, "off") {
			fields = append(fields, f)
		}
	}
	var secure []browser.Field
	if age := b.hstsAge(h); age > 0 {
		secure = append(secure, browser.Field{Name: "Strict-Transport-Security", Value: fmt.Sprintf("max-age=%d", int64(age/time.Second))})
	}
	return browser.NewHeaders(fields, secure, h.Override), true, nil
}

// hstsDefault is how long browsers come by https alone, if nobody says anything else.
const hstsDefault = 365 * 24 * time.Hour

// hstsAge is what a policy says of HSTS; 0: nothing. Where listeners say something, which may be more, it does not contradict unasked.
func (b *builder) hstsAge(h *config.SecurityHeaders) time.Duration {
	if h.HSTS != nil {
		return time.Duration(*h.HSTS)
	}
	for _, t := range b.config.TLS {
		if t.Value.HSTS != nil {
			return 0
		}
	}
	return hstsDefault
}

var sameSites = map[string]string{"lax": "Lax", "strict": "Strict"}

func (b *builder) cookiesPolicy(_ string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	c := p.Cookies
	if c == nil {
		return nil, false, nil
	}
	return browser.NewCookies(c.Secure, c.HTTPOnly, sameSites[c.SameSite], texts(c.Except)), true, nil
}

func (b *builder) csrfPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	c := p.CSRF
	if c == nil {
		return nil, false, nil
	}
	return proxy.Guarded(name, browser.NewCSRF(texts(c.Origins)), modes[c.Mode], nil), true, nil
}
