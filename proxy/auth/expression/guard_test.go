package expression

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"strings"
	"testing"

	"sluice/proxy"
)

// TestExpressions: what expressions make of a request. A failure has its cause.
func TestExpressions(t *testing.T) {
	x := example(t)
	f := func(text, want string) {
		t.Helper()
		got := "true"
		err := New(compiled(t, text), new(Counts)).Check(x)
		switch e := proxy.AsError(err); {
		case err == nil:
		case e == ErrRefused:
			got = "false"
		case e.Code == ErrRefused.Code && e.Status == 403 && e.Detail == ErrRefused.Detail:
			got = strings.TrimPrefix(e.Cause.Error(), "the expression ")
		default:
			t.Errorf("%s: %v", text, err)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	const missing, kind = "asks for something that is not there", "compares or combines what does not go together"
	f(`request.method == "GET"`, "true")
	f(`request.method in ["POST", "PUT"]`, "false")
	f(`request.scheme == "https" && request.host == "shop.example" && route == "orders"`, "true")
	f(`request.path.startsWith("/tenants/acme/") && request.path.endsWith("/7")`, "true")
	f(`request.path.matches("^/tenants/[a-z]+/orders/[0-9]+$")`, "true")
	f(`request.params.tenant == claims.tenant`, "true")
	f(`request.params["tenant"] == "other"`, "false")
	f(`request.params.nothing == ""`, missing)

	f(`request.headers["x-kind"] == "one"`, "true")
	f(`request.headers["X-Kind"] == "one"`, "true")
	f(`request.headers["x-many"] == "a, b"`, "true")
	f(`request.headers["host"] == "shop.example:8443"`, "true")
	f(`"x-kind" in request.headers && !("x-none" in request.headers)`, "true")
	f(`request.headers["x-none"] == ""`, missing)
	f(`has(request.headers.authorization)`, "true")
	f(`has(request.headers.nothing)`, "false")
	f(`size(request.headers) == 4`, "true")
	f(`request.headers.exists(name, name == "x-kind" && request.headers[name] == "one")`, "true")
	f(`request.headers.all(name, name != "x-many")`, "false")
	f(`request.headers == {"a": "b"}`, kind)

	f(`request.query.page == "2" && request.query.sort == "a b" && request.query.empty == ""`, "true")
	f(`int(request.query.page) > 1`, "true")
	f(`int(request.query.sort) > 1`, "has failed")
	f(`request.query.tag == "x"`, "asks for something that is there more than once")
	f(`"tag" in request.query`, "true")
	f(`has(request.query.nothing)`, "false")
	f(`request.query.nothing == "1"`, missing)
	f(`request.query.map(name, name) == ["page", "sort", "tag", "empty"]`, "true")
	f(`request.cookies.session == "7"`, "true")
	f(`request.cookies.twice == "1"`, "asks for something that is there more than once")
	f(`request.cookies.nothing == "1"`, missing)
	f(`size(request.cookies) == 2`, "true")

	f(`"admin" in claims.roles`, "true")
	f(`"root" in claims.roles`, "false")
	f(`"admin" in claims.text`, kind) // it is text, whatever it looks like
	f(`claims.text == "[\"admin\"]"`, "true")
	f(`claims.level >= 3 && claims.rate < 1 && claims.verified == true`, "true")
	f(`claims.verified == "true"`, "false")
	f(`claims.realm.roles[0] == "a" && claims["realm.roles"] == ["a"]`, "true")
	f(`claims.realm.n > 1`, "true")
	f(`claims.nothing == "a"`, missing)
	f(`claims.nothing == "a" || request.method == "GET"`, "true")
	f(`claims.nothing == "a" && request.method == "GET"`, missing)
	f(`has(claims.roles) && has(claims.realm.roles) && !has(claims.nothing) && !has(claims.realm.nothing)`, "true")
	f(`claims.roles.exists(r, r.startsWith("adm"))`, "true")
	f(`claims.roles[5] == "a"`, missing)
	f(`claims.sub == 5`, "false")
	f(`claims.sub > 5`, kind)
	f(`claims.exists(name, name == "sub")`, "true")

	f(`consumer.name == "anne" && consumer.group == "https://id.example" && consumer.kind == "jwt" && consumer.plan == "gold"`, "true")
	f(`"orders.write" in consumer.scopes && !("orders" in consumer.scopes)`, "true")
	f(`client.ip == "192.0.2.7"`, "true")
	f(`inNetwork(client.ip, "192.0.2.0/24") && !inNetwork(client.ip, "10.0.0.0/8") && inNetwork(client.ip, "192.0.2.7")`, "true")
	f(`inNetwork(client.ip, ["10.0.0.0/8", "192.0.2.0/24"])`, "true")
	f(`inNetwork(client.ip, ["10.0.0.0/8", "2001:db8::/32"])`, "false")
	f(`inNetwork("::ffff:10.1.2.3", "10.0.0.0/8")`, "true")
	f(`inNetwork(request.headers["x-kind"], "10.0.0.0/8")`, "has failed")
	f(`client.country == ""`, "true")
	f(`client.certificate.shown`, "false")
	f(`client.certificate.subject == "CN=a"`, missing)
	f(`now > timestamp("2026-01-01T00:00:00Z") && now.getFullYear() < 3000`, "true")

	// Some services end a parameter at a semicolon: whatever they may find is there, and its value nobody's guess.
	const unsure = "asks for a parameter beside a semicolon, which ends one to some services only"
	x.Request.Query = []byte("a=1;admin=1&b;c=2&d=%3Badmin2=1&e=2;")
	f(`"admin" in request.query && "a" in request.query && "b" in request.query && "c" in request.query && "b;c" in request.query`, "true")
	f(`!("admin" in request.query)`, "false")
	f(`request.query.admin == "1"`, unsure)
	f(`request.query.a == "1"`, unsure)
	f(`request.query.c == "2"`, unsure)
	f(`request.query.e == "2"`, unsure)
	x.Request.Query = []byte("a=1&a=2&b;c=2")
	f(`request.query.a == "1"`, "asks for something that is there more than once")
	x.Request.Query = []byte("a=1;admin=1&b;c=2&d=%3Badmin2=1&e=2;")
	f(`request.query.d == ";admin2=1" && !("admin2" in request.query)`, "true")
	f(`size(request.query) == 7 && request.query.exists(name, name == "admin")`, "true")

	// Nobody may be proven to be somebody before the policy, or the policy before it only reports.
	x.Identity = nil
	f(`claims.sub == "anne"`, missing)
	f(`has(claims.sub)`, missing)
	f(`consumer.name == ""`, missing)
	f(`request.method == "GET" || claims.sub == "anne"`, "true")
}

// TestCertificate: what a client has shown.
func TestCertificate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, DNSNames: []string{"a.example"}, EmailAddresses: []string{"a@a.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	x := example(t)
	x.Client.Certificate = proxy.NewCertificate(leaf)
	p := compiled(t, `client.certificate.shown && client.certificate.subject == "CN=a" && client.certificate.issuer == "CN=a" &&
		"a.example" in client.certificate.names && "a@a.example" in client.certificate.names && size(client.certificate.spki) == 44`)
	if err := New(p, new(Counts)).Check(x); err != nil {
		t.Error(err, proxy.AsError(err).Cause)
	}
}

// TestCost: loops end at the limit of cost, however much there is to go through.
func TestCost(t *testing.T) {
	x := example(t)
	for range 300 {
		x.Request.Head.AddString("X-More", "a")
	}
	x.Request.Query = []byte(strings.Repeat("a", 10) + "=1")
	for i := range 300 {
		x.Request.Query = append(append(append(x.Request.Query, '&'), byte('a'+i%26), byte('a'+i/26)), '=')
	}
	c := new(Counts)
	p := compiled(t, `request.query.all(a, request.query.all(b, request.query.all(c, a != b || b != c || c != "x")))`)
	if err := New(p, c).Check(x); err != errCost {
		t.Errorf("got %v", err)
	}
	if c.Failed.Load() != 1 || c.Refused.Load() != 0 {
		t.Error("it is not counted")
	}
}

// TestErrorsHoldNothing: no cause holds what a client has sent.
func TestErrorsHoldNothing(t *testing.T) {
	x := example(t)
	x.Request.Head.AddString("X-Secret", "planted")
	x.Request.Query = []byte("q=planted")
	for _, text := range []string{
		`claims[request.headers["x-secret"]] == 1`, `int(request.query.q) == 1`, `timestamp(request.headers["x-secret"]) < now`, `request.headers[request.query.q] == ""`,
		`duration(request.query.q) < duration("1s")`, `inNetwork(request.query.q, "10.0.0.0/8")`, `double(request.query.q) < 1.0`, `{"a": 1}[request.query.q] == 1`,
		`claims.sub[request.query.q] == 1`, `bool(request.query.q)`,
	} {
		err := New(compiled(t, text), new(Counts)).Check(x)
		if err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// countries is a database of one country.
type countries struct{}

func (countries) Country(a netip.Addr) string {
	if netip.MustParsePrefix("192.0.2.0/24").Contains(a) {
		return "AT"
	}
	return ""
}

func TestCountry(t *testing.T) {
	x := example(t)
	x.Snapshot = &proxy.Snapshot{Countries: countries{}}
	p := compiled(t, `client.country in ["DE", "AT"]`)
	if err := New(p, new(Counts)).Check(x); err != nil || !p.Uses("client.country") || p.Uses("claims") {
		t.Error(err)
	}
}
