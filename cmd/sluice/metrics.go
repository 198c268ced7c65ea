package main

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"sluice/control/compile"
	"sluice/proxy"
	"sluice/proxy/cache"
	"sluice/proxy/cache/store"
	"sluice/proxy/compress"
	"sluice/proxy/limit"
	"sluice/proxy/observe"
	"sluice/proxy/server"
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
	g.registerACME()
	registerEndpoints(m, g.runtime.Services)
	registerCache(m, g.runtime.Cache)
	g.registerTokens()
	g.registerServiceTokens()
	registerLimits(m, g.seenLimits)
	g.registerStores()
	g.registerQuotas()
	g.registerProfiling()
	g.registerCompression()
	g.registerConsumers()
}

// registerConnections relies on the order of a start: nobody can ask before the admin API listens, and it listens after
// the server was made.
func (g *gateway) registerConnections() {
	counts := observe.NewGroup(g.metrics, func() server.Counts { return g.server.Counts() })
	counts.Func("sluice_connections_open", "Connections of clients.", value(func(c server.Counts) int { return c.Open }))
	counts.Func("sluice_quic_connections_open", "Those of them that speak HTTP/3 over QUIC.", value(func(c server.Counts) int { return c.QUIC }))
	counts.Func("sluice_quic_retries_total", "Handshakes of QUIC before which a client had to prove its address, because many were under way.",
		value(func(c server.Counts) uint64 { return c.Retried }))
	counts.Func("sluice_connections_accepted_total", "Connections of clients since the start, those over a limit included.",
		value(func(c server.Counts) uint64 { return c.Accepted }))
	counts.Func("sluice_connections_unproxied_total", "Connections that ended because a PROXY header was due and did not come; over UDP none can.",
		value(func(c server.Counts) uint64 { return c.Unproxied }))
	counts.Func("sluice_connections_refused_total", "Connections that were over a limit.", value(func(c server.Counts) uint64 { return c.Refused }))
	counts.Func("sluice_connections_shunned_total", "Connections that were refused because their clients had flooded the gateway over many others just before.",
		value(func(c server.Counts) uint64 { return c.Shunned }))
	counts.Func("sluice_connections_calmed_total", "Connections of HTTP/2 and HTTP/3 that were ended because their clients flooded the gateway with frames.",
		value(func(c server.Counts) uint64 { return c.Calmed }))
	doors := observe.NewGroup(g.metrics, g.seenDoors)
	doors.Func("sluice_listener_refused_total", "Connections and handshakes over a limit of their listener, by which.", each(func(d *seenDoor) []sample {
		var list []sample
		for reason, n := range d.refused {
			list = append(list, labelled(n, "listener", d.listener, "reason", limit.DoorReason(reason).String()))
		}
		return list
	}))
	doors.Func("sluice_listener_overflows_total", "Connections and handshakes whose client found no room among those that are limited, and shared what one may have.",
		one(func(d *seenDoor) sample { return labelled(d.counts.Overflow, "listener", d.listener) }))
}

// seenDoor is what a listener with limits of its own has counted.
type seenDoor struct {
	listener string
	refused  [limit.DoorReasons]uint64
	counts   limit.Counts
}

func (g *gateway) seenDoors() (list []seenDoor) {
	g.runtime.Doors(func(listener string, refused [limit.DoorReasons]uint64, c limit.Counts) {
		list = append(list, seenDoor{listener, refused, c})
	})
	return list
}

func (g *gateway) registerTLS() {
	handshakes := observe.NewGroup(g.metrics, func() server.Handshakes { return g.server.Handshakes() })
	handshakes.Func("sluice_tls_handshakes_total", "TLS handshakes, by their result; refused are those over limits.handshakes of the gateway: sluice_listener_refused_total has those over a listener's.",
		func(h server.Handshakes) iter.Seq2[string, float64] {
			return samples(labelled(h.Completed, "result", "completed"), labelled(h.Failed, "result", "failed"), labelled(h.Refused, "result", "refused"))
		})
	handshakes.Func("sluice_tls_sessions_resumed_total", "Completed handshakes that resumed a session.", value(func(h server.Handshakes) uint64 { return h.Resumed }))
	handshakes.Func("sluice_tls_handshakes_in_flight", "TLS handshakes that have begun and not ended.", value(func(h server.Handshakes) int { return h.UnderWay }))
	certificates := observe.NewGroup(g.metrics, g.seenCertificates)
	certificates.Func("sluice_tls_certificate_expiry_timestamp_seconds", "When a certificate in use expires, in Unix time.",
		one(func(c *seenCertificate) sample { return c.sample(c.NotAfter.Unix()) }))
	g.registerOCSP(certificates)
}

// seenCertificate is one in use, of a section of tls.
type seenCertificate struct {
	tls string
	tlsterm.Info
}

func (g *gateway) seenCertificates() (list []seenCertificate) {
	all := g.runtime.Certificates()
	for _, set := range slices.Sorted(maps.Keys(all)) {
		for _, c := range all[set] {
			list = append(list, seenCertificate{set, c})
		}
	}
	return list
}

func (c *seenCertificate) sample(value int64) sample {
	return labelled(value, "tls", c.tls, "names", strings.Join(c.Names, ","), "serial", c.Serial)
}

func (g *gateway) registerOCSP(certificates *observe.Group[[]seenCertificate]) {
	counts := &g.runtime.TLSCounts().OCSP
	g.metrics.Func("sluice_tls_ocsp_answers_total", "What OCSP responders have said of certificates in use; failed are answers that did not come or prove nothing.", func(yield func(string, float64) bool) {
		_ = yield(observe.Labels("result", "good"), float64(counts.Good.Load())) &&
			yield(observe.Labels("result", "revoked"), float64(counts.Revoked.Load())) &&
			yield(observe.Labels("result", "failed"), float64(counts.Failed.Load()))
	})
	certificates.Func("sluice_tls_ocsp_expiry_timestamp_seconds", "When the OCSP answer ends that is sent along with a certificate, in Unix time; 0 if none is.",
		each(func(c *seenCertificate) []sample {
			if c.StapledUntil.IsZero() && c.Responder == "" {
				return nil
			}
			return []sample{c.sample(unix(c.StapledUntil))}
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

// registerLimits is about the policies that limit; none of it is counted by key.
func registerLimits(m *observe.Metrics, read func() []seenLimit) {
	limits := observe.NewGroup(m, read)
	limits.Func("sluice_limit_requests_total", "Requests that a limit was asked about; refused are also those that would have been, in report mode.",
		each(func(l *seenLimit) []sample {
			return []sample{labelled(l.allowed, "policy", l.name, "result", "allowed"), labelled(l.refused, "policy", l.name, "result", "refused")}
		}))
	limits.Func("sluice_limit_keys", "Keys that have spent tokens, or requests under way; of many an estimate.",
		one(func(l *seenLimit) sample { return labelled(l.counts.Live, "policy", l.name) }))
	limits.Func("sluice_limit_evictions_total", "Keys that were as good as new and have made room for others.",
		one(func(l *seenLimit) sample { return labelled(l.counts.Evicted, "policy", l.name) }))
	limits.Func("sluice_limit_overflows_total", "Requests whose key found no room among keys that are limited, and shared what one key may have.",
		one(func(l *seenLimit) sample { return labelled(l.counts.Overflow, "policy", l.name) }))
}

// seenLimit is what a policy that limits has counted.
type seenLimit struct {
	name             string
	counts           limit.Counts
	allowed, refused uint64
}

func (g *gateway) seenLimits() (list []seenLimit) {
	g.runtime.LimitCounts(func(name string, c limit.Counts, allowed, refused uint64) {
		list = append(list, seenLimit{name, c, allowed, refused})
	})
	return list
}

// registerStores is about the limits that hosts share.
func (g *gateway) registerStores() {
	stores := observe.NewGroup(g.metrics, g.runtime.LimitStores)
	stores.Func("sluice_limit_store_up", "1 while the store of limits that hosts share answers.",
		one(func(s *limit.FleetStatus) sample { return labelled(number(s.Up), "store", s.Name) }))
	stores.Func("sluice_limit_store_calls_total", "Calls of the store: a batch of keys each, a reset, or a question whether it answers.",
		one(func(s *limit.FleetStatus) sample { return labelled(s.Calls, "store", s.Name) }))
	stores.Func("sluice_limit_store_failures_total", "Calls that failed, or took too long.",
		one(func(s *limit.FleetStatus) sample { return labelled(s.Failed, "store", s.Name) }))
	stores.Func("sluice_limit_store_seconds_total", "Time that calls took, in which no request waited.",
		one(func(s *limit.FleetStatus) sample { return labelled(s.Spent.Seconds(), "store", s.Name) }))
	stores.Func("sluice_limit_store_leases_total", "Leases that the store has renewed: one for each key in a batch.",
		one(func(s *limit.FleetStatus) sample { return labelled(s.Settled, "store", s.Name) }))
	stores.Func("sluice_limit_store_put_off_total", "Batches that had no room for all keys that were used, so that the rest waited for the next one.",
		one(func(s *limit.FleetStatus) sample { return labelled(s.PutOff, "store", s.Name) }))
	policies := observe.NewGroup(g.metrics, g.seenShared)
	policies.Func("sluice_limit_fallbacks_total", "Requests that were judged by if_store_down, because the store did not answer.",
		one(func(p *seenShared) sample { return labelled(p.fallbacks, "policy", p.name) }))
	policies.Func("sluice_limit_held_total", "Requests that were refused because the host's lease was used up before the store had renewed it.",
		one(func(p *seenShared) sample { return labelled(p.held, "policy", p.name) }))
}

// seenShared is what a policy that shares buckets has counted.
type seenShared struct {
	name            string
	fallbacks, held uint64
}

func (g *gateway) seenShared() (list []seenShared) {
	g.runtime.SharedCounts(func(name string, fallbacks, held uint64) { list = append(list, seenShared{name, fallbacks, held}) })
	return list
}

// registerQuotas is about the file of quotas. While there are none, there are no samples.
func (g *gateway) registerQuotas() {
	quotas := observe.NewGroup(g.metrics, func() []compile.QuotaStatus {
		if s, ok := g.runtime.Quotas(); ok {
			return []compile.QuotaStatus{s}
		}
		return nil
	})
	quotas.Func("sluice_quota_store_up", "1 while the file of quotas can be read and written; 0: they give no more than what is reserved.",
		one(func(s *compile.QuotaStatus) sample { return labelled(number(s.Problem == "")) }))
	quotas.Func("sluice_quota_store_writes_total", "How often the file of quotas was written, and could not be.", each(func(s *compile.QuotaStatus) []sample {
		return []sample{labelled(s.Written, "result", "written"), labelled(s.Failed, "result", "failed")}
	}))
	quotas.Func("sluice_quota_unavailable_total", "Requests that were refused because nothing was known about their quota.", each(func(s *compile.QuotaStatus) []sample {
		var list []sample
		for _, name := range slices.Sorted(maps.Keys(s.Closed)) {
			list = append(list, labelled(s.Closed[name], "policy", name))
		}
		return list
	}))
}

func registerEndpoints(m *observe.Metrics, services func() []upstream.Status) {
	endpoints := observe.NewGroup(m, func() []seenEndpoint { return seenEndpoints(services()) })
	endpoints.Func("sluice_upstream_connections", "Connections to endpoints: idle ones wait in the pool, open ones are all.", each(func(e *seenEndpoint) []sample {
		return []sample{atEndpoint(e, e.Open, "state", "open"), atEndpoint(e, e.Idle, "state", "idle")}
	}))
	endpoints.Func("sluice_upstream_in_flight", "Requests that an endpoint works on.", one(func(e *seenEndpoint) sample { return atEndpoint(e, e.InFlight) }))
	endpoints.Func("sluice_upstream_endpoint_left_out", "1 while an endpoint is left out because it could not be reached.",
		one(func(e *seenEndpoint) sample { return atEndpoint(e, number(e.LeftOut)) }))
	endpoints.Func("sluice_upstream_connect_failures_total", "Connections to an endpoint that could not be made.",
		one(func(e *seenEndpoint) sample { return atEndpoint(e, e.Failures) }))

	checked := func(samples func(e *seenEndpoint) []sample) func([]seenEndpoint) iter.Seq2[string, float64] {
		return each(func(e *seenEndpoint) []sample {
			if e.Health == "" {
				return nil
			}
			return samples(e)
		})
	}
	endpoints.Func("sluice_upstream_endpoint_healthy", "1 while an endpoint passes its checks, or was not checked yet; 0 while it fails them.",
		checked(func(e *seenEndpoint) []sample { return []sample{atEndpoint(e, number(e.Health != "unhealthy"))} }))
	endpoints.Func("sluice_upstream_health_checks_total", "Checks of an endpoint, by their result.",
		checked(func(e *seenEndpoint) []sample {
			return []sample{atEndpoint(e, e.Passed, "result", "passed"), atEndpoint(e, e.Failed, "result", "failed")}
		}))
	endpoints.Func("sluice_upstream_health_changes_total", "How often an endpoint has become unhealthy or healthy again.",
		checked(func(e *seenEndpoint) []sample { return []sample{atEndpoint(e, e.Changes)} }))
}

// endpointsMax bounds the series of one service and metric: addresses may come from the DNS, which no configuration
// bounds. What is beyond it is not shown.
const endpointsMax = 256

// seenEndpoint is an endpoint of a service.
type seenEndpoint struct {
	service string
	*upstream.EndpointStatus
}

// atEndpoint is labelled for a metric of an endpoint.
func atEndpoint[N numeric](e *seenEndpoint, value N, more ...string) sample {
	return labelled(value, append([]string{"service", e.service, "endpoint", e.Address}, more...)...)
}

func seenEndpoints(services []upstream.Status) (list []seenEndpoint) {
	for _, s := range services {
		for i := range s.Endpoints[:min(len(s.Endpoints), endpointsMax)] {
			list = append(list, seenEndpoint{s.Name, &s.Endpoints[i]})
		}
	}
	return list
}

// registerCache is about the response cache. While there is none, there are no samples.
func registerCache(m *observe.Metrics, current func() *cache.Cache) {
	type seen struct {
		*cache.Cache
		store.Stats
	}
	caches := observe.NewGroup(m, func() []seen {
		if c := current(); c != nil {
			return []seen{{c, c.Store.Stats()}}
		}
		return nil
	})
	caches.Func("sluice_cache_requests_total", "Requests on routes with a cache, by what it did for them.", each(func(c *seen) []sample {
		var list []sample
		for _, r := range cache.Results() {
			list = append(list, labelled(c.Counts[r].Load(), "result", r.String()))
		}
		return list
	}))
	caches.Func("sluice_cache_requests_waiting", "Requests that wait for the answer to another one.", one(func(c *seen) sample { return labelled(c.Waiting.Load()) }))
	caches.Func("sluice_cache_refreshes_total", "What was asked of services in the background, because what was served was stale; it is no request on a route.",
		one(func(c *seen) sample { return labelled(c.Refreshes.Load()) }))
	caches.Func("sluice_cache_refreshes_skipped_total", "What was not, because too much was asked in the background at that time.",
		one(func(c *seen) sample { return labelled(c.Skipped.Load()) }))
	caches.Func("sluice_cache_resumed_total", "Bodies of which a part was evicted under a slow client, and that went on from the service.",
		one(func(c *seen) sample { return labelled(c.Resumed.Load()) }))
	caches.Func("sluice_cache_memory_bytes", "Memory of the response cache, as configured.", one(func(c *seen) sample { return labelled(c.Bytes) }))
	caches.Func("sluice_cache_used_bytes", "Memory of the response cache that has been written to.", one(func(c *seen) sample { return labelled(c.BytesUsed) }))
	caches.Func("sluice_cache_taken_bytes", "Memory that the response cache takes in truth: with its index, which grows with the entries.",
		one(func(c *seen) sample { return labelled(c.BytesTaken) }))
	caches.Func("sluice_cache_entries", "Entries in the response cache; a large object has several.", one(func(c *seen) sample { return labelled(c.Entries) }))
	caches.Func("sluice_cache_evictions_total", "Entries that made room for others.", one(func(c *seen) sample { return labelled(c.Evictions) }))
	caches.Func("sluice_cache_torn_total", "Objects that were looked up and of which a part had been evicted.", one(func(c *seen) sample { return labelled(c.Torn) }))
	caches.Func("sluice_cache_purges_total", "Purges of the response cache: one for each form of a URL, and those that unsafe requests make.",
		one(func(c *seen) sample { return labelled(c.Purges) }))
	caches.Func("sluice_cache_purges_remembered", "Purges that are remembered, because not all entries have been judged by them.",
		one(func(c *seen) sample { return labelled(c.PurgesHeld) }))
	caches.Func("sluice_cache_purge_overflows_total", "How often there were too many purges to remember, which purged everything.",
		one(func(c *seen) sample { return labelled(c.Overflows) }))
}

// registerCompression is about the routes that compress.
func (g *gateway) registerCompression() {
	routes := observe.NewGroup(g.metrics, func() (list []seenCompression) {
		all := g.runtime.Compressed()
		for _, route := range slices.Sorted(maps.Keys(all)) {
			list = append(list, seenCompression{route, all[route]})
		}
		return list
	})
	routes.Func("sluice_compress_responses_total", "Responses that were compressed, by their coding.", each(func(r *seenCompression) []sample {
		var list []sample
		for i, coding := range compress.Codings {
			list = append(list, labelled(r.Responses[i].Load(), "route", r.route, "coding", coding))
		}
		return list
	}))
	routes.Func("sluice_compress_in_bytes_total", "Bytes of their bodies before, counted when they have ended.",
		one(func(r *seenCompression) sample { return labelled(r.In.Load(), "route", r.route) }))
	routes.Func("sluice_compress_out_bytes_total", "Bytes of their bodies after that.",
		one(func(r *seenCompression) sample { return labelled(r.Out.Load(), "route", r.route) }))
	routes.Func("sluice_compress_refused_total", "Responses that stayed as they were because encoders took limits.compress_memory.",
		one(func(r *seenCompression) sample { return labelled(r.Refused.Load(), "route", r.route) }))
	g.metrics.Func("sluice_compress_encoder_bytes", "What the encoders of responses under way take.", observe.Value(func() float64 {
		return float64(g.runtime.EncoderBytes())
	}))
}

// seenCompression is what a route has compressed.
type seenCompression struct {
	route string
	*compress.Counts
}

// registerConsumers is about clients that show a key or a password of their own. Who that was is no label: there may be many.
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
	stored := observe.NewGroup(m, func() []compile.MembersCounts {
		if m := g.runtime.Members(); m != nil {
			return []compile.MembersCounts{m.Counts()}
		}
		return nil
	})
	stored.Func("sluice_consumer_store_up", "1 if the stored consumers can be read; 0 while the routes that ask for them are closed.",
		one(func(c *compile.MembersCounts) sample { return labelled(number(c.Open)) }))
	stored.Func("sluice_consumer_keys", "Keys of stored consumers, by group.", each(func(c *compile.MembersCounts) []sample {
		var list []sample
		for _, group := range slices.Sorted(maps.Keys(c.Keys)) {
			list = append(list, labelled(c.Keys[group], "group", group))
		}
		return list
	}))
	stored.Func("sluice_consumer_edits_total", "Edits of stored consumers that were acknowledged.",
		one(func(c *compile.MembersCounts) sample { return labelled(c.Edits) }))
}
