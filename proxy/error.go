package proxy

import (
	"errors"
	"fmt"
)

// Side is where a failure comes from.
type Side uint8

// The sides.
const (
	ByClient   Side = iota // the request is at fault, or the client went away
	ByUpstream             // the origin failed or answered nonsense
	ByGateway              // Sluice itself: a limit, a missing route, a bug
)

// String is the word for a side, as logs and metrics have it.
func (s Side) String() string { return [...]string{"client", "upstream", "gateway"}[s] }

// Error is a refusal or a failure as a value. Those that can happen often are built once and returned without
// allocating; they must not be changed.
type Error struct {
	Status int
	Code   string // stable; the problem type is urn:sluice:problem:<code>
	Detail string // one sentence for people, free of secrets
	Side   Side
	Unsent bool // no byte of the request was written: trying elsewhere is safe
	// RetryAfter in seconds is told to the client if above 0.
	RetryAfter int
	// Challenge is the value of WWW-Authenticate, which a 401 has to have (RFC 9110 section 15.5.2); empty: none.
	Challenge string
	// GRPC is the status that a call of gRPC is told; 0: the one that Status stands for.
	GRPC  uint8
	Cause error // for the log, never for the client
}

// Error is code, detail and cause: for logs, as the cause is not for clients.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.Cause)
	}
	return e.Code + ": " + e.Detail
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Cause }

// With returns a copy that carries the cause. It allocates: for failures, not for refusals.
func (e *Error) With(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// AsError finds the *Error in err, or makes one: an error of unknown origin is the gateway's own.
func AsError(err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return ErrInternal.With(err)
}

// The errors of the core. Policies bring their own.
var (
	ErrNoRoute          = &Error{Status: 404, Code: "no_route", Detail: "No route matches this request.", Side: ByGateway}
	ErrMethodNotAllowed = &Error{Status: 405, Code: "method_not_allowed", Detail: "The resource exists, but not for this method.", Side: ByClient}
	ErrBodyTooLarge     = &Error{Status: 413, Code: "body_too_large", Detail: "The request body is larger than this route accepts.", Side: ByClient}
	ErrBadPath          = &Error{Status: 400, Code: "bad_path", Detail: "The path holds a control byte, a backslash or a broken escape.", Side: ByClient}
	ErrMisdirected      = &Error{Status: 421, Code: "misdirected_request", Detail: "This connection was made for another name, whose rules are not those of this host.", Side: ByClient}
	ErrBadBody          = &Error{Status: 400, Code: "bad_body", Detail: "The request body broke off or is not what its framing announces.", Side: ByClient}
	ErrSlowBody         = &Error{Status: 408, Code: "slow_request", Detail: "The request arrived more slowly than the minimum rate.", Side: ByClient}
	ErrInternal         = &Error{Status: 500, Code: "internal", Detail: "The gateway failed to handle this request.", Side: ByGateway}
	ErrClientGone       = &Error{Status: 499, Code: "client_gone", Detail: "The client closed the connection before the answer.", Side: ByClient}
	ErrTimeout          = &Error{Status: 504, Code: "timeout", Detail: "No answer within the time this route allows.", Side: ByUpstream}
	// ErrCallTimeout is the client's doing: how short a time it gives a call says nothing about who was to answer.
	ErrCallTimeout = &Error{Status: 504, Code: "call_timeout", Detail: "The time that the client gives the call is over.", Side: ByClient}
	ErrDraining    = &Error{Status: 503, Code: "draining", Detail: "The gateway is going down.", Side: ByGateway, RetryAfter: 1}
)
