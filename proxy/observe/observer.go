package observe

import "sluice/proxy"

// Observer is the proxy.Observer of one route. It is immutable; its exchanges may be concurrent.
type Observer struct {
	route    *RouteMetrics
	services map[string]*ServiceMetrics
	only     *ServiceMetrics // if there is just one: most routes have no other, and need no look into the map
	log      *AccessLog
}

// NewObserver makes the observer of a route. services holds every service that the route may choose, by name: an
// exchange that asked any other is counted for its route alone. A nil log costs nothing.
func NewObserver(route *RouteMetrics, services map[string]*ServiceMetrics, log *AccessLog) *Observer {
	o := &Observer{route: route, services: services, log: log}
	if len(services) == 1 {
		for _, o.only = range services {
		}
	}
	return o
}

// Begin counts x as in flight. It does not register Finish: who calls Begin does.
func (o *Observer) Begin(*proxy.Exchange) { o.route.begin() }

// Finish counts and logs x, which is over.
func (o *Observer) Finish(x *proxy.Exchange) {
	end, status := x.EndedAt, finalStatus(x)
	o.route.finish(x, end, status)
	o.asked(x, end, status)
	if o.log != nil {
		o.log.record(x, end, status)
	}
}

// Asked counts what a service was asked, and answered, for no client: no route has a request more by it, and no log a line.
func (o *Observer) Asked(c *proxy.Exchange) { o.asked(c, c.EndedAt, finalStatus(c)) }

func (o *Observer) asked(x *proxy.Exchange, end int64, status int) {
	if x.UpstreamAt == 0 {
		return
	}
	s := o.only
	if s == nil || s.name != x.Service {
		s = o.services[x.Service]
	}
	if s != nil {
		s.finish(x, end, status)
	}
}

// finalStatus is the status that x ended with. That is the response's, but for a client that went away before a byte
// of it was written: whatever was prepared for it, it got nothing.
func finalStatus(x *proxy.Exchange) int {
	if x.Err != nil && (x.Response.Status == 0 || x.Err.Status == proxy.ErrClientGone.Status && x.BytesOut == 0) {
		return x.Err.Status
	}
	return x.Response.Status
}
