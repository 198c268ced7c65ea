package server

import "sluice/proxy"

// addHSTS adds Strict-Transport-Security (RFC 6797), which means nothing over plain HTTP.
func (s *settings) addHSTS(x *proxy.Exchange, scheme string) {
	const name = "Strict-Transport-Security"
	if s.HSTS != "" && scheme == "https" && !x.Response.Head.Has(name) {
		x.Response.Head.AddString(name, s.HSTS)
	}
}
