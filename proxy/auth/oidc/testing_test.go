package oidc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/jwt/jwttest"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/wire"
)

// provider is an OpenID provider that signs everybody in at once, and whose answers a test can change.
type provider struct {
	*jwttest.Issuer
	server *httptest.Server

	mu       sync.Mutex
	codes    map[string]url.Values // what each code was asked for with
	asked    []url.Values          // of the token endpoint
	claims   []any                 // changes to the ID token, as of jwttest
	answer   func(map[string]any)  // changes the answer of the token endpoint
	broken   http.HandlerFunc      // answers in the place of the token endpoint
	metadata map[string]any
}

func startProvider(t testing.TB) *provider {
	p := &provider{Issuer: jwttest.New(), codes: map[string]url.Values{}, metadata: map[string]any{}}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.server.Close)
	p.URL = p.server.URL
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		m := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize?tenant=1", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"end_session_endpoint": p.URL + "/logout",
		}
		for name, value := range p.metadata {
			m[name] = value
		}
		_ = json.NewEncoder(w).Encode(m) // who has gone needs it no more
	case "/token":
		if err := r.ParseForm(); err != nil {
			panic(err)
		}
		p.asked = append(p.asked, r.PostForm)
		if p.broken != nil {
			p.broken(w, r)
			return
		}
		p.token(w, r)
	default:
		p.Issuer.ServeHTTP(w, r)
	}
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{"access_token": "planted-access", "token_type": "Bearer", "expires_in": 300}
	claims := map[string]any{"iss": p.URL, "aud": "shop", "sub": "user-7", "email": "u@shop.example", "exp": time.Now().Unix() + 3600, "iat": time.Now().Unix()}
	if code := r.PostForm.Get("code"); code != "" {
		with, ok := p.codes[code]
		delete(p.codes, code)
		a := attempt{}
		copy(a.verifier[:], decoded(r.PostForm.Get("code_verifier")))
		if !ok || with.Get("redirect_uri") != r.PostForm.Get("redirect_uri") || a.challenge() != with.Get("code_challenge") {
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"the code %s is not good"}`, code)
			return
		}
		claims["nonce"] = with.Get("nonce")
		if strings.Contains(with.Get("scope"), "offline_access") {
			answer["refresh_token"] = "planted-refresh"
		}
	}
	for i := 0; i < len(p.claims); i += 2 {
		if claims[p.claims[i].(string)] = p.claims[i+1]; p.claims[i+1] == nil {
			delete(claims, p.claims[i].(string))
		}
	}
	answer["id_token"] = p.Sign("JWT", claims)
	if p.answer != nil {
		p.answer(answer)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// authorize is what the provider does with a browser that was led to it: it leads it back with a code.
func (p *provider) authorize(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code := fmt.Sprintf("planted-code-%d", len(p.codes)+len(p.asked))
	p.codes[code] = u.Query()
	return u.Query().Get("redirect_uri") + "?" + url.Values{"state": {u.Query().Get("state")}, "code": {code}, "iss": {p.URL}}.Encode()
}

func (p *provider) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

var secret1, secret2 = []byte("planted-secret-1-0123456789abcdef"), []byte("planted-secret-2-0123456789abcdef")

// gateway is a policy in front of a service that tells who has come.
type gateway struct {
	*Policy
	chain *proxy.Chain
}

// service is the end of the chain. It says what it has seen.
type service struct{}

func (service) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	x.Response.Status = 200
	x.Response.Head.AddString("X-Name", string(x.Identity.Name()))
	x.Response.Head.AddString("X-Seen-Cookie", string(x.Request.Head.GetKnown(wire.Cookie)))
	x.Response.Head.AddString("X-Seen-User", string(x.Request.Head.Get("X-User")))
	return nil
}

func (p *provider) gateway(t testing.TB, change func(*SessionsOptions, *Options)) *gateway {
	t.Helper()
	at := oauth.NewProvider(oauth.ProviderOptions{Issuer: p.URL})
	keys := jwt.NewKeys(jwt.KeysOptions{Issuer: p.URL})
	at.Start()
	keys.Start()
	t.Cleanup(at.Stop)
	t.Cleanup(keys.Stop)
	so := SessionsOptions{
		Client: oauth.NewClient(at, oauth.Credentials{ID: "shop", Secret: "planted-client-secret"}), Keys: keys, Issuer: p.URL, Cookie: "__Host-s",
		Secrets: [][]byte{secret1}, Lifetime: 12 * time.Hour, Idle: time.Hour,
	}
	o := Options{Callback: "/oauth2/callback", Logout: "/oauth2/logout", Goodbye: "/goodbye", Remember: 100}
	var err error
	o.Reader, err = jwt.NewReader(jwt.Options{Forward: []jwt.Forward{{Header: "X-User", Claim: "sub"}}})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&so, &o)
	}
	if o.Sessions, err = NewSessions(so); err != nil {
		t.Fatal(err)
	}
	g := &gateway{Policy: New(o)}
	g.chain = proxy.NewChain(proxy.Link{Name: "signed-in", Policy: g.Policy}, proxy.Link{Name: "service", Policy: service{}})
	return g
}

// browser keeps cookies.
type browser struct {
	cookies map[string]string
	order   []string
}

func newBrowser() *browser { return &browser{cookies: map[string]string{}} }

func (b *browser) clone() *browser {
	c := newBrowser()
	for _, name := range b.order {
		c.set(name, b.cookies[name])
	}
	return c
}

func (b *browser) set(name, value string) {
	if _, ok := b.cookies[name]; !ok {
		b.order = append(b.order, name)
	}
	b.cookies[name] = value
}

// answer is what a browser gets.
type answer struct {
	status int
	why    string // of an error: its code and cause
	to     string
	head   http.Header
}

// get asks for a page of https://shop.example, as a browser does that loads it; fields replace its own.
func (b *browser) get(g *gateway, target string, fields ...string) answer {
	return b.ask(g, "GET", target, fields...)
}

func (b *browser) ask(g *gateway, method, target string, fields ...string) answer {
	x := proxy.Acquire()
	defer x.Release()
	target = strings.TrimPrefix(target, "https://shop.example")
	path, query, has := strings.Cut(target, "?")
	r := &x.Request
	r.Method, r.Scheme, r.Host, r.Path, r.Query, r.HasQuery = method, "https", []byte("shop.example"), []byte(path), []byte(query), has
	own := map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none", "Accept": "text/html"}
	for i := 0; i < len(fields); i += 2 {
		switch own[fields[i]] = fields[i+1]; {
		case fields[i] == "Host":
			r.Host = []byte(fields[i+1])
			delete(own, "Host")
		case fields[i] == "Scheme":
			r.Scheme = fields[i+1]
			delete(own, "Scheme")
		}
	}
	for name, value := range own {
		if value != "" {
			r.Head.AddString(name, value)
		}
	}
	var pairs []string
	for _, name := range b.order {
		if value, ok := b.cookies[name]; ok {
			pairs = append(pairs, name+"="+value)
		}
	}
	if len(pairs) > 0 {
		r.Head.AddString("Cookie", strings.Join(pairs, "; "))
	}
	a := answer{head: http.Header{}}
	if err := g.chain.Serve(x); err != nil {
		e := proxy.AsError(err)
		a.status, a.why = e.Status, e.Code
		if e.Cause != nil {
			a.why += " " + e.Cause.Error()
		}
		x.Response.Status = e.Status
		x.Response.Head.Reset()
	}
	x.EditHead()
	a.status = x.Response.Status
	for name, value := range x.Response.Head.All() {
		a.head.Add(string(name), string(value))
	}
	a.to = a.head.Get("Location")
	for _, line := range a.head.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			panic(err)
		}
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || len(line) > 4096 {
			panic("a careless cookie: " + line)
		}
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.set(c.Name, c.Value)
		}
	}
	return a
}

// signIn goes all the way from a page and back to it.
func (b *browser) signIn(t testing.TB, p *provider, g *gateway, target string) {
	t.Helper()
	begun := b.get(g, target)
	if begun.status != 303 {
		t.Fatalf("%s: %d %s", target, begun.status, begun.why)
	}
	back := b.get(g, p.authorize(begun.to))
	if back.status != 303 || back.to != "https://shop.example"+target {
		t.Fatalf("the callback: %d %s %s", back.status, back.why, back.to)
	}
}

func decoded(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// want is what the claims of a session have to hold for rules.
func want(name, text string) jwt.Requirement {
	return jwt.Requirement{Claim: name, AnyOf: []jwt.Want{{Kind: jose.String, Text: text}}}
}
