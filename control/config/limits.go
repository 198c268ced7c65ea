package config

// Limits bounds what clients may use. A number that is 0 (written 0 or off) is not limited.
type Limits struct {
	Connections           int      `cfg:"connections" default:"100000" off:"true" min:"0" doc:"client connections in all"`
	PerClient             int      `cfg:"per_client" default:"1000" off:"true" min:"0" doc:"connections of one client address, and its requests over HTTP/2 and HTTP/3 at the same time"`
	HeaderBytes           Size     `cfg:"header_bytes" default:"32KiB" min:"1KiB" max:"1MiB" doc:"the head of a request"`
	Headers               int      `cfg:"headers" default:"100" min:"1" max:"10000" doc:"header fields of a request"`
	URIBytes              Size     `cfg:"uri_bytes" default:"8KiB" min:"64B" max:"1MiB" doc:"path and query of a request"`
	BodyBytes             Size     `cfg:"body_bytes" default:"64MiB" off:"true" doc:"the body of a request, where defaults.body_limit and the route say nothing else"`
	RequestsPerConnection int      `cfg:"requests_per_connection" default:"100000" off:"true" min:"0" doc:"after so many requests a connection is closed"`
	Streams               int      `cfg:"streams" default:"128" min:"1" max:"10000" doc:"requests at a time on one connection of HTTP/2 or HTTP/3"`
	Handshakes            int      `cfg:"handshakes" default:"2000" off:"true" min:"0" doc:"TLS handshakes under way at the same time"`
	HandshakeTimeout      Duration `cfg:"handshake_timeout" default:"10s" doc:"how long a TLS handshake may take"`
	Idle                  Duration `cfg:"idle" default:"75s" doc:"how long a connection may wait for its next request"`
	HeaderTimeout         Duration `cfg:"header_timeout" default:"10s" doc:"how long the head of a request may take"`
	MinRate               Rate     `cfg:"min_rate" default:"1KiB/s" off:"true" doc:"a client that sends or reads a body slower than this is cut off"`
	CompressMemory        Size     `cfg:"compress_memory" default:"256MiB" off:"true" doc:"what the encoders of responses under way may take; beyond that responses are not compressed"`
	Drain                 Duration `cfg:"drain" default:"30s" doc:"how long requests may go on after a shutdown began"`
}

// compressMemoryMin is what one encoder with a large window takes.
const compressMemoryMin = 8 << 20

func (v *validator) limits(l Limits) {
	if l.HeaderBytes > 0 && l.URIBytes > l.HeaderBytes {
		v.fail("limits.uri_bytes", "is larger than limits.header_bytes, which counts the request line, too", "")
	}
	if l.Connections > 0 && l.PerClient > l.Connections {
		v.warn("limits.per_client", "is larger than limits.connections, so that one client can take every connection", "")
	}
	if l.CompressMemory < compressMemoryMin {
		v.warn("limits.compress_memory", "is less than the encoder of one response may take: most responses are not compressed", "at least 8MiB")
	}
}
