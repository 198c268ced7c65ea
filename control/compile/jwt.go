package compile

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/jwt"
	"sluice/router"
)

// tokens is a guard under the name that reports call it by.
type tokens struct {
	idle
	name  string
	guard *jwt.Guard
}

func (b *builder) jwtPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	j := p.JWT
	if j == nil {
		return nil, false, nil
	}
	o := jwtOptions(j)
	var definition string
	var err error
	if o.Keys, definition, err = b.jwtKeys(j); err != nil {
		return nil, true, err
	}
	proofs := b.dpop(&o, j.DPoP)
	// What a guard remembers was judged by all of this.
	definition = fmt.Sprintf("jwt %q %s %s %q %q %q %q %s %+v %q %q %t %v %q %d", name, definition, proofs, o.Issuer, o.Audiences, o.Types, o.Algorithms, o.Leeway, o.Require,
		o.Cookie, o.Header, o.Strip, o.Forward, j.Revoked, o.Remember)
	if file := string(j.Revoked); file != "" {
		if o.Revoked, err = lastingOf(b, "revoked "+file, func() (*jwt.Revoked, error) { return jwt.ReadRevoked(file) }); err != nil {
			return nil, true, fmt.Errorf("cannot read the list of revoked tokens: %w", err)
		}
	}
	t, err := lastingOf(b, definition, func() (*tokens, error) {
		g, err := jwt.New(o)
		return &tokens{name: name, guard: g}, err
	})
	if err != nil {
		return nil, true, err
	}
	return b.identifying(name, t.guard, j.Mode), true, nil
}

func jwtOptions(j *config.JWT) jwt.Options {
	o := jwt.Options{
		Issuer: j.Issuer.Text, Audiences: texts(j.Audience), Types: texts(j.Type), Leeway: time.Duration(j.Leeway), Strip: j.Strip, Remember: j.Remember,
		Require: requirements(j.Require), Forward: forwards(j.Forward),
	}
	for _, a := range j.Algorithms {
		o.Algorithms = append(o.Algorithms, jose.Algorithm(a.Text))
	}
	o.Cookie, o.Header = tokenFrom(j.From)
	return o
}

func requirements(require config.Named[config.List[config.ClaimValue]]) []jwt.Requirement {
	var all []jwt.Requirement
	for _, r := range require {
		requirement := jwt.Requirement{Claim: r.Name}
		for _, v := range r.Value {
			requirement.AnyOf = append(requirement.AnyOf, jwt.Want{Kind: claimKinds[v.Kind], Text: v.Text})
		}
		all = append(all, requirement)
	}
	return all
}

func forwards(forward config.Named[config.Text]) []jwt.Forward {
	var all []jwt.Forward
	for _, f := range forward {
		all = append(all, jwt.Forward{Header: f.Name, Claim: f.Value.Text})
	}
	return all
}

func tokenFrom(from *config.TokenFrom) (cookie, header string) {
	switch {
	case from == nil:
		return "", ""
	case from.Cookie != nil:
		return from.Cookie.Text, ""
	}
	return "", from.Header.Text
}

// dpop makes the judge of proofs, and returns a text that is the same exactly if it judges in the same way. All policies share what was seen
// before, so that a proof is used once, whatever is changed, and a request that meets several of them needs one.
func (b *builder) dpop(o *jwt.Options, p *config.DPoP) string {
	if p == nil {
		return ""
	}
	d := dpop.Options{Window: time.Duration(p.Window), Leeway: o.Leeway}
	for _, a := range p.Algorithms {
		d.Algorithms = append(d.Algorithms, jose.Algorithm(a.Text))
	}
	never := func(err error) {
		if err != nil {
			panic("BUG: what is kept of proofs cannot be made: " + err.Error())
		}
	}
	var err error
	d.Seen, err = lastingOf(b, "proofs", func() (*dpop.Memory, error) { return dpop.NewMemory(p.Remember, d.Life()), nil })
	never(err)
	b.plan.proofs.need(d.Seen, p.Remember, d.Life())
	secret := "none"
	if p.Nonce {
		var bytes []byte
		if secret = "random"; !p.NonceSecret.IsZero() {
			bytes = []byte(p.NonceSecret.Reveal())
			secret = fmt.Sprintf("%x", sha256.Sum256(bytes))
		}
		d.Nonces, err = lastingOf(b, "nonces "+secret, func() (*dpop.Nonces, error) { return dpop.NewNonces(bytes), nil })
		never(err)
	}
	o.DPoP, o.DPoPRequired = dpop.New(d), p.Tokens == "required"
	return fmt.Sprintf("dpop %s %s %q %s", p.Tokens, d.Window, d.Algorithms, secret)
}

// proofRoom is what the memory of proofs has to have for a plan: the most that one of its policies asks for. It gets that when the plan is
// committed, as policies that run use it already.
type proofRoom struct {
	memory *dpop.Memory // nil: nobody asks
	n      int
	life   time.Duration
}

func (r *proofRoom) need(m *dpop.Memory, n int, life time.Duration) {
	r.memory, r.n, r.life = m, max(r.n, n), max(r.life, life)
}

func (r *proofRoom) commit() {
	if r.memory != nil {
		r.memory.Resize(r.n, r.life)
	}
}

var claimKinds = map[config.ClaimKind]jose.Kind{config.ClaimText: jose.String, config.ClaimNumber: jose.Number, config.ClaimBool: jose.Bool}

// jwtKeys returns the keys of a policy, and a text that is the same exactly if they are. Policies that have their keys from one place share
// them.
func (b *builder) jwtKeys(j *config.JWT) (*jwt.Keys, string, error) {
	var definition string
	var create func() (*jwt.Keys, error)
	switch {
	case !j.Secret.IsZero():
		secret := []byte(j.Secret.Reveal())
		definition = fmt.Sprintf("secret %x", sha256.Sum256(secret))
		create = func() (*jwt.Keys, error) {
			key, err := jose.NewSecret(secret)
			if err != nil {
				return nil, err
			}
			return jwt.FixedKeys(jose.NewSet(key)), nil
		}
	case j.JWKS != nil && j.JWKS.URL == "":
		definition = fmt.Sprintf("set %x", sha256.Sum256(j.JWKS.File.Data))
		create = func() (*jwt.Keys, error) {
			set, err := jose.ParseSet(j.JWKS.File.Data)
			if err != nil {
				return nil, err
			}
			for _, skipped := range set.Skipped() {
				b.problems = append(b.problems, config.Problem{Pos: j.JWKS.Pos, Message: skipped, Warning: true})
			}
			return jwt.FixedKeys(set), nil
		}
	case j.JWKS != nil:
		return b.fetchedKeys(jwt.KeysOptions{URL: j.JWKS.URL}, j.CA)
	default:
		return b.fetchedKeys(jwt.KeysOptions{Issuer: j.Issuer.Text}, j.CA)
	}
	keys, err := lastingOf(b, "keys "+definition, create)
	return keys, definition, err
}

// fetchedKeys returns keys that are fetched, and a text that is the same exactly if they are.
func (b *builder) fetchedKeys(o jwt.KeysOptions, ca *config.Content) (*jwt.Keys, string, error) {
	o.Idle = b.runtime.options.Dry
	roots, trusted, err := rootsOf(ca)
	if err != nil {
		return nil, "", err
	}
	o.RootCAs = roots
	definition := fmt.Sprintf("fetched %q %q%s", o.URL, o.Issuer, trusted)
	keys, err := lastingOf(b, "keys "+definition, func() (*jwt.Keys, error) { return jwt.NewKeys(o), nil })
	return keys, definition, err
}

// rootsOf is whom to trust as a server, nil for whom the system trusts, and a text that is the same exactly if that is.
func rootsOf(ca *config.Content) (*x509.CertPool, string, error) {
	if ca == nil {
		return nil, "", nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.Data) {
		return nil, "", errors.New("the file of ca holds no PEM certificate")
	}
	return roots, fmt.Sprintf(" %x", sha256.Sum256(ca.Data)), nil
}

// KeySources says how fetching the keys for tokens goes, in the order of names. Two that differ in what is not shown are one here, which is
// as well as the worse of the two.
func (r *Runtime) KeySources() []jwt.KeysStatus {
	return byName(r, func(k *jwt.Keys) string { return k.Status().Source }, func(one *jwt.KeysStatus, k *jwt.Keys) {
		s := k.Status()
		if one.Source == "" {
			*one = s
			return
		}
		one.Keys = min(one.Keys, s.Keys)
		one.Fetched += s.Fetched
		one.Failed += s.Failed
		one.Problem = cmp.Or(one.Problem, s.Problem)
		if s.At.Before(one.At) {
			one.At = s.At
		}
	})
}

// TokenPolicy is what the policies of one name have verified and remember.
type TokenPolicy struct {
	Name string
	jwt.Status
}

// TokenPolicies lists the policies that verify tokens, in the order of names.
func (r *Runtime) TokenPolicies() []TokenPolicy {
	return byName(r, func(t *tokens) string { return t.name }, func(p *TokenPolicy, t *tokens) {
		s := t.guard.Status()
		p.Name = t.name
		p.Verified += s.Verified
		p.Remembered += s.Remembered
		p.DPoP = p.DPoP || s.DPoP
		p.Proofs.Add(s.Proofs)
	})
}

// Proofs says how many proofs of possession are remembered, and how many were refused for want of room.
func (r *Runtime) Proofs() (all dpop.MemoryStatus) {
	for _, m := range lastingAll[*dpop.Memory](r) {
		s := m.Status()
		all.Proofs += s.Proofs
		all.Refused += s.Refused
	}
	return all
}

// RevokedFailing reports whether a list of revoked tokens cannot be read, so that a former one is in force.
func (r *Runtime) RevokedFailing() bool {
	return slices.ContainsFunc(lastingAll[*jwt.Revoked](r), (*jwt.Revoked).Failing)
}

// Unenforced are the names of the policies that should keep clients out, and do not: those in the modes report and off.
func (r *Runtime) Unenforced() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := slices.Clone(r.unenforced)
	slices.Sort(names)
	return slices.Compact(names)
}
