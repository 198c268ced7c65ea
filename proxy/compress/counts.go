package compress

import "sync/atomic"

// Counts are of what a route's policies have done.
type Counts struct {
	Responses [len(Codings)]atomic.Uint64 // compressed, by coding
	In, Out   atomic.Uint64               // bytes of their bodies before and after, counted when they end
	Refused   atomic.Uint64               // left as they were because encoders have taken all the memory they may
}
