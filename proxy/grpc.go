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

// maxHours is the longest time in hours that a Duration holds.
const maxHours = (1<<63 - 1) / time.Hour

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
