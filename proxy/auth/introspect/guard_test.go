package introspect

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/jwt"
	"sluice/proxy/auth/oauth"
)

// issuer answers what a test wants about each token; about others that they are not active.
type issuer struct {
	*httptest.Server
	asked   atomic.Int64
	mu      sync.Mutex
	answers map[string]string
	broken  http.HandlerFunc
}

func startIssuer(t testing.TB) *issuer {
	i := &issuer{answers: map[string]string{}}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		broken, answer := i.broken, i.answers[r.FormValue("token")]
		i.mu.Unlock()
		_, secret, _ := r.BasicAuth()
		if secret != "planted-secret" {
			t.Error("it does not say who it is")
		}
		switch {
		case broken != nil:
			broken(w, r)
			return
		case answer == "":
			answer = `{"active":false}`
		default:
			i.asked.Add(1)
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) says(token, answer string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers[token] = answer
}

func (i *issuer) breaks(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken = h
}

func (i *issuer) guard(t testing.TB, o Options, read jwt.Options) *Guard {
	t.Helper()
	p := oauth.NewProvider(oauth.ProviderOptions{Known: oauth.Metadata{Introspection: i.URL + "/introspect"}})
	t.Cleanup(p.Stop)
	o.Client = oauth.NewClient(p, oauth.Credentials{ID: "gateway", Secret: "planted-secret"})
	var err error
	if o.Reader, err = jwt.NewReader(read); err != nil {
		t.Fatal(err)
	}
	o.Remember, o.Questions = 100, 10
	return New(o)
}

// outcome is what the guard says to a token: 200, or the status and why.
func outcome(g *Guard, token string, change ...func(*proxy.Exchange)) string {
	x := proxy.Acquire()
	defer x.Release()
	x.Request.Head.AddString("Authorization", "Bearer "+token)
	for _, c := range change {
		c(x)
	}
	g.Prepare(x)
	return said(g.Check(x))
}

func said(err error) string {
	if err == nil {
		return "200"
	}
	e := proxy.AsError(err)
	if e.Cause != nil {
		return fmt.Sprintf("%d %v", e.Status, e.Cause)
	}
	return fmt.Sprint(e.Status)
}

// TestAnswers: what becomes of a request, by what the issuer says about its token.
func TestAnswers(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	g := i.guard(t, Options{Issuer: "https://id.example", Audiences: []string{"shop-api"}, Leeway: 30 * time.Second, For: time.Minute},
		jwt.Options{Require: []jwt.Requirement{{Claim: "scope", AnyOf: []jwt.Want{{Kind: jose.String, Text: "orders.read"}}}}})
	now := time.Now().Unix()
	n := 0
	f := func(answer, want string) {
		t.Helper()
		n++
		token := fmt.Sprint("token-", n)
		i.says(token, strings.NewReplacer("PAST", fmt.Sprint(now-60), "JUST", fmt.Sprint(now-10), "SOON", fmt.Sprint(now+10), "FUTURE", fmt.Sprint(now+600),
			"GOOD", `"active":true,"aud":["a","shop-api"],"scope":"openid orders.read"`).Replace(answer))
		if got := outcome(g, token); !strings.HasPrefix(got, want) || strings.Contains(got, "planted") || strings.Contains(got, token) {
			t.Errorf("%s: got %s, want %s", answer, got, want)
		}
	}
	f(`{GOOD}`, "200")
	f(`{GOOD,"sub":"user-7","iss":"https://id.example","exp":FUTURE,"iat":JUST,"nbf":SOON,"token_type":"Bearer","client_id":"app"}`, "200")
	f(`{GOOD,"exp":JUST}`, "200") // the leeway
	f(`{GOOD,"token_type":"bearer","typ":"Bearer","token_use":"access_token"}`, "200")

	f(`{"active":false}`, "401 the issuer says")
	f(`{GOOD,"exp":PAST}`, "401 the token is said to be active, and to have expired")
	f(`{GOOD,"exp":"FUTURE"}`, "401 a time")
	f(`{GOOD,"exp":1e300}`, "401 a time")
	f(`{GOOD,"nbf":FUTURE}`, "401 the token is not valid yet")
	f(`{GOOD,"iat":FUTURE}`, "401 the token is not valid yet")
	f(`{GOOD,"iat":true}`, "401 a time")
	f(`{GOOD,"iss":"https://evil.example"}`, "401 the token is of another issuer")
	f(`{GOOD,"iss":7}`, "401 sub, iss")
	f(`{GOOD,"sub":7}`, "401 sub, iss")
	f(`{"active":true,"scope":"orders.read"}`, "401 the token is for another audience")
	f(`{"active":true,"scope":"orders.read","aud":"shop"}`, "401 the token is for another audience")
	f(`{"active":true,"scope":"orders.read","aud":{"a":"shop-api"}}`, "401 the token is for another audience")
	f(`{"active":true,"scope":"openid","aud":"shop-api"}`, "403 the token's scope")
	f(`{"active":true,"aud":"shop-api"}`, "403 the token's scope")
	f(`{GOOD,"token_use":"refresh_token"}`, "401 the token is no access token")
	f(`{GOOD,"typ":"Refresh"}`, "401 the token is no access token")
	f(`{GOOD,"token_type":"refresh_token"}`, "401 the token is no access token")
	f(`{GOOD,"token_type":["Bearer"]}`, "401 the token is no access token")
	f(`{GOOD,"token_type":"DPoP"}`, "401 the token is bound")
	f(`{GOOD,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}`, "401 the token is bound")
	f(`{GOOD,"cnf":{}}`, "401 the token is bound")
	f(`{GOOD,"cnf":"x"}`, "401 the token is bound")
	f(`{GOOD,"cnf":{"x5t#S256":"AAAA"}}`, "401 the token is bound to a key, or")
	f(`{GOOD,"cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`, "401 the token is bound to a key or certificate")

	f(`{}`, "503 the answer of the introspection endpoint does not say")
	f(`{"active":"true"}`, "503 the answer of the introspection endpoint does not say")
	f(`{"active":null}`, "503 the answer of the introspection endpoint does not say")
	f(`{"active":false,"active":true}`, "503 the answer of the introspection endpoint is not")
	f(`{"active":true`, "503 the answer of the introspection endpoint is not")
	f(`<html>`, "503 the answer of the introspection endpoint is not")
	f(`[true]`, "503 the answer of the introspection endpoint is not")

	asked := i.asked.Load()
	for _, token := range []string{"a b", "a\"b", "ä", strings.Repeat("a", tokenBytesMax+1)} { // nobody is asked about these
		if got := outcome(g, token); !strings.HasPrefix(got, "401 no token") {
			t.Errorf("%.10q: %s", token, got)
		}
	}
	if i.asked.Load() != asked {
		t.Error("the issuer was asked about what is no token")
	}
	var certificate proxy.Certificate
	if got := outcome(g, fmt.Sprint("token-", n-7), func(x *proxy.Exchange) { x.Client.Certificate = &certificate }); got != "200" {
		t.Errorf("a token whose certificate was shown: %s", got)
	}
	x := proxy.Acquire()
	defer x.Release()
	if got := said(g.Check(x)); got != "401" {
		t.Errorf("no token: %s", got)
	}
}

// TestIdentity: who it is, and what the service learns.
func TestIdentity(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	g := i.guard(t, Options{Issuer: "https://id.example", For: time.Minute}, jwt.Options{Forward: []jwt.Forward{{Header: "X-User", Claim: "sub"}}, Strip: true})
	i.says("one", `{"active":true,"sub":"user-7","exp":`+fmt.Sprint(time.Now().Unix()+60)+`}`)
	i.says("two", `{"active":true,"sub":"user-7"}`)
	i.says("three", `{"active":true,"username":"user-7"}`)
	i.says("four", `{"active":true}`)
	i.says("five", `{"active":true}`)
	keys := map[string]string{}
	f := func(token, name, user string) {
		t.Helper()
		x := proxy.Acquire()
		defer x.Release()
		x.Request.Head.AddString("Authorization", "Bearer "+token)
		x.Request.Head.AddString("X-User", "admin")
		x.Request.Head.AddString("x_user", "admin")
		g.Prepare(x)
		if err := g.Check(x); err != nil {
			t.Fatal(err)
		}
		if got := string(x.Identity.Name()); got != name || !x.ByAuthorization {
			t.Errorf("%s is %s, want %s", token, got, name)
		}
		if got := string(x.Request.Head.Get("X-User")); got != user || x.Request.Head.Has("Authorization") || x.Request.Head.Has("x_user") {
			t.Errorf("%s: the service sees %q", token, x.Request.Head.AppendTo(nil))
		}
		keys[token] = string(x.Identity.Key())
	}
	f("one", "https://id.example user-7 by introspection", "user-7")
	f("two", "https://id.example user-7 by introspection", "user-7")
	f("three", "https://id.example username user-7 by introspection", "")
	f("four", "https://id.example  by introspection", "")
	f("five", "https://id.example  by introspection", "")
	if keys["one"] != keys["two"] || keys["two"] == keys["three"] || keys["four"] == keys["five"] {
		t.Error("clients are not told apart as they should be")
	}
}

// TestNames: no two clients have one name, whatever their issuers call them, nor have those of two issuers.
func TestNames(t *testing.T) {
	t.Parallel()
	i, j := startIssuer(t), startIssuer(t)
	known := map[string]string{}
	n := 0
	f := func(from *issuer, o Options, answer, want string) {
		t.Helper()
		n++
		token := fmt.Sprint("token-", n)
		from.says(token, `{"active":true,`+answer+`}`)
		x := proxy.Acquire()
		defer x.Release()
		x.Request.Head.AddString("Authorization", "Bearer "+token)
		if err := from.guard(t, o, jwt.Options{}).Check(x); err != nil {
			t.Fatal(err)
		}
		got := string(x.Identity.Name())
		if got != strings.ReplaceAll(want, "URL", from.URL+"/introspect")+" by introspection" {
			t.Errorf("%s: %s", answer, got)
		}
		if known[got] != "" {
			t.Errorf("%s is %s, and so is %s", answer, got, known[got])
		}
		known[got] = answer
	}
	issuer := Options{Issuer: "https://id.example"}
	f(i, issuer, `"sub":"alice"`, "https://id.example alice")
	f(i, issuer, `"username":"alice"`, "https://id.example username alice")
	f(i, issuer, `"client_id":"alice"`, "https://id.example client alice")
	f(i, issuer, `"sub":"username alice"`, "https://id.example sub username alice")
	f(i, issuer, `"sub":"client alice"`, "https://id.example sub client alice")
	f(i, issuer, `"sub":"sub username alice"`, "https://id.example sub sub username alice")
	f(i, issuer, `"sub":"username"`, "https://id.example username")
	f(i, issuer, `"sub":"usernames alice"`, "https://id.example usernames alice")
	f(i, Options{}, `"sub":"alice"`, "URL alice")
	f(j, Options{}, `"sub":"alice"`, "URL alice")
	f(j, Options{}, `"sub":"alice","iss":"https://other.example"`, "https://other.example alice")
}

// TestRemembered: about a token is asked once, whoever brings it, until its time; bad ones push out no good one.
func TestRemembered(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	g := i.guard(t, Options{For: time.Hour}, jwt.Options{})
	i.says("good", `{"active":true}`)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if got := outcome(g, "good"); got != "200" {
				t.Error(got)
			}
		})
	}
	group.Wait()
	for n := range 500 {
		if got := outcome(g, fmt.Sprint("bad-", n)); !strings.HasPrefix(got, "401") {
			t.Fatal(got)
		}
	}
	if got := outcome(g, "good"); got != "200" || i.asked.Load() != 1 {
		t.Errorf("%s, asked %d times", got, i.asked.Load())
	}
	i.says("bad-499", `{"active":true}`)
	if got := outcome(g, "bad-499"); !strings.HasPrefix(got, "401") || i.asked.Load() != 1 {
		t.Errorf("a token that was bad a moment ago: %s, asked %d times", got, i.asked.Load())
	}
	if s := g.Status(); s.Active != 1 || s.Inactive < 500 || s.Remembered != 1 {
		t.Errorf("%+v", s)
	}

	i.says("short", fmt.Sprintf(`{"active":true,"exp":%.3f}`, float64(time.Now().Add(200*time.Millisecond).UnixMilli())/1000))
	short := i.guard(t, Options{For: time.Hour}, jwt.Options{})
	got := outcome(short, "short")
	for deadline := time.Now().Add(time.Minute); got == "200" && time.Now().Before(deadline); got = outcome(short, "short") {
		time.Sleep(20 * time.Millisecond)
	}
	if !strings.HasPrefix(got, "401") {
		t.Errorf("a token that has ended meanwhile: %s", got)
	}
	never := i.guard(t, Options{}, jwt.Options{})
	before := i.asked.Load()
	if outcome(never, "good") != "200" || outcome(never, "good") != "200" || i.asked.Load() != before+2 {
		t.Error("something is remembered that must not be")
	}
}

// TestDown: without its issuer a guard admits what it remembers and nothing else, says so, and notices when the issuer is there again.
func TestDown(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	g := i.guard(t, Options{For: time.Hour, probeLeast: 10 * time.Millisecond}, jwt.Options{})
	g.Start()
	defer g.Stop()
	i.says("good", `{"active":true}`)
	if got := outcome(g, "good"); got != "200" {
		t.Fatal(got)
	}
	wait := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	wait("it is not ready", func() bool { return g.Unready() == "" })
	i.breaks(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	if got := outcome(g, "other"); !strings.HasPrefix(got, "503") {
		t.Errorf("another token: %s", got)
	}
	wait("it is ready without its issuer", func() bool { return strings.Contains(g.Unready(), i.URL) })
	if got := outcome(g, "good"); got != "200" {
		t.Errorf("a token that is remembered: %s", got)
	}
	i.breaks(nil)
	wait("it does not notice", func() bool { return g.Unready() == "" })
	wait("it does not ask again", func() bool { return strings.HasPrefix(outcome(g, "other"), "401") })

	// Questions are bounded: more than that are refused at once.
	hold := make(chan struct{})
	var held atomic.Int64
	i.breaks(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.FormValue("token"), "slow-") { // the gateway may be looking once more whether the issuer is there
			fmt.Fprint(w, `{"active":false}`)
			return
		}
		held.Add(1)
		<-hold
		fmt.Fprint(w, `{"active":true}`)
	})
	var group sync.WaitGroup
	for n := range 10 {
		group.Go(func() {
			if got := outcome(g, fmt.Sprint("slow-", n)); got != "200" {
				t.Error(got)
			}
		})
	}
	wait("they are not asked about", func() bool { return held.Load() == 10 })
	if got := outcome(g, "one-too-many"); !strings.Contains(got, "503 as many questions") {
		t.Errorf("one too many: %s", got)
	}
	close(hold)
	group.Wait()
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), what)
}

// TestToldOnce: the log has one line when an issuer stops to answer, and one when it answers again, whether a request or the gateway by itself finds
// that out.
func TestToldOnce(t *testing.T) { // not beside others, which log, too
	told, before := &lines{}, slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(told, nil)))
	defer slog.SetDefault(before)
	i := startIssuer(t)
	g := i.guard(t, Options{Name: "asked", For: time.Hour, probeLeast: 10 * time.Millisecond}, jwt.Options{})
	g.Start()
	defer g.Stop()
	f := func(failures, recoveries int) {
		t.Helper()
		lost, again := 0, 0
		for deadline := time.Now().Add(time.Minute); lost != failures || again != recoveries; time.Sleep(10 * time.Millisecond) {
			if lost, again = told.count("gives no answer"), told.count("answers again"); time.Now().After(deadline) {
				t.Fatalf("%d lines of failures and %d of recoveries, want %d and %d", lost, again, failures, recoveries)
			}
		}
	}
	fails := func(status int, want string) {
		t.Helper()
		i.breaks(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		defer func() {
			want = "no introspection at " + i.URL + "/introspect for asked: the provider answers " + want
			for deadline := time.Now().Add(time.Minute); !strings.HasPrefix(g.Unready(), want); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("unready is %q, want %q", g.Unready(), want)
				}
			}
		}()
		if got := outcome(g, "a"); !strings.HasPrefix(got, "503") {
			t.Fatal(got)
		}
	}
	fails(503, "503")
	f(1, 0)
	i.breaks(nil)
	f(1, 1)
	fails(401, "401; it refuses the gateway")
	f(2, 1)
	i.breaks(nil)
	f(2, 2)
	if n := told.count("policy=asked from=" + i.URL); n != 4 {
		t.Errorf("%d of 4 lines say who is asked", n)
	}
}

// TestUnknown: before its issuer has said where it is asked, a guard refuses everything.
func TestUnknown(t *testing.T) {
	t.Parallel()
	for _, idle := range []bool{true, false} {
		p := oauth.NewProvider(oauth.ProviderOptions{Issuer: "http://127.0.0.1:1", Idle: idle})
		p.Start()
		reader, err := jwt.NewReader(jwt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g := New(Options{Client: oauth.NewClient(p, oauth.Credentials{ID: "gateway"}), Reader: reader, Questions: 1})
		g.Start()
		if got := outcome(g, "a"); got != "503" || p.Unready() == "" {
			t.Errorf("got %s, and unready is %q", got, p.Unready())
		}
		g.Stop()
		p.Stop()
	}
}

// FuzzAnswer reads what an issuer may say: an answer that is not clear admits nobody.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{`{"active":true}`, `{"active":true,"exp":1,"cnf":{"x5t#S256":"a"}}`, `{"active":false}`, `{"a":1}`, `{"active":true,"aud":["a"],"sub":"b","nbf":1e9}`} {
		f.Add([]byte(text))
	}
	reader, err := jwt.NewReader(jwt.Options{})
	if err != nil {
		f.Fatal(err)
	}
	nobody := oauth.NewClient(oauth.NewProvider(oauth.ProviderOptions{Issuer: "https://id.example", Idle: true}), oauth.Credentials{})
	g := New(Options{Client: nobody, Reader: reader, Audiences: []string{"a"}})
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := g.read(text, []byte("token"))
		if err == nil && v.refused == nil && (v.claims == nil || !strings.Contains(string(text), "ive")) {
			t.Errorf("%q admits somebody", text)
		}
	})
}
