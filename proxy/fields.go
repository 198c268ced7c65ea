package proxy

import "sluice/proxy/wire"

// StripFields takes request fields away, whoever has sent them, because a policy speaks under their names. Origins behind CGI or WSGI cannot
// tell X_User from X-User, so both go, and trailers of these names do not get past the policy either.
func (x *Exchange) StripFields(names []string) {
	if len(names) == 0 {
		return
	}
	strip(&x.Request.Head, names)
	x.Request.Decided = append(x.Request.Decided, names...)
}

// StripLookalikes takes the fields away that an origin may take for one of this name, and leaves those that are spelled like it. Only a
// name with a dash or an underscore has such.
func StripLookalikes(head *wire.Head, name string) {
	for other := range head.All() {
		if sameField(other, name) && !wire.EqualFold(other, name) {
			head.DelFold(other)
		}
	}
}

// FinalTrailers returns trailers without the fields that a policy has decided about in the head, however they are written: what
// StripFields says of names holds for these, too. It is called when all of them have been received.
func FinalTrailers(trailers *wire.Head, decided []string) *wire.Head {
	if len(decided) > 0 {
		strip(trailers, decided)
	}
	return trailers
}

// strip removes the fields of these names, and those that an origin may take for them.
func strip(head *wire.Head, names []string) {
	for name := range head.All() {
		for i := range names {
			if sameField(name, names[i]) {
				head.DelFold(name)
				break
			}
		}
	}
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
