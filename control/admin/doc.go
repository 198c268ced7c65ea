// Package admin is the listener for those who run a gateway: health, metrics, the state of routes and services, reload
// and profiles.
//
//	GET  /healthz        200 for as long as the process answers
//	GET  /readyz         200, or 503 and the reason why no traffic should come here
//	GET  /metrics        the text format of Prometheus
//	GET  /v1/status      version, generation, uptime, files of the configuration
//	GET  /v1/routes      the routes that are served
//	GET  /v1/services    the services and their endpoints
//	GET  /v1/limits      the policies that limit, and the keys that use them most
//	POST /v1/limits/reset  fills the bucket of a key; DELETE does the same
//	GET  /v1/consumers   the consumers, their keys' prefixes and ends, and when they were used last; never what keys hash to
//	GET, PUT, PATCH, DELETE /v1/consumers/GROUP/NAME  a stored consumer
//	POST /v1/consumers/GROUP/NAME/keys  makes a key, which the answer shows once; .../keys/ID/rotate one in its place; DELETE .../keys/ID ends it
//	POST /v1/consumers/GROUP/NAME/passwords  makes or takes a password; DELETE .../passwords/ID ends it
//	POST /v1/reload      reads the configuration again; 422 and every problem if it is broken
//	GET  /v1/cache       what the response cache holds, and how much memory it takes; 404 if no route uses it
//	POST /v1/cache/purge forgets a URL, a prefix, a tag or everything, or makes it stale
//	POST /v1/cache/warm  asks for a list of URLs, so that their answers are there when clients come
//	GET  /v1/profiles    what continuous profiling has on the disk; /v1/profiles/NAME is one of them
//	GET  /debug/pprof/   profiles of the process, taken now, as net/http/pprof serves them
//
// Read server.go for the way of a request, guard.go for who is let in, pages.go for what is answered. The package knows
// the gateway as an interface only. It is served by fasthttp.Server: what it does is small, whole and never streams.
package admin
