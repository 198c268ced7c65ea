package proxy

import (
	"time"

	"sluice/proxy/wire"
)

// GRPCForm is how gRPC is spoken.
type GRPCForm uint8

// The forms of gRPC.
const (
	NotGRPC     GRPCForm = iota
	PlainGRPC            // gRPC over HTTP/2, or one of its kin
	WebGRPC              // gRPC-Web: trailers are the last frame of the body
	WebTextGRPC          // gRPC-Web in base64
)

const (
	grpcType        = "application/grpc"
	grpcWebType     = "application/grpc-web"
	grpcWebTextType = "application/grpc-web-text"
)

// ParseGRPC tells the form of gRPC from a media type, and what that says about the messages: "+proto" or, as good as that, "".
func ParseGRPC(contentType []byte) (form GRPCForm, format []byte) {
	for _, known := range []struct {
		name string
		form GRPCForm
	}{{grpcWebTextType, WebTextGRPC}, {grpcWebType, WebGRPC}, {grpcType, PlainGRPC}} {
		n := len(known.name)
		if len(contentType) < n || !wire.EqualFold(contentType[:n], known.name) {
			continue
		}
		rest := contentType[n:]
		end := 0
		for end < len(rest) && rest[end] != ';' && rest[end] != ' ' && rest[end] != '\t' {
			end++
		}
		if end == 0 || rest[0] == '+' && wire.IsToken(rest[:end]) {
			return known.form, rest[:end]
		}
	}
	return NotGRPC, nil
}

// GRPC reports whether the request is a call of gRPC or one of its kin, whose failures are told by a status of gRPC.
func (r *Request) GRPC() bool {
	t := r.Head.GetKnown(wire.ContentType)
	return len(t) >= len(grpcType) && wire.EqualFold(t[:len(grpcType)], grpcType)
}

// GRPCTimeout is how much time the client gives the call, from when it began; false if it does not say. The format is that of
// gRPC over HTTP/2: at most eight digits and a unit.
func (r *Request) GRPCTimeout() (time.Duration, bool) {
	v := r.Head.Get("grpc-timeout")
	if len(v) < 2 || len(v) > 9 {
		return 0, false
	}
	n := time.Duration(0)
	for _, c := range v[:len(v)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + time.Duration(c-'0')
	}
	switch v[len(v)-1] {
	case 'H':
		return n * time.Hour, n <= maxHours
	case 'M':
		return n * time.Minute, true
	case 'S':
		return n * time.Second, true
	case 'm':
		return n * time.Millisecond, true
	case 'u':
		return n * time.Microsecond, true
	case 'n':
		return n, true
	}
	return 0, false
}

// maxHours is 200 years. A time that is longer limits nothing, and what is added to such an end would not fit a Duration, which holds 292.
const maxHours = 200 * 365 * 24

// AppendGRPCTimeout appends a time as GRPCTimeout reads it, in the finest unit that it fits in. What does not fit is cut off: nobody is
// promised more time than there is.
func AppendGRPCTimeout(dst []byte, t time.Duration) []byte {
	const most = 99999999
	for _, unit := range []struct {
		of   time.Duration
		name byte
	}{{1, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}, {time.Minute, 'M'}} {
		if n := t / unit.of; n <= most {
			return append(wire.AppendUint(dst, uint64(max(n, 0))), unit.name)
		}
	}
	return append(wire.AppendUint(dst, uint64(t/time.Hour)), 'H')
}

// BeginCall notes until when the client of a call wants to wait for its end. The time counts from the first byte of the request's head: that
// is as near to when the client has begun to count as anybody here can tell. Requests that are no calls are not looked at beyond that.
func (x *Exchange) BeginCall() {
	r := &x.Request
	if r.Method != "POST" || !r.GRPC() {
		return
	}
	if limit, ok := r.GRPCTimeout(); ok {
		x.CallBy = max(x.Started+int64(limit), 1)
	}
}

// CallOver reports whether the time is over that the client has given the call.
func (x *Exchange) CallOver() bool { return x.CallBy != 0 && wire.Now() >= x.CallBy }

// ClientGRPC is how the client speaks gRPC, whatever has become of its request since.
func (x *Exchange) ClientGRPC() GRPCForm {
	if x.GRPCWeb != NotGRPC {
		return x.GRPCWeb
	}
	form, _ := ParseGRPC(x.Request.Head.GetKnown(wire.ContentType))
	if form == NotGRPC && x.Request.GRPC() {
		return PlainGRPC
	}
	return form
}

// The statuses of gRPC that the gateway tells by itself: Error.GRPC, and what GRPCStatus makes of a status of HTTP.
const (
	GRPCCanceled          = 1
	GRPCUnknown           = 2
	GRPCDeadlineExceeded  = 4
	GRPCPermissionDenied  = 7
	GRPCResourceExhausted = 8
	GRPCUnimplemented     = 12
	GRPCInternal          = 13
	GRPCUnavailable       = 14
	GRPCUnauthenticated   = 16
)

// GRPCStatus is the status that a call is told: the error's own, or else what its status of HTTP means to a client of gRPC that got nothing
// else (gRPC's http-grpc-status-mapping), and what that leaves to UNKNOWN and the gateway knows better.
func (e *Error) GRPCStatus() uint8 {
	if e.GRPC != 0 {
		return e.GRPC
	}
	switch e.Status {
	case 400, 500:
		return GRPCInternal
	case 401:
		return GRPCUnauthenticated
	case 403:
		return GRPCPermissionDenied
	case 404:
		return GRPCUnimplemented
	case 408, 504:
		return GRPCDeadlineExceeded
	case 413, 429:
		return GRPCResourceExhausted
	case 499:
		return GRPCCanceled
	case 502, 503:
		return GRPCUnavailable
	}
	return GRPCUnknown
}

// AppendGRPCMessage appends what a call is told beside the status, with what is not printable ASCII, and "%", encoded as gRPC over
// HTTP/2 wants it (Percent-Encoded).
func (x *Exchange) AppendGRPCMessage(dst []byte, e *Error) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(e.Detail); i++ {
		if c := e.Detail[i]; c < ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	dst = append(append(dst, " ("...), e.Code...)
	dst = append(append(dst, ", request "...), x.ID...)
	return append(dst, ')')
}
