package main

import (
	"iter"

	"sluice/control/compile"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/observe"
)

// registerTokens is about policies that find out who a client is by asking somebody, or by what somebody has signed.
func (g *gateway) registerTokens() {
	m := g.metrics
	tokens := observe.NewGroup(m, func() seenTokens { return seenTokens{g.runtime.TokenPolicies(), g.runtime.IntrospectionPolicies()} })
	g.registerJWT(tokens)
	g.registerDPoP(tokens)
	g.registerOAuth(tokens)
	g.registerOIDC()
	g.registerDecisions()
	m.Func("sluice_identity_unenforced", "1 for each policy that should keep clients out and does not, because of its mode.", func(yield func(string, float64) bool) {
		for _, name := range g.runtime.Unenforced() {
			if !yield(observe.Labels("policy", name), 1) {
				return
			}
		}
	})
}

// seenTokens are the policies that take tokens.
type seenTokens struct {
	jwt           []compile.TokenPolicy
	introspection []compile.IntrospectionPolicy
}

func ofJWT(samples func([]compile.TokenPolicy) iter.Seq2[string, float64]) func(seenTokens) iter.Seq2[string, float64] {
	return func(t seenTokens) iter.Seq2[string, float64] { return samples(t.jwt) }
}

func ofIntrospection(samples func([]compile.IntrospectionPolicy) iter.Seq2[string, float64]) func(seenTokens) iter.Seq2[string, float64] {
	return func(t seenTokens) iter.Seq2[string, float64] { return samples(t.introspection) }
}

func (g *gateway) registerJWT(tokens *observe.Group[seenTokens]) {
	keys := observe.NewGroup(g.metrics, g.runtime.KeySources)
	keys.Func("sluice_jwt_keys", "Keys that tokens are verified with, by where they are fetched from; 0 while the routes are closed for want of them.",
		one(func(s *jwt.KeysStatus) sample { return labelled(s.Keys, "from", s.Source) }))
	keys.Func("sluice_jwt_key_fetches_total", "Fetches of keys, by their result.", each(func(s *jwt.KeysStatus) []sample {
		return []sample{labelled(s.Fetched, "from", s.Source, "result", "fetched"), labelled(s.Failed, "from", s.Source, "result", "failed")}
	}))
	keys.Func("sluice_jwt_keys_fetched_timestamp_seconds", "When keys were fetched last, in Unix time; 0 if they never were.",
		one(func(s *jwt.KeysStatus) sample { return labelled(unix(s.At), "from", s.Source) }))
	tokens.Func("sluice_jwt_verified_total", "Tokens whose signature was verified; those that are remembered are not verified again.",
		ofJWT(one(func(p *compile.TokenPolicy) sample { return labelled(p.Verified, "policy", p.Name) })))
	tokens.Func("sluice_jwt_remembered", "Verified tokens that are remembered.",
		ofJWT(one(func(p *compile.TokenPolicy) sample { return labelled(p.Remembered, "policy", p.Name) })))
	g.metrics.Func("sluice_jwt_revoked_list_failing", "1 while a list of revoked tokens cannot be read, and a former one is in force.", observe.Value(func() float64 {
		return number(g.runtime.RevokedFailing())
	}))
}

func (g *gateway) registerDPoP(tokens *observe.Group[seenTokens]) {
	tokens.Func("sluice_dpop_proofs_total", "Proofs of possession that were good; replayed are those that had been used before, excess those of keys that had used more than may be remembered of one.",
		func(t seenTokens) iter.Seq2[string, float64] {
			var list []sample
			add := func(name string, c dpop.Counts) {
				list = append(list, labelled(c.Accepted, "policy", name, "result", "accepted"),
					labelled(c.Replayed, "policy", name, "result", "replayed"), labelled(c.Excess, "policy", name, "result", "excess"))
			}
			for _, p := range t.jwt {
				if p.DPoP {
					add(p.Name, p.Proofs)
				}
			}
			for _, p := range t.introspection {
				if p.DPoP {
					add(p.Name, p.Proofs)
				}
			}
			return samples(list...)
		})
	proofs := observe.NewGroup(g.metrics, g.runtime.Proofs)
	proofs.Func("sluice_dpop_proofs_remembered", "Proofs of possession that are remembered, so that none is used twice.",
		value(func(s dpop.MemoryStatus) int { return s.Proofs }))
	proofs.Func("sluice_dpop_proof_overflows_total", "Proofs of possession that were refused because no more could be remembered.",
		value(func(s dpop.MemoryStatus) uint64 { return s.Refused }))
}

func (g *gateway) registerOAuth(tokens *observe.Group[seenTokens]) {
	providers := observe.NewGroup(g.metrics, g.runtime.Providers)
	providers.Func("sluice_oauth_questions_total", "Questions to providers, where their endpoints are and then to these, by their result; a refusal counts as failed.",
		each(func(s *oauth.Status) []sample {
			return []sample{labelled(s.Asked-s.Failed, "from", s.Source, "result", "answered"), labelled(s.Failed, "from", s.Source, "result", "failed")}
		}))
	tokens.Func("sluice_introspection_tokens_total", "Tokens that their issuer was asked about, by what came of it; unavailable are requests that were refused because nothing did.",
		ofIntrospection(each(func(p *compile.IntrospectionPolicy) []sample {
			return []sample{
				labelled(p.Active, "policy", p.Name, "result", "active"), labelled(p.Inactive, "policy", p.Name, "result", "inactive"),
				labelled(p.Failed, "policy", p.Name, "result", "unavailable"),
			}
		})))
	tokens.Func("sluice_introspection_remembered", "Good answers about tokens that are remembered.",
		ofIntrospection(one(func(p *compile.IntrospectionPolicy) sample { return labelled(p.Remembered, "policy", p.Name) })))
}

func (g *gateway) registerOIDC() {
	logins := observe.NewGroup(g.metrics, g.runtime.LoginPolicies)
	logins.Func("sluice_oidc_logins_total", "Callbacks of logins, by what came of them.", each(func(p *compile.LoginPolicy) []sample {
		return []sample{labelled(p.Logins, "policy", p.Name, "result", "done"), labelled(p.Failed, "policy", p.Name, "result", "failed")}
	}))
	logins.Func("sluice_oidc_refreshes_total", "Questions whether a session goes on, by whether they were answered.", each(func(p *compile.LoginPolicy) []sample {
		return []sample{labelled(p.Refreshed, "policy", p.Name, "result", "answered"), labelled(p.Unrefreshed, "policy", p.Name, "result", "failed")}
	}))
	logins.Func("sluice_oidc_logouts_total", "Sessions that were ended by signing out.",
		one(func(p *compile.LoginPolicy) sample { return labelled(p.Logouts, "policy", p.Name) }))
	logins.Func("sluice_oidc_remembered", "Sessions that are remembered.",
		one(func(p *compile.LoginPolicy) sample { return labelled(p.Remembered, "policy", p.Name) }))
}

// registerDecisions is about services and expressions that decide.
func (g *gateway) registerDecisions() {
	asked := observe.NewGroup(g.metrics, g.runtime.DecisionPolicies)
	asked.Func("sluice_forward_auth_questions_total", "Questions whether a request may go on, by what the service has answered; failed: no decision. What is remembered is not asked.",
		each(func(p *compile.DecisionPolicy) []sample {
			return []sample{
				labelled(p.Admitted, "policy", p.Name, "result", "admitted"), labelled(p.Refused, "policy", p.Name, "result", "refused"),
				labelled(p.Failed, "policy", p.Name, "result", "failed"),
			}
		}))
	asked.Func("sluice_forward_auth_remembered", "Decisions that are remembered.",
		one(func(p *compile.DecisionPolicy) sample { return labelled(p.Remembered, "policy", p.Name) }))
	expressions := observe.NewGroup(g.metrics, g.runtime.AuthorizationPolicies)
	expressions.Func("sluice_authorize_refused_total", "Requests that an expression was not true for, by the reason: it was false, or failed; in report mode they were admitted.",
		each(func(p *compile.AuthorizationPolicy) []sample {
			return []sample{labelled(p.Refused, "policy", p.Name, "reason", "false"), labelled(p.Failed, "policy", p.Name, "reason", "failed")}
		}))
}

// seenServiceTokens are the policies that show tokens to services.
type seenServiceTokens struct {
	own       []compile.OwnToken
	exchanged []compile.ExchangedTokens
}

// registerServiceTokens is about tokens that services are shown.
func (g *gateway) registerServiceTokens() {
	tokens := observe.NewGroup(g.metrics, func() seenServiceTokens { return seenServiceTokens{g.runtime.OwnTokens(), g.runtime.ExchangedTokens()} })
	own := func(samples func([]compile.OwnToken) iter.Seq2[string, float64]) func(seenServiceTokens) iter.Seq2[string, float64] {
		return func(t seenServiceTokens) iter.Seq2[string, float64] { return samples(t.own) }
	}
	exchanged := func(samples func([]compile.ExchangedTokens) iter.Seq2[string, float64]) func(seenServiceTokens) iter.Seq2[string, float64] {
		return func(t seenServiceTokens) iter.Seq2[string, float64] { return samples(t.exchanged) }
	}
	tokens.Func("sluice_upstream_token_fetches_total", "Tokens of the gateway's own for services, by how fetching them went.", own(each(func(t *compile.OwnToken) []sample {
		return []sample{labelled(t.Fetched, "policy", t.Name, "result", "fetched"), labelled(t.Failed, "policy", t.Name, "result", "failed")}
	})))
	tokens.Func("sluice_upstream_token_expiry_timestamp_seconds", "When such a token ends, in Unix time; 0 while there is none, and the routes are closed.",
		own(one(func(t *compile.OwnToken) sample { return labelled(unix(t.Ends), "policy", t.Name) })))
	tokens.Func("sluice_upstream_token_exchanges_total", "Tokens of clients that were exchanged for services, or for which the provider gave none.",
		exchanged(each(func(t *compile.ExchangedTokens) []sample {
			return []sample{labelled(t.Exchanged, "policy", t.Name, "result", "exchanged"), labelled(t.Denied, "policy", t.Name, "result", "denied")}
		})))
	tokens.Func("sluice_upstream_token_remembered", "Exchanged tokens that are remembered.",
		exchanged(one(func(t *compile.ExchangedTokens) sample { return labelled(t.Remembered, "policy", t.Name) })))
	tokens.Func("sluice_upstream_token_refused_total", "Requests that were refused because there was no token for the service, and answers 401 of services to one.",
		func(t seenServiceTokens) iter.Seq2[string, float64] {
			var list []sample
			add := func(name string, unavailable, rejected uint64) {
				list = append(list, labelled(unavailable, "policy", name, "reason", "unavailable"), labelled(rejected, "policy", name, "reason", "rejected"))
			}
			for _, t := range t.own {
				add(t.Name, t.Refused, t.Rejected)
			}
			for _, t := range t.exchanged {
				add(t.Name, t.Failed, t.Rejected)
			}
			return samples(list...)
		})
}
