package config

// Authorize is the policy that admits requests by a condition about them. What the condition may say is judged when it is compiled, see
// control/compile.
type Authorize struct {
	When Expression `cfg:"when" required:"true" doc:"what has to be true of a request that is admitted, in CEL: request.method == \"GET\" || \"admin\" in claims.roles"`
	Mode string     `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
	Pos  Pos
}

// Expression is a condition in CEL. Nothing is substituted into it: a value from the environment would be a part of what is decided by, and
// could decide anything.
type Expression struct {
	Text string
	Pos  Pos
}

func (e *Expression) decode(d *decoder, n *node, path string, _ field) {
	e.Pos = n.pos
	text, ok := d.scalar(n, path, "an expression")
	if !ok {
		return
	}
	for _, p := range n.parts {
		if p.substituted {
			d.report.fail(n.pos, path, "nothing is substituted into an expression", "write the value itself, or compare with a claim or a header field")
			return
		}
	}
	if text == "" {
		d.report.fail(n.pos, path, "is empty", `request.method == "GET"`)
	}
	e.Text = text
}

func (*Expression) schema(*schemaWriter, field) object { return plainText() }

// Expressions calls f with each policy of the kind that there is, and where its expression stands.
func (c *Config) Expressions(f func(a *Authorize, path string)) {
	c.eachPolicy(func(p *Policy, path string) {
		if p.Authorize != nil {
			f(p.Authorize, path+".authorize.when")
		}
	})
}

func (v *validator) authorize(a *Authorize, path string) {
	if a != nil {
		v.unenforced(a.Mode, path)
	}
}
