package compile

import (
	"slices"
	"strings"

	"sluice/control/config"
)

// learned is what templates may name once a policy has found it out.
type learned struct {
	names    func(variable string) bool
	findsOut func(*config.Policy) bool
	// What to say where none has, and what to do about it: of a policy of headers, and of a route's rewrite.
	early, never [2]string
}

var allLearned = []learned{
	{
		names: func(v string) bool { return strings.HasPrefix(v, "jwt.") },
		findsOut: func(p *config.Policy) bool {
			return p.JWT != nil || p.Introspection != nil || p.OIDC != nil || p.ForwardAuth != nil
		},
		early: [2]string{"asks for claims of a token that no policy before it has verified: they are empty", "put the jwt policy in front"},
		never: [2]string{"asks for claims of a token that no policy verifies: they are empty", "use: [...] with a jwt policy"},
	},
	{
		names:    func(v string) bool { return v == "consumer" || strings.HasPrefix(v, "consumer.") },
		findsOut: (*config.Policy).TellsApart,
		early:    [2]string{"names the consumer before any policy has found out who that is: it is empty", "put api_key or basic_auth in front"},
		never:    [2]string{"names the consumer, and no policy finds out who that is: it is empty", "use: [...] with api_key or basic_auth"},
	},
}

// warnUnknown warns of templates of a route that name what no policy before them has found out.
func (b *builder) warnUnknown(r *config.Route, path string) {
	policies := b.definitions(b.config.Chain(r))
	for i := range allLearned {
		l, known := &allLearned[i], false
		for _, p := range policies {
			known = known || l.findsOut(p)
			if p.Headers != nil && !known && l.named(p.Headers.Request) {
				b.warn(path+".use", l.early[0], l.early[1])
			}
		}
		if r.Rewrite != nil && !known && l.named(r.Rewrite.Headers) {
			b.warn(path+".rewrite", l.never[0], l.never[1])
		}
	}
}

// named reports whether a template names it.
func (l *learned) named(o *config.HeaderOps) bool {
	return o != nil && slices.ContainsFunc(slices.Concat(o.Set, o.Add), func(f config.Entry[config.Template]) bool {
		pieces, err := config.SplitTemplate(f.Value.Text, false)
		return err == nil && slices.ContainsFunc(pieces, func(p config.Piece) bool { return l.names(p.Variable) })
	})
}
