package introspect

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/jwt/jwttest"
)

// TestDPoP tries tokens that say nothing and are bound to a key, which their issuer tells (RFC 9449 section 6.2).
func TestDPoP(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	holder, thief := jwttest.NewHolder(), jwttest.NewHolder()
	cnf, err := json.Marshal(holder.Confirmation())
	if err != nil {
		t.Fatal(err)
	}
	i.says("bound", `{"active":true,"sub":"user-7","scope":"orders.read","token_type":"DPoP","cnf":`+string(cnf)+`}`)
	i.says("poor", `{"active":true,"sub":"user-7","scope":"openid","cnf":`+string(cnf)+`}`)
	i.says("free", `{"active":true,"sub":"user-7","scope":"orders.read"}`)
	i.says("half", `{"active":true,"sub":"user-7","scope":"orders.read","token_type":"DPoP"}`)
	of := func(required bool) *Guard {
		o := dpop.Options{Window: time.Minute, Algorithms: []jose.Algorithm{"ES256"}}
		o.Seen = dpop.NewMemory(1000, o.Life())
		return i.guard(t, Options{For: time.Minute}, jwt.Options{
			DPoP: dpop.New(o), DPoPRequired: required, Require: []jwt.Requirement{{Claim: "scope", AnyOf: []jwt.Want{{Kind: jose.String, Text: "orders.read"}}}},
		})
	}
	required, allowed := of(true), of(false)
	const url = "https://shop.example/orders"
	f := func(name string, g *Guard, scheme, token, proof, want, challenge string) {
		t.Helper()
		for range 2 { // it is remembered
			x := proxy.Acquire()
			r := &x.Request
			r.Method, r.Scheme, r.Host, x.MatchedPath = "GET", "https", []byte("shop.example"), []byte("/orders")
			r.Head.AddString("Authorization", scheme+" "+token)
			switch proof {
			case "":
			case "good":
				r.Head.AddString("DPoP", holder.Proof("GET", url, token))
			default:
				r.Head.AddString("DPoP", proof)
			}
			err := g.Check(x)
			if got := said(err); !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
			if err != nil && proxy.AsError(err).Challenge != challenge {
				t.Errorf("%s: got the challenge %s, want %s", name, proxy.AsError(err).Challenge, challenge)
			}
			if err == nil && (x.Identity.Subject() != "user-7" || string(x.Token) != token) {
				t.Errorf("%s: %s with the token %s", name, x.Identity.Subject(), x.Token)
			}
			x.Release()
		}
	}
	const (
		algs    = `, algs="ES256"`
		invalid = `DPoP realm="sluice", error="invalid_token"` + algs
		either  = `Bearer realm="sluice", error="invalid_token", DPoP realm="sluice"` + algs
		proof   = `DPoP realm="sluice", error="invalid_dpop_proof"` + algs
	)
	f("a key that is proven", required, "DPoP", "bound", "good", "200", "")
	f("a key that is proven", allowed, "DPoP", "bound", "good", "200", "")
	f("no key", allowed, "Bearer", "free", "", "200", "")
	f("as Bearer", allowed, "Bearer", "bound", "good", "401 the token is bound to a key, and came as Bearer", either)
	f("as Bearer", required, "Bearer", "bound", "good", "401 the token came as Bearer", invalid)
	f("bound to no key", allowed, "DPoP", "free", "good", "401 the token came with DPoP", invalid)
	f("said to be bound", allowed, "DPoP", "half", "good", "401 the token is bound to a key, or", invalid)
	f("no proof", required, "DPoP", "bound", "", "401 the request has no DPoP proof", proof)
	f("the thief's", required, "DPoP", "bound", thief.Proof("GET", url, "bound"), "401 the proof is of another key", proof)
	f("of another token", required, "DPoP", "bound", holder.Proof("GET", url, "free"), "401 the proof is of another token", proof)
	f("unknown", required, "DPoP", "unknown", "good", "401 the issuer says", invalid)
	f("no token", required, "DPoP", `"a b"`, "good", "401 no token has this form", invalid)
	f("a scope that is missing", required, "DPoP", "poor", "good", "403", `DPoP realm="sluice", error="insufficient_scope"`+algs+`, scope="orders.read"`)
	once := holder.Proof("GET", url, "bound")
	x := proxy.Acquire()
	defer x.Release()
	x.Request.Method, x.Request.Scheme, x.Request.Host, x.MatchedPath = "GET", "https", []byte("shop.example"), []byte("/orders")
	x.Request.Head.AddString("Authorization", "DPoP bound")
	x.Request.Head.AddString("DPoP", once)
	if got := said(required.Check(x)); got != "200" {
		t.Error(got)
	}
	f("a second time", required, "DPoP", "bound", once, "401 the proof was used before", proof)
	if s := required.Status(); !s.DPoP || s.Proofs.Replayed != 2 {
		t.Errorf("counted %+v", s)
	}
}
