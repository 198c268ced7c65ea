package respond

import (
	"sluice/proxy"
	"sluice/proxy/wire"
)

// The statuses of gRPC that the gateway's own errors become.
const (
	grpcCanceled          = 1
	grpcUnknown           = 2
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// grpcStatus maps a status of HTTP as a client of gRPC would do that got nothing else (gRPC's http-grpc-status-mapping), and what
// that leaves to UNKNOWN and the gateway knows better.
func grpcStatus(status int) uint64 {
	switch status {
	case 400, 500:
		return grpcInternal
	case 401:
		return grpcUnauthenticated
	case 403:
		return grpcPermissionDenied
	case 404:
		return grpcUnimplemented
	case 408, 504:
		return grpcDeadlineExceeded
	case 413, 429:
		return grpcResourceExhausted
	case 499:
		return grpcCanceled
	case 502, 503:
		return grpcUnavailable
	}
	return grpcUnknown
}

// The media types of answers, by how the client speaks.
var grpcTypes = [...]string{
	proxy.PlainGRPC: "application/grpc", proxy.WebGRPC: "application/grpc-web+proto", proxy.WebTextGRPC: "application/grpc-web-text+proto",
}

// renderGRPC answers a call of gRPC: status 200, and a head that is trailers as well, since nothing follows it ("Trailers-Only" in
// gRPC over HTTP/2, and the same in gRPC-Web). A client would not look at any other body.
func renderGRPC(x *proxy.Exchange, err *proxy.Error) {
	r := &x.Response
	r.Status = 200
	set(x, grpcTypes[x.ClientGRPC()], nil)
	code := uint64(err.GRPC)
	if code == 0 {
		code = grpcStatus(err.Status)
	}
	r.Head.Add("grpc-status", wire.AppendUint(x.Scratch(), code))
	message := appendGRPCMessage(x.Scratch(), err.Detail)
	message = append(message, " ("...)
	message = append(message, err.Code...)
	message = append(message, ", request "...)
	message = append(message, x.ID...)
	r.Head.Add("grpc-message", append(message, ')'))
}

// appendGRPCMessage encodes what is not printable ASCII, and "%", as gRPC over HTTP/2 wants it (Percent-Encoded).
func appendGRPCMessage(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
