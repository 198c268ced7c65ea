package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"
)

// accepts judges a YAML text by the schema.
func accepts(t *testing.T, schema *jsonschema.Resolved, src string) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(src))
	if err != nil {
		t.Fatalf("cannot convert %q: %v", src, err)
	}
	var value any
	if err := json.Unmarshal(asJSON, &value); err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

func resolved(t *testing.T) *jsonschema.Resolved {
	t.Helper()
	var raw jsonschema.Schema
	if err := json.Unmarshal(Schema(), &raw); err != nil {
		t.Fatal(err)
	}
	schema, err := raw.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchemaOfExamples wants the schema to take what README and the behaviour scripts show.
func TestSchemaOfExamples(t *testing.T) {
	schema := resolved(t)
	// In a list between brackets the YAML of this test takes what stands before a port for a key.
	origin := regexp.MustCompile(`([\[,] *)([a-z0-9]+://[^ ,\]"]+)`)
	f := func(where, src string) {
		t.Helper()
		if err := accepts(t, schema, origin.ReplaceAllString(src, `$1"$2"`)); err != nil {
			t.Errorf("%s: the schema refuses\n%s\n%v", where, src, err)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```|<<'EOF'\n(.*?)^EOF").FindAllStringSubmatch(string(readme), -1)
	found := 0
	for _, b := range blocks {
		// Of documents there are others, too, and parts of one.
		if src := b[1] + b[2]; wholeConfig.MatchString(src) {
			f("README", src)
			found++
		}
	}
	scripts, err := filepath.Glob("../../proxy/testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, src, ok := strings.Cut(string(text), "\n-- gateway.yaml --\n"); ok {
			src, _, _ = strings.Cut(src, "\n-- ")
			f(file, src)
			found++
		}
	}
	if len(blocks) < 10 || found < 150 {
		t.Errorf("there are %d blocks in README, and %d configurations in all", len(blocks), found)
	}
}

// wholeConfig are documents whose first key is one of a configuration.
var wholeConfig = regexp.MustCompile(`\A(\s*#.*\n)*(version|listen|admin|limits|state|log|services|policies|routes|defaults|tls|consumers|stores|cache|include):`)

func TestSchema(t *testing.T) {
	schema := resolved(t)
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f := func(src string) {
		t.Helper()
		if err := accepts(t, schema, src); err != nil {
			t.Errorf("the schema refuses what loads: %v", err)
		}
	}
	f(contract)
	f(string(example))
	f(string(Starter()))
	f(`limits: { headers: "${N}", idle: "${N}s", connections: off }`)
	f("admin: off\nlog: { access: off }\nroutes:")
	f(numbers)
	f("admin: { profiling: on }")
	f("cache: { memory: 1GiB }")
	f("cache: {}")
	f("consumers: { g: { a: { keys: [{ hash: 'sha256:00', prefix: sk, expires: '2027-01-31', scopes: [a] }], passwords: '$argon2id$', plan: gold, labels: { x: y } } } }")
	f("policies: { k: { api_key: { consumers: g, query: k, require: { scope: a b } } }, b: { basic_auth: { consumers: g, keep: true } } }")
	f("policies: { s: { signature: { consumers: g, components: [\"@method\"], nonce: required, body_up_to: 1MiB } } }\nconsumers: { g: { a: { signing_keys: { \"key 1\": { secret: x, encoding: base64 } } } } }")
	f("state: /tmp/s\nconsumers: { g: { stored: true, a: { plan: gold } }, h: { stored: { plan: gold } } }")
	f("tls: { a: { certificates: self-signed, preset: modern, hsts: 365d } }")
	f("tls: { a: { certificates: [{ acme: ops@a.example, hosts: [a.example] }, { acme: { email: ops@a.example, key: rsa }, hosts: a.example }], ocsp: off } }")
	f("tls: { a: { certificates: [{ cert: a.pem, key: a.key }, { dir: certs }], client_certs: { ca: ca.pem, mode: request } } }")
	f("tls: { a: { certificates: self-signed, ech: cdn.example, client_certs: [{ names: [a.example, '*.b.example'], ca: ca.pem }, { ca: ca.pem, mode: request }] } }")
	f("tls: { a: { certificates: self-signed, ech: { public_name: cdn.example, keys: k, rotate: 7d, keep: 1d } } }")
	f("listen: { a: { address: ':1', tls: self-signed, http: [h1, h2, h3], alt_svc: off, early_data: safe } }")
	f("listen: { a: { address: ':1', tls: self-signed, http: [h1, h3], alt_svc: 'h3=\":443\"; ma=60' } }")
	f("admin: { profiling: { to: /p, every: 5m, capture_if: { p99: 250ms, cpu: 90%, at_most: 1/10m, except: [a] } } }")
	f("admin: { profiling: { capture_if: { cpu: 90%, at_most: 3/h, except: a } } }")
	f("defaults: { cors: { origins: ['*'], methods: [GET], headers: X-A, expose: '*', max_age: 1h, private_network: true } }")
	f("routes: { a: { match: /a, respond: {}, cors: off } }")
	f("policies: { a: { addresses: { deny: 10.0.0.0/8, deny_file: list.txt, allow_file: other.txt } } }")
	f("policies: { a: { countries: { database: x.mmdb, deny: [DE], unknown: allow, mode: report } } }")
	f("policies: { a: { security_headers: { hsts: off, frame: deny, csp: default-src *, override: true } }, b: { security_headers: {} } }")
	f("policies: { a: { cookies: { secure: false, same_site: strict, except: a } }, b: { csrf: {} }, c: { csrf: { origins: https://a.example } } }")

	bad := func(src string) {
		t.Helper()
		if accepts(t, schema, src) == nil {
			t.Errorf("the schema accepts %s", src)
		}
	}
	f("policies: { a: { rate_limit: { allow: [100/min per ip, 20/s burst 40 per header X-Api-Key and path.a], cost: 2, keys: 1000, headers: off, mode: report } } }")
	f("policies: { a: { rate_limit: { allow: 1/10s, cost: { routes: { a: 5 }, status: { 401: 10, 5xx: 0 }, header: X-Cost } }, concurrency: { max: [500, 10 per ip], status: 429 } } }")
	f("stores: { a: redis://h, b: { url: rediss://h, user: u, password: p, secret: s, prefix: x, ca: ca.pem, timeout: 100ms } }")
	f("policies: { a: { rate_limit: { allow: 1/s, across: a, if_store_down: deny } } }")
	f("policies: { a: { quota: { allow: [1000/day, 5/w per claim.org and consumer], time_zone: Europe/Berlin } }, b: { quota: { plans: { gold: 2/month, default: '${N}/d' } } } }")
	bad("policies: { a: { quota: { allow: 1/hour } } }")
	bad("policies: { a: { quota: { plans: { default: [5] } } } }")
	bad("stores: { a: { host: h } }")
	bad("policies: { a: { rate_limit: { allow: 1/s, if_store_down: open } } }")
	bad("version: 2")
	bad("listn: {}")
	bad("cache: { memory: off }")
	bad("cache: { memory: 1 GiBB }")
	bad("policies: { a: { rate_limit: { allow: often } } }")
	bad("policies: { a: { rate_limit: { allow: 1/s, cost: { status: { often: 1 } } } } }")
	bad("policies: { a: { concurrency: { max: 10/s } } }")
	bad("routes: { a: { match: /a, respond: {}, cors: on } }")
	bad("policies: { a: { countries: { allow: [DE] } } }")
	bad("policies: { a: { security_headers: { frame: maybe } } }")
	bad("tls: { a: {} }")
	bad("tls: { a: { certificates: [{ acme: { key: rsa }, hosts: [a.example] }] } }")
	bad("tls: { a: { certificates: self-signed, ocsp: maybe } }")
	bad("tls: { a: { certificates: self } }")
	bad("tls: { a: { certificates: self-signed, ech: {} } }")
	bad("listen: { a: { address: ':1', early_data: on } }")
	bad("limits: { idle: 5 }")
	bad("limits: { headers: 0 }")
	bad("limits: { headers: off }")
	bad("limits: { header_bytes: off }")
	bad("log: { level: inof }")
	bad("admin: { profiling: maybe }")
	bad("admin: { profiling: { capture_if: { cpu: 90 } } }")
	bad("admin: { profiling: { capture_if: { cpu: 90%, at_most: often } } }")
	bad("listen: { web: {} }")
	bad(`listen: { Web: { address: ":8080" } }`)
	bad(`listen: { web: { address: "8080" } }`)
	bad("services: { a: ftp://h }")
	bad("services: { a: { to: http://h, balance: random } }")
	bad("services: { a: { to: http://h, health: HEAD / } }")
	bad("services: { a: { to: http://h, health: { get: /, status: 1xx } } }")
	bad("routes: { a: { match: /a, to: s, grpc_web: false } }")
	bad("routes: { a: { match: /a, to: { s: lots } } }")
	bad("routes: { a: { match: /a, redirect: { to: /x, status: 200 } } }")
	bad("policies: { a: { headers: { request: { set: { \"a b\": c } } } } }")
}

// numbers are values that look like numbers and are read as text.
const numbers = contract + `  a: { match: /a, to: 5, use: [7] }
  b: { match: /b, to: 5, use: 7 }
  c: { match: /c, respond: { file: 8, type: text/plain } }
state: 5
log: { access: { to: 6 } }
`

// TestNumbersAreText keeps the decoder and the schema together.
func TestNumbersAreText(t *testing.T) {
	src := strings.Replace(numbers, "services:", "policies: { 7: { addresses: { deny: 10.0.0.1 } } }\nservices:\n  5: http://h", 1)
	c := mustParse(t, src, Options{ReadFile: func(string) ([]byte, error) { return nil, nil }})
	if c.State != "5" || c.Log.Access.To.File != "6" {
		t.Errorf("state is %q, the access log goes to %q", c.State, c.Log.Access.To.File)
	}
}

// TestSchemaDefaults wants the type that a value has in a file.
func TestSchemaDefaults(t *testing.T) {
	var root struct {
		Defs map[string]struct {
			Properties map[string]struct{ Default any }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	f := func(name, key string, want any) {
		t.Helper()
		if got := root.Defs[name].Properties[key].Default; got != want {
			t.Errorf("the default of %s.%s is %#v, want %#v", name, key, got, want)
		}
	}
	f("Limits", "connections", 100000.0)
	f("Pool", "idle", 1024.0)
	f("Respond", "status", 200.0)
	f("Limits", "header_bytes", "32KiB")
	f("Limits", "idle", "75s")
	f("OriginTLS", "verify", true)
}

// TestSchemaDescribes wants words for every key: editors show them.
func TestSchemaDescribes(t *testing.T) {
	var root struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	keys := 0
	check := func(where string, properties map[string]any) {
		for key, p := range properties {
			keys++
			if text, _ := p.(map[string]any)["description"].(string); len(strings.TrimSpace(text)) < 5 {
				t.Errorf("%s.%s has no description", where, key)
			}
		}
	}
	check("", root.Properties)
	for name, def := range root.Defs {
		check(name, def.Properties)
	}
	if keys < 50 {
		t.Errorf("only %d keys were found", keys)
	}
}
