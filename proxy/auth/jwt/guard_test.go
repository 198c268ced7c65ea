package jwt

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
)

func TestClaims(t *testing.T) {
	s := newSigner("a")
	g := guard(t, Options{Keys: FixedKeys(setOf(s)), Issuer: "https://id.example", Audiences: []string{"shop-api", "shop-web"}, Leeway: 30 * time.Second, Remember: 100})
	now := time.Now().Unix()
	f := func(want string, changes ...any) {
		t.Helper()
		token := s.token(claims(changes...))
		for range 2 { // it is remembered, if it is good
			if got := outcome(g, token); !strings.HasPrefix(got, want) {
				t.Errorf("%v: got %s, want %s", changes, got, want)
			}
		}
	}
	f("200")
	f("200", "aud", "shop-web")
	f("200", "sub", nil)
	f("200", "jti", nil, "iat", nil, "nbf", nil)

	f("401 the token is of another issuer", "iss", "https://id.example/")
	f("401 the token is of another issuer", "iss", "https://ID.example")
	f("401 the token is of another issuer", "iss", nil)
	f("401 the token's sub, iss or jti", "iss", []string{"https://id.example"})
	f("401 the token's sub, iss or jti", "sub", 7)
	f("401 the token's sub, iss or jti", "jti", true)
	f("401 the token is for another audience", "aud", "shop")
	f("401 the token is for another audience", "aud", "shop-api2")
	f("401 the token is for another audience", "aud", []string{})
	f("401 the token is for another audience", "aud", nil)
	f("401 the token is for another audience", "aud", map[string]any{"shop-api": true})
	f("401 the token is for another audience", "aud", []any{[]string{"shop-api"}})
	f("401 the token is for another audience", "aud", "account shop-api")

	f("401 the token has expired", "exp", now-60)
	f("200", "exp", now-10) // the leeway
	f("200", "exp", float64(now)+10.5)
	f("401 the token has expired", "exp", 0)
	f("401 a time", "exp", nil)
	f("401 a time", "exp", fmt.Sprint(now+300))
	f("401 a time", "exp", true)
	f("401 a time", "exp", -1)
	f("401 a time", "exp", (now+300)*1000) // milliseconds
	f("401 a time", "exp", 1e300)
	f("401 the token is not valid yet", "nbf", now+60)
	f("200", "nbf", now+10)
	f("401 a time", "nbf", "now")
	f("401 the token is not valid yet", "iat", now+60)
	f("200", "iat", now+10)
	f("200", "iat", 0)
	f("401 a time", "iat", []int{1})

	big := s.Sign([]byte(`{"alg":"EdDSA","kid":"a"}`), []byte(`{"iss":"https://id.example","aud":"shop-api","exp":1e400}`))
	if got := outcome(g, big); !strings.HasPrefix(got, "401 a time") {
		t.Errorf("a time without end: got %s", got)
	}
}

// TestTypes tries that a token which was made for something else is none (RFC 8725 section 3.11).
func TestTypes(t *testing.T) {
	s := newSigner("a")
	f := func(types string, typ any, want string) {
		t.Helper()
		o := Options{Keys: FixedKeys(setOf(s))}
		if types != "" {
			o.Types = strings.Split(types, ",")
		}
		if got := outcome(guard(t, o), s.token(claims(), "typ", typ)); !strings.HasPrefix(got, want) {
			t.Errorf("%v of %q: got %s, want %s", typ, types, got, want)
		}
	}
	const refused = "401 the token is of a type"
	f("", "JWT", "200")
	f("", "jwt", "200")
	f("", nil, "200")
	f("", "", "200")
	f("", "at+jwt", "200")
	f("", "application/at+jwt", "200")
	f("", "dpop+jwt", refused)
	f("", "logout+jwt", refused)
	f("", "secevent+jwt", refused)
	f("at+jwt", "at+jwt", "200")
	f("at+jwt", "application/AT+JWT", "200")
	f("at+jwt", "JWT", refused)
	f("at+jwt", nil, refused)
	f("a,b", "b", "200")
}

// TestHostile offers tokens to a whole policy that no key of the set has signed, or not so. The table of forms is in package jose.
func TestHostile(t *testing.T) {
	s, r, other := newES256("a"), newRS256("r"), newES256("a")
	g := guard(t, Options{Keys: FixedKeys(setOf(s, r)), Algorithms: []jose.Algorithm{"ES256", "HS256"}, Remember: 100})
	f := func(name, token, want string) {
		t.Helper()
		for range 2 {
			if got := outcome(g, token); !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
	}
	good := s.token(claims())
	f("a good one", good, "200")
	f("another key of the same name", other.token(claims()), "401 the token's signature is wrong")
	f("a name that is not known", s.token(claims(), "kid", "b"), "401 the token is signed with a key that is not known")
	f("an algorithm that is not wanted", r.token(claims()), "401 the token is signed with an algorithm that this policy does not accept")
	f("none", b64([]byte(`{"alg":"none"}`))+"."+strings.Split(good, ".")[1]+".", "401 the token's algorithm")
	f("HS256 of a key of ECDSA", s.token(claims(), "alg", "HS256"), "401 the token's signature is wrong")
	f("its own key", other.token(claims(), "jwk", other.jwk()), "401 the token brings its own key")
	f("claims of another token", strings.Split(good, ".")[0]+"."+strings.Split(s.token(claims("sub", "admin")), ".")[1]+"."+strings.Split(good, ".")[2],
		"401 the token's signature is wrong")
	f("something behind it", good+"A", "401 the token's signature is wrong")
	f("20 KiB", strings.Repeat("x", 20<<10), "401 the token is longer")
	if n := g.Status().Remembered; n != 1 {
		t.Errorf("%d tokens are remembered, one was good", n)
	}
	// What is refused says nothing about why.
	for _, token := range []string{other.token(claims()), s.token(claims("exp", 1)), "x", s.token(claims(), "kid", "b")} {
		x := bearing(token)
		e := proxy.AsError(g.Check(x))
		if e.Status != 401 || e.Code != "token_invalid" || e.Detail != ErrInvalid.Detail || e.Challenge != `Bearer realm="sluice", error="invalid_token"` {
			t.Errorf("got %+v", e)
		}
		if x.Identity != nil {
			t.Error("a client is known that has proven nothing")
		}
		x.Release()
	}
}

func TestFind(t *testing.T) {
	s := newSigner("a")
	token := s.token(claims())
	f := func(o Options, want string, fields ...string) {
		t.Helper()
		o.Keys = FixedKeys(setOf(s))
		x := proxy.Acquire()
		defer x.Release()
		for i := 0; i < len(fields); i += 2 {
			x.Request.Head.AddString(fields[i], strings.ReplaceAll(fields[i+1], "TOKEN", token))
		}
		if got := said(guard(t, o).Check(x)); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %s, want %s", fields, got, want)
		}
	}
	f(Options{}, "200", "Authorization", "Bearer TOKEN")
	f(Options{}, "200", "authorization", "bEARER   TOKEN")
	f(Options{}, "401", "X", "y")
	f(Options{}, "401", "Authorization", "TOKEN")
	f(Options{}, "401", "Authorization", "Bearer")
	f(Options{}, "401", "Authorization", "Bearer ")
	f(Options{}, "401", "Authorization", "Basic dTpw")
	f(Options{}, "401", "Authorization", "Bearer TOKEN TOKEN")
	f(Options{}, "401", "Authorization", "Bearer TOKEN, Bearer TOKEN")
	f(Options{}, "401", "Authorization", "BearerTOKEN")
	f(Options{}, "400", "Authorization", "Bearer TOKEN", "Authorization", "Bearer TOKEN")
	f(Options{}, "400", "Authorization", "Bearer TOKEN", "AUTHORIZATION", "Basic dTpw")
	f(Options{}, "401", "Cookie", "token=TOKEN")
	f(Options{}, "401", "X-Token", "TOKEN")

	cookie := Options{Cookie: "token"}
	f(cookie, "200", "Cookie", "a=b; token=TOKEN; c=d")
	f(cookie, "200", "Cookie", "a=b", "Cookie", `token="TOKEN"`)
	f(cookie, "401", "Cookie", "Token=TOKEN")
	f(cookie, "401", "Cookie", "xtoken=TOKEN")
	f(cookie, "401", "Authorization", "Bearer TOKEN")
	f(cookie, "400", "Cookie", "token=TOKEN; token=TOKEN")
	f(cookie, "400", "Cookie", "token=x", "Cookie", "token=TOKEN")

	header := Options{Header: "X-Token"}
	f(header, "200", "X-Token", "TOKEN")
	f(header, "200", "x-token", "Bearer TOKEN")
	f(header, "401", "Authorization", "Bearer TOKEN")
	f(header, "400", "X-Token", "TOKEN", "x-token", "TOKEN")
}

// TestSent tries what goes on to the service: nothing that a client says about itself, and what was proven.
func TestSent(t *testing.T) {
	s := newSigner("a")
	token := s.token(claims("name", "Ann\r\nX-Admin: yes"))
	f := func(o Options, want string, fields ...string) {
		t.Helper()
		o.Keys = FixedKeys(setOf(s))
		x := proxy.Acquire()
		defer x.Release()
		for i := 0; i < len(fields); i += 2 {
			x.Request.Head.AddString(fields[i], strings.ReplaceAll(fields[i+1], "TOKEN", token))
		}
		g := guard(t, o)
		g.Prepare(x)
		if err := g.Check(x); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(string(x.Request.Head.AppendTo(nil)), token, "TOKEN")
		if got = strings.TrimSuffix(strings.ReplaceAll(got, "\r\n", "|"), "|"); got != want {
			t.Errorf("%q: got %s, want %s", fields, got, want)
		}
	}
	f(Options{}, "X-User: me|Authorization: Bearer TOKEN", "X-User", "me", "Authorization", "Bearer TOKEN")
	f(Options{Strip: true}, "A: b|C: d", "A", "b", "Authorization", "Bearer TOKEN", "C", "d")
	f(Options{Cookie: "token", Strip: true}, "A: b|Cookie: x=y; z=1", "Cookie", "x=y; token=TOKEN", "A", "b", "Cookie", "z=1")
	f(Options{Cookie: "token", Strip: true}, "A: b", "Cookie", "token=TOKEN", "A", "b")
	f(Options{Cookie: "token"}, "Cookie: token=TOKEN", "Cookie", "token=TOKEN")
	f(Options{Header: "X-Token", Strip: true}, "A: b", "X-Token", "TOKEN", "A", "b")

	forward := Options{Forward: []Forward{{"X-User", "sub"}, {"X-Roles", "realm_access.roles"}, {"X-None", "absent"}}, Strip: true}
	f(forward, `X-User: user-7|X-Roles: ["buyer","clerk"]`, "Authorization", "Bearer TOKEN")
	f(forward, `X-Users: me|X-User: user-7|X-Roles: ["buyer","clerk"]`, "X-User", "admin", "Authorization", "Bearer TOKEN", "x-user", "root", "X_User", "admin", "X-Users", "me",
		"X-NONE", "1", "x_none", "2", "X-ROLES", "all")
	f(Options{Forward: []Forward{{"X-Name", "name"}}, Strip: true}, "X-Name: Ann  X-Admin: yes", "Authorization", "Bearer TOKEN")
}

// TestPrepareAlways tries that nobody gets past with a field of their own, whatever becomes of the token.
func TestPrepareAlways(t *testing.T) {
	s := newSigner("a")
	g := guard(t, Options{Keys: FixedKeys(setOf(s)), Forward: []Forward{{"X-User", "sub"}}})
	for _, m := range []proxy.Mode{proxy.Report, proxy.Off} {
		x := bearing("x")
		x.Request.Head.AddString("X-User", "admin")
		if err := proxy.NewChain(proxy.Link{Name: "g", Policy: proxy.Guarded("g", g, m, nil)}, proxy.Link{Name: "last", Policy: ok{}}).Serve(x); err != nil {
			t.Fatal(err)
		}
		if x.Request.Head.Has("X-User") || x.Identity != nil {
			t.Errorf("%s: X-User is %q", m, x.Request.Head.Get("X-User"))
		}
		if len(x.Request.Decided) != 1 || x.Request.Decided[0] != "X-User" {
			t.Errorf("%s: decided is %q: a trailer would get past", m, x.Request.Decided)
		}
		x.Release()
	}
}

type ok struct{}

func (ok) Serve(*proxy.Exchange, *proxy.Chain) error { return nil }

func TestIdentity(t *testing.T) {
	s := newSigner("a")
	g := guard(t, Options{Keys: FixedKeys(setOf(s)), Remember: 100})
	of := func(changes ...any) *proxy.Identity {
		t.Helper()
		x := bearing(s.token(claims(changes...)))
		defer x.Release()
		if err := g.Check(x); err != nil {
			t.Fatal(err)
		}
		return x.Identity
	}
	one := of()
	if one.Kind() != "jwt" || one.Issuer() != "https://id.example" || one.Subject() != "user-7" || string(one.Claim("realm_access.roles")) != `["buyer","clerk"]` {
		t.Errorf("got %s %s %s %s", one.Kind(), one.Issuer(), one.Subject(), one.Claim("realm_access.roles"))
	}
	same := func(want bool, changes ...any) {
		t.Helper()
		if got := string(of(changes...).Key()) == string(one.Key()); got != want {
			t.Errorf("%v: the same client: %v", changes, got)
		}
	}
	same(true)
	same(true, "exp", time.Now().Unix()+1000, "jti", "token-2", "iat", nil)
	same(false, "sub", "user-8")
	same(false, "iss", "https://other.example")
	same(false, "scope", "orders.read")
	same(false, "level", "3") // a string is no number
	same(false, "sub", nil)
	if string(of("sub", nil).Key()) == string(of("sub", nil, "jti", "token-2").Key()) {
		t.Error("two tokens that name nobody are one client")
	}
}

// TestBound tries tokens that are bound to a certificate (RFC 8705), and to what cannot be proven here.
func TestBound(t *testing.T) {
	s := newSigner("a")
	g := guard(t, Options{Keys: FixedKeys(setOf(s)), Remember: 100})
	c := proxy.NewCertificate(&x509.Certificate{Raw: []byte("a certificate")})
	other := proxy.NewCertificate(&x509.Certificate{Raw: []byte("another one")})
	sum := sha256.Sum256([]byte("a certificate"))
	f := func(cnf any, shown *proxy.Certificate, want string) {
		t.Helper()
		token := s.token(claims("cnf", cnf))
		for range 2 {
			x := bearing(token)
			x.Client.Certificate = shown
			if got := said(g.Check(x)); !strings.HasPrefix(got, want) {
				t.Errorf("%v: got %s, want %s", cnf, got, want)
			}
			x.Release()
		}
	}
	const refused = "401 the token is bound to"
	bound := map[string]any{"x5t#S256": b64(sum[:])}
	f(bound, c, "200")
	f(bound, nil, refused)
	f(bound, other, refused)
	f(map[string]any{"x5t#S256": "AAAA"}, c, refused)
	f(map[string]any{"x5t#S256": 1}, c, refused)
	f(map[string]any{"jkt": b64(sum[:])}, c, refused)
	f(map[string]any{"jkt": b64(sum[:]), "x5t#S256": b64(sum[:])}, c, refused)
	f(map[string]any{}, c, refused)
	f("x", c, refused)
	f([]any{bound}, c, refused)
}

func TestSecret(t *testing.T) {
	secret := []byte("a secret that is 32 bytes long..")
	key, err := jose.NewSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	g := guard(t, Options{Keys: FixedKeys(jose.NewSet(key))})
	f := func(header, secret string, want string) {
		t.Helper()
		signed := b64([]byte(header)) + "." + b64(must(json.Marshal(claims())))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(signed))
		if got := outcome(g, signed+"."+b64(mac.Sum(nil))); !strings.HasPrefix(got, want) {
			t.Errorf("%s with %q: got %s, want %s", header, secret, got, want)
		}
	}
	f(`{"alg":"HS256"}`, string(secret), "200")
	f(`{"alg":"HS256","kid":"any"}`, string(secret), "200")
	f(`{"alg":"HS256"}`, string(secret[:31]), "401")
	f(`{"alg":"HS256"}`, "", "401")
	f(`{"alg":"HS512"}`, string(secret), "401") // it is too short for that
	f(`{"alg":"RS256"}`, string(secret), "401")
}

func TestRequire(t *testing.T) {
	s := newSigner("a")
	text := func(values ...string) (w []Want) {
		for _, v := range values {
			w = append(w, Want{jose.String, v})
		}
		return w
	}
	f := func(want string, r []Requirement, changes ...any) {
		t.Helper()
		g := guard(t, Options{Keys: FixedKeys(setOf(s)), Require: r, Remember: 10})
		token := s.token(claims(changes...))
		for range 2 {
			x := bearing(token)
			err := g.Check(x)
			got := "200"
			if err != nil {
				e := proxy.AsError(err)
				got = fmt.Sprint(e.Status, " ", e.Challenge)
			}
			if got != want {
				t.Errorf("%v of %v: got %s, want %s", r, changes, got, want)
			}
			if x.Identity == nil {
				t.Error("the client is not known, although its token is good")
			}
			x.Release()
		}
	}
	const no = `403 Bearer realm="sluice", error="insufficient_scope"`
	one := func(claim string, w ...Want) []Requirement { return []Requirement{{claim, w}} }

	f("200", one("scope", text("orders.read")...))
	f("200", one("scope", text("orders.write orders.read")...))
	f("200", one("scope", text("orders.delete", "orders.read")...))
	f(no+`, scope="orders.delete"`, one("scope", text("orders.delete")...))
	f(no+`, scope="orders.read orders.delete"`, one("scope", text("orders.read  orders.delete")...))
	f(no+`, scope="orders"`, one("scope", text("orders")...))
	f(no+`, scope="orders.read"`, one("scope", text("orders.read")...), "scope", nil)
	f(no+`, scope="orders.read"`, one("scope", text("orders.read")...), "scope", "orders.readx xorders.read")
	f(no+`, scope="orders.read"`, one("scope", text("orders.read")...), "scope", 7)
	f("200", one("scope", text("orders.read")...), "scope", []string{"a", "orders.read"})
	f("200", one("scp", text("a b")...), "scp", []string{"b", "a"})
	f("200", one("scp", text("a b")...), "scp", []string{"b a"})

	yes, no2 := Want{jose.Bool, "true"}, Want{jose.Bool, "false"}
	f("200", one("email_verified", yes))
	f("200", one("email_verified", no2, yes))
	f(no, one("email_verified", no2))
	f(no, one("email_verified", yes), "email_verified", "true")
	f(no, one("email_verified", yes), "email_verified", nil)
	f(no, one("email_verified", yes), "email_verified", 1)
	f("200", one("level", Want{jose.Number, "3"}))
	f("200", one("level", Want{jose.Number, "3.0"}))
	f("200", one("level", Want{jose.Number, "2"}, Want{jose.Number, "3"}))
	f(no, one("level", Want{jose.Number, "2"}))
	f(no, one("level", Want{jose.String, "3"}))
	f("200", one("realm_access.roles", text("clerk")...))
	f("200", one("realm_access.roles", text("boss", "clerk")...))
	f(no, one("realm_access.roles", text("boss")...))
	f(no, one("realm_access", text("clerk")...))
	f("200", one("sub", text("user-7")...))
	f(no, one("sub", text("user-8")...))
	f("200", one("https://shop.example/plan", text("gold")...), "https://shop.example/plan", "gold")
	f(no, append(one("sub", text("user-7")...), one("email_verified", no2)...))

	bad := func(r Requirement) {
		t.Helper()
		if _, err := New(Options{Require: []Requirement{r}}); err == nil {
			t.Errorf("%v is accepted", r)
		}
	}
	bad(Requirement{"sub", nil})
	bad(Requirement{"scope", text("")})
	bad(Requirement{"scope", text(" ")})
	bad(Requirement{"scope", text(`a"b`)})
	bad(Requirement{"scope", []Want{yes}})
}
