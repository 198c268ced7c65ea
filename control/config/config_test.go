package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// env looks variables up in a map.
func env(vars map[string]string) Options {
	return Options{LookupEnv: func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}}
}

// mustParse parses a text that must be valid; warnings are fine.
func mustParse(t *testing.T, src string, o Options) *Config {
	t.Helper()
	c, problems := Parse("sluice.yaml", []byte(src), o)
	if c == nil {
		t.Fatalf("cannot parse:\n%s", problems.Error())
	}
	return c
}

// contract is the file that must always work.
const contract = `version: 1
listen:
  web: { address: "127.0.0.1:8080" }
admin: { address: "127.0.0.1:9180" }
services:
  origin: { to: ["http://127.0.0.1:9000"] }
routes:
  item: { match: "GET /items/{id}", to: origin }
  rest: { match: "/api/**", to: origin }
`

func TestContract(t *testing.T) {
	c, problems := Parse("sluice.yaml", []byte(contract), Options{})
	if len(problems) > 0 {
		t.Fatalf("the contract file has problems:\n%s", problems.Error())
	}
	route, ok := c.Routes.Get("item")
	if !ok {
		t.Fatal("there is no route item")
	}
	if want := (Text{"GET /items/{id}", Pos{"sluice.yaml", 8, 18}}); route.Match.Pattern != want {
		t.Errorf("match is %v, want %v", route.Match.Pattern, want)
	}
	if got := c.At("routes.item.match").String(); got != "sluice.yaml:8:18" {
		t.Errorf("At(routes.item.match) is %s", got)
	}
	if got := route.To.Targets; len(got) != 1 || got[0].Service != "origin" {
		t.Errorf("to is %v", got)
	}
	origin := c.Services[0].Value.To[0]
	if origin.Network != "tcp" || origin.Address != "127.0.0.1:9000" || origin.TLS || origin.Host != "127.0.0.1:9000" || origin.Weight != 1 {
		t.Errorf("origin is %+v", origin)
	}
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, contract, Options{})
	f := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	f("admin", c.Admin.Address.String(), "127.0.0.1:9180")
	f("log level", c.Log.Level, "info")
	f("access log is on", c.Log.AccessLog() != nil, false)
	f("connections", c.Limits.Connections, 100000)
	f("per client", c.Limits.PerClient, 1000)
	f("header bytes", c.Limits.HeaderBytes, Size(32<<10))
	f("headers", c.Limits.Headers, 100)
	f("uri bytes", c.Limits.URIBytes, Size(8<<10))
	f("body bytes", c.Limits.BodyBytes, Size(64<<20))
	f("requests per connection", c.Limits.RequestsPerConnection, 100000)
	f("idle", time.Duration(c.Limits.Idle), 75*time.Second)
	f("header timeout", time.Duration(c.Limits.HeaderTimeout), 10*time.Second)
	f("min rate", c.Limits.MinRate, Rate(1024))
	f("cache memory", c.Cache.Memory, Size(64<<20))
	f("drain", time.Duration(c.Limits.Drain), 30*time.Second)
	f("http", c.Listen[0].Value.HTTP[0].Text, "h1")

	s := c.Services[0].Value
	f("balance", s.Balance.By, "round-robin")
	f("host", s.Host.Text, "keep")
	f("try", time.Duration(*s.Timeouts.Try), 30*time.Second)
	f("timeout", time.Duration(*s.Timeout), 30*time.Second)
	f("connect", time.Duration(s.Timeouts.Connect), 2*time.Second)
	f("body idle", time.Duration(s.Timeouts.Idle), time.Minute)
	f("tunnel", time.Duration(s.Timeouts.Tunnel), time.Hour)
	f("pool", s.Pool, Pool{1024, 1024, Duration(time.Minute), Duration(time.Second)})
	f("verify", s.OriginTLS.Verify, true)

	r := c.Routes[0].Value
	f("route timeout", time.Duration(*r.Timeout), time.Minute)
	f("route body limit", *r.BodyLimit, Size(64<<20))
	f("route errors", r.Errors.Format, "auto")
}

// TestExample keeps every form of the sections that this build serves working.
func TestExample(t *testing.T) {
	c, problems := Load("testdata/example.yaml", Options{})
	if c == nil {
		t.Fatalf("the example does not load:\n%s", problems.Error())
	}
	if len(problems) > 0 {
		t.Errorf("the example has warnings:\n%s", problems.Error())
	}
	f := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	public, _ := c.Listen.Get("public")
	f("addresses", len(public.Address), 3)
	f("second address", public.Address[1], Address{"tcp", "[::1]:8443", Pos{"testdata/example.yaml", 5, 24}})
	f("third address", public.Address[2].String(), "unix:/run/sluice.sock")
	f("trust", public.Trust[0].String(), "10.0.0.0/8")
	f("trusted address", public.Trust[1].String(), "192.0.2.1/32")
	f("state", string(c.State), "/var/lib/sluice")
	f("access", *c.Log.Access, Access{To: Target{Stream: "stdout"}, Format: AccessFormat{JSON: true, Template: Template{Pos: c.At("log.access.format")}}, Sample: 100 * percentOne, Pos: c.At("log.access")})

	soap, _ := c.Services.Get("rates-legacy")
	f("base", soap.To[0].Base, "/soap")
	f("standard port", soap.To[0].Address, "10.0.3.5:80")
	f("host", soap.To[0].Host, "10.0.3.5")
	f("checked path", soap.Health.Get.Text, "/healthz")
	f("check's timeout", *soap.Health.Timeout, Duration(time.Second))
	loyalty, _ := c.Services.Get("loyalty")
	f("checked service", loyalty.Health.GRPC.Text, "shop.Loyalty")
	f("quick check's timeout", *loyalty.Health.Timeout, Duration(500*time.Millisecond))
	f("checks to become healthy", loyalty.Health.HealthyAfter, 2)
	stock, _ := c.Services.Get("stock")
	f("checked server", fmt.Sprint(stock.Health.IsGRPC(), stock.Health.GRPC.Text), "true")
	web, _ := c.Routes.Get("loyalty")
	f("pages", web.GRPCWeb.Origins[1].Text, "https://localhost:8443")
	f("pages remember", web.GRPCWeb.MaxAge, Duration(time.Hour))
	users, _ := c.Services.Get("users")
	f("balance", users.Balance.By, "hash")
	f("key", users.Balance.On.By+" "+users.Balance.On.Name, "header X-User")
	f("tls", users.To[0].TLS, true)
	f("weight", users.To[1].Weight, 3)
	f("cache memory", c.Cache.Memory, Size(1<<30))
	f("redirect", fmt.Sprint(c.Listen[1].Value.Redirect.Port, c.Listen[2].Value.Redirect.Port, public.Redirect.Port), "443 8443 0")
	postgres, _ := c.Listen.Get("postgres")
	f("tcp", postgres.TCP.Text, "db")
	f("allow", postgres.Allow[0].String(), "10.0.0.0/8")
	legacy, _ := c.Listen.Get("legacy")
	f("passthrough", legacy.Passing[1].Name+" "+legacy.Passing[1].Value.Text, "*.Legacy.example db")
	f("requests", fmt.Sprint(public.TakesRequests(), postgres.TakesRequests(), legacy.TakesRequests()), "true false false")
	db, _ := c.Services.Get("db")
	f("tcp address", db.To[1].Address+" "+fmt.Sprint(db.To[1].TCP), "[2001:db8::1]:5432 true")
	socket, _ := c.Services.Get("socket")
	f("socket", socket.To[0].Network+" "+socket.To[0].Address+" "+socket.To[0].Base, "unix /run/app.sock /base")

	search, _ := c.Routes.Get("search")
	f("method", search.Match.Methods[0].Text, "GET")
	f("host pattern", search.Match.Host.Text, "*.shop.example")
	accept, _ := search.Match.Headers.Get("Accept")
	f("header predicate", accept.Kind, HasPrefix)
	f("header value", accept.Value, "application/json")
	f("split", search.To.Targets[1].Weight, 10*percentOne)
	f("rewrite", search.Rewrite.Path.Text, "/find/{kind}")
	set, _ := search.Rewrite.Headers.Set.Get("X-Kind")
	f("set", set.Text, "$path.kind")
	f("remove", search.Rewrite.Headers.Remove[0].Text, "X-Debug")
	f("sticky", search.Sticky.By+" "+search.Sticky.Name, "cookie sid")

	old, _ := c.Routes.Get("old-site")
	f("redirect", old.Redirect.To.Text, "https://shop.example/$path.rest")
	teapot, _ := c.Routes.Get("teapot")
	mediaType, body := teapot.Respond.Content()
	f("teapot", mediaType+" "+string(body), `application/json {"short":"stout"}`)
	f("inherited body limit", *teapot.BodyLimit, Size(1<<20))

	signedIn, _ := c.Policies.Get("signed-in")
	f("issuer", signedIn.JWT.Issuer.Text, "https://id.shop.example")
	f("audience", signedIn.JWT.Audience[0].Text, "shop-api")
	f("leeway", signedIn.JWT.Leeway, Duration(30*time.Second))
	f("remembered", signedIn.JWT.Remember, 10000)
	f("cookie", signedIn.JWT.From.Cookie.Text, "session")
	var required []string
	for _, r := range signedIn.JWT.Require {
		for _, v := range r.Value {
			required = append(required, fmt.Sprint(r.Name, "=", v.Kind, ":", v.Text))
		}
	}
	f("required", strings.Join(required, " "), "scope=0:orders.read email_verified=2:true level=1:3 level=0:3 plan=0:true")

	var chain []string
	list, _ := c.Routes.Get("list-orders")
	for _, use := range c.Chain(list) {
		if use.Inline != nil {
			use.Name = "inline " + use.Inline.Kind()
		}
		chain = append(chain, use.Name)
	}
	f("chain", strings.Join(chain, " "), "shield inside signed-in inline headers fair-use")
}

// TestEverythingLater loads the whole product's example: each part that this build lacks is one clear error.
func TestEverythingLater(t *testing.T) {
	_, problems := Load("testdata/later.yaml", Options{})
	if !problems.HasErrors() {
		t.Fatal("the file loads")
	}
	for _, p := range problems {
		if !strings.Contains(p.Message, "is not available in this build yet") {
			t.Errorf("unexpected: %s", p)
		}
	}
	src, err := os.ReadFile("testdata/later.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Count(string(src), "# later"); len(problems) != want {
		t.Errorf("there are %d problems, want one per line marked # later, %d:\n%s", len(problems), want, problems.Error())
	}
}

func TestStarter(t *testing.T) {
	c, problems := Parse("sluice.yaml", Starter(), Options{})
	if c == nil || len(problems) > 0 {
		t.Fatalf("the starter file has problems:\n%s", problems.Error())
	}
	Starter()[0] = '?'
	if Starter()[0] == '?' {
		t.Error("a caller can change the starter file")
	}
}

func TestPosOfNames(t *testing.T) {
	c := mustParse(t, contract, Options{})
	if got := c.Routes[1].Pos.String(); got != "sluice.yaml:9:3" {
		t.Errorf("the name rest stands at %s", got)
	}
	if got := c.At("routes.rest.rewrite.path").String(); got != "sluice.yaml:9:9" {
		t.Errorf("an absent path is at %s, want the nearest part that exists", got)
	}
	if got := c.At("limits.idle").String(); got != "sluice.yaml:1:1" {
		t.Errorf("an absent section is at %s, want the beginning of the file", got)
	}
}

func TestPaths(t *testing.T) {
	f := func(steps []string, want, parent string) {
		t.Helper()
		got := JoinPath(steps...)
		if got != want {
			t.Errorf("JoinPath(%q) is %s, want %s", steps, got, want)
		}
		if up := parentPath(got); up != parent {
			t.Errorf("parentPath(%s) is %q, want %q", got, up, parent)
		}
	}
	f([]string{"routes"}, "routes", "")
	f([]string{"routes", "a"}, "routes.a", "routes")
	f([]string{"routes", "a.b"}, `routes."a.b"`, "routes")
	f([]string{"routes", "a.b", "to"}, `routes."a.b".to`, `routes."a.b"`)
	f([]string{"a.b"}, `"a.b"`, "")
	if got := parentPath("services.a.to[12]"); got != "services.a.to" {
		t.Errorf("the parent of an item is %s", got)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	const token = "correct-horse-battery"
	c := mustParse(t, strings.Replace(contract, `admin: { address: "127.0.0.1:9180" }`, `admin: { address: ":9180", token: "${TOKEN}" }`, 1), env(map[string]string{"TOKEN": token}))
	if c.Admin.Token.Reveal() != token {
		t.Errorf("the token was not read")
	}
	if !c.Substituted(c.At("admin.token")) {
		t.Error("Substituted does not know the token")
	}
	if c.Substituted(c.At("admin.address")) {
		t.Error("Substituted takes a plain value for a substituted one")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if out := fmt.Sprintf(verb, c.Admin); strings.Contains(out, "correct") || strings.Contains(out, "636f72") {
			t.Errorf("%s shows the token: %s", verb, out)
		}
	}
}

// TestNoProblemShowsAValue puts a secret into every kind of scalar, where it is wrong, and looks for it in the problems.
func TestNoProblemShowsAValue(t *testing.T) {
	const secret = "hunter2hunter2"
	count := 0
	for _, line := range []string{
		`admin: { address: "${S}" }`, `admin: "${S}"`, `state: ["${S}"]`,
		`log: { level: "${S}" }`, `log: { access: { sample: "${S}" } }`, `log: { access: { format: "${S}" } }`, `log: { access: "${S}" }`,
		`limits: { idle: "${S}" }`, `limits: { header_bytes: "${S}" }`, `limits: { min_rate: "${S}" }`, `limits: { headers: "${S}" }`,
		`listen: { a: { address: "${S}" } }`, `listen: { a: { address: ":1", trust: "${S}" } }`, `listen: { a: { address: ":1", http: "${S}" } }`,
		`services: { s: "${S}" }`, `services: { s: "http://u:${S}@host" }`, `services: { s: "http://${S}:x" }`, `services: { s: { to: "http://h", balance: "${S}" } }`,
		`services: { s: { to: "http://h", balance: { by: hash, on: "${S}" } } }`, `services: { s: { to: "http://h", host: "${S} x" } }`,
		`services: { s: { to: "https://h", origin_tls: { verify: "${S}" } } }`, `services: { s: "${S}:80" }`,
		`routes: { r: { match: "/", to: "${S}" } }`, `routes: { r: { match: "/", use: "${S}", respond: {} } }`, `routes: { r: { match: "/", skip: "${S}", respond: {} } }`,
		`routes: { r: { match: { method: "${S}" }, respond: {} } }`, `routes: { r: { match: { path: "${S}" }, respond: {} } }`,
		`routes: { r: { match: { path: /, headers: { A: "regex ${S}(" } }, respond: {} } }`,
		`routes: { r: { match: "/", to: { s: "${S}" } } }`, `routes: { r: { match: "/", redirect: "${S}" } }`, `routes: { r: { match: "/", redirect: { to: /, status: "${S}" } } }`,
		`routes: { r: { match: "/", to: s, rewrite: { strip: "${S}" } } }`, `routes: { r: { match: "/", to: s, rewrite: { regex: { match: "${S}(", to: "" } } } }`,
		`routes: { r: { match: "/", to: s, rewrite: { headers: { remove: "${S} " } } } }`, `routes: { r: { match: "/", to: s, sticky: "${S}" } }`,
		`defaults: { errors: "${S}" }`, `policies: { p: { addresses: { deny: "${S}" } } }`, `include: "${S}(.yaml"`, `include: "${S}[.yaml"`,
		`services: { s: { to: "https://h", origin_tls: { ca: "${S}" } } }`, `routes: { r: { match: "/", respond: { file: "${S}" } } }`,
		`routes: { r: { match: "/", redirect: "$path.${S}" } }`, `routes: { r: { match: "/", redirect: "/$client.${S}" } }`,
		`routes: { r: { match: "/", to: s, rewrite: { path: "/{${S}}" } } }`,
		`routes: { r: { match: "/a", to: s, rewrite: { strip: "/${S}" } } }`, `routes: { r: { match: { method: "X${S}", path: / }, to: s } }`,
		`routes: { r: { match: "/${S}?a", to: s } }`, `routes: { r: { match: "/", to: "http://${S}" } }`, `listen: { a: "${S}:1" }`,
	} {
		_, problems := Parse("f", []byte(line), env(map[string]string{"S": secret}))
		about := false
		for _, p := range problems {
			if strings.Contains(p.String(), secret) {
				t.Errorf("%s\n\tshows the value: %s", line, p)
			}
			about = about || p.Path != "version" && p.Path != "listen" && p.Path != "routes"
		}
		if !about {
			t.Errorf("%s\n\tis accepted", line)
		}
		count++
	}
	if count < 30 {
		t.Errorf("only %d cases ran", count)
	}
}

func TestFiles(t *testing.T) {
	c, problems := Load("testdata/include/main.yaml", Options{})
	if c == nil {
		t.Fatal(problems.Error())
	}
	want := []string{"testdata/include/main.yaml", "testdata/include/body.html", "testdata/include/conf.d/a.yaml", "testdata/include/conf.d/b.yaml", "testdata/include/token"}
	if got := c.Files(); !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
	want = []string{"testdata/include/main.yaml", "testdata/include/conf.d/a.yaml", "testdata/include/conf.d/b.yaml"}
	if got := c.Documents(); !slices.Equal(got, want) {
		t.Errorf("documents are %q, want %q", got, want)
	}
	if got := c.Patterns(); !slices.Equal(got, []string{"testdata/include/conf.d/*.yaml"}) {
		t.Errorf("patterns are %q", got)
	}
	if got := c.Routes.Names(); !slices.Equal(got, []string{"first", "from-a", "from-b"}) {
		t.Errorf("routes are %q", got)
	}
	if got := c.Admin.Token.Reveal(); got != "a-token-out-of-a-file" {
		t.Errorf("the token is %q", got)
	}
	b, _ := c.Routes.Get("from-b")
	if _, body := b.Respond.Content(); string(body) != "<p>body</p>\n" {
		t.Errorf("the body is %q", body)
	}
	if got := b.Pos.File; got != "testdata/include/conf.d/b.yaml" {
		t.Errorf("the route stands in %s", got)
	}
}
