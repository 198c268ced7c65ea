package respond

import (
	"sluice/proxy"
	"sluice/proxy/wire"
)

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
	r.Head.Add("grpc-status", wire.AppendUint(x.Scratch(), uint64(err.GRPCStatus())))
	r.Head.Add("grpc-message", x.AppendGRPCMessage(x.Scratch(), err))
}
