package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"sluice/proxy/auth/jose"
)

const token = "a.token.of-somebody"

// TestHostile is the table of proofs that prove nothing (RFC 9449 section 4.3, in its order, and what is known to have been accepted somewhere).
func TestHostile(t *testing.T) {
	c, other := newES256(), newES256()
	j := judge(Options{Leeway: 5 * time.Second})
	f := func(name, want string, proofs ...string) {
		t.Helper()
		if got := outcome(j, c, token, proofs...); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	good := func(changes ...any) string { return c.proof(token, changes...) }
	now := time.Now().Unix()
	f("a good one", "good", good())

	f("none", "the request has no DPoP proof")
	f("two", "the request has more than one DPoP proof", good(), good())
	f("twice the same", "the request has more than one DPoP proof", good(), "x")
	f("two in one field", "the token is encrypted", good()+", "+good())
	f("an empty field", "the token does not consist", "")
	f("no token", "the token does not consist", "proof")
	f("blanks inside", "a part of the token is not base64url", "a . b . c")
	f("encrypted", "the token is encrypted", "a.b.c.d.e")
	f("20 KiB", "the token is longer", good("x", strings.Repeat("x", 20<<10)))

	const claims = "the proof lacks"
	for _, name := range []string{"jti", "htm", "htu", "iat", "ath"} {
		f("without "+name, claims, good(name, nil))
		f(name+" as true", claims, good(name, true))
		f(name+" as a list", claims, good(name, []string{"a"}))
	}
	f("an empty jti", claims, good("jti", ""))
	f("a jti of 1 KiB", claims, good("jti", strings.Repeat("x", 1<<10)))
	f("iat as text", claims, good("iat", "now"))
	f("iat in milliseconds", claims, good("iat", now*1000))
	f("iat below 0", claims, good("iat", -1))
	f("iat without end", claims, c.Sign(headerOf(good()), []byte(`{"jti":"a","htm":"GET","htu":"https://shop.example/orders","iat":1e400,"ath":"AA"}`)))
	f("a nonce that is a number", claims, good("nonce", 5))
	f("ath of another length", claims, good("ath", "AAAA"))
	f("ath in base64", claims, good("ath", base64.StdEncoding.EncodeToString(make([]byte, 32))))
	f("a name twice", "the token's claims are not", c.Sign(headerOf(good()), []byte(`{"jti":"a","jti":"b"}`)))
	f("claims that are a list", "the token's claims are not", c.Sign(headerOf(good()), []byte(`[]`)))

	const typ = "the proof is not of the type dpop+jwt"
	f("no typ", typ, good("header.typ", nil))
	f("a JWT", typ, good("header.typ", "JWT"))
	f("an access token", typ, good("header.typ", "at+jwt"))

	f("none as alg", "the token's algorithm is none that is accepted", good("header.alg", "none"))
	f("None", "the token's algorithm is none that is accepted", good("header.alg", "NoNe"))
	f("no alg", "the token's header is not", good("header.alg", nil))
	f("the alg of another key", "the proof's signature is wrong", good("header.alg", "ES384"))
	f("a public key as a secret", "the proof is signed with an algorithm", confused(c, token))
	f("crit", "the token's header holds critical", good("header.crit", []string{"b64"}))
	f("b64", "the token is compressed or not encoded", good("header.b64", false))
	f("cty", "the token holds another", good("header.cty", "JWT"))
	f("jku", "the token brings its own key", good("header.jku", "https://evil.example/keys"))
	f("x5c", "the token brings its own key", good("header.x5c", []string{"AA"}))

	f("no key", "the proof does not hold its public key", good("header.jwk", nil))
	f("a key as text", "the token's header is not", good("header.jwk", "key"))
	f("a key of null", "the proof does not hold its public key", good("header.jwk", json.RawMessage("null")))
	f("a private key", "it is a private key", good("header.jwk", with(c.JWK(), "d", "AAAA")))
	f("a key of no kind", "it has no kty", good("header.jwk", with(c.JWK(), "kty", nil)))
	f("a secret", "it is a secret of HMAC", good("header.jwk", map[string]any{"kty": "oct", "k": "AAAA"}))
	f("a key for encryption", "it is not for signatures", good("header.jwk", with(c.JWK(), "use", "enc")))
	f("a point beside the curve", "its point is not on the curve", good("header.jwk", with(c.JWK(), "x", b64(make([]byte, 32)))))
	f("a curve that is unknown", "its curve", good("header.jwk", with(c.JWK(), "crv", "secp256k1")))
	f("a weak key", "its modulus has 1024 bits", weak(token))
	f("another key", "the proof is of another key", other.proof(token))
	f("the client's key beside another's signature", "the proof's signature is wrong", other.proof(token, "header.jwk", c.JWK()))

	f("another method", "the proof is of another method", good("htm", "POST"))
	f("a method in lower case", "the proof is of another method", good("htm", "get"))
	f("another token", "the proof is of another token", c.proof("another"))

	now = time.Now().Unix() // what is nearly old is too old five seconds later
	f("old", "the proof is too old", good("iat", now-66))
	f("nearly old", "good", good("iat", now-60))
	f("early", "the proof was made in the future", good("iat", now+20))
	f("a clock that is off", "good", good("iat", now+3))
	f("a fraction", "good", good("iat", float64(now)-0.5))

	p := good()
	f("changed", "the proof's signature is wrong", changed(p))
	f("signed half", "the proof's signature is wrong", p[:len(p)-6])
	f("unsigned", "the proof's signature is wrong", p[:strings.LastIndexByte(p, '.')+1])
	f("and as it was", "good", p)
	f("a second time", "the proof was used before", p)
	f("the number again", "good", good("jti", "number"))
	f("the number again", "the proof was used before", good("jti", "number"))
	if got := outcome(j, other, token, other.proof(token, "jti", "number")); got != "good" {
		t.Errorf("the number of another client: %s", got)
	}
	if n := j.Counts(); n.Replayed != 2 || n.Accepted != 7 {
		t.Errorf("counted %+v", n)
	}
}

func with(jwk map[string]any, changes ...any) map[string]any {
	for i := 0; i < len(changes); i += 2 {
		if jwk[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
			delete(jwk, changes[i].(string))
		}
	}
	return jwk
}

func headerOf(proof string) []byte {
	header, _, _ := strings.Cut(proof, ".")
	return must(base64.RawURLEncoding.DecodeString(header))
}

// changed is a proof with one bit of the signature changed.
func changed(proof string) string {
	b := must(base64.RawURLEncoding.DecodeString(proof[strings.LastIndexByte(proof, '.')+1:]))
	b[20] ^= 1
	return proof[:strings.LastIndexByte(proof, '.')+1] + b64(b)
}

// confused is signed with HMAC, and the public key as its secret.
func confused(c *client, token string) string {
	p := c.proof(token, "header.alg", "HS256")
	signed := p[:strings.LastIndexByte(p, '.')]
	mac := hmac.New(sha256.New, must(json.Marshal(c.JWK())))
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

// weak has a key of RSA with 1,024 bits, which crypto/rsa does not make any more.
func weak(token string) string {
	n := new(big.Int).Lsh(big.NewInt(1), 1023)
	return newES256().proof(token, "header.alg", "RS256", "header.jwk", map[string]any{"kty": "RSA", "e": "AQAB", "n": b64(n.SetBit(n, 0, 1).Bytes())})
}

// TestAlgorithms tries keys of other kinds, and a policy that does not want them.
func TestAlgorithms(t *testing.T) {
	ed, rs, es := newEd25519(), newRS256(), newES256()
	all, few := judge(Options{}), judge(Options{Algorithms: []jose.Algorithm{"ES256"}})
	f := func(j *Judge, c *client, want string) {
		t.Helper()
		if got := outcome(j, c, token, c.proof(token)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", c.Alg, got, want)
		}
	}
	f(all, ed, "good")
	f(all, rs, "good")
	f(all, es, "good")
	f(few, es, "good")
	f(few, ed, "the proof is signed with an algorithm")
	f(few, rs, "the proof is signed with an algorithm")
}

// TestTarget compares URLs as RFC 3986 section 6.2 does, and no further.
func TestTarget(t *testing.T) {
	f := func(scheme, host, path, htu string, want bool) {
		t.Helper()
		x := asking()
		defer x.Release()
		x.Request.Scheme, x.Request.Host, x.MatchedPath = scheme, []byte(host), []byte(path)
		if got := isTarget(htu, x); got != want {
			t.Errorf("%q as %s://%s%s: got %v", htu, scheme, host, path, got)
		}
	}
	f("https", "shop.example", "/orders", "https://shop.example/orders", true)
	f("https", "shop.example", "/orders", "HTTPS://SHOP.example/orders", true)
	f("https", "shop.example", "/orders", "https://shop.example:443/orders", true)
	f("https", "shop.example:443", "/orders", "https://shop.example/orders", true)
	f("https", "shop.example:8443", "/orders", "https://shop.example:8443/orders", true)
	f("http", "shop.example", "/orders", "http://shop.example:80/orders", true)
	f("https", "[::1]:8443", "/orders", "https://[::1]:8443/orders", true)
	f("https", "shop.example", "/orders", "https://shop.example/orders?page=2", true)
	f("https", "shop.example", "/orders", "https://shop.example/orders#top", true)
	f("https", "shop.example", "/orders", "https://shop.example/a/../%6frders", true)
	f("https", "shop.example", "/a%2Fb", "https://shop.example/a%2fb", true)
	f("https", "shop.example", "/", "https://shop.example", true)
	f("https", "shop.example", "/", "https://shop.example?a=b", true)

	f("https", "shop.example", "/orders", "http://shop.example/orders", false)
	f("http", "shop.example", "/orders", "https://shop.example/orders", false)
	f("https", "shop.example", "/orders", "https://shop.example:8443/orders", false)
	f("https", "shop.example:8443", "/orders", "https://shop.example/orders", false)
	f("https", "shop.example", "/orders", "https://shop.example:80/orders", false)
	f("https", "shop.example", "/orders", "https://shop.example.evil/orders", false)
	f("https", "shop.example", "/orders", "https://shop.example@evil/orders", false)
	f("https", "shop.example", "/orders", "https://evil@shop.example/orders", false)
	f("https", "shop.example", "/orders", "https://shop.example/orders/", false)
	f("https", "shop.example", "/orders", "https://shop.example/Orders", false)
	f("https", "shop.example", "/orders", "https://shop.example//orders", false)
	f("https", "shop.example", "/orders", "https://shop.example/", false)
	f("https", "shop.example", "/a%2Fb", "https://shop.example/a/b", false)
	f("https", "shop.example", "/orders", "/orders", false)
	f("https", "shop.example", "/orders", "//shop.example/orders", false)
	f("https", "shop.example", "/orders", "https:/shop.example/orders", false)
	f("https", "shop.example", "/orders", "https:///orders", false)
	f("https", "", "/orders", "https:///orders", false)
	f("https", "shop.example", "/orders", "https://shop.example/orders\x00", false)
	f("https", "shop.example", "/orders", `https://shop.example/\orders`, false)
	f("https", "shop.example", "/orders", "https://shop.example/orders%", false)
	f("https", "shop.example", "*", "https://shop.example/*", false)
	f("https", "shop.example", "/orders", "", false)
}

// TestSeveral tries that a request which meets two policies of one memory needs one proof, and that another request does not get past with it.
func TestSeveral(t *testing.T) {
	c := newES256()
	seen := NewMemory(1000, time.Hour)
	one, two, own := judge(Options{Seen: seen}), judge(Options{Seen: seen}), judge(Options{})
	p := c.proof(token)
	x := asking(p)
	for i, j := range []*Judge{one, two, own, one} {
		if err := j.Check(x, []byte(token), c.print()); i < 3 && err != nil {
			t.Errorf("policy %d: %v", i, err)
		}
	}
	x.Release()
	for i, j := range []*Judge{one, two, own} {
		if got := outcome(j, c, token, p); got != errReplayed.Error() {
			t.Errorf("policy %d, another request: %s", i, got)
		}
	}
}
