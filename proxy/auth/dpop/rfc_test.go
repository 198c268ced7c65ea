package dpop

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"sluice/proxy/auth/jose"
)

// TestRFC judges the example of RFC 9449 section 7.1: a token, its proof, and the thumbprint of section 6.1, signature as printed there.
func TestRFC(t *testing.T) {
	const token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	const proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09r" +
		"X282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxl" +
		"Lm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9." +
		"2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	print := [32]byte(must(base64.RawURLEncoding.DecodeString("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")))
	j := judge(Options{})
	f := func(at int64, method, scheme, host, path, want string) {
		t.Helper()
		j.now = func() time.Time { return time.Unix(at, 0) }
		x := asking(proof)
		defer x.Release()
		x.Request.Method, x.Request.Scheme, x.Request.Host, x.MatchedPath = method, scheme, []byte(host), []byte(path)
		if got := said(j.Check(x, []byte(token), &print)); !strings.HasPrefix(got, want) {
			t.Errorf("%s %s://%s%s: got %q, want %q", method, scheme, host, path, got, want)
		}
	}
	f(1562262618, "POST", "https", "resource.example.org", "/protectedresource", "the proof is of another method")
	f(1562262618, "GET", "http", "resource.example.org", "/protectedresource", "the proof is of another URL")
	f(1562262618, "GET", "https", "server.example.com", "/protectedresource", "the proof is of another URL")
	f(1562262618, "GET", "https", "resource.example.org", "/", "the proof is of another URL")
	f(1562262618+61, "GET", "https", "resource.example.org", "/protectedresource", "the proof is too old")
	f(1562262617, "GET", "https", "resource.example.org", "/protectedresource", "the proof was made in the future")
	f(1562262618+60, "GET", "https", "resource.example.org", "/protectedresource", "good")
	f(1562262618, "GET", "https", "resource.example.org", "/protectedresource", "the proof was used before")
}

// TestRFC7638 compares with the thumbprint of RFC 7638 section 3.1, and of RFC 8037 appendix A.3.
func TestRFC7638(t *testing.T) {
	f := func(jwk string, alg jose.Algorithm, want string) {
		t.Helper()
		set, err := jose.ParseSet([]byte(jwk))
		if err != nil {
			t.Fatal(err)
		}
		got := set.Find(&jose.Token{Algorithm: alg})[0].Thumbprint()
		if b64(got[:]) != want {
			t.Errorf("got %s, want %s", b64(got[:]), want)
		}
	}
	f(`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
		"RS256", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
	f(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "EdDSA", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
}
