package wire

// NegotiateCoding chooses, by Accept-Encoding, among content codings that could be applied (RFC 9110 section 12.5.3). The
// codings are in lower case and in the order of our preference, which decides where the client has none; at most the first
// codingsMax count. It returns "" for the identity, and false if the client accepts neither that nor any of the codings.
//
// A request without the field accepts everything by the letter, but who sends none has seldom a decoder: it gets the identity.
// The identity is acceptable unless excluded, and the last choice unless it has a weight of its own.
func NegotiateCoding(h *Head, codings []string) (coding string, ok bool) {
	const absent = -1
	codings = codings[:min(len(codings), codingsMax)]
	identity, rest := absent, absent // rest is the weight of "*"
	var weights [codingsMax]int
	for i := range codings {
		weights[i] = absent
	}
	listed := false
	for value := range h.Values("accept-encoding") {
		for item := range Items(value) {
			name, weight, valid := SplitWeight(item)
			if !valid {
				continue
			}
			listed = true
			switch {
			case EqualFold(name, "*"):
				rest = lesserWeight(rest, weight)
			case EqualFold(name, "identity"):
				identity = lesserWeight(identity, weight)
			default:
				name = plainCoding(name)
				for i, c := range codings {
					if EqualFold(name, c) {
						weights[i] = lesserWeight(weights[i], weight)
					}
				}
			}
		}
	}
	if !listed {
		return "", true
	}
	best := 0
	for i, c := range codings {
		weight := weights[i]
		if weight == absent {
			weight = rest
		}
		if weight > best {
			coding, best = c, weight
		}
	}
	if identity == absent {
		identity = rest
	}
	switch {
	case identity == absent:
		return coding, true
	case identity > best:
		return "", true
	}
	return coding, best > 0
}

// codingsMax bounds what is chosen among: every coding is compared with every item of the field.
const codingsMax = 8

// lesserWeight lets the most careful of contradicting items count.
func lesserWeight(before, weight int) int {
	if before >= 0 && before < weight {
		return before
	}
	return weight
}

// plainCoding resolves the two old names (RFC 9110 sections 8.4.1.1 and 8.4.1.3).
func plainCoding(name []byte) []byte {
	if EqualFold(name, "x-gzip") || EqualFold(name, "x-compress") {
		return name[len("x-"):]
	}
	return name
}

// SplitWeight cuts an item of a list such as "gzip;q=0.8" into what comes before the first ";" and its weight in thousandths
// (RFC 9110 section 12.4.2), 1000 if there is none. It returns false if the name is empty or the weight is not one: such an item
// says nothing.
func SplitWeight(item []byte) (name []byte, weight int, ok bool) {
	i := indexByte(item, ';')
	if i < 0 {
		name = trimOWS(item)
		return name, 1000, len(name) > 0
	}
	name, item = trimOWS(item[:i]), item[i+1:]
	weight = 1000
	for len(item) > 0 {
		param := item
		if i := indexByte(item, ';'); i >= 0 {
			param, item = item[:i], item[i+1:]
		} else {
			item = nil
		}
		param = trimOWS(param)
		if len(param) >= 2 && param[0]|0x20 == 'q' && param[1] == '=' {
			if weight, ok = ParseWeight(param[2:]); !ok {
				return name, 0, false
			}
		}
	}
	return name, weight, len(name) > 0
}

// ParseWeight reads a qvalue in thousandths. Digits after the third are let pass and do not count, unless they are all that tells
// the weight from nothing.
func ParseWeight(b []byte) (int, bool) {
	if len(b) == 0 || b[0]-'0' > 1 {
		return 0, false
	}
	n := int(b[0]-'0') * 1000
	if len(b) == 1 {
		return n, true
	}
	if b[1] != '.' {
		return 0, false
	}
	unit, rest := 100, false
	for _, c := range b[2:] {
		if c-'0' > 9 {
			return 0, false
		}
		n += int(c-'0') * unit
		rest = rest || unit == 0 && c != '0'
		unit /= 10
	}
	if n > 1000 || n == 1000 && rest {
		return 0, false
	}
	if n == 0 && rest {
		n = 1
	}
	return n, true
}
