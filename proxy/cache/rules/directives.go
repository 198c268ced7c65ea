package rules

import (
	"bytes"

	"sluice/proxy/wire"
)

// DeltaMax is what seconds too many to count are taken for (RFC 9111 section 1.2.2).
const DeltaMax = 1 << 31

// directives walks over the directives of one Cache-Control line (RFC 9111 section 5.2). Several lines are one list.
type directives struct {
	rest []byte
	// broken says that a quotation mark was never closed. What follows it is read as if it were not there, so that it
	// hides no directive; the caller takes the line for the most careful one it could be.
	broken bool
}

// next returns the next directive. The argument is what the quotation marks hold, if it had any; nil if there is none.
func (d *directives) next() (name, arg []byte, ok bool) {
	for len(d.rest) > 0 {
		var item []byte
		var whole bool
		item, d.rest, whole = cutItem(d.rest)
		d.broken = d.broken || !whole
		if item = trim(item); len(item) == 0 {
			continue
		}
		i := bytes.IndexByte(item, '=')
		if i < 0 {
			return item, nil, true
		}
		name, arg = item[:i], item[i+1:]
		if n := len(arg); n >= 2 && arg[0] == '"' && arg[n-1] == '"' {
			arg = arg[1 : n-1]
		}
		if bare := trim(name); len(bare) != len(name) {
			// "max-age =60" is not a directive by the grammar; the name counts, its argument does not.
			return bare, badArgument, true
		}
		return name, arg, true
	}
	return nil, nil, false
}

var badArgument = []byte{}

// cutItem cuts b at the first comma outside a quoted string. One begins only where an argument may: right after "=". It returns false
// if one does not end; the item then ends at the first comma all the same.
func cutItem(b []byte) (item, rest []byte, whole bool) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case ',':
			return b[:i], b[i+1:], true
		case '"':
			if i == 0 || b[i-1] != '=' {
				continue
			}
			end := quotedEnd(b, i+1)
			if end < 0 {
				if comma := bytes.IndexByte(b[i:], ','); comma >= 0 {
					return b[:i+comma], b[i+comma+1:], false
				}
				return b, nil, false
			}
			i = end
		}
	}
	return b, nil, true
}

// quotedEnd returns where the quoted string that begins before b[i] has its closing mark, or -1.
func quotedEnd(b []byte, i int) int {
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// parseDelta reads delta-seconds (RFC 9111 section 1.2.2): digits and nothing else. What is more than DeltaMax is DeltaMax.
func parseDelta(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c-'0' > 9 {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n > DeltaMax {
			n = DeltaMax
		}
	}
	return n, true
}

// restrict lets the smaller of two lifetimes count (RFC 9111 section 4.2.1); before is Absent or was given by the same response.
func restrict(before, n int64) int64 {
	if before >= 0 && before < n {
		return before
	}
	return n
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func is(name []byte, directive string) bool { return wire.EqualFold(name, directive) }
