package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

const someClaims = `{"sub":"7","exp":4000000000}`

// TestAlgorithms signs with every algorithm, and offers what one has signed to every key under every name: only what the key is for is
// accepted, whatever the header says.
func TestAlgorithms(t *testing.T) {
	for _, a := range Algorithms {
		key := private()[kinds[a]]
		signed := []byte("a.b")
		signature := sign(a, key, signed)
		for kind, other := range private() {
			var k *Key
			var err error
			if kind == "secret" {
				k, err = NewSecret(other.([]byte))
			} else {
				k, err = parseKey(must(json.Marshal(jwk(other))))
			}
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			for _, claimed := range Algorithms {
				same := kind == kinds[a] && (claimed == a || strings.HasPrefix(string(a), "Ed") && strings.HasPrefix(string(claimed), "Ed") && k.Admits(claimed))
				if got := k.Verify(claimed, signed, signature); got != same {
					t.Errorf("signed with %s, offered as %s to a key of %s: %v", a, claimed, kind, got)
				}
			}
			for _, cut := range []int{0, 1, len(signature) - 1} {
				if k.Verify(a, signed, signature[:cut]) || k.Verify(a, signed, append(bytes.Clone(signature), 0)) {
					t.Errorf("a signature of %s of another length is accepted by a key of %s", a, kind)
				}
			}
			if k.Verify(a, []byte("a.c"), signature) {
				t.Errorf("%s: a signature of something else is accepted", a)
			}
		}
	}
}

// TestHostileTokens is the table of tokens that some library has accepted once.
func TestHostileTokens(t *testing.T) {
	keys := private()
	rsaKey, ecKey := keys["RSA"].(*rsa.PrivateKey), keys["P-256"].(*ecdsa.PrivateKey)
	s, err := ParseSet(set(with(jwk(rsaKey), "kid", "r"), with(jwk(ecKey), "kid", "e"), with(jwk(keys["Ed25519"]), "kid", "d"), with(jwk(keys["P-384"]), "kid", "p")))
	if err != nil {
		t.Fatal(err)
	}
	good := func(name string, compact []byte) {
		t.Helper()
		if !accepted(s, compact) {
			t.Errorf("%s is refused", name)
		}
	}
	f := func(name string, compact []byte) {
		t.Helper()
		if accepted(s, compact) {
			t.Errorf("%s is accepted: %s", name, compact)
		}
	}
	rs := func(header string) []byte { return token(header, someClaims, "RS256", rsaKey) }
	unsigned := func(header string) []byte { return []byte(b64([]byte(header)) + "." + b64([]byte(someClaims)) + ".") }

	good("a token", rs(`{"alg":"RS256","kid":"r","typ":"JWT"}`))
	good("a token without a kid", rs(`{"alg":"RS256"}`))
	good("a token with members that nobody knows", rs(`{"alg":"RS256","kid":"r","x5t":"abc","x5t#S256":"abc","nonce":"n","deep":{"a":[1]}}`))
	good("a token of ECDSA", token(`{"alg":"ES256","kid":"e"}`, someClaims, "ES256", ecKey))

	// Nobody has signed it.
	for _, none := range []string{"none", "None", "NONE", "nOnE", "", " none", "none "} {
		f("alg "+none, unsigned(`{"alg":"`+none+`","kid":"r"}`))
	}
	f("an empty signature", unsigned(`{"alg":"RS256","kid":"r"}`))
	f("no algorithm", rs(`{"kid":"r"}`))
	f("a null algorithm", rs(`{"alg":null,"kid":"r"}`))
	f("a list of algorithms", rs(`{"alg":["RS256","none"],"kid":"r"}`))
	f("an algorithm in other letters", rs(`{"alg":"rs256","kid":"r"}`))

	// Algorithm confusion: the public key, in whichever form, as the secret of HMAC.
	der := must(x509.MarshalPKIXPublicKey(&rsaKey.PublicKey))
	pemText := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for i, form := range [][]byte{der, pemText, bytes.TrimSpace(pemText), x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), rsaKey.N.Bytes(), must(json.Marshal(jwk(rsaKey)))} {
		for _, a := range []Algorithm{"HS256", "HS384", "HS512"} {
			f(fmt.Sprintf("%s with the public key in form %d", a, i), token(`{"alg":"`+string(a)+`","kid":"r"}`, someClaims, a, form))
			f(fmt.Sprintf("%s without a kid, with the public key in form %d", a, i), token(`{"alg":"`+string(a)+`"}`, someClaims, a, form))
		}
	}
	f("HS256 with an empty secret", token(`{"alg":"HS256","kid":"r"}`, someClaims, "HS256", []byte{}))
	// The algorithm of another key.
	f("RS256 of a key of ECDSA", rs(`{"alg":"RS256","kid":"e"}`))
	f("ES256 said of RS256", rs(`{"alg":"ES256","kid":"r"}`))
	f("PS256 said of RS256", rs(`{"alg":"PS256","kid":"r"}`))
	f("RS512 said of RS256", rs(`{"alg":"RS512","kid":"r"}`))
	f("another key", token(`{"alg":"RS256","kid":"r"}`, someClaims, "RS256", must(rsa.GenerateKey(rand.Reader, 2048))))
	f("an unknown kid", rs(`{"alg":"RS256","kid":"x"}`))
	f("an empty kid", rs(`{"alg":"RS256","kid":""}`))
	f("a kid that is a path", rs(`{"alg":"RS256","kid":"../../dev/null"}`))
	f("a kid that is a number", rs(`{"alg":"RS256","kid":0}`))
	f("a kid of 600 bytes", rs(`{"alg":"RS256","kid":"`+strings.Repeat("r", 600)+`"}`))
	f("two kids", rs(`{"alg":"RS256","kid":"x","kid":"r"}`))
	f("two algorithms", rs(`{"alg":"none","alg":"RS256","kid":"r"}`))

	// PSS with another salt than the RFC's.
	signed := []byte(b64([]byte(`{"alg":"PS256","kid":"r"}`)) + "." + b64([]byte(someClaims)))
	for _, salt := range []int{32, 20, 31, 64, 222} {
		signature := must(rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, digest("PS256", signed), &rsa.PSSOptions{SaltLength: salt}))
		compact := []byte(string(signed) + "." + b64(signature))
		if accepted(s, compact) != (salt == 32) {
			t.Errorf("PS256 with a salt of %d bytes: %v", salt, accepted(s, compact))
		}
	}

	// ECDSA: other forms, and numbers that prove anything.
	signed = []byte(b64([]byte(`{"alg":"ES256","kid":"e"}`)) + "." + b64([]byte(someClaims)))
	sum := sha256.Sum256(signed)
	r, sv, err := ecdsa.Sign(rand.Reader, ecKey, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	es := func(signature []byte) []byte { return []byte(string(signed) + "." + b64(signature)) }
	order := elliptic.P256().Params().N
	good("r and s", es(rawECDSA(elliptic.P256(), r, sv)))
	f("a signature in ASN.1", es(must(asn1.Marshal(struct{ R, S *big.Int }{r, sv}))))
	f("zeros", es(make([]byte, 64)))
	f("r without s", es(rawECDSA(elliptic.P256(), r, new(big.Int))))
	f("s without r", es(rawECDSA(elliptic.P256(), new(big.Int), sv)))
	f("r and s of the order", es(rawECDSA(elliptic.P256(), order, order)))
	f("ones", es(bytes.Repeat([]byte{0xff}, 64)))
	f("a longer r", es(append(append([]byte{0}, rawECDSA(elliptic.P256(), r, sv)...), 0)))
	f("ES256 of a key on P-384", token(`{"alg":"ES256","kid":"p"}`, someClaims, "ES256", keys["P-384"]))
	f("ES384 of a key on P-256", token(`{"alg":"ES384","kid":"e"}`, someClaims, "ES384", ecKey))

	// Keys of its own.
	own := must(json.Marshal(jwk(must(rsa.GenerateKey(rand.Reader, 2048)))))
	f("jwk", rs(`{"alg":"RS256","kid":"r","jwk":`+string(own)+`}`))
	f("jku", rs(`{"alg":"RS256","kid":"r","jku":"https://evil.example/keys"}`))
	f("x5u", rs(`{"alg":"RS256","kid":"r","x5u":"https://evil.example/cert"}`))
	f("x5c", rs(`{"alg":"RS256","kid":"r","x5c":["MII"]}`))
	f("x5c that is null", rs(`{"alg":"RS256","kid":"r","jwk":null,"x5c":[]}`))

	// What changes how it is read.
	f("crit", rs(`{"alg":"RS256","kid":"r","crit":["exp"],"exp":1}`))
	f("an empty crit", rs(`{"alg":"RS256","kid":"r","crit":[]}`))
	f("b64", rs(`{"alg":"RS256","kid":"r","b64":false,"crit":["b64"]}`))
	f("b64 that is not critical", rs(`{"alg":"RS256","kid":"r","b64":false}`))
	f("zip", rs(`{"alg":"RS256","kid":"r","zip":"DEF"}`))
	f("cty JWT", rs(`{"alg":"RS256","kid":"r","cty":"JWT"}`))
	f("a typ that is no string", rs(`{"alg":"RS256","kid":"r","typ":["JWT"]}`))

	// The form.
	whole := string(rs(`{"alg":"RS256","kid":"r"}`))
	parts := strings.Split(whole, ".")
	form := func(name, compact string) { t.Helper(); f(name, []byte(compact)) }
	form("nothing", "")
	form("dots", "..")
	form("two parts", parts[0]+"."+parts[1])
	form("four parts", whole+".")
	form("five parts", whole+"..")
	form("no header", "."+parts[1]+"."+parts[2])
	form("no claims", parts[0]+".."+parts[2])
	form("padding in the header", parts[0]+"=."+parts[1]+"."+parts[2])
	form("padding in the signature", whole+"==")
	form("a space in front", " "+whole)
	form("a line break in the signature", whole[:len(whole)-4]+"\n"+whole[len(whole)-4:])
	form("a line break in the claims", parts[0]+"."+parts[1][:4]+"\r\n"+parts[1][4:]+"."+parts[2])
	form("the alphabet of plain base64", strings.NewReplacer("-", "+", "_", "/").Replace(whole)+"+")
	form("a NUL", whole+"\x00")
	// 256 bytes have two bits more than characters need: they have to be 0.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", whole[len(whole)-1])
	form("a stray bit", whole[:len(whole)-1]+string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|1]))
	form("the form of JSON", `{"payload":"`+parts[1]+`","protected":"`+parts[0]+`","signature":"`+parts[2]+`"}`)

	// Headers and claims that are no objects, or objects of two meanings.
	for _, header := range []string{"", "null", "[]", `"RS256"`, `{"alg":"RS256","kid":"r"`, `{"alg":"RS256","kid":"r"}}`, `{"alg":"RS256","kid":"r"} {}`,
		`{"alg":"RS256","kid":"r",}`, `{'alg':'RS256'}`, "{\"alg\":\"RS256\",\"kid\":\"r\xff\"}", `{"alg":"RS256","kid":"r","a":{"b":1,"b":2}}`,
		`{"alg":"RS256","kid":"r","a":` + strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 21),
		"\ufeff" + `{"alg":"RS256","kid":"r"}`, `{"alg":"RS256","kid":"r","a":"\ud800"}`} {
		f("the header "+header, rs(header))
	}
	for _, claims := range []string{"null", "[]", `"7"`, "7", `{"sub":"7"`, `{"sub":"7"}x`, `{"sub":"6","sub":"7"}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1,"b":2}]}`,
		`{"a.b":1,"a":{"b":2}}`, "{\"sub\":\"\xff\"}", `{"sub":"a\udc00"}`, `{"\ud800":1}`, `{"a":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "}",
		`{"a":` + strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 10), `{"a":01}`, `{"a":+1}`, `{"a":NaN}`} {
		f("the claims "+claims, token(`{"alg":"RS256","kid":"r"}`, claims, "RS256", rsaKey))
	}
	many := make([]string, 600)
	for i := range many {
		many[i] = fmt.Sprintf(`"c%d":1`, i)
	}
	f("600 claims", token(`{"alg":"RS256","kid":"r"}`, "{"+strings.Join(many, ",")+"}", "RS256", rsaKey))
	f("a token of 20 KiB", token(`{"alg":"RS256","kid":"r"}`, `{"sub":"`+strings.Repeat("x", 15<<10)+`"}`, "RS256", rsaKey))
	f("a header of 5 KiB", rs(`{"alg":"RS256","kid":"r","x":"`+strings.Repeat("x", 5<<10)+`"}`))
	good("a token of 12 KiB", token(`{"alg":"RS256","kid":"r"}`, `{"sub":"`+strings.Repeat("x", 8<<10)+`"}`, "RS256", rsaKey))
}

// TestHostileKeys is the table of keys that must not verify anything, or not that.
func TestHostileKeys(t *testing.T) {
	keys := private()
	r, e, d := jwk(keys["RSA"]), jwk(keys["P-256"]), jwk(keys["Ed25519"])
	f := func(name string, m map[string]any, want string) {
		t.Helper()
		k, err := parseKey(must(json.Marshal(m)))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, %v; want %q", name, k, err, want)
		}
	}
	f("RSA", r, "")
	f("RSA for signatures", with(r, "use", "sig", "key_ops", []string{"verify"}, "alg", "PS256"), "")
	f("EC", e, "")
	f("Ed25519", d, "")
	f("with a certificate", with(r, "x5c", []string{"MII"}, "x5t", "abc"), "")

	// Use.
	f("for encryption", with(r, "use", "enc"), "not for signatures")
	f("for something else", with(r, "use", "other"), "not for signatures")
	f("an empty use", with(r, "use", ""), "not for signatures")
	f("a use that is no string", with(r, "use", 1), "use")
	f("to sign with", with(r, "key_ops", []string{"sign"}), "not for signatures")
	f("to encrypt with", with(r, "key_ops", []string{"encrypt", "wrapKey"}), "not for signatures")
	f("for nothing", with(r, "key_ops", []string{}), "not for signatures")
	f("to verify and to encrypt", with(r, "key_ops", []string{"verify", "encrypt"}), "mixes")
	f("to verify twice", with(r, "key_ops", []string{"verify", "verify"}), "mixes")
	f("key_ops as a string", with(r, "key_ops", "verify"), "no list")
	f("key_ops of numbers", with(r, "key_ops", []int{1}), "no list")
	f("use and key_ops that differ", with(r, "use", "enc", "key_ops", []string{"verify"}), "not for signatures")

	// The algorithm of another key.
	f("RSA for ES256", with(r, "alg", "ES256"), "which it cannot be")
	f("RSA for HS256", with(r, "alg", "HS256"), "which it cannot be")
	f("RSA for none", with(r, "alg", "none"), "which it cannot be")
	f("RSA for encryption", with(r, "alg", "RSA-OAEP-256"), "which it cannot be")
	f("P-256 for ES384", with(e, "alg", "ES384"), "which it cannot be")
	f("Ed25519 for Ed448", with(d, "alg", "Ed448"), "which it cannot be")
	f("an algorithm that is no string", with(r, "alg", 1), "alg")
	f("ML-DSA-44 said to be 65", with(jwk(keys["ML-DSA-44"]), "alg", "ML-DSA-65"), "not one of")
	f("ML-DSA without an algorithm", with(jwk(keys["ML-DSA-44"]), "alg", nil), "not supported")
	f("ML-DSA cut short", with(jwk(keys["ML-DSA-44"]), "pub", "AAAA"), "not one of")

	// Kinds.
	f("no kind", with(r, "kty", nil), "no kty")
	f("a kind of tomorrow", with(r, "kty", "XYZ"), "not supported")
	f("a secret", map[string]any{"kty": "oct", "k": b64(make([]byte, 64))}, "secret")
	f("a private key", with(r, "d", "AQAB"), "private")
	f("a private key of ML-DSA", with(jwk(keys["ML-DSA-44"]), "priv", "AAAA"), "private")
	f("secp256k1", with(e, "crv", "secp256k1"), "not supported")
	f("X25519", with(d, "crv", "X25519"), "not for signatures")

	// Curves.
	f("the curve of others", with(e, "crv", "P-384"), "not of the curve")
	f("P-384 said to be P-256", with(jwk(keys["P-384"]), "crv", "P-256"), "not of the curve")
	f("a point beside the curve", with(e, "y", b64(append(make([]byte, 31), 1))), "not on the curve")
	f("the point at infinity", with(e, "x", b64(make([]byte, 32)), "y", b64(make([]byte, 32))), "not on the curve")
	f("coordinates with zeros in front", with(e, "x", b64(append([]byte{0}, unb64(t, e["x"].(string))...))), "not of the curve")
	f("Ed448 said to be Ed25519", with(jwk(keys["Ed448"]), "crv", "Ed25519"), "not of the curve")
	f("Ed25519 said to be Ed448", with(d, "crv", "Ed448"), "not of the curve")
	f("no x", with(e, "x", nil), "no x")
	f("padding", with(d, "x", d["x"].(string)+"="), "base64url")

	// RSA that protects nobody.
	weak := func(n *big.Int, exponent int64) map[string]any {
		return map[string]any{"kty": "RSA", "n": b64(n.Bytes()), "e": b64(big.NewInt(exponent).Bytes())}
	}
	n := keys["RSA"].(*rsa.PrivateKey).N
	one := big.NewInt(1)
	f("1024 bits", weak(new(big.Int).Rsh(n, 1024).SetBit(new(big.Int).Rsh(n, 1024), 0, 1), 65537), "1024 bits")
	f("2047 bits", weak(new(big.Int).Rsh(n, 1), 65537), "2047 bits")
	f("1024 bits and zeros in front", map[string]any{"kty": "RSA", "n": b64(append(make([]byte, 128), new(big.Int).Rsh(n, 1024).Bytes()...)), "e": "AQAB"}, "1024 bits")
	f("10000 bits", weak(new(big.Int).SetBit(new(big.Int).Lsh(n, 8000), 0, 1), 65537), "more than 8192")
	f("an even modulus", weak(new(big.Int).Sub(n, one), 65537), "even")
	f("exponent 1", weak(n, 1), "exponent")
	f("exponent 3", weak(n, 3), "exponent")
	f("exponent 0", map[string]any{"kty": "RSA", "n": b64(n.Bytes()), "e": b64([]byte{0})}, "exponent")
	f("an even exponent", weak(n, 65538), "exponent")
	f("an exponent of 5 bytes", weak(n, 1<<33+1), "exponent")
	f("ROCA", weak(rocaModulus(t), 65537), "ROCA")

	bad := func(name, text, want string) {
		t.Helper()
		if s, err := ParseSet([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want %q", name, s, err, want)
		}
	}
	bad("nothing", "", "cannot be read")
	bad("a page", "<html>", "cannot be read")
	bad("null", "null", "cannot be read")
	bad("a list", "[]", "cannot be read")
	bad("an object", "{}", "no list called keys")
	bad("keys that are no list", `{"keys":{}}`, "no list")
	bad("no keys", `{"keys":[]}`, "no keys")
	bad("keys that are no objects", `{"keys":[1,"a",null]}`, "no key that can be used")
	bad("two lists", `{"keys":[],"keys":[]}`, "twice")
	bad("a key with two moduli", strings.Replace(string(set(r)), `"kty"`, `"n":"AQAB","kty"`, 1), "twice")
	bad("only encryption", string(set(with(r, "use", "enc"))), "no key that can be used")
	bad("2 MiB", strings.Repeat(" ", 2<<20), "more than 1 MiB")
	bad("300 keys", string(set(make([]map[string]any, 300)...)), "more than 256")
}

// rocaModulus makes a modulus as the faulty library does: its primes are k*M + 65537^a mod M.
func rocaModulus(t *testing.T) *big.Int {
	m := big.NewInt(1)
	primes := 0
	for p := int64(2); primes < 126; p++ {
		if big.NewInt(p).ProbablyPrime(10) {
			m.Mul(m, big.NewInt(p))
			primes++
		}
	}
	prime := func(seed int64) *big.Int {
		for i := seed; ; i++ {
			p := new(big.Int).Exp(big.NewInt(65537), big.NewInt(i), m)
			k := new(big.Int).Lsh(big.NewInt(3), 52)
			k.Add(k, big.NewInt(2*i))
			p.Add(p, k.Mul(k, m))
			if p.ProbablyPrime(10) {
				return p
			}
		}
	}
	n := new(big.Int).Mul(prime(1000), prime(50000))
	if n.BitLen() < rsaBitsMin {
		t.Fatalf("the modulus has %d bits", n.BitLen())
	}
	return n
}

func TestROCA(t *testing.T) {
	if !isROCA(rocaModulus(t)) {
		t.Error("a key of the faulty library is not recognised")
	}
	if isROCA(private()["RSA"].(*rsa.PrivateKey).N) {
		t.Error("a key of this library is taken for one of the faulty one's")
	}
}

// TestSameName tries keys that share a name: one of them could be meant, or the other.
func TestSameName(t *testing.T) {
	keys := private()
	other := must(rsa.GenerateKey(rand.Reader, 2048))
	r, o := with(jwk(keys["RSA"]), "kid", "a"), with(jwk(other), "kid", "a")
	signed := token(`{"alg":"RS256","kid":"a"}`, someClaims, "RS256", keys["RSA"])
	f := func(name string, want bool, list ...map[string]any) {
		t.Helper()
		s, err := ParseSet(set(list...))
		if (err == nil && accepted(s, signed)) != want {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	f("alone", true, r)
	f("the same key twice", true, r, r)
	f("two keys of one name", false, r, o)
	f("two keys of one name, the other way round", false, o, r)
	f("two keys of one name beside another", false, o, r, with(jwk(keys["P-256"]), "kid", "b"))
	f("one key under the name for two algorithms", false, with(r, "alg", "RS256"), with(r, "alg", "PS256"))
	f("another kind under the name", false, r, with(jwk(keys["P-256"]), "kid", "a"))
	f("one for encryption under the name", true, r, with(o, "use", "enc"))
	f("another without a name", true, r, with(o, "kid", nil))
	f("the right one without a name", true, with(r, "kid", nil), with(o, "kid", "b"))
	f("the right one with another name", false, with(r, "kid", "b"))
}

// TestFind tries which keys a token may mean, and that a token without a name costs no more than a few tries.
func TestFind(t *testing.T) {
	keys := private()
	five := make([]map[string]any, 5)
	for i := range five {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		five[i] = with(jwk(k), "kid", fmt.Sprint(i))
	}
	f := func(alg, kid string, want int, list ...map[string]any) {
		t.Helper()
		s, err := ParseSet(set(list...))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(s.Find(&Token{Algorithm: Algorithm(alg), KeyID: kid, HasKeyID: kid != "-"})); got != want {
			t.Errorf("%s %s of %d keys: %d are tried, want %d", alg, kid, len(list), got, want)
		}
	}
	f("EdDSA", "1", 1, five...)
	f("EdDSA", "7", 0, five...)
	f("EdDSA", "-", 4, five[:4]...)
	f("EdDSA", "-", 0, five...) // too many
	f("ES256", "-", 0, five...)
	f("ES256", "-", 1, append(five, jwk(keys["P-256"]))...)
	f("ES256", "x", 1, append(five, jwk(keys["P-256"]))...)
}

func TestSame(t *testing.T) {
	a, b := jwk(private()["RSA"]), jwk(private()["P-256"])
	parse := func(list ...map[string]any) *Set { return must(ParseSet(set(list...))) }
	f := func(x, y *Set, want bool) {
		t.Helper()
		if x.Same(y) != want || y.Same(x) != want {
			t.Errorf("want %v", want)
		}
	}
	f(nil, nil, true)
	f(parse(a), nil, false)
	f(parse(a, b), parse(b, with(a, "x5t", "new")), true)
	f(parse(a), parse(a, b), false)
	f(parse(a), parse(b), false)
	f(parse(a), parse(with(a, "kid", "1")), false)
	f(parse(a), parse(with(a, "alg", "RS256")), false)
	f(parse(with(a, "kid", "1")), parse(with(a, "kid", "2")), false)
}

func TestSecret(t *testing.T) {
	f := func(size int, want ...Algorithm) {
		t.Helper()
		k, err := NewSecret(make([]byte, size))
		if err != nil {
			if len(want) > 0 {
				t.Errorf("%d bytes: %v", size, err)
			}
			return
		}
		if got := fmt.Sprint(k.Algorithms()); got != fmt.Sprint(want) {
			t.Errorf("%d bytes: for %s, want %s", size, got, want)
		}
	}
	f(0)
	f(31)
	f(32, "HS256")
	f(48, "HS256", "HS384")
	f(64, "HS256", "HS384", "HS512")
}
