package main

import "sluice/proxy/observe"

// registerServiceTokens is about tokens that services are shown.
func (g *gateway) registerServiceTokens() {
	m := g.metrics
	m.Func("sluice_upstream_token_fetches_total", "Tokens of the gateway's own for services, by how fetching them went.", func(yield func(string, float64) bool) {
		for _, t := range g.runtime.OwnTokens() {
			if !yield(observe.Labels("policy", t.Name, "result", "fetched"), float64(t.Fetched)) || !yield(observe.Labels("policy", t.Name, "result", "failed"), float64(t.Failed)) {
				return
			}
		}
	})
	m.Func("sluice_upstream_token_expiry_timestamp_seconds", "When such a token ends, in Unix time; 0 while there is none, and the routes are closed.", func(yield func(string, float64) bool) {
		for _, t := range g.runtime.OwnTokens() {
			ends := 0.0
			if !t.Ends.IsZero() {
				ends = float64(t.Ends.Unix())
			}
			if !yield(observe.Labels("policy", t.Name), ends) {
				return
			}
		}
	})
	m.Func("sluice_upstream_token_exchanges_total", "Tokens of clients that were exchanged for services, or for which the provider gave none.", func(yield func(string, float64) bool) {
		for _, t := range g.runtime.ExchangedTokens() {
			if !yield(observe.Labels("policy", t.Name, "result", "exchanged"), float64(t.Exchanged)) || !yield(observe.Labels("policy", t.Name, "result", "denied"), float64(t.Denied)) {
				return
			}
		}
	})
	m.Func("sluice_upstream_token_remembered", "Exchanged tokens that are remembered.", func(yield func(string, float64) bool) {
		for _, t := range g.runtime.ExchangedTokens() {
			if !yield(observe.Labels("policy", t.Name), float64(t.Remembered)) {
				return
			}
		}
	})
	m.Func("sluice_upstream_token_refused_total", "Requests that were refused because there was no token for the service, and answers 401 of services to one.", func(yield func(string, float64) bool) {
		sample := func(name string, unavailable, rejected uint64) bool {
			return yield(observe.Labels("policy", name, "reason", "unavailable"), float64(unavailable)) && yield(observe.Labels("policy", name, "reason", "rejected"), float64(rejected))
		}
		for _, t := range g.runtime.OwnTokens() {
			if !sample(t.Name, t.Refused, t.Rejected) {
				return
			}
		}
		for _, t := range g.runtime.ExchangedTokens() {
			if !sample(t.Name, t.Failed, t.Rejected) {
				return
			}
		}
	})
}
