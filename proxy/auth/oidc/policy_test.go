package oidc

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oauth"
)

// TestLogin goes the way of somebody who signs in, does something, and signs out.
func TestLogin(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, func(so *SessionsOptions, _ *Options) { so.Scopes = []string{"email"} })
	b := newBrowser()
	b.set("theme", "dark")
	begun := b.get(g, "/orders?page=2&q=%2f", "X-User", "admin")
	u, err := url.Parse(begun.to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if begun.status != 303 || !strings.HasPrefix(begun.to, p.URL+"/authorize?tenant=1&") || q.Get("response_type") != "code" || q.Get("client_id") != "shop" ||
		q.Get("redirect_uri") != "https://shop.example/oauth2/callback" || q.Get("scope") != "openid email" || q.Get("code_challenge_method") != "S256" ||
		len(q.Get("state")) != 22 || len(q.Get("nonce")) != 22 || len(q.Get("code_challenge")) != 43 || !strings.Contains(begun.head.Get("Cache-Control"), "no-store") {
		t.Fatalf("it is led to %s with %v", begun.to, begun.head)
	}
	back := b.get(g, p.authorize(begun.to))
	if back.status != 303 || back.to != "https://shop.example/orders?page=2&q=%2f" {
		t.Fatalf("the callback: %d %s %s", back.status, back.why, back.to)
	}
	if len(b.cookies) != 2 {
		t.Errorf("the browser has the cookies %v", b.order)
	}
	for _, want := range []string{"user-7", "planted", p.URL} { // it is sealed
		if text, err := base64.RawURLEncoding.DecodeString(b.cookies["__Host-s"][1:]); err != nil || strings.Contains(string(text), want) {
			t.Errorf("the cookie shows %s, or is no base64: %v", want, err)
		}
	}
	for range 2 {
		if page := b.get(g, "/orders", "X-User", "admin", "x_user", "root"); page.status != 200 || page.head.Get("X-Name") != p.URL+" user-7 by oidc" ||
			page.head.Get("X-Seen-Cookie") != "theme=dark" || page.head.Get("X-Seen-User") != "user-7" || page.head.Get("Set-Cookie") != "" {
			t.Errorf("signed in: %d %s %v", page.status, page.why, page.head)
		}
	}
	kept := b.clone()
	out := b.ask(g, "POST", "/oauth2/logout", "Sec-Fetch-Site", "same-origin")
	u, err = url.Parse(out.to)
	if err != nil {
		t.Fatal(err)
	}
	if q := u.Query(); out.status != 303 || u.Path != "/logout" || q.Get("client_id") != "shop" || q.Get("post_logout_redirect_uri") != "https://shop.example/goodbye" || strings.Count(q.Get("id_token_hint"), ".") != 2 {
		t.Errorf("signing out: %d %s", out.status, out.to)
	}
	if page := b.get(g, "/orders"); page.status != 303 || b.cookies["__Host-s"] != "" {
		t.Errorf("signed out: %d", page.status)
	}
	if page := kept.get(g, "/orders"); page.status != 303 {
		t.Errorf("with a cookie from before signing out: %d", page.status)
	}
	if s := g.Sessions().Status(); s != (Status{Logins: 1, Logouts: 1}) {
		t.Errorf("%+v", s)
	}
}

// TestEndedForAll: a session that was ended, and a login that is over, stay so when the secret is rotated or anything else of sessions changes.
func TestEndedForAll(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	history := NewHistory()
	g := p.gateway(t, func(so *SessionsOptions, _ *Options) { so.History = history })
	b := newBrowser()
	begun := b.get(g, "/a")
	attempt := b.clone()
	callback := p.authorize(begun.to)
	b.get(g, callback)
	kept := b.clone()
	if a := kept.get(g, "/a"); a.status != 200 {
		t.Fatalf("signed in: %d %s", a.status, a.why)
	}
	b.get(g, "/oauth2/logout")
	f := func(name string, change func(*SessionsOptions)) {
		t.Helper()
		other := p.gateway(t, func(so *SessionsOptions, _ *Options) { so.History = history; change(so) })
		if a := kept.clone().get(other, "/a"); a.status != 303 {
			t.Errorf("%s: a session that was ended opens again: %d", name, a.status)
		}
		if a := attempt.clone().get(other, callback); a.status != 400 || !strings.Contains(a.why, errUsed.Error()) {
			t.Errorf("%s: a callback comes twice: %d %s", name, a.status, a.why)
		}
		c := newBrowser()
		c.signIn(t, p, other, "/a")
		if a := c.get(g, "/a"); (a.status == 200) != (string(other.s.options.Secrets[0]) == string(secret1)) {
			t.Errorf("%s: another session is good before: %d", name, a.status)
		}
	}
	f("a secret in front", func(so *SessionsOptions) { so.Secrets = [][]byte{secret2, secret1} })
	f("scopes", func(so *SessionsOptions) { so.Scopes = []string{"email"} })
	f("idle", func(so *SessionsOptions) { so.Idle = 2 * time.Hour })
	f("lifetime", func(so *SessionsOptions) { so.Lifetime = time.Hour })
}

// TestWhoIsLed: only browsers that load a page are led anywhere, over https alone.
func TestWhoIsLed(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, nil)
	f := func(want int, method string, fields ...string) {
		t.Helper()
		if a := newBrowser().ask(g, method, "/a", fields...); a.status != want || (a.to != "") != (want == 303) {
			t.Errorf("%s %q: %d %s, want %d", method, fields, a.status, a.why, want)
		}
	}
	f(303, "GET")
	f(303, "HEAD")
	f(303, "GET", "Sec-Fetch-Dest", "iframe")
	f(303, "GET", "Sec-Fetch-Mode", "", "Sec-Fetch-Dest", "", "Accept", "text/html,*/*") // an older browser
	f(401, "GET", "Sec-Fetch-Mode", "", "Sec-Fetch-Dest", "", "Accept", "application/json")
	f(401, "GET", "Sec-Fetch-Mode", "", "Sec-Fetch-Dest", "", "Accept", "")
	f(401, "GET", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty")
	f(401, "GET", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image")
	f(401, "GET", "Sec-Fetch-Dest", "object")
	f(401, "POST")
	f(401, "OPTIONS")
	f(400, "GET", "Scheme", "http")
	f(303, "GET", "Scheme", "http", "Host", "localhost:8080")
	f(303, "GET", "Scheme", "http", "Host", "127.0.0.1:8080")
	f(303, "GET", "Scheme", "http", "Host", "[::1]:8080")
	f(400, "GET", "Scheme", "http", "Host", "localhost.evil.example")
	f(400, "GET", "Scheme", "http", "Host", "127.0.0.1.evil.example")
	f(400, "GET", "Host", "")

	placed := p.gateway(t, func(_ *SessionsOptions, o *Options) { o.Place = "https://www.shop.example" })
	if a := newBrowser().get(placed, "/a", "Scheme", "http"); a.status != 303 || !strings.Contains(a.to, url.QueryEscape("https://www.shop.example/oauth2/callback")) {
		t.Errorf("where it is said what browsers know the gateway by: %d %s", a.status, a.to)
	}
}

// TestOpenRedirect: whatever was asked for, the callback leads back to the host that it came to.
func TestOpenRedirect(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, nil)
	f := func(target, want string) {
		t.Helper()
		b := newBrowser()
		back := b.get(g, p.authorize(b.get(g, target).to))
		if back.status != 303 || back.to != want {
			t.Errorf("%s: %d %s", target, back.status, back.to)
		}
		if u, err := url.Parse(back.to); err != nil || u.Host != "shop.example" || u.Scheme != "https" || u.User != nil {
			t.Errorf("%s leads to %s", target, back.to)
		}
	}
	f("/a", "https://shop.example/a")
	f("//evil.example/a", "https://shop.example//evil.example/a")
	f("/%5Cevil.example", "https://shop.example/%5Cevil.example")
	f("/a?next=//evil.example", "https://shop.example/a?next=//evil.example")
	f("/@evil.example", "https://shop.example/@evil.example")
	f("*", "https://shop.example/")
	f("/a?"+strings.Repeat("b", backBytesMax), "https://shop.example/a")
	f("/"+strings.Repeat("b", backBytesMax), "https://shop.example/")
	// What else a browser or somebody in between says about it leads nowhere.
	b := newBrowser()
	back := b.get(g, p.authorize(b.get(g, "/a").to)+"&redirect_uri=https://evil.example&next=//evil.example")
	if back.to != "https://shop.example/a" {
		t.Errorf("it leads to %s", back.to)
	}
}

// TestHostileCallbacks: a callback that is not that of the browser's own attempt signs nobody in.
func TestHostileCallbacks(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, nil)
	f := func(name, want string, change func(b *browser, to *url.URL, q url.Values) []string) {
		t.Helper()
		b := newBrowser()
		begun := b.get(g, "/a")
		u, err := url.Parse(p.authorize(begun.to))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		fields := change(b, u, q)
		if u.RawQuery == "" || u.Fragment == "" {
			u.RawQuery = q.Encode()
		}
		u.Fragment = ""
		a := b.get(g, u.String(), fields...)
		if !strings.Contains(fmt.Sprint(a.status, " ", a.why), want) || a.to != "" || b.cookies["__Host-s"] != "" || strings.Contains(a.why, "planted") {
			t.Errorf("%s: %d %s %s, want %s", name, a.status, a.why, a.to, want)
		}
		if page := b.get(g, "/a"); page.status != 303 {
			t.Errorf("%s: then %d", name, page.status)
		}
	}
	f("another state", "400 login_failed the login was not begun in this browser", func(_ *browser, _ *url.URL, q url.Values) []string {
		q.Set("state", written(make([]byte, 16)))
		return nil
	})
	f("a state that begins in the same way", "400 login_failed the state is of another login", func(_ *browser, _ *url.URL, q url.Values) []string {
		end := "AA"
		if strings.HasSuffix(q.Get("state"), end) { // one of 256 ends like that
			end = "BA"
		}
		q.Set("state", q.Get("state")[:20]+end)
		return nil
	})
	f("no state", "400 login_failed the callback is not", func(_ *browser, _ *url.URL, q url.Values) []string { q.Del("state"); return nil })
	f("two states", "400 login_failed the callback is not", func(_ *browser, _ *url.URL, q url.Values) []string { q.Add("state", q.Get("state")); return nil })
	f("two codes", "400 login_failed the callback is not", func(_ *browser, _ *url.URL, q url.Values) []string { q.Add("code", "b"); return nil })
	f("no code", "400 login_failed the callback is not", func(_ *browser, _ *url.URL, q url.Values) []string { q.Del("code"); return nil })
	f("a code and an error", "400 login_failed the callback is not", func(_ *browser, _ *url.URL, q url.Values) []string { q.Set("error", "x"); return nil })
	f("a code too long", "400 login_failed the callback is not", func(_ *browser, _ *url.URL, q url.Values) []string {
		q.Set("code", strings.Repeat("a", callbackMax))
		return nil
	})
	f("a broken escape", "400 login_failed the callback is not", func(_ *browser, u *url.URL, q url.Values) []string {
		u.RawQuery, u.Fragment = q.Encode()+"&code=%zz", "x"
		return nil
	})
	f("a code that is not known", "400 login_failed the provider does not accept the code", func(_ *browser, _ *url.URL, q url.Values) []string { q.Set("code", "planted"); return nil })
	f("access denied", "403 login_denied the provider says access_denied", func(_ *browser, _ *url.URL, q url.Values) []string {
		q.Del("code")
		q.Set("error", "access_denied")
		q.Set("error_description", "planted <script>")
		return nil
	})
	f("another issuer", "400 login_failed the callback is of another issuer", func(_ *browser, _ *url.URL, q url.Values) []string {
		q.Set("iss", "https://evil.example")
		return nil
	})
	f("an error of another issuer", "400 login_failed the callback is of another issuer", func(_ *browser, _ *url.URL, q url.Values) []string {
		q.Del("code")
		q.Set("error", "access_denied")
		q.Set("iss", p.URL+"/")
		return nil
	})
	f("another browser", "400 login_failed the login was not begun in this browser", func(b *browser, _ *url.URL, _ url.Values) []string {
		*b = *newBrowser()
		return nil
	})
	f("a changed cookie", "400 login_failed what the browser has sent was not sealed", func(b *browser, _ *url.URL, _ url.Values) []string {
		for name, value := range b.cookies {
			b.set(name, alter(value, len(value)/2))
		}
		return nil
	})
	f("a cookie of another attempt", "400 login_failed the state is of another login", func(b *browser, _ *url.URL, _ url.Values) []string {
		other := newBrowser()
		other.get(g, "/a")
		for name := range b.cookies {
			for _, value := range other.cookies {
				b.set(name, value)
			}
		}
		return nil
	})
	f("another host", "400 login_failed the login was begun at another host", func(*browser, *url.URL, url.Values) []string { return []string{"Host", "other.example"} })
	f("without TLS", "400 login_failed the login was begun at another host", func(*browser, *url.URL, url.Values) []string { return []string{"Scheme", "http"} })

	b := newBrowser()
	begun := b.get(g, "/a")
	kept := b.clone()
	callback := p.authorize(begun.to)
	if a := b.get(g, callback); a.status != 303 {
		t.Fatalf("%d %s", a.status, a.why)
	}
	if a := kept.get(g, callback); a.status != 400 || !strings.Contains(a.why, "has come before") || kept.cookies["__Host-s"] != "" {
		t.Errorf("a callback that comes again: %d %s", a.status, a.why)
	}
	if a := b.ask(g, "POST", callback); a.status != 405 || a.head.Get("Allow") != "GET" {
		t.Errorf("a callback by POST: %d", a.status)
	}
	late := newBrowser()
	begun = late.get(g, "/a")
	g.s.now = func() time.Time { return time.Now().Add(attemptSeconds * time.Second) }
	if a := late.get(g, p.authorize(begun.to)); a.status != 400 || !strings.Contains(a.why, "took too long") {
		t.Errorf("a callback that comes late: %d %s", a.status, a.why)
	}

	p.metadata["authorization_response_iss_parameter_supported"] = true
	names := p.gateway(t, nil)
	b = newBrowser()
	callback = p.authorize(b.get(names, "/a").to)
	if a := b.get(names, strings.Replace(callback, "iss=", "was=", 1)); a.status != 400 || !strings.Contains(a.why, "does not say of which") {
		t.Errorf("a callback without iss, of an issuer that says it sends it: %d %s", a.status, a.why)
	}
}

// TestHostileProviders: what a provider says signs nobody in unless all of it is right.
func TestHostileProviders(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, nil)
	try := func(name, want string) {
		t.Helper()
		b := newBrowser()
		a := b.get(g, p.authorize(b.get(g, "/a").to))
		if got := fmt.Sprint(a.status, " ", a.why); !strings.HasPrefix(got, want) || (want == "303 ") != (b.cookies["__Host-s"] != "") || strings.Contains(got, "planted") {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	claims := func(want string, changes ...any) {
		t.Helper()
		p.change(func() { p.claims = changes })
		try(fmt.Sprint(changes...), want)
		p.change(func() { p.claims = nil })
	}
	now := time.Now().Unix()
	claims("303 ")
	claims("303 ", "aud", []string{"shop"}, "azp", "shop")
	claims("303 ", "aud", []string{"shop", "other"}, "azp", "shop")
	claims("502 login_provider the ID token is of another issuer", "iss", "https://evil.example")
	claims("502 login_provider the ID token is of another issuer", "iss", nil)
	claims("502 login_provider the ID token is for another client", "aud", "other")
	claims("502 login_provider the ID token is for another client", "aud", nil)
	claims("502 login_provider the ID token is for another client", "aud", []string{"shop", "other"})
	claims("502 login_provider the ID token is for another client", "azp", "other")
	claims("502 login_provider the ID token is for another client", "azp", 7)
	claims("502 login_provider the ID token says not whom", "sub", nil)
	claims("502 login_provider the ID token says not whom", "sub", "")
	claims("502 login_provider the ID token says not whom", "sub", 7)
	claims("502 login_provider the times", "exp", now-3600)
	claims("502 login_provider the times", "exp", nil)
	claims("502 login_provider the times", "iat", nil)
	claims("502 login_provider the times", "iat", now+3600)
	claims("502 login_provider the ID token is of another login", "nonce", "planted-nonce")
	claims("502 login_provider the ID token is of another login", "nonce", nil)
	claims("502 login_provider the ID token belongs to another access token", "at_hash", "AAAA")
	claims("502 login_provider the ID token belongs to another access token", "at_hash", 7)
	claims("502 login_provider the tokens of the provider do not fit", "picture", strings.Repeat("x", 9000))

	answers := func(name, want string, change func(map[string]any)) {
		t.Helper()
		p.change(func() { p.answer = change })
		try(name, want)
		p.change(func() { p.answer = nil })
	}
	answers("no ID token", "502 login_provider the provider gives no ID token", func(a map[string]any) { delete(a, "id_token") })
	answers("of another type", "502 login_provider the ID token is of another type", func(a map[string]any) {
		a["id_token"] = p.Sign("logout+jwt", map[string]any{"iss": p.URL, "aud": "shop", "sub": "user-7"})
	})
	answers("no signature", "502 login_provider the token", func(a map[string]any) {
		id := a["id_token"].(string)
		a["id_token"] = id[:strings.LastIndexByte(id, '.')+1]
	})
	answers("none", "502 login_provider the token", func(a map[string]any) {
		a["id_token"] = "eyJhbGciOiJub25lIn0." + strings.Split(a["id_token"].(string), ".")[1] + "."
	})
	answers("signed by somebody else", "502 login_provider the token", func(a map[string]any) {
		stranger := startProvider(t)
		a["id_token"] = stranger.Sign("JWT", map[string]any{"iss": p.URL, "aud": "shop", "sub": "user-7", "exp": now + 60, "iat": now})
	})
	answers("no access token", "503 login_unavailable the answer of the token endpoint", func(a map[string]any) { delete(a, "access_token") })
	p.change(func() {
		p.broken = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			fmt.Fprint(w, `{"error":"invalid_client"}`)
		}
	})
	try("it does not know the gateway", "502 login_provider the provider answers 401 invalid_client")
	p.change(func() { p.broken = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) } })
	try("it is broken", "503 login_unavailable the provider answers 500")
}

// TestTabs: several logins may be under way in one browser, each with its own way back, but not any number of them.
func TestTabs(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, nil)
	b := newBrowser()
	var begun []answer
	for i := range attemptsMax + 2 {
		begun = append(begun, b.get(g, fmt.Sprint("/tab-", i)))
	}
	if len(b.cookies) != attemptsMax {
		t.Errorf("the browser has %d cookies", len(b.cookies))
	}
	for i, one := range begun {
		a := b.get(g, p.authorize(one.to))
		if want := fmt.Sprint("https://shop.example/tab-", i); i >= 2 && (a.status != 303 || a.to != want) || i < 2 && a.status != 400 {
			t.Errorf("tab %d: %d %s %s", i, a.status, a.why, a.to)
		}
	}
	if len(b.cookies) != 1 {
		t.Errorf("then the browser has %d cookies", len(b.cookies))
	}
}

// TestRules: who has signed in and may not is refused, not led around in a circle.
func TestRules(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, func(_ *SessionsOptions, o *Options) {
		var err error
		if o.Reader, err = jwt.NewReader(jwt.Options{Require: []jwt.Requirement{want("email", "boss@shop.example")}}); err != nil {
			t.Fatal(err)
		}
	})
	b := newBrowser()
	b.signIn(t, p, g, "/a")
	if a := b.get(g, "/a"); a.status != 403 || !strings.HasPrefix(a.why, "login_insufficient") {
		t.Errorf("somebody else: %d %s", a.status, a.why)
	}
	p.change(func() { p.claims = []any{"email", "boss@shop.example"} })
	b = newBrowser()
	b.signIn(t, p, g, "/a")
	if a := b.get(g, "/a"); a.status != 200 {
		t.Errorf("the boss: %d %s", a.status, a.why)
	}
}

// TestUnavailable: while nothing is known of a provider nobody signs in; those who have are in.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, nil)
	b := newBrowser()
	b.signIn(t, p, g, "/a")
	p.server.Close()
	if a := b.get(g, "/a"); a.status != 200 {
		t.Errorf("signed in, without the provider: %d %s", a.status, a.why)
	}
	late := p.gateway(t, nil) // another host, which has never seen the provider
	if a := b.get(late, "/a"); a.status != 200 {
		t.Errorf("signed in, at a host that does not know the provider: %d %s", a.status, a.why)
	}
	if a := newBrowser().get(late, "/a"); a.status != 503 {
		t.Errorf("signing in without a provider: %d %s", a.status, a.why)
	}
	if a := b.get(late, "/oauth2/logout"); a.status != 303 || a.to != "https://shop.example/goodbye" {
		t.Errorf("signing out without a provider: %d %s", a.status, a.to)
	}
	idle := oauth.NewProvider(oauth.ProviderOptions{Issuer: p.URL, Idle: true})
	dry := p.gateway(t, func(so *SessionsOptions, _ *Options) {
		so.Client = oauth.NewClient(idle, oauth.Credentials{ID: "shop"})
	})
	if a := newBrowser().get(dry, "/a"); a.status != 503 {
		t.Errorf("where nothing is asked: %d %s", a.status, a.why)
	}
}

// TestLogoutOfOthers: pages of other sites sign nobody out.
func TestLogoutOfOthers(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, func(_ *SessionsOptions, o *Options) { o.Goodbye = "" })
	f := func(want int, method string, fields ...string) {
		t.Helper()
		b := newBrowser()
		b.signIn(t, p, g, "/a")
		a := b.ask(g, method, "/oauth2/logout", fields...)
		if a.status != want || (b.cookies["__Host-s"] == "") != (want == 303) {
			t.Errorf("%s %q: %d %s", method, fields, a.status, a.why)
		}
		if strings.Contains(a.to, "post_logout") {
			t.Errorf("it leads to %s", a.to)
		}
	}
	f(303, "GET")
	f(303, "GET", "Sec-Fetch-Site", "same-origin")
	f(303, "POST", "Sec-Fetch-Site", "same-origin", "Origin", "https://shop.example")
	f(303, "POST", "Sec-Fetch-Site", "", "Origin", "https://shop.example")
	f(303, "GET", "Sec-Fetch-Site", "")
	f(403, "GET", "Sec-Fetch-Site", "cross-site")
	f(403, "GET", "Sec-Fetch-Site", "same-site")
	f(403, "POST", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	f(403, "POST", "Sec-Fetch-Site", "", "Origin", "https://evil.example")
	f(403, "POST", "Sec-Fetch-Site", "", "Origin", "http://shop.example")
	f(403, "POST", "Sec-Fetch-Site", "", "Origin", "null")
	f(405, "DELETE")
	f(405, "HEAD")
	// Without a session: what an older browser loads as a picture of another page comes without its cookies, and leads nowhere.
	if a := newBrowser().get(g, "/oauth2/logout"); a.status != 303 || a.to == "" {
		t.Errorf("the user herself, whose session is over: %d %s", a.status, a.to)
	}
	if a := newBrowser().get(g, "/oauth2/logout", "Sec-Fetch-Site", ""); a.status != 200 || a.to != "" {
		t.Errorf("nobody says who asks: %d %s", a.status, a.to)
	}
	p.metadata["end_session_endpoint"] = nil
	none := p.gateway(t, func(_ *SessionsOptions, o *Options) { o.Goodbye = "" })
	if a := newBrowser().get(none, "/oauth2/logout"); a.status != 200 {
		t.Errorf("where there is nothing to lead to: %d", a.status)
	}
}

// alter changes a character.
func alter(s string, at int) string {
	c := byte('A')
	if s[at] == 'A' {
		c = 'B'
	}
	return s[:at] + string(c) + s[at+1:]
}

// TestSessionCookies: what was not sealed here for that is no session.
func TestSessionCookies(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, nil)
	b := newBrowser()
	b.signIn(t, p, g, "/a")
	good := b.cookies["__Host-s"]
	f := func(name string, want int, cookies ...string) {
		t.Helper()
		c := newBrowser()
		for i := 0; i < len(cookies); i += 2 {
			c.set(cookies[i], cookies[i+1])
		}
		if a := c.get(g, "/a"); a.status != want {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.why, want)
		}
	}
	f("the cookie", 200, "__Host-s", good)
	f("with what is left of an older one", 200, "__Host-s", good, "__Host-s.1", "AAAA")
	f("empty", 303, "__Host-s", "")
	f("no part", 303, "__Host-s", "0"+good[1:])
	f("too many parts", 303, "__Host-s", "9"+good[1:])
	f("a part is missing", 303, "__Host-s", "2"+good[1:])
	f("cut", 303, "__Host-s", good[:len(good)-4])
	f("longer", 303, "__Host-s", good+"AAAA")
	for at := 1; at < len(good); at += len(good)/20 + 1 {
		f(fmt.Sprint("changed at ", at), 303, "__Host-s", alter(good, at))
	}
	f("huge", 303, "__Host-s", "4"+strings.Repeat("A", chunkBytesMax), "__Host-s.1", strings.Repeat("A", chunkBytesMax+1), "__Host-s.2", "A", "__Host-s.3", "A")
	f("another name", 303, "__Host-t", good)
	f("of an attempt", 303, "__Host-s", "1"+string(g.s.seal.close(newAttempt("a", "b", time.Now().Unix()).pack(), attemptPurpose)))
	x := proxy.Acquire()
	defer x.Release()
	x.Request.Head.AddString("Cookie", "__Host-s="+good+"; __Host-s="+good)
	if found := g.s.names.find(x); !found.twice {
		t.Error("it is not seen that a cookie is there twice")
	} else if _, n := found.session(); n != 0 {
		t.Error("a cookie that is there twice is a session")
	}

	// Another secret, client, issuer or name is another session; a new secret in front is not.
	other := func(name string, want int, change func(*SessionsOptions)) {
		t.Helper()
		o := p.gateway(t, func(so *SessionsOptions, _ *Options) { change(so) })
		c := newBrowser()
		c.set("__Host-s", good)
		if a := c.get(o, "/a"); a.status != want {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.why, want)
		}
	}
	other("another host with the same secret", 200, func(*SessionsOptions) {})
	other("another secret", 303, func(o *SessionsOptions) { o.Secrets = [][]byte{secret2} })
	other("another client", 303, func(o *SessionsOptions) {
		o.Client = oauth.NewClient(o.Client.Provider(), oauth.Credentials{ID: "shop2"})
	})
	rotated := p.gateway(t, func(so *SessionsOptions, _ *Options) { so.Secrets = [][]byte{secret2, secret1} })
	c := newBrowser()
	c.set("__Host-s", good)
	if a := c.get(rotated, "/a"); a.status != 200 || c.cookies["__Host-s"] == good {
		t.Errorf("with a new secret in front: %d, and a new cookie %t", a.status, c.cookies["__Host-s"] != good)
	}
	after := p.gateway(t, func(so *SessionsOptions, _ *Options) { so.Secrets = [][]byte{secret2} })
	if a := c.get(after, "/a"); a.status != 200 {
		t.Errorf("when the old secret is gone: %d %s", a.status, a.why)
	}

	// Sessions that take several cookies.
	p.change(func() { p.claims = []any{"groups", strings.Repeat("clerk ", 900)} })
	long := newBrowser()
	long.signIn(t, p, g, "/a")
	if len(long.cookies) < 3 {
		t.Fatalf("a long session has %d cookies", len(long.cookies))
	}
	if a := long.get(g, "/a"); a.status != 200 || a.head.Get("X-Seen-Cookie") != "" {
		t.Errorf("a long session: %d %s %v", a.status, a.why, a.head)
	}
	p.change(func() { p.claims = nil })
	delete(long.cookies, "__Host-s.1")
	long.signIn(t, p, g, "/a")
	if _, ok := long.cookies["__Host-s.2"]; ok {
		t.Error("what is left of the longer session stays")
	}
}

// TestTimes: a session ends when nothing is heard of it, and after its time in any case; while somebody goes on it does.
func TestTimes(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, func(so *SessionsOptions, o *Options) { so.Idle, so.Lifetime, o.Remember = time.Hour, 5*time.Hour, 0 })
	b := newBrowser()
	b.signIn(t, p, g, "/a")
	begun := time.Now()
	idle := b.clone()
	f := func(b *browser, after time.Duration, want int, anew bool) {
		t.Helper()
		g.s.now = func() time.Time { return begun.Add(after) }
		a := b.get(g, "/a")
		if got := strings.HasPrefix(a.head.Get("Set-Cookie"), "__Host-s="); a.status != want || got != anew {
			t.Errorf("after %s: %d, a new cookie: %t", after, a.status, got)
		}
		if anew && !strings.Contains(a.head.Get("Cache-Control"), "private") {
			t.Error("somebody may keep a response with a new cookie")
		}
	}
	f(b, time.Minute, 200, false)
	f(b, 50*time.Minute, 200, true)
	f(b, 55*time.Minute, 200, false)
	f(idle, 61*time.Minute, 303, false)
	for at := 100 * time.Minute; at < 5*time.Hour; at += 50 * time.Minute {
		f(b, at, 200, true)
	}
	f(b, 5*time.Hour+time.Minute, 303, false)
}

// TestRefresh: when the access token ends the provider is asked whether the session goes on, once for all who come with the cookie.
func TestRefresh(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, func(so *SessionsOptions, o *Options) { so.Scopes, o.Remember = []string{"offline_access"}, 0 })
	begun := time.Now()
	at := func(after time.Duration) { g.s.now = func() time.Time { return begun.Add(after) } }
	asked := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.asked)
	}
	b := newBrowser()
	b.signIn(t, p, g, "/a")
	old := b.clone()
	at(time.Minute)
	if a := b.get(g, "/a"); a.status != 200 || asked() != 1 {
		t.Fatalf("before that: %d %s, asked %d times", a.status, a.why, asked())
	}
	at(6 * time.Minute)
	p.change(func() { p.answer = func(a map[string]any) { a["refresh_token"] = "planted-refresh-2" } })
	if a := b.get(g, "/a"); a.status != 200 || asked() != 2 || b.cookies["__Host-s"] == old.cookies["__Host-s"] {
		t.Fatalf("after that: %d %s, asked %d times", a.status, a.why, asked())
	}
	for range 3 { // other requests of the page, which have come with the old cookie
		again := old.clone()
		if a := again.get(g, "/a"); a.status != 200 || asked() != 2 || again.cookies["__Host-s"] == old.cookies["__Host-s"] {
			t.Errorf("with the old cookie: %d %s, asked %d times", a.status, a.why, asked())
		}
	}
	if a := b.get(g, "/a"); a.status != 200 || asked() != 2 {
		t.Errorf("with the new cookie: %d %s, asked %d times", a.status, a.why, asked())
	}
	at(12 * time.Minute)
	p.change(func() { p.broken = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) } })
	for range 3 {
		if a := b.get(g, "/a"); a.status != 200 || asked() != 3 {
			t.Errorf("without the provider: %d %s, asked %d times", a.status, a.why, asked())
		}
	}
	if last := p.asked[2].Get("refresh_token"); last != "planted-refresh-2" {
		t.Errorf("asked with %q", last)
	}
}

// TestRefused: what the provider says about a session when it is asked ends it, or does not; and what says nothing ends it after a while.
func TestRefused(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	begun := time.Now()
	signed := newBrowser()
	signed.signIn(t, p, p.gateway(t, func(so *SessionsOptions, _ *Options) { so.Scopes = []string{"offline_access"} }), "/a")
	const life = 5 * time.Minute // of the access token
	// now and late are what somebody gets who comes when the access token has ended, and when the grace is over, too.
	f := func(name string, now, late int, broken http.HandlerFunc) {
		t.Helper()
		p.change(func() { p.broken = broken })
		for _, at := range []struct {
			after time.Duration
			want  int
		}{{life + 10*time.Second, now}, {life + graceFor - 10*time.Second, now}, {life + graceFor + 10*time.Second, late}} {
			g := p.gateway(t, func(so *SessionsOptions, o *Options) {
				so.Scopes, so.Idle, o.Remember = []string{"offline_access"}, 0, 0
			})
			g.s.now = func() time.Time { return begun.Add(at.after) }
			b := signed.clone()
			for range 2 {
				if a := b.get(g, "/a"); a.status != at.want || at.want == 200 && a.head.Get("X-Seen-User") != "user-7" {
					t.Errorf("%s, %s after signing in: %d %s", name, at.after, a.status, a.why)
				}
			}
			if over := b.cookies["__Host-s"] == ""; over != (now == 303) {
				t.Errorf("%s: the session is over: %t", name, over)
			}
			if again := signed.clone().get(g, "/a"); again.status != at.want {
				t.Errorf("%s, with a cookie that was kept: %d", name, again.status)
			}
		}
	}
	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, text) }
	}
	long := time.Now().Add(3 * time.Hour).Unix()
	p.claims = []any{"exp", long}
	f("yes", 200, 200, nil)
	f("no", 303, 303, says(400, `{"error":"invalid_grant"}`))
	f("locked out", 303, 303, says(400, `{"error":"access_denied"}`))
	f("locked out", 303, 303, says(403, `{"error":"user_blocked"}`))
	f("to be asked", 303, 303, says(400, `{"error":"interaction_required"}`))
	f("a token of another form", 303, 303, says(400, `{"error":"invalid_request"}`))

	f("the gateway is not known", 200, 303, says(401, `{"error":"invalid_client"}`))
	f("the gateway may not", 200, 303, says(400, `{"error":"unauthorized_client"}`))
	f("too many", 200, 303, says(429, `{"error":"access_denied"}`))
	f("slower", 200, 303, says(400, `{"error":"slow_down"}`))
	f("not there", 200, 303, says(404, ``))
	f("a firewall", 200, 303, says(403, `<html>`))
	f("broken", 200, 303, says(500, ``))
	f("away", 200, 303, says(503, ``))
	f("nonsense", 200, 303, says(200, `{}`))

	p.change(func() { p.claims = []any{"exp", long, "sub", "user-8"} })
	f("about somebody else", 303, 303, nil)
	p.change(func() { p.claims = []any{"exp", long, "aud", "other"} })
	f("for somebody else", 200, 303, nil)
}

// TestAngered: callbacks that make the provider refuse to answer do not keep the gateway from asking it about sessions.
func TestAngered(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	g := p.gateway(t, func(so *SessionsOptions, o *Options) {
		so.Scopes, so.Refresher, o.Remember = []string{"offline_access"}, so.Client.Apart(), 0
	})
	begun := time.Now()
	b := newBrowser()
	b.signIn(t, p, g, "/a")
	p.change(func() {
		p.broken = func(w http.ResponseWriter, r *http.Request) {
			if r.PostForm.Get("grant_type") == "authorization_code" {
				w.WriteHeader(503)
				return
			}
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
		}
	})
	attacker := newBrowser()
	callback := p.authorize(attacker.get(g, "/a").to)
	angered := time.Now()
	if a := attacker.get(g, callback); a.status != 503 {
		t.Fatalf("a callback that the provider does not answer: %d %s", a.status, a.why)
	}
	// It is left alone for a quarter of a second, which a busy machine may take to come here.
	if _, err := g.s.options.Client.Token(t.Context(), nil); err != oauth.ErrCooling && time.Since(angered) < 250*time.Millisecond {
		t.Fatalf("the provider is not left alone: %v", err)
	}
	g.s.now = func() time.Time { return begun.Add(6 * time.Minute) }
	if a := b.get(g, "/a"); a.status != 303 {
		t.Errorf("a session that the provider has ended: %d %s", a.status, a.why)
	}
}

func TestEnded(t *testing.T) {
	t.Parallel()
	e := ended{max: 3}
	id := func(n byte) [16]byte { return [16]byte{n} }
	f := func(want ...byte) {
		t.Helper()
		for n := range byte(10) {
			if got := e.has(id(n)); got != strings.Contains(string(want), string([]byte{n})) {
				t.Errorf("%d: %t", n, got)
			}
		}
	}
	f()
	e.add(id(1), 100, 0)
	e.add(id(2), 50, 0)
	e.add(id(3), 70, 0)
	f(1, 2, 3)
	e.add(id(4), 90, 0) // the one goes that would end first
	f(1, 3, 4)
	e.add(id(5), 200, 95) // what has ended goes
	f(1, 5)
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][][]byte{nil, {[]byte("short")}, {secret1, nil}} {
		if _, err := newSeal(secrets, "a"); err == nil || strings.Contains(err.Error(), "short") {
			t.Errorf("%q: %v", secrets, err)
		}
	}
}
