package proxy

// StripFields takes request fields away, whoever has sent them, because a policy speaks under their names. Origins behind CGI or WSGI cannot
// tell X_User from X-User, so both go, and trailers of these names do not get past the policy either.
func (x *Exchange) StripFields(names []string) {
	if len(names) == 0 {
		return
	}
	head := &x.Request.Head
	for name := range head.All() {
		for i := range names {
			if sameField(name, names[i]) {
				head.DelFold(name)
				break
			}
		}
	}
	x.Request.Decided = append(x.Request.Decided, names...)
}

func sameField(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if plainByte(c) != plainByte(b[i]) {
			return false
		}
	}
	return true
}

func plainByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}
