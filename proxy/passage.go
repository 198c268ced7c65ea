package proxy

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// Passage is one connection of a client that is passed on to a service as it is, which nobody reads: what an Exchange is to a
// request. It belongs to the goroutine that serves it, but for what is atomic.
type Passage struct {
	Listener string
	Client   Client

	// What the last step learned, for logs and metrics.
	Service     string
	Endpoint    string
	Attempts    int   // endpoints that were tried
	Started     int64 // wire.Now when the connection was accepted
	ConnectedAt int64 // wire.Now when there was a connection to the endpoint; 0: there was none
	EndedAt     int64 // wire.Now at the end; set before Finish
	// BytesIn is what the endpoint has taken of what the client sent, BytesOut the other way. Both follow within seconds.
	BytesIn, BytesOut atomic.Int64
	Ended             Ending
	Err               error // why, in the words of whatever failed
}

// Ending is why a passage is over. It is a label of metrics and stands in the access log.
type Ending string

// The endings. An end that a side has told is passed on as such; after any other the other side sees a reset.
const (
	EndedByClient    Ending = "client"            // both sides have said all, the client first; with an Err, the endpoint broke after that
	EndedByOrigin    Ending = "origin"            // both sides have said all, the endpoint first; with an Err, the client broke after that
	ClientBroke      Ending = "client_reset"      // the client's connection broke
	OriginBroke      Ending = "origin_reset"      // the endpoint's connection broke
	EndedIdle        Ending = "idle"              // neither side has said anything for the time that the service allows
	EndedDraining    Ending = "drained"           // the process went down, and the drain limit has passed
	EndedByBug       Ending = "internal_error"    // of the gateway
	NotAllowed       Ending = "not_allowed"       // the client's address is not in the listener's allow list
	UnrecognizedName Ending = "unrecognized_name" // the client asked for a name that nobody here has
	Unreachable      Ending = "unreachable"       // no endpoint could be reached
	Busy             Ending = "busy"              // every endpoint has as many connections as pool.connections allows
	NoEndpoint       Ending = "no_endpoint"       // the service has none
)

// Carrier opens connections to the endpoints of a service. Safe for concurrent use.
type Carrier interface {
	// Connect chooses an endpoint for p, and another one if that cannot be reached, and opens a connection. What it learns it writes
	// into p, p.Ended if it fails. Whoever gets a connection closes it, and calls done, once, after that.
	Connect(ctx context.Context, p *Passage) (c net.Conn, done func(), err error)
	// Silence is how long neither side of a connection may have said anything.
	Silence() time.Duration
}

// PassageObserver sees every passage begin, move and finish. Safe for concurrent use.
type PassageObserver interface {
	Begin(p *Passage)
	// Moved tells of bytes that p has moved since the last time.
	Moved(p *Passage, in, out int64)
	Finish(p *Passage)
}

// Way is where a listener passes connections on to. Immutable.
type Way struct {
	Service  string
	To       Carrier // nil where nothing is started
	Observer PassageObserver
}
