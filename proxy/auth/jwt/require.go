package jwt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
)

// Requirement is what a claim has to be: any of the values. A claim that is a list has to hold one of them. Scopes ("scope", "scp") are
// a set: a value names those that have to be in it, with spaces between them.
type Requirement struct {
	Claim string // by its path
	AnyOf []Want
}

// Want is a value. Kinds do not mix: "true" is not true.
type Want struct {
	Kind jose.Kind // String, Number or Bool
	Text string
}

// rule is a requirement with the answer to those who do not meet it.
type rule struct {
	Requirement
	refused, refusedBound *proxy.Error // of tokens that are bound to a key
}

func (r Requirement) isScope() bool { return r.Claim == "scope" || r.Claim == "scp" }

func (r Requirement) compile(unbound, bound *proxy.Error) (rule, error) {
	if len(r.AnyOf) == 0 {
		return rule{}, fmt.Errorf("nothing is said about what the claim %s has to be", r.Claim)
	}
	cause := fmt.Errorf("the token's %s is not what the policy requires", r.Claim)
	refused, refusedBound := unbound.With(cause), bound.With(cause)
	if r.isScope() {
		// RFC 6750 section 3: which scopes would do. Of several sets the first is named.
		for _, w := range r.AnyOf {
			for scope := range strings.FieldsSeq(w.Text) {
				if w.Kind != jose.String || strings.ContainsFunc(scope, func(c rune) bool { return c < 0x21 || c > 0x7e || c == '"' || c == '\\' }) {
					return rule{}, fmt.Errorf("%q is no scope (RFC 6749 section 3.3)", scope)
				}
			}
			if strings.TrimSpace(w.Text) == "" {
				return rule{}, fmt.Errorf("a value of %s names no scope", r.Claim)
			}
		}
		scope := `, scope="` + strings.Join(strings.Fields(r.AnyOf[0].Text), " ") + `"`
		refused.Challenge += scope
		refusedBound.Challenge += scope
	}
	return rule{r, refused, refusedBound}, nil
}

// allows reports whether the claims meet the requirement.
func (r rule) allows(claims jose.Values) bool {
	c := claims.Get(r.Claim)
	if c == nil {
		return false
	}
	have := c.Elements()
	if c.Kind != jose.Array {
		have = jose.Values{*c}
	}
	if r.isScope() {
		return slices.ContainsFunc(r.AnyOf, func(w Want) bool { return holdsScopes(have, w.Text) })
	}
	return slices.ContainsFunc(r.AnyOf, func(w Want) bool {
		return slices.ContainsFunc(have, func(v jose.Value) bool { return w.is(v) })
	})
}

// holdsScopes wants every scope in wanted. A list of scopes (as some issuers write it) and a string with spaces are the same.
func holdsScopes(have jose.Values, wanted string) bool {
	var scopes []string
	for _, v := range have {
		if v.Kind == jose.String {
			scopes = append(scopes, strings.Split(string(v.Text), " ")...)
		}
	}
	for scope := range strings.FieldsSeq(wanted) {
		if !slices.Contains(scopes, scope) {
			return false
		}
	}
	return true
}

func (w Want) is(v jose.Value) bool {
	if v.Kind != w.Kind {
		return false
	}
	if string(v.Text) == w.Text {
		return true
	}
	if w.Kind != jose.Number {
		return false
	}
	a, errA := strconv.ParseFloat(w.Text, 64) // 1.0 is 1
	b, errB := strconv.ParseFloat(string(v.Text), 64)
	return errA == nil && errB == nil && a == b
}
