package proxy

import (
	"time"

	"sluice/router"
)

// Snapshot is everything that one configuration compiled into. It is immutable; an exchange ends on the snapshot
// it began with, and old ones die with their last exchange by garbage collection.
type Snapshot struct {
	Generation uint64
	Table      *router.Table[*Route]
	// Fallback serves what no route takes; its name is a label in metrics and logs. Its chain is not run.
	Fallback *Route
	Limits   Limits
	// Countries knows the country of an address; nil: nothing asks.
	Countries Countries
}

// Limits are what a request may cost before a route is known. Zero means no limit where nothing else is said; HeadBytes, Fields, TargetBytes,
// Idle and HeadTimeout must be above zero: at zero every request is too large, or too late.
type Limits struct {
	Connections           int // in all
	PerClient             int // connections of one address
	HeadBytes             int
	Fields                int
	TargetBytes           int
	BodyBytes             int64
	RequestsPerConnection int
	Streams               int           // requests at a time on one connection of HTTP/2 or HTTP/3; 0: 128
	Idle                  time.Duration // keep-alive silence between requests
	Handshakes            int           // of TLS, under way at the same time; without a limit addresses of QUIC are asked for proof as with 2,000
	HandshakeTimeout      time.Duration // 0: 10 s
	HeadTimeout           time.Duration // from the first byte of a head to its last
	MinRate               int64         // bytes per second of a body, either way, while the client is waited for
}

// Route is a pattern's destination.
type Route struct {
	Name      string
	Pattern   router.Pattern
	Chain     *Chain
	Timeout   time.Duration // until the response head, retries included; 0: none
	BodyLimit int64         // of the request body; 0: Limits.BodyBytes
	Errors    ErrorRenderer
	Observer  Observer
	Pages     Pages // nil: there are none that the route cares about
}

// Configured reports whether the route stands in the configuration. The gateway's own ones have names that begin with a
// dash, which no configured one may.
func (r *Route) Configured() bool { return r.Name != "" && r.Name[0] != '-' }

// Observer sees every exchange of a route begin and finish.
type Observer interface {
	Begin(x *Exchange)
	Finisher
	// Asked sees the end of a fork that has asked a service for no client, in place of Begin and Finish.
	Asked(c *Exchange)
}

// Pages knows which pages of other origins may call a route from a browser (Fetch standard, "CORS protocol"). The first policy of
// such a route answers browsers that ask.
type Pages interface {
	// Meet registers what the head of every response to x has to say to the page that has caused it, those of requests included that
	// are refused before the chain runs: a page that must not read why sees nothing but a failed connection.
	Meet(x *Exchange)
}

// ErrorRenderer turns an error into a response body.
type ErrorRenderer interface {
	// Render sets the response's Content-Type and body for err. The status is set already; where it belongs to another protocol
	// inside HTTP, Render changes it.
	Render(x *Exchange, err *Error)
}
