package limit

import (
	"strconv"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// The fields that tell clients of their limits are those of draft-ietf-httpapi-ratelimit-headers-10: RateLimit-Policy says what the
// limits are, RateLimit how much of them is left. Both are lists of structured fields (RFC 9651), with an item for each window.
//
// A bucket is described by what it holds and how long it takes to fill: "20/s burst 40" is q=40;w=2. r is what it holds now, and t
// the time until it is full.

// The names of the fields.
const (
	fieldPolicy = "RateLimit-Policy"
	fieldLimit  = "RateLimit"
)

// policyLine is the line of RateLimit-Policy.
func policyLine(name string, windows []Window) []byte {
	b := []byte(fieldPolicy + ": ")
	for i, w := range windows {
		b = appendItem(b, name, windows, i)
		b = append(b, ";q="...)
		b = wire.AppendUint(b, uint64(w.Burst))
		b = append(b, ";w="...)
		b = wire.AppendUint(b, seconds(int64(w.Burst)*w.interval))
	}
	return b
}

// limitPieces is what stands in the line of RateLimit before what is left of each window.
func limitPieces(name string, windows []Window) [][]byte {
	pieces := make([][]byte, len(windows))
	for i := range windows {
		if i == 0 {
			pieces[i] = []byte(fieldLimit + ": ")
		}
		pieces[i] = append(appendItem(pieces[i], name, windows, i), ";r="...)
	}
	return pieces
}

// appendItem begins an item of a list: the name of a window, which is the policy's, with a number if it has several.
func appendItem(b []byte, name string, windows []Window, i int) []byte {
	if i > 0 {
		b = append(b, ", "...)
	}
	b = append(append(b, '"'), name...)
	if len(windows) > 1 {
		b = strconv.AppendInt(append(b, '-'), int64(i+1), 10)
	}
	return append(b, '"')
}

func (v *visit) tell(x *proxy.Exchange) {
	g := v.rate
	x.Response.Head.AddOwn(g.policy, len(fieldPolicy))
	b := x.Scratch() // the head copies it
	for i := range g.keys {
		w, full := &g.options.Windows[i], v.verdicts[i].Full
		if v.wait > 0 && v.verdicts[i].OK {
			full = max(full-g.cost*w.interval, 0) // another window has refused: nothing was taken from this one
		}
		b = append(b, g.pieces[i]...)
		b = wire.AppendUint(b, uint64(w.tokens(full)))
		b = append(b, ";t="...)
		b = wire.AppendUint(b, seconds(full))
	}
	x.Response.Head.AddOwn(b, len(fieldLimit))
}
