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

// policyField is the value of RateLimit-Policy.
func policyField(name string, windows []Window) []byte {
	var b []byte
	for i, w := range windows {
		b = appendItem(b, name, windows, i)
		b = append(b, ";q="...)
		b = wire.AppendUint(b, uint64(w.Burst))
		b = append(b, ";w="...)
		b = wire.AppendUint(b, seconds(int64(w.Burst)*w.interval))
	}
	return b
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
	g, windows := v.rate, v.rate.options.Windows
	x.Response.Head.Add("RateLimit-Policy", g.policy)
	b := x.Scratch() // the head copies it
	for i := range windows {
		full := v.verdicts[i].Full
		if v.wait > 0 && v.verdicts[i].OK {
			full = max(full-g.cost*windows[i].interval, 0) // another window has refused: nothing was taken from this one
		}
		b = appendItem(b, g.options.Name, windows, i)
		b = append(b, ";r="...)
		b = wire.AppendUint(b, uint64(windows[i].tokens(full)))
		b = append(b, ";t="...)
		b = wire.AppendUint(b, seconds(full))
	}
	x.Response.Head.Add("RateLimit", b)
}
