package compile

import (
	"fmt"
	"slices"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/expression"
	"sluice/router"
)

// authorization counts for the policies of one name and expression. It outlives a configuration, and so does what was compiled.
type authorization struct {
	idle
	name    string
	program *expression.Program
	counts  expression.Counts
}

// expressions compiles every expression, those that no route uses as well: what is wrong with one is said where it stands.
func (b *builder) expressions() {
	b.config.Expressions(func(a *config.Authorize, path string) {
		p, err := b.program(a.When.Text)
		if err != nil {
			b.problems = append(b.problems, config.Problem{Pos: a.When.Pos, Path: path, Message: err.Error(), Hint: "the language is CEL; README lists what may be asked for"})
		} else if why := b.config.NoCountry(); why != "" && p.Uses("client.country") {
			b.problems = append(b.problems, config.Problem{Pos: a.When.Pos, Path: path, Message: "client.country is not known: " + why})
		}
	})
}

func (b *builder) program(text string) (*expression.Program, error) {
	if p := b.programs[text]; p != nil {
		return p, nil
	}
	p, err := expression.Compile(text)
	if err != nil {
		return nil, err
	}
	if b.programs == nil {
		b.programs = make(map[string]*expression.Program)
	}
	b.programs[text] = p
	return p, nil
}

func (b *builder) authorizePolicy(name string, p *config.Policy, pattern *router.Pattern) (proxy.Policy, bool, error) {
	a := p.Authorize
	if a == nil {
		return nil, false, nil
	}
	program, err := b.program(a.When.Text)
	if err != nil {
		return nil, true, nil // which was said
	}
	if why := b.unanswered(name, program, pattern); why != "" {
		b.fail(b.at.path+".use", why)
		return nil, true, nil
	}
	of, err := lastingOf(b, fmt.Sprintf("authorize %q %q", name, a.When.Text), func() (*authorization, error) {
		return &authorization{name: name, program: program}, nil
	})
	if err != nil {
		return nil, true, err
	}
	if b.plan.authorizing == nil {
		b.plan.authorizing = make(map[*proxy.Route][]string)
	}
	if modes[a.Mode] != proxy.Off {
		b.plan.authorizing[b.at.route] = append(b.plan.authorizing[b.at.route], name+": "+a.When.Text)
	}
	return b.identifying(name, expression.New(of.program, &of.counts), a.Mode), true, nil
}

// unanswered reports what an expression asks for that nobody knows where the policy stands: it would refuse everybody.
func (b *builder) unanswered(name string, program *expression.Program, pattern *router.Pattern) string {
	for _, param := range program.Params() {
		if _, ok := pattern.Param(param); !ok {
			return fmt.Sprintf("the policy %s asks for request.params.%s, and the match of this route, %s, has no such parameter", name, param, pattern)
		}
	}
	// Whom a service has admitted without a name has claims all the same: what it has said.
	told := slices.ContainsFunc(b.at.before, func(p *config.Policy) bool { return p.ForwardAuth != nil && p.ForwardAuth.Mode == "enforce" })
	switch {
	case b.identified():
	case program.Uses("consumer."):
		return fmt.Sprintf("the policy %s asks for the consumer, and no policy before it finds out who that is: put jwt, api_key or another one that does before it%s", name, b.orSkip(name))
	case program.Uses("claims") && !told:
		return fmt.Sprintf("the policy %s asks for claims, and no policy before it has verified any: put jwt or another one that does before it%s", name, b.orSkip(name))
	}
	return ""
}

// orSkip is what else helps where defaults.use wants the policy.
func (b *builder) orSkip(name string) string {
	if _, named := b.config.Policies.Get(name); b.at.own || !named {
		return ""
	}
	return ", or skip: [" + name + "]"
}

// AuthorizationPolicy is what the policies of one name have not admitted.
type AuthorizationPolicy struct {
	Name            string
	Refused, Failed uint64
}

// AuthorizationPolicies lists the policies with expressions, in the order of names.
func (r *Runtime) AuthorizationPolicies() []AuthorizationPolicy {
	return byName(r, func(a *authorization) string { return a.name }, func(p *AuthorizationPolicy, a *authorization) {
		p.Name = a.name
		p.Refused += a.counts.Refused.Load()
		p.Failed += a.counts.Failed.Load()
	})
}
