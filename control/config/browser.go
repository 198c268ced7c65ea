package config

import (
	"strings"
)

// SecurityHeaders is the policy that adds fields by which browsers are told to be careful. A word off leaves a field to the origin.
type SecurityHeaders struct {
	HSTS               *Duration `cfg:"hsts" off:"true" doc:"how long browsers come by https alone (RFC 6797), told over https; 365d by default, unless tls.*.hsts says it"`
	ContentTypeOptions string    `cfg:"content_type_options" default:"nosniff" enum:"nosniff,off" doc:"scripts and styles must have their media type"`
	Frame              string    `cfg:"frame" default:"sameorigin" enum:"deny,sameorigin,off" doc:"which pages may show this one inside"`
	Referrer           string    `cfg:"referrer" default:"strict-origin-when-cross-origin" enum:"no-referrer,no-referrer-when-downgrade,origin,origin-when-cross-origin,same-origin,strict-origin,strict-origin-when-cross-origin,unsafe-url,off" doc:"what other pages learn of this one's address"`
	CSP                Text      `cfg:"csp" doc:"Content-Security-Policy, as it is sent"`
	CSPReport          Text      `cfg:"csp_report_only" doc:"Content-Security-Policy-Report-Only, as it is sent: to try a policy out"`
	Permissions        Text      `cfg:"permissions" doc:"Permissions-Policy, as it is sent"`
	Opener             string    `cfg:"opener" default:"off" enum:"same-origin,same-origin-allow-popups,noopener-allow-popups,unsafe-none,off" doc:"Cross-Origin-Opener-Policy"`
	Embedder           string    `cfg:"embedder" default:"off" enum:"require-corp,credentialless,unsafe-none,off" doc:"Cross-Origin-Embedder-Policy"`
	Resource           string    `cfg:"resource" default:"off" enum:"same-origin,same-site,cross-origin,off" doc:"Cross-Origin-Resource-Policy"`
	Override           bool      `cfg:"override" default:"false" doc:"what the origin says itself is replaced"`
	Pos                Pos
}

// Cookies is the policy that completes the cookies of origins.
type Cookies struct {
	Secure   bool       `cfg:"secure" default:"true" doc:"they are sent over https alone"`
	HTTPOnly bool       `cfg:"http_only" default:"true" doc:"scripts do not see them"`
	SameSite string     `cfg:"same_site" default:"lax" enum:"lax,strict,off" doc:"whether requests from pages of other sites carry them, where the origin does not say"`
	Except   List[Text] `cfg:"except" doc:"names of cookies that are left as they are"`
	Pos      Pos
}

// CSRF is the policy that refuses what pages of other sites make browsers send.
type CSRF struct {
	Origins List[Text] `cfg:"origins" doc:"pages of other origins that may: https://pay.example, https://*.shop.example"`
	Mode    string     `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
	Pos     Pos
}

func (v *validator) securityHeaders(h *SecurityHeaders, path string) {
	if h == nil {
		return
	}
	for _, text := range []struct {
		key   string
		value Text
	}{{"csp", h.CSP}, {"csp_report_only", h.CSPReport}, {"permissions", h.Permissions}} {
		where := joinPath(path, text.key)
		switch {
		case !v.written(where):
		case strings.TrimSpace(text.value.Text) == "":
			v.fail(where, "says nothing", "remove the key")
		case strings.ContainsFunc(text.value.Text, func(c rune) bool { return c < ' ' || c > '~' }):
			v.fail(where, "wants one line of ASCII", "in YAML, >- joins lines to one")
		}
	}
}

func (v *validator) cookies(c *Cookies, path string) {
	if c == nil {
		return
	}
	if !c.Secure && !c.HTTPOnly && c.SameSite == "off" {
		v.fail(path, "adds nothing", "secure, http_only or same_site")
	}
	for i, name := range c.Except {
		if checkHeaderName(name.Text) != "" { // it is a token as well (RFC 6265 section 4.1.1)
			v.failAt(name.Pos, v.item(path+".except", i), "wants the name of a cookie, got "+v.show(name.Text, name.Pos), "")
		}
	}
}

func (v *validator) csrf(c *CSRF, path string) {
	if c == nil {
		return
	}
	for i, origin := range c.Origins {
		if origin.Text == "*" {
			v.failAt(origin.Pos, v.item(path+".origins", i), "* admits all pages: nothing would be checked", "name the origins")
			return
		}
	}
	v.webOrigins(c.Origins, false, path+".origins")
}
