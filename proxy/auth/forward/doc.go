// Package forward asks a service of the configuration whether a request may go on, as nginx does with auth_request and Traefik with
// ForwardAuth: 2xx admits it, 401, 403 and redirects are the client's answer, and whatever else comes, or nothing, closes the route.
//
// A Guard makes a key of everything that the service is told, and looks the decision up under it: that is all that happens to a request
// whose like was decided about a moment ago. Else one request asks, and those with the same key wait for its answer. A decision is kept
// under a keyed hash; what clients have shown is not.
//
// Read guard.go for the way of a request, question.go for what the service is asked, decision.go for what becomes of its answer, memory.go
// for what is remembered, flight.go for those who wait together, probe.go for how the gateway finds out whether the service is ill.
package forward
