package upstream

import "sluice/proxy"

// The failures of an upstream. Each is sent to the client as it stands here; the cause goes to the log.
var (
	errConnect    = &proxy.Error{Status: 502, Code: "upstream_unreachable", Detail: "No connection to the origin could be made.", Side: proxy.ByUpstream, Unsent: true}
	errClosed     = &proxy.Error{Status: 502, Code: "upstream_closed", Detail: "The origin closed the connection before it answered.", Side: proxy.ByUpstream}
	errResponse   = &proxy.Error{Status: 502, Code: "upstream_response", Detail: "The origin's answer is not a valid HTTP response.", Side: proxy.ByUpstream}
	errTimeout    = &proxy.Error{Status: 504, Code: "upstream_timeout", Detail: "The origin did not answer in time.", Side: proxy.ByUpstream}
	errNoEndpoint = &proxy.Error{Status: 503, Code: "no_endpoint", Detail: "The service has no endpoint to send to.", Side: proxy.ByUpstream, RetryAfter: 1}
	errBusy       = &proxy.Error{Status: 503, Code: "upstream_busy", Detail: "All connections to the origin are in use.", Side: proxy.ByUpstream, Unsent: true, RetryAfter: 1}
)
