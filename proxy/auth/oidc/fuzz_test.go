package oidc

import (
	"bytes"
	"testing"
	"time"

	"sluice/proxy"
)

// FuzzCallback reads what may come from a provider, over a browser.
func FuzzCallback(f *testing.F) {
	for _, query := range []string{"state=AAAAAAAAAAAAAAAAAAAAAA&code=a", "state=AAAAAAAAAAAAAAAAAAAAAA&error=access_denied&iss=https%3A%2F%2Fa", "state=a&state=b", "%zz", "code=a;b"} {
		f.Add([]byte(query))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		c, err := parseCallback(query)
		if err == nil && (len(c.state) != 22 || (c.code == "") == (c.refused == "")) {
			t.Errorf("%q is %+v", query, c)
		}
	})
}

// FuzzCookies reads what a browser may send: nothing that was not sealed is a session, and nothing that was not packed is read.
func FuzzCookies(f *testing.F) {
	n := newNames("__Host-s")
	s, err := newSeal([][]byte{secret1}, "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	one := &session{idToken: "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA", refresh: "r", expires: 1}
	packed, err := one.pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("__Host-s=1abc; __Host-s.1=def"), packed)
	f.Add([]byte("__Host-s=4a; __Host-s.1=b; __Host-s.2=c; __Host-s.3=d"), newAttempt("https://a", "/b", time.Now().Unix()).pack())
	f.Add(append([]byte("__Host-s=1"), s.close(packed, sessionPurpose)...), []byte{1})
	f.Fuzz(func(t *testing.T, cookie, text []byte) {
		x := proxy.Acquire()
		defer x.Release()
		x.Request.Head.Add("Cookie", cookie)
		found := n.find(x)
		parts, count := found.session()
		if count > 0 {
			if opened, _, err := s.open(bytes.Join(parts[:count], nil), "nothing was sealed for this"); err == nil {
				t.Errorf("%q opens as %q", cookie, opened)
			}
		}
		if one, err := unpackSession(text); err == nil {
			again, err := one.pack()
			if err == nil && !bytes.Equal(again, text) {
				t.Errorf("%q is %q", text, again)
			}
		}
		if a, err := unpackAttempt(text); err == nil && !bytes.Equal(a.pack(), text) {
			t.Errorf("%q is %q", text, a.pack())
		}
	})
}
