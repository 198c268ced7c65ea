package jwt

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"sluice/proxy"
)

// FuzzGuard offers whatever comes to mind as a token: only what the key has signed is admitted, with the claims that it has signed.
func FuzzGuard(f *testing.F) {
	s := newSigner("a")
	payload := []byte(`{"iss":"https://id.example","aud":"shop-api","sub":"user-7","exp":4102444800}`)
	good := s.Sign([]byte(`{"alg":"EdDSA","kid":"a"}`), payload)
	g, err := New(Options{Keys: FixedKeys(setOf(s)), Issuer: "https://id.example", Audiences: []string{"shop-api"}, Remember: 100, Forward: []Forward{{"X-User", "sub"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Bearer " + good)
	f.Add("bearer  " + good + " ")
	f.Add("Bearer " + good[:len(good)-1])
	f.Add("Bearer " + strings.Replace(good, ".", "..", 1))
	f.Add("Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + ".")
	f.Add("Basic dTpw")
	f.Fuzz(func(t *testing.T, field string) {
		x := proxy.Acquire()
		defer x.Release()
		x.Request.Head.AddString("Authorization", field)
		g.Prepare(x)
		err := g.Check(x)
		if err == nil {
			value := string(x.Request.Head.Get("Authorization")) // without control bytes
			if len(value) < 7 || !strings.EqualFold(value[:7], "Bearer ") || strings.Trim(value[7:], " \t") != good {
				t.Fatalf("%q is admitted", field)
			}
			if x.Identity.Subject() != "user-7" || !bytes.Equal(x.Request.Head.Get("X-User"), []byte("user-7")) {
				t.Fatalf("%q is %s", field, x.Identity.Subject())
			}
			return
		}
		if e := proxy.AsError(err); e.Status != 401 || x.Identity != nil || x.Request.Head.Has("X-User") {
			t.Fatalf("%q: %v", field, err)
		}
	})
}
