package proxy

import "sluice/proxy/wire"

// StripFields takes request fields away, whoever has sent them, because a policy speaks under their names. Origins behind CGI or WSGI cannot
// tell X_User from X-User, so both go, and trailers of these names do not get past the policy either.
func (x *Exchange) StripFields(names []string) {
	strip(&x.Request.Head, names)
	x.Request.Decided = append(x.Request.Decided, names...)
}

// FinalTrailers returns trailers without the fields that a policy has decided about in the head, however they are written: what
// StripFields says of names holds for these, too. It is called when all of them have been received.
func FinalTrailers(trailers *wire.Head, decided []string) *wire.Head {
	strip(trailers, decided)
	return trailers
}

func strip(head *wire.Head, names []string) {
	for _, name := range names {
		head.Del(name)
		head.DelAlike(name)
	}
}
