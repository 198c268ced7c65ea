package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"sluice/proxy"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// client has a key, and makes proofs with it.
type client struct {
	alg string
	key crypto.Signer
}

func newES256() *client {
	return &client{"ES256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

func newEd25519() *client {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return &client{"EdDSA", must(key, err)}
}

func newRSA(bits int) *client { return &client{"RS256", must(rsa.GenerateKey(rand.Reader, bits))} }

func (c *client) jwk() map[string]any {
	switch k := c.key.Public().(type) {
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(k)}
	case *ecdsa.PublicKey:
		point := must(k.Bytes())
		return map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": b64(k.N.Bytes()), "e": "AQAB"}
	}
	panic("no key")
}

// print is the thumbprint as RFC 7638 has it: encoding/json sorts the members.
func (c *client) print() *[sha256.Size]byte {
	sum := sha256.Sum256(must(json.Marshal(c.jwk())))
	return &sum
}

// proof makes one, with members of the header or claims changed: "header.jwk", "jti"; nil removes one.
func (c *client) proof(token string, changes ...any) string {
	ath := sha256.Sum256([]byte(token))
	header := map[string]any{"typ": "dpop+jwt", "alg": c.alg, "jwk": c.jwk()}
	claims := map[string]any{"jti": rand.Text(), "htm": "GET", "htu": "https://shop.example/orders", "iat": time.Now().Unix(), "ath": b64(ath[:])}
	for i := 0; i < len(changes); i += 2 {
		name, in := changes[i].(string), claims
		if rest, ok := cutPrefix(name, "header."); ok {
			name, in = rest, header
		}
		if in[name] = changes[i+1]; changes[i+1] == nil {
			delete(in, name)
		}
	}
	return c.sign(must(json.Marshal(header)), must(json.Marshal(claims)))
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return s, false
}

func (c *client) sign(header, claims []byte) string {
	signed := b64(header) + "." + b64(claims)
	switch k := c.key.(type) {
	case ed25519.PrivateKey:
		return signed + "." + b64(ed25519.Sign(k, []byte(signed)))
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			panic(err)
		}
		return signed + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(signed))
		return signed + "." + b64(must(rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])))
	}
	panic("no key")
}

// asking is a request of https://shop.example/orders with proofs.
func asking(proofs ...string) *proxy.Exchange {
	x := proxy.Acquire()
	r := &x.Request
	r.Method, r.Scheme, r.Host, r.Path = "GET", "https", []byte("shop.example"), []byte("/orders")
	x.MatchedPath = r.Path
	for _, p := range proofs {
		r.Head.AddString("DPoP", p)
	}
	return x
}

func judge(o Options) *Judge {
	if o.Window == 0 {
		o.Window = time.Minute
	}
	if o.Seen == nil {
		o.Seen = NewMemory(1<<20, o.Life())
	}
	return New(o)
}

// outcome is what a judge says of a request with proofs.
func outcome(j *Judge, c *client, token string, proofs ...string) string {
	x := asking(proofs...)
	defer x.Release()
	return said(j.Check(x, []byte(token), c.print()))
}

func said(err error) string {
	if err == nil {
		return "good"
	}
	return err.Error()
}
