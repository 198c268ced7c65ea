package compile

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/observe"
	"sluice/proxy/upstream"
	"sluice/proxy/wire"
	"sluice/router"
)

// newRuntime returns a runtime that ends with the test.
func newRuntime(t *testing.T) *Runtime {
	t.Helper()
	sweeper := wire.NewSweeper()
	r := New(Options{Sweeper: sweeper, Metrics: observe.New()})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		sweeper.Stop()
	})
	return r
}

const top = "version: 1\nadmin: off\n"

const oneListener = "listen: { web: { address: \"127.0.0.1:8080\" } }\n"

// parse reads a configuration without the lines that every one begins with.
func parse(t *testing.T, yaml string) *config.Config {
	t.Helper()
	if !strings.Contains("\n"+yaml, "\nlisten:") {
		yaml = oneListener + yaml
	}
	c, problems := config.Parse("test.yaml", []byte(top+yaml), config.Options{})
	if c == nil {
		t.Fatalf("the configuration of the test is wrong:\n%v", problems)
	}
	return c
}

func mustCompile(t *testing.T, r *Runtime, yaml string) *Plan {
	t.Helper()
	p, problems := r.Compile(parse(t, yaml))
	if p == nil {
		t.Fatalf("the configuration of the test does not compile:\n%v", problems)
	}
	return p
}

// withServices makes a configuration of services ("name: definition"), each of them with a route of its name.
func withServices(services ...string) string {
	yaml, routes := "services:\n", "routes:\n"
	for _, s := range services {
		name, _, _ := strings.Cut(s, ":")
		yaml += "  " + s + "\n"
		routes += fmt.Sprintf("  %s: { match: \"/%s\", to: %s }\n", name, name, name)
	}
	return yaml + routes
}

// running counts the services that have background work, retired ones aside.
func running() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("created by sluice/proxy/upstream.New "))
}

// wantRunning waits for the last goroutine of a service that was retired to be gone.
func wantRunning(t *testing.T, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d running services", want), func() bool { return running() == want })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still waiting for " + what)
		}
	}
}

func TestCompile_keepsServices(t *testing.T) {
	wantRunning(t, 0) // of other tests: a goroutine that has ended may be counted for a moment
	// f compiles a service anew and wants it to be kept, or replaced.
	f := func(before, after string, kept bool) {
		t.Helper()
		others := running() // of the calls before, which end with the test
		r := newRuntime(t)
		first := mustCompile(t, r, withServices("a: "+before))
		r.Commit(first)
		second := mustCompile(t, r, withServices("b: { to: http://127.0.0.1:2 }", "a: "+after))
		r.Commit(second)
		if got := first.services["a"].running == second.services["a"].running; got != kept {
			t.Fatalf("%s, then %s: kept is %v, want %v", before, after, got, kept)
		}
		wantRunning(t, others+2)
	}
	const one = "{ to: http://127.0.0.1:1 }"
	f(one, one, true)
	f(one, "http://127.0.0.1:1", true)
	f(one, `["http://127.0.0.1:1"]`, true)
	f(one, "{ to: [{ url: http://127.0.0.1:1, weight: 1 }] }", true)
	f(one, "{ timeout: 30s, to: http://127.0.0.1:1, balance: round-robin }", true) // the defaults
	f("{ to: http://127.0.0.1:1, timeout: 1s }", "{ to: http://127.0.0.1:1, timeouts: { try: 1000ms } }", true)
	f("{ to: http://127.0.0.1:1, health: GET /h }",
		"{ to: http://127.0.0.1:1, health: { get: /h, every: 5s, timeout: 1s, status: 2xx, healthy_after: 2, unhealthy_after: 3 } }", true)

	f(one, "{ to: http://127.0.0.1:1, health: GET /h }", false)
	f("{ to: http://127.0.0.1:1, health: GET /h }", "{ to: http://127.0.0.1:1, health: GET /i }", false)
	f("{ to: http://127.0.0.1:1, health: GET /h }", "{ to: http://127.0.0.1:1, health: { get: /h, status: 204 } }", false)
	f("{ to: grpc://127.0.0.1:1, health: grpc }", "{ to: grpc://127.0.0.1:1, health: grpc a }", false)
	f(one, "{ to: http://127.0.0.1:3 }", false)
	f(one, "{ to: http://127.0.0.2:1 }", false)
	f(one, "{ to: http://127.0.0.1:1/base }", false)
	f(one, "{ to: https://127.0.0.1:1 }", false)
	f(one, `{ to: ["http://127.0.0.1:1", "http://127.0.0.1:3"] }`, false)
	f(one, "{ to: [{ url: http://127.0.0.1:1, weight: 2 }] }", false)
	f(one, "{ to: http://127.0.0.1:1, balance: least-request }", false)
	f("{ to: http://127.0.0.1:1, balance: { by: hash, on: cookie a } }", "{ to: http://127.0.0.1:1, balance: { by: hash, on: cookie b } }", false)
	f(one, "{ to: http://127.0.0.1:1, timeout: 29s }", false)
	f(one, "{ to: http://127.0.0.1:1, timeouts: { connect: 1s } }", false)
	f(one, "{ to: http://127.0.0.1:1, timeouts: { idle: 1s } }", false)
	f(one, "{ to: http://127.0.0.1:1, timeouts: { tunnel: 1s } }", false)
	f(one, "{ to: http://127.0.0.1:1, pool: { connections: 1 } }", false)
	f(one, "{ to: http://127.0.0.1:1, pool: { idle: 1 } }", false)
	f(one, "{ to: http://127.0.0.1:1, pool: { idle_for: 1s } }", false)
	f(one, "{ to: http://127.0.0.1:1, pool: { wait: 2s } }", false)
	f(one, "{ to: http://127.0.0.1:1, host: origin }", false)
	f(one, "{ to: http://127.0.0.1:1, host: b.example }", false)
	const tls = "{ to: https://127.0.0.1:1 }"
	f(tls, tls, true)
	f(tls, "{ to: https://127.0.0.1:1, origin_tls: { server_name: b.example } }", false)
	f(tls, "{ to: https://127.0.0.1:1, origin_tls: { verify: false } }", false)
}

// writeAuthority writes the certificate of a new authority.
func writeAuthority(t *testing.T, file string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCompile_certificates: what counts is what is in the file, not its name.
func TestCompile_certificates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func() {
		t.Helper()
		writeAuthority(t, file)
	}
	yaml := withServices(fmt.Sprintf("a: { to: https://127.0.0.1:1, origin_tls: { ca: %q } }", file))
	r := newRuntime(t)
	service := func() *upstream.Service {
		t.Helper()
		p := mustCompile(t, r, yaml)
		r.Commit(p)
		return p.services["a"].running
	}
	write()
	first := service()
	if service() != first {
		t.Fatal("the same certificate starts the service anew")
	}
	write()
	if service() == first {
		t.Fatal("the service goes on with a certificate that is no longer in the file")
	}
}

// TestCompile_grpcWeb: the translation comes before all policies, those of the defaults included, and the edge knows the pages.
func TestCompile_grpcWeb(t *testing.T) {
	f := func(web string, pages bool) {
		t.Helper()
		r := newRuntime(t)
		p := mustCompile(t, r, `
services: { a: grpc://127.0.0.1:1 }
policies: { own: { addresses: { deny: 192.0.2.1 } }, all: { addresses: { deny: 192.0.2.2 } } }
defaults: { use: [all, route] }
routes: { a: { match: "/**", use: [own], to: a, grpc_web: `+web+` } }
`)
		r.Commit(p)
		want := "grpc_web, all, own, service a"
		if pages {
			want = "cors, " + want
		}
		if got := strings.Join(p.Routes[0].Policies, ", "); got != want {
			t.Errorf("the policies are %s", got)
		}
		var x proxy.Exchange
		x.Lookup = router.Request{Method: []byte("POST"), Host: []byte("a"), Path: []byte("/"), Values: &x}
		route, outcome := p.Snapshot.Table.Lookup(&x.Lookup, &x.Match)
		if outcome != router.Found || (route.Pages != nil) != pages {
			t.Errorf("%s: found is %v, and there are pages: %v", web, outcome, route.Pages)
		}
	}
	f("true", false)
	f("{ origins: https://shop.example }", true)
	f("true, cors: { origins: https://shop.example }", true)
	f("{ origins: https://shop.example }, cors: off", true)
}

// TestCompile_cors: what the defaults say holds for every route, and where none is, but for those that say something else.
func TestCompile_cors(t *testing.T) {
	r := newRuntime(t)
	p, problems := r.Compile(parse(t, `
services: { a: http://127.0.0.1:1 }
defaults: { cors: { origins: https://shop.example } }
routes:
  a: { match: /a, to: a }
  b: { match: /b, to: a, cors: off }
  c: { match: /c, respond: {}, cors: { origins: "*" } }
  d: { match: { path: /d, headers: { X-A: present } }, to: a }
`))
	if p == nil {
		t.Fatal(problems)
	}
	r.Commit(p)
	var got []string
	for _, route := range p.Routes {
		got = append(got, route.Policies[0])
	}
	if want := "cors, service a, cors, cors"; strings.Join(got, ", ") != want {
		t.Errorf("the routes begin with %q, want %q", got, want)
	}
	if p.Snapshot.Fallback.Pages == nil {
		t.Error("pages cannot read that there is no route")
	}
	if len(problems) != 1 || problems[0].Path != "routes.d.match" || !problems[0].Warning {
		t.Errorf("the problems are %v", problems)
	}
}

func TestCommit(t *testing.T) {
	r := newRuntime(t)
	first := mustCompile(t, r, withServices("a: { to: http://127.0.0.1:1 }", "b: { to: http://127.0.0.1:1 }", "c: { to: http://127.0.0.1:1 }"))
	if first.Snapshot.Generation != 1 || len(r.Services()) != 0 {
		t.Fatalf("before Commit: generation %d, services %v", first.Snapshot.Generation, r.Services())
	}
	r.Commit(first)
	wantServices(t, r, "a", "b", "c")
	wantMetrics(t, r, "a", "b", "c")

	second := mustCompile(t, r, withServices("a: { to: http://127.0.0.1:1 }", "b: { to: http://127.0.0.1:2 }", "d: { to: http://127.0.0.1:1 }"))
	// Until Commit, both serve.
	wantServices(t, r, "a", "b", "c")
	wantRunning(t, 5)
	r.Commit(second)
	wantServices(t, r, "a", "b", "d")
	wantMetrics(t, r, "a", "b", "d")
	wantRunning(t, 3)
	if second.Snapshot.Generation != 2 {
		t.Fatalf("got generation %d, want 2", second.Snapshot.Generation)
	}
	if got := r.Services()[1].Endpoints[0].Address; got != "127.0.0.1:2" {
		t.Fatalf("the changed service goes to %s", got)
	}
}

func TestDiscard(t *testing.T) {
	r := newRuntime(t)
	log := filepath.Join(t.TempDir(), "access.log")
	first := mustCompile(t, r, withServices("a: { to: http://127.0.0.1:1 }", "b: { to: http://127.0.0.1:1 }"))
	r.Commit(first)
	for range 3 {
		p := mustCompile(t, r, withServices("a: { to: http://127.0.0.1:1 }", "b: { to: http://127.0.0.1:2 }", "c: { to: http://127.0.0.1:1 }")+
			fmt.Sprintf("log: { access: { to: %q } }\n", log))
		wantRunning(t, 4)
		wantOpen(t, log, 1)
		r.Discard(p)
		wantServices(t, r, "a", "b")
		wantMetrics(t, r, "a", "b")
		wantRunning(t, 2)
		wantOpen(t, log, 0)
		if p.Snapshot.Generation != 2 {
			t.Fatalf("got generation %d, want 2: nothing was published", p.Snapshot.Generation)
		}
	}
	// What goes on is what was there.
	again := mustCompile(t, r, withServices("a: { to: http://127.0.0.1:1 }", "b: { to: http://127.0.0.1:1 }"))
	for _, name := range []string{"a", "b"} {
		if again.services[name] != first.services[name] {
			t.Fatalf("service %s was replaced", name)
		}
	}
	r.Commit(again)
}

func wantServices(t *testing.T, r *Runtime, want ...string) {
	t.Helper()
	var got []string
	for _, s := range r.Services() {
		got = append(got, s.Name)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got services %v, want %v", got, want)
	}
}

// wantMetrics wants metrics of these routes and services, and of no others.
func wantMetrics(t *testing.T, r *Runtime, want ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := r.options.Metrics.WritePrometheus(&b); err != nil {
		t.Fatal(err)
	}
	routes, services := map[string]bool{noRoute: true}, map[string]bool{}
	for _, name := range want {
		routes[name], services[name] = true, true
	}
	for line := range strings.Lines(b.String()) {
		for label, names := range map[string]map[string]bool{"route": routes, "service": services} {
			_, rest, found := strings.Cut(line, label+`="`)
			name, _, _ := strings.Cut(rest, `"`)
			if found && !names[name] {
				t.Fatalf("there is a metric of what does not exist: %s", line)
			}
		}
	}
	for _, name := range want {
		if !strings.Contains(b.String(), `route="`+name+`"`) || !strings.Contains(b.String(), `service="`+name+`"`) {
			t.Fatalf("there are no metrics of %s", name)
		}
	}
}

// wantOpen waits until a file is open so many times.
func wantOpen(t *testing.T, file string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to be open %d times", file, want), func() bool {
		n := 0
		for _, target := range openFiles(t) {
			if target == file {
				n++
			}
		}
		return n == want
	})
}

// openFiles returns what every descriptor of the process stands for.
func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // not the one just closed
			list = append(list, target)
		}
	}
	return list
}

func TestCompile_problems(t *testing.T) {
	wantRunning(t, 0) // of other tests
	// f wants these problems, in this order, and a plan unless one of them is an error.
	f := func(yaml string, want ...string) {
		t.Helper()
		others := running() // of the calls before, which end with the test
		r := newRuntime(t)
		p, problems := r.Compile(parse(t, yaml))
		var got []string
		for _, problem := range problems {
			got = append(got, problem.String())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if (p == nil) != problems.HasErrors() {
			t.Fatalf("got plan %v with %v", p, problems)
		}
		if p == nil {
			wantRunning(t, others)
			wantServices(t, r)
			return
		}
		r.Commit(p)
	}
	const services = "services:\n  a: { to: http://127.0.0.1:1 }\nroutes:\n"
	f(services + "  one: { match: /a, to: a }\n  two: { match: /b, to: a }\n")
	f(services+"  one: { match: /a, to: a }\n  two: { match: /a, to: a }\n",
		`test.yaml:8:17: routes.two.match: /a and /a of route "one" take the same requests: give one of them a method or predicate of its own (the other one is at test.yaml:7:17)`)
	f(services+"  one: { match: \"/{x:.+}\", to: a }\n  two: { match: \"/{x}\", to: a }\n",
		`test.yaml:8:17: warning: routes.two.match: /{x} is never reached: /{x:.+} of route "one" is more specific and takes all its requests (the other one is at test.yaml:7:17)`)
	f(services+"  one: { match: \"GET|POST /a\", to: a }\n  two:\n    to: a\n    match: { path: /a, method: [PUT, POST] }\n"+
		"  three: { match: \"/b/{x}\", to: a }\n  four: { match: \"/b/{y}\", to: a }\n",
		`test.yaml:10:12: routes.two.match: POST|PUT /a and GET|POST /a of route "one" may match the same request and have as many predicates: add a predicate to one of them, or make them exclude each other (the other one is at test.yaml:7:17)`,
		`test.yaml:12:18: routes.four.match: /b/{y} and /b/{x} of route "three" take the same requests: give one of them a method or predicate of its own (the other one is at test.yaml:11:19)`)
	f("policies:\n  p: { headers: { request: { set: { X-A: $path.a } } } }\n"+services+
		"  one: { match: /a, to: a, use: [p] }\n  two: { match: \"/b/{a}\", to: a, use: [p] }\n",
		`test.yaml:5:6: policies.p: $path.a: the pattern /a has no parameter "a"`)
}

func TestCompile_log(t *testing.T) {
	r := newRuntime(t)
	folder := t.TempDir()
	one, two := filepath.Join(folder, "one.log"), filepath.Join(folder, "two.log")
	services := withServices("a: { to: http://127.0.0.1:1 }")
	to := func(file, more string) string {
		return services + fmt.Sprintf("log: { access: { to: %q%s } }\n", file, more)
	}
	commit := func(yaml string) *accessLog {
		t.Helper()
		p := mustCompile(t, r, yaml)
		r.Commit(p)
		return p.log
	}
	log := commit(to(one, ""))
	if log == nil || commit(to(one, ", sample: 100%, format: json")) != log {
		t.Fatal("an access log of the same definition was opened anew")
	}
	wantOpen(t, one, 1)

	// A file that cannot be opened changes nothing.
	missing := filepath.Join(folder, "missing", "access.log")
	p, problems := r.Compile(parse(t, withServices("a: { to: http://127.0.0.1:2 }", "b: { to: http://127.0.0.1:2 }")+
		fmt.Sprintf("log: { access: { to: %q } }\n", missing)))
	want := fmt.Sprintf("test.yaml:10:22: log.access.to: cannot open the access log: open %s: no such file or directory", missing)
	if p != nil || problems.Error() != want {
		t.Fatalf("got %v\n%v\nwant\n%s", p, problems, want)
	}
	wantRunning(t, 1)
	wantServices(t, r, "a")
	wantMetrics(t, r, "a")
	if again := mustCompile(t, r, to(one, "")); again.log != log || again.Snapshot.Generation != 3 {
		t.Fatalf("the log that was open is not kept: %v, %v", again.log, log)
	}

	if commit(to(one, ", sample: 50%")) == log {
		t.Fatal("a changed log goes on as it was")
	}
	commit(to(two, ""))
	wantOpen(t, two, 1)
	if commit(services+"log: { access: off }\n") != nil {
		t.Fatal("there is an access log that is off")
	}
	if commit(services) != nil {
		t.Fatal("there is an access log by default")
	}
}
