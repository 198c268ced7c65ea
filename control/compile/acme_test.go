package compile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/control/config"
	"sluice/proxy"
)

// compileACME compiles a configuration with these listeners and this list of certificates.
func compileACME(t *testing.T, state, listen, certificates string) (*Plan, config.Problems) {
	t.Helper()
	c, problems := config.Parse("test.yaml", []byte("version: 1\nadmin: off\nstate: "+state+"\nlisten: { edge: { address: \":443\", tls: edge }"+listen+" }\n"+
		"services: { db: tcp://127.0.0.1:5432 }\ntls: { edge: { certificates: ["+certificates+"] } }\nroutes: {}\n"), config.Options{})
	if c == nil {
		t.Fatalf("the configuration of the test is wrong:\n%v", problems)
	}
	r := newRuntime(t)
	p, problems := r.Compile(c)
	if p != nil {
		t.Cleanup(func() { r.Discard(p) })
	}
	return p, problems
}

// TestACME_challenges: those that the listeners can answer are offered.
func TestACME_challenges(t *testing.T) {
	f := func(listen, acme, want string) {
		t.Helper()
		p, problems := compileACME(t, t.TempDir(), listen, "{ acme: { email: a@b.test"+acme+" }, hosts: [A.test] }")
		if p == nil {
			if !strings.Contains(problems.Error(), want) {
				t.Errorf("got %v, want %s", problems, want)
			}
			return
		}
		got := ""
		for _, running := range p.terminators {
			o := running.options.Certificates[0].ACME
			got = strings.Join(o.Hosts, " ")
			if o.HTTP01 {
				got += " http"
			}
			if o.TLSALPN01 {
				got += " tls"
			}
		}
		for _, l := range p.Listeners {
			if l.Ahead != nil {
				got += " " + l.Name
			}
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	const plain = `, plain: { address: ":80", redirect: https }, other: { address: ":81" }`
	f("", "", "a.test tls")
	f(plain, "", "a.test http tls plain other")
	f(plain, ", challenges: http-01", "a.test http plain other")
	f(plain, ", challenges: tls-alpn-01", "a.test tls")
	f(plain, ", challenges: [tls-alpn-01, http-01]", "a.test http tls plain other")
	f("", ", challenges: http-01", "test.yaml:6:70: tls.edge.certificates[0].acme.challenges: http-01 needs a listener without TLS, and there is none")
	f(", db: { address: \":82\", tcp: db }", "", "a.test tls")
	f("", ", ca: /nowhere.pem", "/nowhere.pem: it cannot be read")
}

// TestACME_ahead: the answer to a challenge is given before anything else, and nothing but it.
func TestACME_ahead(t *testing.T) {
	state := t.TempDir()
	p, problems := compileACME(t, state, `, plain: { address: ":80", redirect: https }`, "{ acme: a@b.test, hosts: [a.test] }")
	if p == nil {
		t.Fatal(problems)
	}
	folder := filepath.Join(state, "acme", "challenges")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "http-01.token"), []byte("token.thumbprint"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := proxy.Acquire()
	defer x.Release()
	f := func(method, path string, answered bool) {
		t.Helper()
		x.Request.Method, x.Request.Path = method, []byte(path)
		route := p.Listeners[1].Ahead(x)
		if (route != nil) != answered {
			t.Errorf("%s %s: %v", method, path, route)
		}
		if route == nil {
			return
		}
		if err := route.Chain.Serve(x); err != nil || string(x.Response.Body.Prefix()) != "token.thumbprint" || x.Response.Status != 200 {
			t.Errorf("%s %s: %d %q %v", method, path, x.Response.Status, x.Response.Body.Prefix(), err)
		}
	}
	f("GET", "/.well-known/acme-challenge/token", true)
	f("POST", "/.well-known/acme-challenge/token", false)
	f("GET", "/.well-known/acme-challenge/toke", false)
	f("GET", "/.well-known/acme-challenge/", false)
	f("GET", "/.well-known/acme-challenge/../http-01.token", false)
	f("GET", "/token", false)
	x.Request.Method, x.Request.Path = "GET", []byte("/orders/42")
	if n := testing.AllocsPerRun(100, func() { p.Listeners[1].Ahead(x) }); n != 0 {
		t.Errorf("other requests cost %v allocations", n)
	}
}
