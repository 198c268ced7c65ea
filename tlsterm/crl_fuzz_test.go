package tlsterm

import "testing"

// FuzzRevocations: no list is believed that the authority has not signed.
func FuzzRevocations(f *testing.F) {
	ca, stranger := newAuthority(f, "clients"), newAuthority(f, "clients")
	bad := ca.client(f, "bad")
	signed := ca.revokes(f, bad)
	foreign := stranger.revokes(f, bad)
	for _, text := range []string{signed, foreign, signed + foreign, der(signed), der(signed)[:50], "", "text"} {
		f.Add([]byte(text))
	}
	authorities, err := parseAuthorities([]byte(ca.pem()))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lists, err := parseRevocations(data, authorities.certificates)
		if (err == nil) != (len(lists) > 0) {
			t.Fatalf("%d lists (%v)", len(lists), err)
		}
		for _, list := range lists[string(ca.cert.RawSubject)] {
			if !list.serials[string(bad.cert.SerialNumber.Bytes())] {
				t.Error("a list that nobody has signed")
			}
		}
	})
}
