package compile

import (
	"fmt"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth"
	"sluice/proxy/respond"
	"sluice/router"
)

func (b *builder) clientCertPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	c := p.ClientCert
	if c == nil {
		return nil, false, nil
	}
	guard, err := auth.NewClientCert(texts(c.SAN), texts(c.SPKI))
	if err != nil {
		return nil, true, err
	}
	return b.identifying(name, guard, c.Mode), true, nil
}

func texts(list config.List[config.Text]) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.Text)
	}
	return out
}

// respond builds a route's own answer.
func (b *builder) respond(r *config.Respond, pattern *router.Pattern) (proxy.Policy, error) {
	o := respond.StaticOptions{Status: r.Status}
	o.ContentType, o.Fixed = r.Content()
	for _, h := range r.Headers {
		t, err := proxy.ParseTemplate(h.Value.Text, pattern, false)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", h.Name, err)
		}
		o.Headers = append(o.Headers, respond.Field{Name: h.Name, Value: t})
	}
	return respond.NewStatic(o)
}

func (b *builder) redirect(r *config.Redirect, pattern *router.Pattern) (proxy.Policy, error) {
	return respond.NewRedirect(r.To.Text, pattern, r.Status)
}

var formats = map[string]respond.Format{
	"auto": respond.Auto, "problem+json": respond.ProblemJSON, "text": respond.PlainText, "html": respond.HTMLPage,
}

// errors builds the renderer of a route's error answers.
func (b *builder) errors(e *config.Errors, path string) proxy.ErrorRenderer {
	bodies := make(map[string]respond.ErrorBody, len(e.Bodies))
	for _, own := range e.Bodies {
		body := respond.ErrorBody{ContentType: own.Value.MediaType()}
		if own.Value.File != nil {
			body.Fixed = own.Value.File.Data
		} else {
			t, err := proxy.ParseTemplate(own.Value.Body.Text, nil, false)
			b.failErr(path+".bodies", err)
			body.Template = t
			if body.ContentType == "" {
				body.ContentType = "text/plain; charset=utf-8"
			}
		}
		bodies[own.Name] = body
	}
	return respond.NewProblems(formats[e.Format], bodies)
}

// listeners builds what to listen on.
func (b *builder) listeners() {
	for i := range b.config.Listen {
		e := &b.config.Listen[i]
		l := Listener{Name: e.Name}
		l.Trust, l.Allow = prefixes(e.Value.Trust), prefixes(e.Value.Allow)
		if p := e.Value.Proxied; p != nil {
			l.Proxied = prefixes(p.From)
		}
		for _, a := range e.Value.Address {
			l.Addresses = append(l.Addresses, Address{Network: a.Network, Address: a.Address})
		}
		h1, h2, h3 := versions(&e.Value)
		l.NoH1, l.H2, l.H3 = !h1, h2, h3
		l.EarlyData = e.Value.Early == "safe"
		l.AltSvc, l.HideH3 = e.Value.AltSvc.Text, e.Value.AltSvc.Text == "off"
		if door := b.door(e); door != nil { // a nil pointer would be a door
			l.Door = door
			b.plan.doors = append(b.plan.doors, e.Name)
		}
		if port := e.Value.Redirect.Port; port != 0 {
			l.Instead = b.toHTTPS(port)
		}
		b.plan.Listeners = append(b.plan.Listeners, l)
	}
}

// versions returns which versions of HTTP a listener speaks.
func versions(l *config.Listener) (h1, h2, h3 bool) {
	for _, version := range l.HTTP {
		h1 = h1 || version.Text == "h1"
		h2 = h2 || version.Text == "h2"
		h3 = h3 || version.Text == "h3"
	}
	return h1, h2, h3
}

// httpsRoute is the name of what answers on a listener that only redirects; like noRoute it cannot be configured.
const httpsRoute = "-https"

func (b *builder) toHTTPS(port int) *proxy.Route {
	p, err := respond.NewHTTPS(port)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	route := &proxy.Route{
		Name: httpsRoute, Errors: b.fallback.Errors,
		Chain: proxy.NewChain(proxy.Link{Name: "redirect https", Policy: p}),
	}
	b.extra = append(b.extra, route)
	return route
}
