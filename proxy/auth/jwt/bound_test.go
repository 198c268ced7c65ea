package jwt

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/dpop"
	"sluice/proxy/auth/jose"
)

// proof is what a client with this key sends along with a token, of GET https://shop.example/orders.
func (s *signer) proof(token string, changes ...any) string {
	ath := sha256.Sum256([]byte(token))
	m := map[string]any{"jti": rand.Text(), "htm": "GET", "htu": "https://shop.example/orders", "iat": time.Now().Unix(), "ath": b64(ath[:])}
	for i := 0; i < len(changes); i += 2 {
		m[changes[i].(string)] = changes[i+1]
	}
	return s.token(m, "typ", "dpop+jwt", "kid", nil, "jwk", s.JWK())
}

func (s *signer) print() string {
	print := s.Thumbprint()
	return b64(print[:])
}

func judgeOf(o dpop.Options) *dpop.Judge {
	o.Window = time.Minute
	o.Seen = dpop.NewMemory(100000, o.Life())
	return dpop.New(o)
}

// TestDPoP tries every way to bring a token, to policies that want keys proven, take it as well, or know nothing of it.
func TestDPoP(t *testing.T) {
	issuer, client, thief := newSigner("a"), newES256("c"), newES256("d")
	certificate := proxy.NewCertificate(&x509.Certificate{Raw: []byte("a certificate")})
	sum := sha256.Sum256([]byte("a certificate"))
	keyed := issuer.token(claims("cnf", map[string]any{"jkt": client.print()}))
	unbound := issuer.token(claims())
	both := issuer.token(claims("cnf", map[string]any{"jkt": client.print(), "x5t#S256": b64(sum[:])}))
	few := issuer.token(claims("cnf", map[string]any{"jkt": client.print()}, "scope", "openid"))
	expired := issuer.token(claims("cnf", map[string]any{"jkt": client.print()}, "exp", 1000))
	odd := issuer.token(claims("cnf", map[string]any{"jkt": client.print(), "other": "x"}))
	short := issuer.token(claims("cnf", map[string]any{"jkt": "AAAA"}))

	options := func(judge *dpop.Judge, required bool) Options {
		return Options{Keys: FixedKeys(setOf(issuer)), DPoP: judge, DPoPRequired: required, Remember: 100, Strip: true,
			Require: []Requirement{{"scope", []Want{{jose.String, "orders.read"}}}}}
	}
	judge := judgeOf(dpop.Options{Algorithms: []jose.Algorithm{"ES256", "EdDSA"}})
	required, allowed, off := guard(t, options(judge, true)), guard(t, options(judge, false)), guard(t, options(nil, false))

	f := func(name string, g *Guard, authorization, proof, want, challenge string) {
		t.Helper()
		for range 2 { // it is remembered, if it is good
			x := proxy.Acquire()
			r := &x.Request
			r.Method, r.Scheme, r.Host, x.MatchedPath = "GET", "https", []byte("shop.example"), []byte("/orders")
			if authorization != "" {
				r.Head.AddString("Authorization", authorization)
			}
			switch proof {
			case "":
			case "good":
				_, token, _ := strings.Cut(authorization, " ")
				r.Head.AddString("DPoP", client.proof(strings.TrimSpace(token)))
			default:
				r.Head.AddString("DPoP", proof)
			}
			if strings.HasPrefix(name, "over a connection") {
				x.Client.Certificate = certificate
			}
			err := g.Check(x)
			if got := said(err); !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
			if err != nil && proxy.AsError(err).Challenge != challenge {
				t.Errorf("%s: got the challenge %s, want %s", name, proxy.AsError(err).Challenge, challenge)
			}
			if err == nil && (x.Identity == nil || r.Head.Has("Authorization") || g != off && r.Head.Has("DPoP")) {
				t.Errorf("%s: what is secret goes on", name)
			}
			if err != nil && x.Identity != nil && proxy.AsError(err).Status != 403 {
				t.Errorf("%s: a client is known that has proven nothing", name)
			}
			x.Release()
		}
	}
	const (
		algs      = `, algs="ES256 EdDSA"`
		ask       = `DPoP realm="sluice"` + algs
		invalid   = `DPoP realm="sluice", error="invalid_token"` + algs
		badProof  = `DPoP realm="sluice", error="invalid_dpop_proof"` + algs
		either    = `Bearer realm="sluice", ` + ask
		eitherBad = `Bearer realm="sluice", error="invalid_token", ` + ask
	)
	f("a key that is proven", required, "DPoP "+keyed, "good", "200", "")
	f("the scheme in lower case", required, "dpop   "+keyed, "good", "200", "")
	f("a key that is proven", allowed, "DPoP "+keyed, "good", "200", "")
	f("no key", allowed, "Bearer "+unbound, "", "200", "")
	f("no key, and a proof that nobody needs", allowed, "Bearer "+unbound, "x", "200", "")
	f("over a connection with the certificate, both", required, "DPoP "+both, "good", "200", "")

	f("nothing", required, "", "", "401", ask)
	f("nothing", allowed, "", "", "401", either)
	f("a proof alone", required, "", client.proof("x"), "401", ask)
	f("another scheme", required, "Basic dTpw", "", "401", ask)
	f("another scheme", allowed, "Basic dTpw", "", "401", either)
	f("no token", required, "DPoP", "good", "401", ask)
	f("no token", required, "DPoP ", "good", "401", ask)
	f("as Bearer", required, "Bearer "+keyed, "good", "401 the token came as Bearer", invalid)
	f("as Bearer", allowed, "Bearer "+keyed, "good", "401 the token is bound to a key, and came as Bearer", eitherBad)
	f("as Bearer", off, "Bearer "+keyed, "good", "401 the token is bound to a key or certificate", `Bearer realm="sluice", error="invalid_token"`)
	f("with DPoP", off, "DPoP "+keyed, "good", "401", `Bearer realm="sluice"`)
	f("bound to no key", required, "DPoP "+unbound, "good", "401 the token came with DPoP", invalid)
	f("bound to no key", allowed, "DPoP "+unbound, "good", "401 the token came with DPoP", invalid)
	f("bound to no key, as Bearer", required, "Bearer "+unbound, "", "401 the token came as Bearer", invalid)
	f("a stranger's", allowed, "DPoP "+newSigner("a").token(claims()), "good", "401 the token's signature", invalid)
	f("a stranger's", allowed, "Bearer "+newSigner("a").token(claims()), "", "401 the token's signature", eitherBad)
	f("expired", required, "DPoP "+expired, "good", "401 the token has expired", invalid)
	f("bound to something else, too", required, "DPoP "+odd, "good", "401 the token is bound to", invalid)
	f("bound to half a key", required, "DPoP "+short, "good", "401 the token is bound to", invalid)
	f("both, without the certificate", required, "DPoP "+both, "good", "401 the token is bound to", invalid)
	f("over a connection with the certificate, both, without the key", allowed, "Bearer "+both, "", "401 the token is bound to a key, and", eitherBad)

	f("no proof", required, "DPoP "+keyed, "", "401 the request has no DPoP proof", badProof)
	f("the thief's proof", required, "DPoP "+keyed, thief.proof(keyed), "401 the proof is of another key", badProof)
	f("a proof of another token", required, "DPoP "+keyed, client.proof(both), "401 the proof is of another token", badProof)
	f("a proof of another URL", required, "DPoP "+keyed, client.proof(keyed, "htu", "https://shop.example/carts"), "401 the proof is of another URL", badProof)
	f("a scope that is missing", required, "DPoP "+few, "good", "403", `DPoP realm="sluice", error="insufficient_scope"`+algs+`, scope="orders.read"`)

	once := client.proof(keyed)
	if got := dpopSaid(required, "DPoP "+keyed, once); got != "200" {
		t.Errorf("a proof: %s", got)
	}
	for _, g := range []*Guard{required, allowed} {
		if got := dpopSaid(g, "DPoP "+keyed, once); got != "401 the proof was used before" {
			t.Errorf("a proof, again: %s", got)
		}
	}
	if s := required.Status(); !s.DPoP || s.Proofs.Accepted == 0 || s.Proofs.Replayed == 0 || off.Status().DPoP {
		t.Errorf("counted %+v", s)
	}
}

func dpopSaid(g *Guard, authorization, proof string) string {
	x := proxy.Acquire()
	defer x.Release()
	r := &x.Request
	r.Method, r.Scheme, r.Host, x.MatchedPath = "GET", "https", []byte("shop.example"), []byte("/orders")
	r.Head.AddString("Authorization", authorization)
	r.Head.AddString("DPoP", proof)
	return said(g.Check(x))
}

// TestDPoPNonce tries the way of a client that is told a nonce, and what is said when no more proofs fit.
func TestDPoPNonce(t *testing.T) {
	issuer, client := newSigner("a"), newES256("c")
	token := issuer.token(claims("cnf", map[string]any{"jkt": client.print()}))
	o := Options{Keys: FixedKeys(setOf(issuer)), DPoP: judgeOf(dpop.Options{Nonces: dpop.NewNonces(nil)}), DPoPRequired: true, Remember: 10}
	ask := func(g *Guard, nonce string) (*proxy.Error, string) {
		x := proxy.Acquire()
		defer x.Release()
		r := &x.Request
		r.Method, r.Scheme, r.Host, x.MatchedPath = "GET", "https", []byte("shop.example"), []byte("/orders")
		r.Head.AddString("Authorization", "DPoP "+token)
		r.Head.AddString("DPoP", client.proof(token, "nonce", nonce))
		err := g.Check(x)
		x.EditHead()
		given := string(x.Response.Head.Get("DPoP-Nonce"))
		if err == nil {
			return nil, given
		}
		return proxy.AsError(err), given
	}
	g := guard(t, o)
	e, nonce := ask(g, "")
	if e == nil || e.Status != 401 || nonce == "" || !strings.Contains(e.Challenge, `error="use_dpop_nonce"`) {
		t.Fatalf("got %+v and the nonce %q", e, nonce)
	}
	e, again := ask(g, nonce)
	if e == nil && again != "" && again != nonce { // its period has ended since, which happens every two minutes: the next one begins
		e, again = ask(g, again)
	}
	if e != nil || again != "" {
		t.Errorf("with the nonce: got %+v, and %q", e, again)
	}

	// A client has an eighth of it, and its proofs lie at random in 64 parts: that one of those is full before, with 25 where 3 are
	// expected, happens in one of 10^12 runs.
	const room = 1600
	few := dpop.Options{Window: time.Minute, Seen: dpop.NewMemory(room, time.Minute)}
	o.DPoP = dpop.New(few)
	g = guard(t, o)
	good := 0 // of one client, which does not fill it
	for range room/8 + 50 {
		if e, _ := ask(g, ""); e == nil {
			good++
		} else if e.Status != 429 || e.Code != "proofs_exceeded" || e.RetryAfter == 0 || e.Challenge != "" {
			t.Fatalf("got %+v", e)
		}
	}
	if s := few.Seen.Status(); good != room/8 || s != (dpop.MemoryStatus{Proofs: good}) || g.Status().Proofs.Excess != 50 {
		t.Errorf("%d proofs of a client are accepted: %+v, %+v", good, s, g.Status())
	}

	full := dpop.Options{Window: time.Minute, Seen: dpop.NewMemory(1, time.Minute)}
	o.DPoP = dpop.New(full)
	g = guard(t, o)
	refused := 0
	for range 200 {
		client = newES256("c")
		token = issuer.token(claims("cnf", map[string]any{"jkt": client.print()}))
		if e, _ := ask(g, ""); e != nil {
			if refused++; e.Status != 503 || e.RetryAfter == 0 || e.Challenge != "" {
				t.Fatalf("got %+v", e)
			}
		}
	}
	if s := full.Seen.Status(); refused < 200-64 || s.Refused != uint64(refused) {
		t.Errorf("of a memory of 64 proofs %d of 200 were refused: %+v", refused, s)
	}
}
