package transform

// byteSet marks bytes that may stand for themselves.
type byteSet [256]bool

var (
	// unreserved characters mean the same everywhere in a URI (RFC 3986 section 2.3).
	unreserved = alphanumericAnd("-._~")

	// queryByte marks what a query is made of (RFC 3986 section 3.4), the percent sign included.
	queryByte = alphanumericAnd("-._~!$&'()*+,;=:@/?%")

	// capturedInQuery keeps the escapes of a value captured from the path. What stands for itself in a path but
	// ends a value in a query ("&", ";", "#") or means a space there ("+") is escaped.
	capturedInQuery = alphanumericAnd("-._~!$'()*,=:@/%")
)

func alphanumericAnd(others string) (s byteSet) {
	for c := range len(s) {
		s[c] = isAlphanumeric(byte(c))
	}
	for _, c := range others {
		s[c] = true
	}
	return s
}

// escapeTail percent-encodes the bytes of dst[start:] that are not in keep. Nearly all values have none.
func escapeTail(dst []byte, start int, keep *byteSet) []byte {
	const hex = "0123456789ABCDEF"
	end := len(dst)
	first := start
	for first < end && keep[dst[first]] {
		first++
	}
	if first == end {
		return dst
	}
	// The escaped form is put behind the value and then moved into its place: no second buffer is needed.
	for i := first; i < end; i++ {
		if c := dst[i]; keep[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	n := copy(dst[first:], dst[end:])
	return dst[:first+n]
}
