package dpop

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jwt/jwttest"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// client has a key, and makes proofs with it.
type client struct{ *jwttest.Key }

func newES256() *client   { return &client{jwttest.NewES256()} }
func newEd25519() *client { return &client{jwttest.NewEdDSA()} }
func newRS256() *client   { return &client{jwttest.NewRS256()} }

func (c *client) print() *[sha256.Size]byte {
	print := c.Thumbprint()
	return &print
}

// proof makes one, with members of the header or claims changed: "header.jwk", "jti"; nil removes one.
func (c *client) proof(token string, changes ...any) string {
	ath := sha256.Sum256([]byte(token))
	header := map[string]any{"typ": "dpop+jwt", "alg": c.Alg, "jwk": c.JWK()}
	claims := map[string]any{"jti": rand.Text(), "htm": "GET", "htu": "https://shop.example/orders", "iat": time.Now().Unix(), "ath": b64(ath[:])}
	for i := 0; i < len(changes); i += 2 {
		name, in := changes[i].(string), claims
		if rest, ok := strings.CutPrefix(name, "header."); ok {
			name, in = rest, header
		}
		if in[name] = changes[i+1]; changes[i+1] == nil {
			delete(in, name)
		}
	}
	return c.Sign(must(json.Marshal(header)), must(json.Marshal(claims)))
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
