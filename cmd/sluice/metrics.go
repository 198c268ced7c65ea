package main

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"sluice/control/compile"
	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/cache"
	"sluice/proxy/cache/store"
	"sluice/proxy/compress"
	"sluice/proxy/limit"
	"sluice/proxy/observe"
	"sluice/proxy/upstream"
	"sluice/tlsterm"
	"sluice/tlsterm/acme"
)

// registerMetrics adds what only the gateway as a whole knows. All of it is computed when somebody asks.
func (g *gateway) registerMetrics() {
	m := g.metrics
	m.Func("sluice_config_generation", "The configuration that is served: 1 at the start, one more with every reload.", observe.Value(func() float64 {
		return float64(g.Status().Generation)
	}))
	m.Func("sluice_config_last_reload_successful", "1 if the configuration on disk is the one that is served, 0 if it was broken.", observe.Value(func() float64 {
		return number(!g.reloads.lastFailed.Load())
	}))
	m.Func("sluice_config_reloads_total", "Reloads, by their result.", func(yield func(string, float64) bool) {
		_ = yield(observe.Labels("result", "succeeded"), float64(g.reloads.succeeded.Load())) &&
			yield(observe.Labels("result", "failed"), float64(g.reloads.failed.Load()))
	})
	m.Func("sluice_panics_total", "Bugs: panics that were caught.", observe.Value(func() float64 { return float64(proxy.Panics.Load()) }))
	m.Func("sluice_access_log_dropped_total", "Lines of the access log that were lost.", observe.Value(func() float64 {
		return float64(g.runtime.AccessLogDropped())
	}))
	g.registerConnections()
	g.registerTLS()
	g.registerOCSP()
	g.registerACME()
	g.registerEndpoints()
	registerCache(m, g.runtime.Cache)
	g.registerTokens()
	g.registerServiceTokens()
	g.registerLimits()
	g.registerStores()
	g.registerQuotas()
	g.registerProfiling()
	g.registerCompression()
	g.registerConsumers()
}

// registerConnections relies on the order of a start: nobody can ask before the admin API listens, and it listens after
// the server was made.
func (g *gateway) registerConnections() {
	m := g.metrics
	m.Func("sluice_connections_open", "Connections of clients.", observe.Value(func() float64 { return float64(g.server.Counts().Open) }))
	m.Func("sluice_quic_connections_open", "Those of them that speak HTTP/3 over QUIC.", observe.Value(func() float64 { return float64(g.server.Counts().QUIC) }))
	m.Func("sluice_quic_retries_total", "Handshakes of QUIC before which a client had to prove its address, because many were under way.",
		observe.Value(func() float64 { return float64(g.server.Counts().Retried) }))
	m.Func("sluice_connections_accepted_total", "Connections of clients since the start, those over a limit included.", observe.Value(func() float64 {
		return float64(g.server.Counts().Accepted)
	}))
	m.Func("sluice_connections_unproxied_total", "Connections that ended because a PROXY header was due and did not come; over UDP none can.", observe.Value(func() float64 {
		return float64(g.server.Counts().Unproxied)
	}))
	m.Func("sluice_connections_refused_total", "Connections that were over a limit.", observe.Value(func() float64 {
		return float64(g.server.Counts().Refused)
	}))
	m.Func("sluice_connections_shunned_total", "Connections that were refused because their clients had flooded the gateway over many others just before.",
		observe.Value(func() float64 { return float64(g.server.Counts().Shunned) }))
	m.Func("sluice_listener_refused_total", "Connections and handshakes over a limit of their listener, by which.", func(yield func(string, float64) bool) {
		more := true
		g.runtime.Doors(func(listener string, refused [limit.DoorReasons]uint64, _ limit.Counts) {
			for reason, n := range refused {
				more = more && yield(observe.Labels("listener", listener, "reason", limit.DoorReason(reason)), float64(n))
			}
		})
	})
	m.Func("sluice_listener_overflows_total", "Connections and handshakes whose client found no room among those that are limited, and shared what one may have.",
		func(yield func(string, float64) bool) {
			more := true
			g.runtime.Doors(func(listener string, _ [limit.DoorReasons]uint64, c limit.Counts) {
				more = more && yield(observe.Labels("listener", listener), float64(c.Overflow))
			})
		})
	m.Func("sluice_connections_calmed_total", "Connections of HTTP/2 and HTTP/3 that were ended because their clients flooded the gateway with frames.",
		observe.Value(func() float64 { return float64(g.server.Counts().Calmed) }))
}

func (g *gateway) registerTLS() {
	m := g.metrics
	m.Func("sluice_tls_handshakes_total", "TLS handshakes, by their result; refused are those over limits.handshakes of the gateway: sluice_listener_refused_total has those over a listener's.", func(yield func(string, float64) bool) {
		h := g.server.Handshakes()
		_ = yield(observe.Labels("result", "completed"), float64(h.Completed)) &&
			yield(observe.Labels("result", "failed"), float64(h.Failed)) &&
			yield(observe.Labels("result", "refused"), float64(h.Refused))
	})
	m.Func("sluice_tls_sessions_resumed_total", "Completed handshakes that resumed a session.", observe.Value(func() float64 {
		return float64(g.server.Handshakes().Resumed)
	}))
	m.Func("sluice_tls_handshakes_in_flight", "TLS handshakes that have begun and not ended.", observe.Value(func() float64 {
		return float64(g.server.Handshakes().UnderWay)
	}))
	m.Func("sluice_tls_certificate_expiry_timestamp_seconds", "When a certificate in use expires, in Unix time.", g.certificates(
		func(c *tlsterm.Info) (float64, bool) { return float64(c.NotAfter.Unix()), true }))
}

// certificates yields a sample of each certificate in use that has one.
func (g *gateway) certificates(sample func(c *tlsterm.Info) (float64, bool)) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for set, certificates := range g.runtime.Certificates() {
			for _, c := range certificates {
				value, ok := sample(&c)
				if ok && !yield(observe.Labels("tls", set, "names", strings.Join(c.Names, ","), "serial", c.Serial), value) {
					return
				}
			}
		}
	}
}

func (g *gateway) registerOCSP() {
	m, counts := g.metrics, &g.runtime.TLSCounts().OCSP
	m.Func("sluice_tls_ocsp_answers_total", "What OCSP responders have said of certificates in use; failed are answers that did not come or prove nothing.", func(yield func(string, float64) bool) {
		_ = yield(observe.Labels("result", "good"), float64(counts.Good.Load())) &&
			yield(observe.Labels("result", "revoked"), float64(counts.Revoked.Load())) &&
			yield(observe.Labels("result", "failed"), float64(counts.Failed.Load()))
	})
	m.Func("sluice_tls_ocsp_expiry_timestamp_seconds", "When the OCSP answer ends that is sent along with a certificate, in Unix time; 0 if none is.", g.certificates(
		func(c *tlsterm.Info) (float64, bool) {
			if c.StapledUntil.IsZero() {
				return 0, c.Responder != ""
			}
			return float64(c.StapledUntil.Unix()), true
		}))
}

func (g *gateway) registerACME() {
	m, counts := g.metrics, &g.runtime.TLSCounts().ACME
	m.Func("sluice_acme_certificates_total", "Certificates that were ordered: issued for hosts that had none, or renewed.", func(yield func(string, float64) bool) {
		_ = yield(observe.Labels("result", "issued"), float64(counts.Issued.Load())) &&
			yield(observe.Labels("result", "renewed"), float64(counts.Renewed.Load()))
	})
	m.Func("sluice_acme_failures_total", "Orders of certificates that failed, by the reason.", func(yield func(string, float64) bool) {
		for i, reason := range acme.Reasons {
			if !yield(observe.Labels("reason", reason), float64(counts.Failed[i].Load())) {
				return
			}
		}
	})
	m.Func("sluice_acme_hosts_awaited", "Hosts whose certificate is ordered and not there yet: handshakes for them fail.", func(yield func(string, float64) bool) {
		for set, hosts := range g.runtime.Awaited() {
			if !yield(observe.Labels("tls", set), float64(len(hosts))) {
				return
			}
		}
	})
}

// registerTokens is about policies that say who a client is.
func (g *gateway) registerTokens() {
	m := g.metrics
	keys := func(samples func(s *jwt.KeysStatus, label func(...string) string, yield func(string, float64) bool) bool) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			for _, s := range g.runtime.KeySources() {
				label := func(more ...string) string { return observe.Labels(append([]string{"from", s.Source}, more...)...) }
				if !samples(&s, label, yield) {
					return
				}
			}
		}
	}
	m.Func("sluice_jwt_keys", "Keys that tokens are verified with, by where they are fetched from; 0 while the routes are closed for want of them.", keys(
		func(s *jwt.KeysStatus, label func(...string) string, yield func(string, float64) bool) bool {
			return yield(label(), float64(s.Keys))
		}))
	m.Func("sluice_jwt_key_fetches_total", "Fetches of keys, by their result.", keys(
		func(s *jwt.KeysStatus, label func(...string) string, yield func(string, float64) bool) bool {
			return yield(label("result", "fetched"), float64(s.Fetched)) && yield(label("result", "failed"), float64(s.Failed))
		}))
	m.Func("sluice_jwt_keys_fetched_timestamp_seconds", "When keys were fetched last, in Unix time; 0 if they never were.", keys(
		func(s *jwt.KeysStatus, label func(...string) string, yield func(string, float64) bool) bool {
			if s.At.IsZero() {
				return yield(label(), 0)
			}
			return yield(label(), float64(s.At.Unix()))
		}))
	m.Func("sluice_jwt_verified_total", "Tokens whose signature was verified; those that are remembered are not verified again.", func(yield func(string, float64) bool) {
		for _, p := range g.runtime.TokenPolicies() {
			if !yield(observe.Labels("policy", p.Name), float64(p.Verified)) {
				return
			}
		}
	})
	m.Func("sluice_jwt_remembered", "Verified tokens that are remembered.", func(yield func(string, float64) bool) {
		for _, p := range g.runtime.TokenPolicies() {
			if !yield(observe.Labels("policy", p.Name), float64(p.Remembered)) {
				return
			}
		}
	})
	m.Func("sluice_dpop_proofs_total", "Proofs of possession that were good; replayed are those that had been used before, excess those of keys that had used more than may be remembered of one.", func(yield func(string, float64) bool) {
		sample := func(name string, asked bool, c dpop.Counts) bool {
			return !asked || yield(observe.Labels("policy", name, "result", "accepted"), float64(c.Accepted)) &&
				yield(observe.Labels("policy", name, "result", "replayed"), float64(c.Replayed)) &&
				yield(observe.Labels("policy", name, "result", "excess"), float64(c.Excess))
		}
		for _, p := range g.runtime.TokenPolicies() {
			if !sample(p.Name, p.DPoP, p.Proofs) {
				return
			}
		}
		for _, p := range g.runtime.IntrospectionPolicies() {
			if !sample(p.Name, p.DPoP, p.Proofs) {
				return
			}
		}
	})
	m.Func("sluice_dpop_proofs_remembered", "Proofs of possession that are remembered, so that none is used twice.", observe.Value(func() float64 {
		return float64(g.runtime.Proofs().Proofs)
	}))
	m.Func("sluice_dpop_proof_overflows_total", "Proofs of possession that were refused because no more could be remembered.", observe.Value(func() float64 {
		return float64(g.runtime.Proofs().Refused)
	}))
	m.Func("sluice_jwt_revoked_list_failing", "1 while a list of revoked tokens cannot be read, and a former one is in force.", observe.Value(func() float64 {
		return number(g.runtime.RevokedFailing())
	}))
	m.Func("sluice_oauth_questions_total", "Questions to providers, where their endpoints are and then to these, by their result; a refusal counts as failed.", func(yield func(string, float64) bool) {
		for _, s := range g.runtime.Providers() {
			if !yield(observe.Labels("from", s.Source, "result", "answered"), float64(s.Asked-s.Failed)) || !yield(observe.Labels("from", s.Source, "result", "failed"), float64(s.Failed)) {
				return
			}
		}
	})
	m.Func("sluice_introspection_tokens_total", "Tokens that their issuer was asked about, by what came of it; unavailable are requests that were refused because nothing did.",
		func(yield func(string, float64) bool) {
			for _, p := range g.runtime.IntrospectionPolicies() {
				label := func(result string) string { return observe.Labels("policy", p.Name, "result", result) }
				if !yield(label("active"), float64(p.Active)) || !yield(label("inactive"), float64(p.Inactive)) || !yield(label("unavailable"), float64(p.Failed)) {
					return
				}
			}
		})
	m.Func("sluice_introspection_remembered", "Good answers about tokens that are remembered.", func(yield func(string, float64) bool) {
		for _, p := range g.runtime.IntrospectionPolicies() {
			if !yield(observe.Labels("policy", p.Name), float64(p.Remembered)) {
				return
			}
		}
	})
	m.Func("sluice_oidc_logins_total", "Callbacks of logins, by what came of them.", func(yield func(string, float64) bool) {
		for _, p := range g.runtime.LoginPolicies() {
			label := func(result string) string { return observe.Labels("policy", p.Name, "result", result) }
			if !yield(label("done"), float64(p.Logins)) || !yield(label("failed"), float64(p.Failed)) {
				return
			}
		}
	})
	m.Func("sluice_oidc_refreshes_total", "Questions whether a session goes on, by whether they were answered.", func(yield func(string, float64) bool) {
		for _, p := range g.runtime.LoginPolicies() {
			label := func(result string) string { return observe.Labels("policy", p.Name, "result", result) }
			if !yield(label("answered"), float64(p.Refreshed)) || !yield(label("failed"), float64(p.Unrefreshed)) {
				return
			}
		}
	})
	m.Func("sluice_oidc_logouts_total", "Sessions that were ended by signing out.", func(yield func(string, float64) bool) {
		for _, p := range g.runtime.LoginPolicies() {
			if !yield(observe.Labels("policy", p.Name), float64(p.Logouts)) {
				return
			}
		}
	})
	m.Func("sluice_oidc_remembered", "Sessions that are remembered.", func(yield func(string, float64) bool) {
		for _, p := range g.runtime.LoginPolicies() {
			if !yield(observe.Labels("policy", p.Name), float64(p.Remembered)) {
				return
			}
		}
	})
	m.Func("sluice_forward_auth_questions_total", "Questions whether a request may go on, by what the service has answered; failed: no decision. What is remembered is not asked.",
		func(yield func(string, float64) bool) {
			for _, p := range g.runtime.DecisionPolicies() {
				label := func(result string) string { return observe.Labels("policy", p.Name, "result", result) }
				if !yield(label("admitted"), float64(p.Admitted)) || !yield(label("refused"), float64(p.Refused)) || !yield(label("failed"), float64(p.Failed)) {
					return
				}
			}
		})
	m.Func("sluice_forward_auth_remembered", "Decisions that are remembered.", func(yield func(string, float64) bool) {
		for _, p := range g.runtime.DecisionPolicies() {
			if !yield(observe.Labels("policy", p.Name), float64(p.Remembered)) {
				return
			}
		}
	})
	m.Func("sluice_authorize_refused_total", "Requests that an expression was not true for, by the reason: it was false, or failed; in report mode they were admitted.",
		func(yield func(string, float64) bool) {
			for _, p := range g.runtime.AuthorizationPolicies() {
				label := func(reason string) string { return observe.Labels("policy", p.Name, "reason", reason) }
				if !yield(label("false"), float64(p.Refused)) || !yield(label("failed"), float64(p.Failed)) {
					return
				}
			}
		})
	m.Func("sluice_identity_unenforced", "1 for each policy that should keep clients out and does not, because of its mode.", func(yield func(string, float64) bool) {
		for _, name := range g.runtime.Unenforced() {
			if !yield(observe.Labels("policy", name), 1) {
				return
			}
		}
	})
}

// registerLimits is about the policies that limit; none of it is counted by key.
func (g *gateway) registerLimits() {
	m := g.metrics
	m.Func("sluice_limit_requests_total", "Requests that a limit was asked about; refused are also those that would have been, in report mode.",
		g.limits(func(c limit.Counts, allowed, refused uint64, labels func(...string) string, yield func(string, float64) bool) bool {
			return yield(labels("result", "allowed"), float64(allowed)) && yield(labels("result", "refused"), float64(refused))
		}))
	one := func(value func(c limit.Counts) float64) iter.Seq2[string, float64] {
		return g.limits(func(c limit.Counts, _, _ uint64, labels func(...string) string, yield func(string, float64) bool) bool {
			return yield(labels(), value(c))
		})
	}
	m.Func("sluice_limit_keys", "Keys that have spent tokens, or requests under way; of many an estimate.", one(func(c limit.Counts) float64 { return float64(c.Live) }))
	m.Func("sluice_limit_evictions_total", "Keys that were as good as new and have made room for others.", one(func(c limit.Counts) float64 { return float64(c.Evicted) }))
	m.Func("sluice_limit_overflows_total", "Requests whose key found no room among keys that are limited, and shared what one key may have.",
		one(func(c limit.Counts) float64 { return float64(c.Overflow) }))
}

// registerStores is about the limits that hosts share.
func (g *gateway) registerStores() {
	m := g.metrics
	stores := func(value func(s *limit.FleetStatus) float64) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			for _, s := range g.runtime.LimitStores() {
				if !yield(observe.Labels("store", s.Name), value(&s)) {
					return
				}
			}
		}
	}
	m.Func("sluice_limit_store_up", "1 while the store of limits that hosts share answers.", stores(func(s *limit.FleetStatus) float64 { return number(s.Up) }))
	m.Func("sluice_limit_store_calls_total", "Calls of the store: a batch of keys each, a reset, or a question whether it answers.", stores(func(s *limit.FleetStatus) float64 { return float64(s.Calls) }))
	m.Func("sluice_limit_store_failures_total", "Calls that failed, or took too long.", stores(func(s *limit.FleetStatus) float64 { return float64(s.Failed) }))
	m.Func("sluice_limit_store_seconds_total", "Time that calls took, in which no request waited.", stores(func(s *limit.FleetStatus) float64 { return s.Spent.Seconds() }))
	m.Func("sluice_limit_store_leases_total", "Leases that the store has renewed: one for each key in a batch.", stores(func(s *limit.FleetStatus) float64 { return float64(s.Settled) }))
	m.Func("sluice_limit_store_put_off_total", "Batches that had no room for all keys that were used, so that the rest waited for the next one.",
		stores(func(s *limit.FleetStatus) float64 { return float64(s.PutOff) }))
	shared := func(value func(fallbacks, held uint64) uint64) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			more := true
			g.runtime.SharedCounts(func(name string, fallbacks, held uint64) {
				more = more && yield(observe.Labels("policy", name), float64(value(fallbacks, held)))
			})
		}
	}
	m.Func("sluice_limit_fallbacks_total", "Requests that were judged by if_store_down, because the store did not answer.", shared(func(fallbacks, _ uint64) uint64 { return fallbacks }))
	m.Func("sluice_limit_held_total", "Requests that were refused because the host's lease was used up before the store had renewed it.",
		shared(func(_, held uint64) uint64 { return held }))
}

// registerQuotas is about the file of quotas. While there are none, there are no samples.
func (g *gateway) registerQuotas() {
	m := g.metrics
	one := func(value func(s *compile.QuotaStatus) float64) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			if s, ok := g.runtime.Quotas(); ok {
				yield("", value(&s))
			}
		}
	}
	m.Func("sluice_quota_store_up", "1 while the file of quotas can be read and written; 0: they give no more than what is reserved.",
		one(func(s *compile.QuotaStatus) float64 { return number(s.Problem == "") }))
	m.Func("sluice_quota_store_writes_total", "How often the file of quotas was written, and could not be.", func(yield func(string, float64) bool) {
		if s, ok := g.runtime.Quotas(); ok {
			_ = yield(observe.Labels("result", "written"), float64(s.Written)) && yield(observe.Labels("result", "failed"), float64(s.Failed))
		}
	})
	m.Func("sluice_quota_unavailable_total", "Requests that were refused because nothing was known about their quota.", func(yield func(string, float64) bool) {
		if s, ok := g.runtime.Quotas(); ok {
			for name, n := range s.Closed {
				if !yield(observe.Labels("policy", name), float64(n)) {
					return
				}
			}
		}
	})
}

// limits yields the samples of every policy that limits.
func (g *gateway) limits(samples func(c limit.Counts, allowed, refused uint64, labels func(...string) string, yield func(string, float64) bool) bool) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		more := true
		g.runtime.LimitCounts(func(name string, c limit.Counts, allowed, refused uint64) {
			labels := func(more ...string) string { return observe.Labels(append([]string{"policy", name}, more...)...) }
			more = more && samples(c, allowed, refused, labels, yield)
		})
	}
}

func (g *gateway) registerEndpoints() {
	m := g.metrics
	m.Func("sluice_upstream_connections", "Connections to endpoints: idle ones wait in the pool, open ones are all.", g.endpoints(
		func(e *upstream.EndpointStatus, labels func(...string) string, yield func(string, float64) bool) bool {
			return yield(labels("state", "open"), float64(e.Open)) && yield(labels("state", "idle"), float64(e.Idle))
		}))
	one := func(value func(e *upstream.EndpointStatus) float64) iter.Seq2[string, float64] {
		return g.endpoints(func(e *upstream.EndpointStatus, labels func(...string) string, yield func(string, float64) bool) bool {
			return yield(labels(), value(e))
		})
	}
	m.Func("sluice_upstream_in_flight", "Requests that an endpoint works on.", one(func(e *upstream.EndpointStatus) float64 { return float64(e.InFlight) }))
	m.Func("sluice_upstream_endpoint_left_out", "1 while an endpoint is left out because it could not be reached.", one(func(e *upstream.EndpointStatus) float64 {
		return number(e.LeftOut)
	}))
	g.registerHealth()
	m.Func("sluice_upstream_connect_failures_total", "Connections to an endpoint that could not be made.", one(func(e *upstream.EndpointStatus) float64 {
		return float64(e.Failures)
	}))
}

// registerHealth is about the endpoints that are checked, and no others.
func (g *gateway) registerHealth() {
	checked := func(samples func(e *upstream.EndpointStatus, labels func(...string) string, yield func(string, float64) bool) bool) iter.Seq2[string, float64] {
		return g.endpoints(func(e *upstream.EndpointStatus, labels func(...string) string, yield func(string, float64) bool) bool {
			return e.Health == "" || samples(e, labels, yield)
		})
	}
	m := g.metrics
	m.Func("sluice_upstream_endpoint_healthy", "1 while an endpoint passes its checks, or was not checked yet; 0 while it fails them.", checked(
		func(e *upstream.EndpointStatus, labels func(...string) string, yield func(string, float64) bool) bool {
			return yield(labels(), number(e.Health != "unhealthy"))
		}))
	m.Func("sluice_upstream_health_checks_total", "Checks of an endpoint, by their result.", checked(
		func(e *upstream.EndpointStatus, labels func(...string) string, yield func(string, float64) bool) bool {
			return yield(labels("result", "passed"), float64(e.Passed)) && yield(labels("result", "failed"), float64(e.Failed))
		}))
	m.Func("sluice_upstream_health_changes_total", "How often an endpoint has become unhealthy or healthy again.", checked(
		func(e *upstream.EndpointStatus, labels func(...string) string, yield func(string, float64) bool) bool {
			return yield(labels(), float64(e.Changes))
		}))
}

// registerCache is about the response cache. While there is none, there are no samples.
func registerCache(m *observe.Metrics, current func() *cache.Cache) {
	one := func(value func(st *store.Stats) int64) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			if c := current(); c != nil {
				st := c.Store.Stats()
				yield("", float64(value(&st)))
			}
		}
	}
	m.Func("sluice_cache_requests_total", "Requests on routes with a cache, by what it did for them.", func(yield func(string, float64) bool) {
		if c := current(); c != nil {
			for _, r := range cache.Results() {
				if !yield(observe.Labels("result", r.String()), float64(c.Counts[r].Load())) {
					return
				}
			}
		}
	})
	m.Func("sluice_cache_requests_waiting", "Requests that wait for the answer to another one.", func(yield func(string, float64) bool) {
		if c := current(); c != nil {
			yield("", float64(c.Waiting.Load()))
		}
	})
	count := func(value func(c *cache.Cache) uint64) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			if c := current(); c != nil {
				yield("", float64(value(c)))
			}
		}
	}
	m.Func("sluice_cache_refreshes_total", "What was asked of services in the background, because what was served was stale; it is no request on a route.",
		count(func(c *cache.Cache) uint64 { return c.Refreshes.Load() }))
	m.Func("sluice_cache_refreshes_skipped_total", "What was not, because too much was asked in the background at that time.",
		count(func(c *cache.Cache) uint64 { return c.Skipped.Load() }))
	m.Func("sluice_cache_resumed_total", "Bodies of which a part was evicted under a slow client, and that went on from the service.",
		count(func(c *cache.Cache) uint64 { return c.Resumed.Load() }))
	m.Func("sluice_cache_memory_bytes", "Memory of the response cache, as configured.", one(func(st *store.Stats) int64 { return st.Bytes }))
	m.Func("sluice_cache_used_bytes", "Memory of the response cache that has been written to.", one(func(st *store.Stats) int64 { return st.BytesUsed }))
	m.Func("sluice_cache_taken_bytes", "Memory that the response cache takes in truth: with its index, which grows with the entries.",
		one(func(st *store.Stats) int64 { return st.BytesTaken }))
	m.Func("sluice_cache_entries", "Entries in the response cache; a large object has several.", one(func(st *store.Stats) int64 { return st.Entries }))
	m.Func("sluice_cache_evictions_total", "Entries that made room for others.", one(func(st *store.Stats) int64 { return st.Evictions }))
	m.Func("sluice_cache_torn_total", "Objects that were looked up and of which a part had been evicted.", one(func(st *store.Stats) int64 { return st.Torn }))
	m.Func("sluice_cache_purges_total", "Purges of the response cache: one for each form of a URL, and those that unsafe requests make.", one(func(st *store.Stats) int64 { return st.Purges }))
	m.Func("sluice_cache_purges_remembered", "Purges that are remembered, because not all entries have been judged by them.", one(func(st *store.Stats) int64 { return st.PurgesHeld }))
	m.Func("sluice_cache_purge_overflows_total", "How often there were too many purges to remember, which purged everything.",
		one(func(st *store.Stats) int64 { return st.Overflows }))
}

// endpointsMax bounds the series of one service and metric: addresses may come from the DNS, which no configuration
// bounds. What is beyond it is not shown.
const endpointsMax = 256

// endpoints yields the samples of every endpoint of every service.
func (g *gateway) endpoints(samples func(e *upstream.EndpointStatus, labels func(...string) string, yield func(string, float64) bool) bool) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, s := range g.runtime.Services() {
			for i := range s.Endpoints[:min(len(s.Endpoints), endpointsMax)] {
				e := &s.Endpoints[i]
				labels := func(more ...string) string {
					return observe.Labels(append([]string{"service", s.Name, "endpoint", e.Address}, more...)...)
				}
				if !samples(e, labels, yield) {
					return
				}
			}
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (g *gateway) registerCompression() {
	m := g.metrics
	byRoute := func(of func(*compress.Counts) uint64) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			for route, counts := range g.runtime.Compressed() {
				if !yield(observe.Labels("route", route), float64(of(counts))) {
					return
				}
			}
		}
	}
	m.Func("sluice_compress_responses_total", "Responses that were compressed, by their coding.", func(yield func(string, float64) bool) {
		for route, counts := range g.runtime.Compressed() {
			for i, coding := range compress.Codings {
				if !yield(observe.Labels("route", route, "coding", coding), float64(counts.Responses[i].Load())) {
					return
				}
			}
		}
	})
	m.Func("sluice_compress_in_bytes_total", "Bytes of their bodies before, counted when they have ended.", byRoute(func(c *compress.Counts) uint64 { return c.In.Load() }))
	m.Func("sluice_compress_out_bytes_total", "Bytes of their bodies after that.", byRoute(func(c *compress.Counts) uint64 { return c.Out.Load() }))
	m.Func("sluice_compress_refused_total", "Responses that stayed as they were because encoders took limits.compress_memory.",
		byRoute(func(c *compress.Counts) uint64 { return c.Refused.Load() }))
	m.Func("sluice_compress_encoder_bytes", "What the encoders of responses under way take.", observe.Value(func() float64 {
		return float64(g.runtime.EncoderBytes())
	}))
}

// registerConsumers is about policies that say who a client is. Who that was is no label: there may be many.
func (g *gateway) registerConsumers() {
	m := g.metrics
	m.Func("sluice_passwords_hashed_total", "Passwords that were hashed with argon2id; those that are remembered are not hashed again.", observe.Value(func() float64 {
		hashed, _ := g.runtime.PasswordCounts()
		return float64(hashed)
	}))
	m.Func("sluice_passwords_refused_total", "Requests that could not wait until a password was hashed, because too many did.", observe.Value(func() float64 {
		_, refused := g.runtime.PasswordCounts()
		return float64(refused)
	}))
	stored := func(samples func(c compile.MembersCounts, yield func(string, float64) bool)) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			if m := g.runtime.Members(); m != nil {
				samples(m.Counts(), yield)
			}
		}
	}
	m.Func("sluice_consumer_store_up", "1 if the stored consumers can be read; 0 while the routes that ask for them are closed.", stored(
		func(c compile.MembersCounts, yield func(string, float64) bool) {
			open := 0.0
			if c.Open {
				open = 1
			}
			yield("", open)
		}))
	m.Func("sluice_consumer_keys", "Keys of stored consumers, by group.", stored(func(c compile.MembersCounts, yield func(string, float64) bool) {
		for _, group := range slices.Sorted(maps.Keys(c.Keys)) {
			if !yield(observe.Labels("group", group), float64(c.Keys[group])) {
				return
			}
		}
	}))
	m.Func("sluice_consumer_edits_total", "Edits of stored consumers that were acknowledged.", stored(
		func(c compile.MembersCounts, yield func(string, float64) bool) { yield("", float64(c.Edits)) }))
}
