package rules

import "sluice/proxy/wire"

// Status is what became of a request in the cache (RFC 9211).
type Status struct {
	Forward   Forward
	FwdStatus int   // of the origin's response if it was forwarded, 0 if it is not known or the same as the answer's
	TTL       int64 // how long the response is still fresh, negative if it is stale
	HasTTL    bool
	Stored    bool   // the response was stored
	Collapsed bool   // the request waited for another's response
	Detail    string // more, as a word: a Reason, "negative", "stale-if-error"
}

// Forward is why a request went on to the origin (RFC 9211 section 2.2).
type Forward uint8

const (
	Hit             Forward = iota // it did not: there is an answer
	Nowhere                        // it did not: there is none, and only-if-cached
	ForwardBypass                  // this cache does not handle such requests
	ForwardMethod                  // for its method
	ForwardURIMiss                 // nothing is stored for it
	ForwardVaryMiss                // what is stored is for other requests
	ForwardRequest                 // it asks for that
	ForwardStale                   // what is stored is stale
	forwardCount
)

var forwardNames = [forwardCount]string{"hit", "", "bypass", "method", "uri-miss", "vary-miss", "request", "stale"}

// String is the word that fwd has in Cache-Status; empty for Nowhere.
func (f Forward) String() string { return forwardNames[f] }

// AppendStatus appends one member of Cache-Status, to be added after those of the caches behind this one. The key is never told.
func AppendStatus(dst []byte, s *Status) []byte {
	dst = append(dst, "sluice"...)
	forwarded := s.Forward > Nowhere
	switch {
	case forwarded:
		dst = append(append(dst, "; fwd="...), forwardNames[s.Forward]...)
	case s.Forward == Hit:
		dst = append(dst, "; hit"...)
	}
	if forwarded && s.FwdStatus != 0 {
		dst = appendInt(append(dst, "; fwd-status="...), int64(s.FwdStatus))
	}
	if s.HasTTL {
		dst = appendInt(append(dst, "; ttl="...), s.TTL)
	}
	if forwarded && s.Stored {
		dst = append(dst, "; stored"...)
	}
	if forwarded && s.Collapsed {
		dst = append(dst, "; collapsed"...)
	}
	if s.Detail != "" {
		dst = appendDetail(append(dst, "; detail="...), s.Detail)
	}
	return dst
}

func appendInt(dst []byte, n int64) []byte {
	if n < 0 {
		return wire.AppendUint(append(dst, '-'), uint64(-n))
	}
	return wire.AppendUint(dst, uint64(n))
}

// appendDetail writes a word as a Token and anything else as a String (RFC 8941 sections 3.3.3 and 3.3.4), without what neither may hold.
func appendDetail(dst []byte, detail string) []byte {
	if c := detail[0]; (c|0x20)-'a' < 26 && wire.IsToken(detail) {
		return append(dst, detail...)
	}
	dst = append(dst, '"')
	for i := range len(detail) {
		switch c := detail[i]; {
		case c < ' ' || c > '~':
			dst = append(dst, '?')
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
