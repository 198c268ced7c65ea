package proxy

import "sluice/proxy/wire"

// NegotiateEncoding chooses, by the Accept-Encoding of a request's head, among the content codings that a policy could apply, in lower
// case and in the order of its preference. "" is the identity; ok is false if the client accepts neither that nor any of the codings.
// See wire.NegotiateCoding.
func NegotiateEncoding(h *wire.Head, codings []string) (coding string, ok bool) {
	return wire.NegotiateCoding(h, codings)
}
