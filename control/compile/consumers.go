package compile

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/consumer"
	"sluice/router"
)

// consumers builds the groups, which know from the running ones when their keys were used last.
func (b *builder) consumers() {
	b.runtime.mu.Lock()
	running := b.runtime.consumers
	b.runtime.mu.Unlock()
	b.plan.consumers = make(map[string]*consumer.Group, len(b.config.Consumers))
	b.members()
	for _, group := range b.config.Consumers {
		var list []consumer.Consumer
		for i := range group.Value.List {
			list = append(list, consumerOf(group.Value.List[i].Name, &group.Value.List[i].Value))
		}
		g, err := consumer.NewGroup(group.Name, list, running[group.Name])
		if err != nil {
			b.fail(config.JoinPath("consumers", group.Name), err.Error())
			g = new(consumer.Group) // the policies are looked at all the same
		}
		if group.Value.Stored {
			g.Join(b.live(group.Name))
		}
		b.plan.consumers[group.Name] = g
	}
}

func consumerOf(name string, c *config.Consumer) consumer.Consumer {
	made := consumer.Consumer{Name: name, Plan: c.Plan.Text, Scopes: texts(c.Scopes)}
	for _, l := range c.Labels {
		made.Labels = append(made.Labels, consumer.Label{Name: l.Name, Value: l.Value.Text})
	}
	for _, k := range c.Keys {
		made.Keys = append(made.Keys, consumer.Key{
			Sum: k.Hash.Sum, Keyed: k.Hash.Keyed, Prefix: k.Prefix.Text, Expires: k.Expires.Time, Scopes: texts(k.Scopes),
		})
	}
	for _, p := range c.Passwords {
		password := consumer.Password{Sum: p.Hash.Sum, Expires: p.Expires.Time, Scopes: texts(p.Scopes)}
		if a := p.Hash.Argon2; a != nil {
			password.Argon2 = &consumer.Argon2{Memory: uint32(a.Memory), Time: uint32(a.Time), Threads: uint8(a.Threads), Salt: a.Salt, Sum: a.Sum}
		}
		made.Passwords = append(made.Passwords, password)
	}
	return made
}

func (b *builder) apiKeyPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	k := p.APIKey
	if k == nil {
		return nil, false, nil
	}
	o := consumer.KeyOptions{
		Group: b.plan.consumers[k.Consumers.Text], Header: k.HeaderName(), Pepper: []byte(k.Pepper.Reveal()), Keep: k.Keep, Require: requirement(k.Require),
	}
	if k.Query != nil {
		o.Query = k.Query.Text
	}
	if k.Cookie != nil {
		o.Cookie = k.Cookie.Text
	}
	guard, err := consumer.NewAPIKey(o)
	if err != nil {
		return nil, true, err
	}
	return b.identifying(name, guard, k.Mode), true, nil
}

func (b *builder) basicAuthPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	a := p.BasicAuth
	if a == nil {
		return nil, false, nil
	}
	guard, err := consumer.NewBasic(consumer.BasicOptions{
		Group: b.plan.consumers[a.Consumers.Text], Passwords: b.runtime.passwords, Keep: a.Keep, Require: requirement(a.Require),
	})
	if err != nil {
		return nil, true, err
	}
	return b.identifying(name, guard, a.Mode), true, nil
}

// identifying makes a policy of a guard that says who clients are, and notes if it keeps nobody out.
func (b *builder) identifying(name string, g proxy.Guard, mode string) proxy.Policy {
	if modes[mode] != proxy.Enforce {
		b.plan.unenforced = append(b.plan.unenforced, name)
	}
	return proxy.Guarded(name, g, modes[mode], nil)
}

func requirement(r *config.ConsumerRequirement) consumer.Requirement {
	if r == nil {
		return consumer.Requirement{}
	}
	return consumer.Requirement{Scopes: r.Scopes(), Plans: texts(r.Plan)}
}

// Consumers lists up to n consumers by group and name, those that follow one of a group and a name. It has no key, no password, and nothing
// that they hash to. While stored ones cannot be read it lists the others, and says why.
func (r *Runtime) Consumers(afterGroup, afterName string, n int) (list []ConsumerInfo, more bool, err error) {
	r.mu.Lock()
	groups, members := maps.Clone(r.consumers), r.members
	r.mu.Unlock()
	now := time.Now()
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if name < afterGroup {
			continue
		}
		after := ""
		if name == afterGroup {
			after = afterName
		}
		part, partErr := groupAfter(groups[name], members, name, after, n+1-len(list), now)
		list, err = append(list, part...), errors.Join(err, partErr)
		if len(list) > n {
			return list[:n], true, err
		}
	}
	return list, false, err
}

func groupAfter(g *consumer.Group, members *Members, name, after string, n int, now time.Time) ([]ConsumerInfo, error) {
	var list []ConsumerInfo
	for _, s := range g.Status(now) {
		if s.Name > after {
			list = append(list, ConsumerInfo{Status: s})
		}
	}
	stored, err := members.List(name, after, n, now)
	if errors.Is(err, ErrNoMembers) {
		err = nil
	}
	list = append(list, stored...)
	// Of two with one name the configured one, which counts, comes first.
	slices.SortStableFunc(list, func(a, b ConsumerInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list[:min(n, len(list))], err
}

// PasswordCounts are how many passwords were hashed since the start, and how many requests could not wait for that.
func (r *Runtime) PasswordCounts() (computed, refused uint64) { return r.passwords.Counts() }
