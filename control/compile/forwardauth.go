package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/forward"
	"sluice/router"
)

// decisions are what the policies of one name and definition remember, with the service that they ask.
type decisions struct {
	idle
	name, service string
	memory        *forward.Memory
}

// Stop implements lasting.
func (d *decisions) Stop() { d.memory.Stop() }

// Unready implements unready.
func (d *decisions) Unready() string {
	if why := d.memory.Down(); why != "" {
		return fmt.Sprintf("the service %s, which the policy %s asks, does not decide: %s", d.service, d.name, why)
	}
	return ""
}

var forwardFacts = map[string]forward.Facts{
	"method": forward.Method, "scheme": forward.Scheme, "host": forward.Host, "path": forward.Path, "query": forward.Query, "ip": forward.IP,
}

func (b *builder) forwardAuthPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	f := p.ForwardAuth
	if f == nil {
		return nil, false, nil
	}
	o := forward.Options{
		Name: name, Target: f.Path.Text, Method: f.Method, Forward: texts(f.Forward), Respond: texts(f.Respond), Identity: f.Identity.Text,
		Timeout: time.Duration(f.Timeout), Remember: time.Duration(f.Remember), RememberRefused: f.Refused(), Idle: b.runtime.options.Dry,
	}
	if f.Method == "request" {
		o.Method = ""
	}
	if modes[f.Mode] != proxy.Off {
		o.Send, o.Cookies = f.Sent() // else there is nobody to see it first, and what the service speaks by goes at once
	}
	for _, word := range f.Key {
		o.Key |= forwardFacts[word.Text]
	}
	if f.Key == nil {
		o.Key = forward.AllFacts
	}
	// What was decided holds for as long as who has decided it, and what about, stay the same.
	s, ok := b.config.Services.Get(f.Service.Text)
	if !ok {
		panic("BUG: a service that does not exist passed validation: " + f.Service.Text)
	}
	_, service := serviceOptions(f.Service.Text, s, true)
	d, err := lastingOf(b, fmt.Sprintf("forward_auth %+v %d %s", o, f.Decisions, service), func() (*decisions, error) {
		return &decisions{name: name, service: f.Service.Text, memory: forward.NewMemory(f.Decisions, name, f.Service.Text)}, nil
	})
	if err != nil {
		return nil, true, err
	}
	o.Memory, o.Service = d.memory, b.wait(nil, f.Service.Text) // no request of the route goes there itself
	b.explainForwardAuth(name, f, o)
	return b.identifying(name, forward.New(o), f.Mode), true, nil
}

// explainForwardAuth remembers whom a route asks, for those who ask what becomes of a request: they do not.
func (b *builder) explainForwardAuth(name string, f *config.ForwardAuth, o forward.Options) {
	if modes[f.Mode] == proxy.Off {
		return
	}
	line := fmt.Sprintf("%s: %s %s of the service %s", name, cmp.Or(o.Method, "its method for"), o.Target, f.Service.Text)
	shown := slices.Clone(o.Send)
	for _, cookie := range o.Cookies {
		shown = append(shown, "the cookie "+cookie)
	}
	if len(shown) > 0 {
		line += ", with " + strings.Join(shown, ", ")
	}
	if o.Remember > 0 {
		line += fmt.Sprintf("; what admits is remembered for %s, what refuses for %s", o.Remember, o.RememberRefused)
	}
	if b.plan.asking == nil {
		b.plan.asking = make(map[*proxy.Route][]string)
	}
	b.plan.asking[b.at.route] = append(b.plan.asking[b.at.route], line)
}

// DecisionPolicy is what the policies of one name have asked and remember.
type DecisionPolicy struct {
	Name string
	forward.Status
}

// DecisionPolicies lists the policies that ask a service for decisions, in the order of names.
func (r *Runtime) DecisionPolicies() []DecisionPolicy {
	return byName(r, func(d *decisions) string { return d.name }, func(p *DecisionPolicy, d *decisions) {
		s := d.memory.Status()
		p.Name = d.name
		p.Admitted += s.Admitted
		p.Refused += s.Refused
		p.Failed += s.Failed
		p.Remembered += s.Remembered
	})
}
