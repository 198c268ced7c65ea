package compile

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/control/config"
	"sluice/router"
)

// compileTLS compiles a configuration with one listener and this section of TLS.
func compileTLS(t *testing.T, r *Runtime, listener, set string) (*Plan, config.Problems) {
	t.Helper()
	c, problems := config.Parse("test.yaml", []byte("version: 1\nadmin: off\nlisten: { web: { address: \"127.0.0.1:8080\""+listener+" } }\n"+set+"\nroutes: {}\n"), config.Options{})
	if c == nil {
		t.Fatalf("the configuration of the test is wrong:\n%v", problems)
	}
	return r.Compile(c)
}

// serial makes a handshake and returns the serial number of the certificate, and whether the session was resumed.
func serial(t *testing.T, server *tls.Config, cache tls.ClientSessionCache) (string, bool) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(theirs, server)
		if err := s.HandshakeContext(t.Context()); err != nil {
			done <- err
			return
		}
		_, err := s.Write([]byte("x")) // the session ticket goes ahead of it
		done <- err
	}()
	c := tls.Client(ours, &tls.Config{InsecureSkipVerify: true, ServerName: "a.localhost", ClientSessionCache: cache})
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s := c.ConnectionState()
	return s.PeerCertificates[0].SerialNumber.Text(16), s.DidResume
}

// TestTLS_kept: a reload that does not change a section goes on with its certificate and its sessions, and one that does
// makes another, whose end leaves nothing behind.
func TestTLS_kept(t *testing.T) {
	r := newRuntime(t)
	cache := tls.NewLRUClientSessionCache(10)
	edge := func(rest string) *Plan {
		t.Helper()
		p, problems := compileTLS(t, r, ", tls: edge", "tls: { edge: { certificates: self-signed"+rest+" } }")
		if p == nil {
			t.Fatal(problems)
		}
		return p
	}
	commit := func(p *Plan) (string, bool) {
		t.Helper()
		r.Commit(p)
		return serial(t, p.Listeners[0].TLS, cache)
	}
	first, resumed := commit(edge(""))
	if resumed {
		t.Error("the first session was resumed")
	}
	if again, resumed := commit(edge("")); again != first || !resumed {
		t.Errorf("after a reload the certificate is %s, before it was %s; resumed: %t", again, first, resumed)
	}
	if again, _ := commit(edge(", hsts: 1h")); again != first {
		t.Error("HSTS alone has changed the certificate")
	}
	r.Discard(edge(", preset: modern"))
	if again, _ := commit(edge("")); again != first {
		t.Error("a plan that was discarded has changed the certificate")
	}
	if other, _ := commit(edge(", preset: modern")); other == first {
		t.Error("another preset goes on with the same certificate")
	}
	if got := r.Certificates()["edge"]; len(got) != 1 || !got[0].SelfSigned {
		t.Errorf("the certificates are %+v", got)
	}
	p, problems := compileTLS(t, r, "", "")
	if p == nil {
		t.Fatal(problems)
	}
	r.Commit(p)
	if got := r.Certificates(); len(got) != 0 {
		t.Errorf("there are certificates that nobody uses: %+v", got)
	}
	if p.Listeners[0].TLS != nil {
		t.Error("a listener without tls has it")
	}
}

// TestTLS_problems: what only the files tell is found by check, which starts nothing, as by run.
func TestTLS_problems(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	nonsense := write("nonsense.pem", "nonsense")
	for _, dry := range []bool{true, false} {
		f := func(set, wantPath, want string) {
			t.Helper()
			r := newRuntime(t)
			r.options.Dry = dry
			p, problems := compileTLS(t, r, ", tls: edge", "tls: { edge: "+set+" }")
			if p != nil {
				t.Errorf("%s compiles", set)
				r.Discard(p)
			}
			for _, problem := range problems {
				if problem.Path == wantPath && strings.Contains(problem.Message, want) && !problem.Warning {
					return
				}
			}
			t.Errorf("dry %t, %s: got %v, want %q at %s", dry, set, problems, want, wantPath)
		}
		f("{ certificates: [self-signed, { cert: "+nonsense+" }] }", "tls.edge.certificates[1]", nonsense+": it is not PEM")
		f("{ certificates: { cert: "+dir+"/missing.pem } }", "tls.edge.certificates[0]", "missing.pem")
		f("{ certificates: { dir: "+dir+"/none } }", "tls.edge.certificates[0]", "none")
		f("{ certificates: self-signed, client_certs: { ca: "+nonsense+" } }", "tls.edge.client_certs", nonsense)
		f("{ certificates: self-signed, client_certs: [{ names: a.test, ca: "+nonsense+" }, { ca: "+dir+"/missing.pem }] }", "tls.edge.client_certs[0]", nonsense)
		f("{ certificates: self-signed, client_certs: [{ names: a.test, ca: "+nonsense+" }, { ca: "+dir+"/missing.pem }] }", "tls.edge.client_certs[1]", "missing.pem")
		f("{ certificates: self-signed, ech: { public_name: cdn.test, keys: "+dir+"/none } }", "tls.edge.ech", "none")
		f("{ certificates: self-signed, ech: { public_name: cdn.test, keys: "+dir+" } }", "tls.edge.ech", "no certificate is for the public name cdn.test")
	}
}

// TestClientCertsAsRoutes: a rule for client certificates is for the hosts that a route of the same pattern takes, and for no others:
// a host that only one of the two knows would come past the rule.
func TestClientCertsAsRoutes(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeAuthority(t, ca)
	labels := []string{"", "a", "b", "*", "partner", "test", "x-y", "partner.test", strings.Repeat("l", 70)}
	var hosts []string
	for _, a := range labels {
		for _, b := range labels {
			for _, c := range labels {
				hosts = append(hosts, a, a+"."+b, a+"."+b+"."+c, "."+a+"."+b, a+b+"."+c, strings.Repeat(a+".", 300)+b+"."+c)
			}
		}
	}
	for _, pattern := range []string{"partner.test", "*.partner.test", "*.test", "a.b.test", "*.a", "*.b.partner.test", "x-y"} {
		r := newRuntime(t)
		p, problems := compileTLS(t, r, ", tls: edge", `tls: { edge: { certificates: self-signed, client_certs: { names: "`+pattern+`", ca: `+ca+` } } }`)
		if p == nil {
			t.Fatal(problems)
		}
		r.Commit(p)
		table, wrong := router.New([]router.Route[string]{{Name: "guarded", Pattern: router.Pattern{Host: pattern, Path: "/**"}, Value: "guarded"}})
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		for _, host := range hosts {
			var m router.Match
			_, outcome := table.Lookup(&router.Request{Method: []byte("GET"), Host: []byte(host), Path: []byte("/")}, &m)
			if rule := p.Listeners[0].ClientCerts.Of([]byte(host)); (rule != 0) != (outcome == router.Found) {
				t.Errorf("%s: %q has the rule %d, and the route says %v", pattern, host, rule, outcome)
			}
		}
	}
}

// TestClientCertsUnasked: a route that nobody can reach, and one that can be reached past the rule for its host, are told of.
func TestClientCertsUnasked(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeAuthority(t, ca)
	f := func(listeners, certs, match, use, want string) {
		t.Helper()
		yaml := fmt.Sprintf(`version: 1
admin: off
listen: { %s }
tls: { edge: { certificates: self-signed, client_certs: %s }, bare: { certificates: self-signed } }
routes: { a: { match: %q, use: [%s], respond: { text: a } } }
`, listeners, strings.ReplaceAll(certs, "CA", "ca: "+ca), match, use)
		c, problems := config.Parse("test.yaml", []byte(yaml), config.Options{})
		if c == nil {
			t.Fatal(problems)
		}
		r := newRuntime(t)
		r.options.Dry = true
		p, problems := r.Compile(c)
		if p == nil {
			t.Fatal(problems)
		}
		got := ""
		for _, problem := range problems {
			if problem.Warning && problem.Path == "routes.a.match" {
				got += problem.Message
			}
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s %s %s [%s]: %q, want %q", listeners, certs, match, use, got, want)
		}
	}
	const (
		edge     = `web: { address: ":443", tls: edge }`
		bare     = edge + `, other: { address: ":444", tls: bare }`
		plain    = edge + `, other: { address: ":80" }`
		redirect = edge + `, other: { address: ":80", redirect: https }`
		named    = "{ names: [partner.test, '*.below.test'], CA }"
		asks     = "{ names: [partner.test], CA, mode: request }"
		all      = "{ CA }"
		need     = "{ client_cert: {} }"
		unasked  = "no listener asks clients for a certificate that ask for open.test"
		past     = "web wants a certificate of clients that ask for partner.test, and other leads here without one"
	)
	f(edge, named, "partner.test/", need, "")
	f(edge, named, "open.test/", need, unasked)
	f(edge, asks, "open.test/", need, unasked)
	f(edge, "["+named+", { CA, mode: request }]", "open.test/", need, "")
	f(edge, all, "open.test/", need, "")
	f(edge, named, "a.below.test/", need, "")
	f(edge, named, "/", need, "")
	f(edge, named, "*.test/", need, "")

	f(edge, named, "partner.test/", "", "")
	f(plain, named, "partner.test/", "", past)
	f(plain, named, "GET PARTNER.test/", "", past)
	f(plain, named, "/", "", past)
	f(redirect, named, "/", "", "")
	f(edge+`, other: { address: ":80", tcp: raw } }
services: { raw: "tcp://127.0.0.1:1"`, named, "/", "", "")
	f(plain, named, "*.below.test/", "", "that ask for *.below.test, and other leads here")
	f(plain, named, "*.open.test/", "", "")
	f(bare, named, "partner.test/", "", past)
	f(bare, named, "a.below.test/", "", "that ask for a.below.test, and other leads here")
	f(redirect, named, "partner.test/", "", "")
	f(plain, named, "partner.test/", need, "")
	f(plain, named, "partner.test/", "{ client_cert: { mode: report } }", past)
	f(plain, named, "open.test/", "", "")
	f(plain, asks, "partner.test/", "", "")
	f(plain, all, "partner.test/", "", "")
}
