package browser

import "sluice/proxy"

// Field is a header field that is sent.
type Field struct{ Name, Value string }

// Headers adds fields to responses by which browsers are told to be careful. What the origin has said itself stays, unless override is set.
type Headers struct {
	fields   []Field
	secure   []Field // over https alone
	override bool
}

// NewHeaders returns the policy, for fields of every response, and such that mean something over https alone.
func NewHeaders(fields, secure []Field, override bool) *Headers {
	return &Headers{fields: fields, secure: secure, override: override}
}

// Serve hands on. The response is edited when its head is final: refusals of later policies get the fields, too.
func (p *Headers) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	x.OnHead(p)
	return next.Serve(x)
}

// EditHead adds the fields.
func (p *Headers) EditHead(x *proxy.Exchange) {
	p.add(x, p.fields)
	if x.Request.Scheme == "https" {
		p.add(x, p.secure)
	}
}

func (p *Headers) add(x *proxy.Exchange, fields []Field) {
	h := &x.Response.Head
	for i := range fields {
		f := &fields[i]
		switch {
		case p.override:
			h.SetString(f.Name, f.Value)
			x.Response.Decided = append(x.Response.Decided, f.Name)
		case !h.Has(f.Name):
			h.AddString(f.Name, f.Value)
		}
	}
}
