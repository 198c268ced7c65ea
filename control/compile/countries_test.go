package compile

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"sluice/proxy"
	"sluice/router"
)

// countryDatabase writes a database: "10.0.0.0/8 DE" is a network and its country, or "-" for none.
func countryDatabase(t testing.TB, version int, networks ...string) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", IPVersion: version, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		prefix, code, _ := strings.Cut(n, " ")
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		record := mmdbtype.Map{"continent": mmdbtype.Map{"code": mmdbtype.String("EU")}}
		if code != "-" {
			record["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(code), "names": mmdbtype.Map{"en": mmdbtype.String("Name of " + code)}}
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := tree.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var testCountries = []string{"192.0.2.0/24 DE", "192.0.2.128/25 AT", "198.51.100.0/24 FR", "203.0.113.0/24 -", "2001:db8:1::/48 DE", "2001:db8:2::/48 FR"}

func TestCountries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "countries.mmdb")
	if err := os.WriteFile(file, countryDatabase(t, 6, testCountries...), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t)
	f := func(policy, admitted, refused string) {
		t.Helper()
		p := mustCompile(t, r, "routes: { a: { match: /a, use: [{ countries: { database: "+file+", "+policy+" } }], respond: {} } }\n")
		r.Commit(p)
		for _, clients := range []string{admitted, refused} {
			for client := range strings.FieldsSeq(clients) {
				x := proxy.Acquire()
				x.Request.Method = "GET"
				if client != "nobody" {
					x.Client.Addr = netip.MustParseAddr(client)
				}
				x.Lookup = router.Request{Method: []byte("GET"), Host: []byte("a"), Path: []byte("/a"), Values: x}
				route, _ := p.Snapshot.Table.Lookup(&x.Lookup, &x.Match)
				err := route.Chain.Serve(x)
				if (err == nil) != (clients == admitted) || err != nil && proxy.AsError(err).Code != "country_denied" {
					t.Errorf("%s: %s gets %v", policy, client, err)
				}
				x.Release()
			}
		}
	}
	const germany, austria, france = "192.0.2.1 192.0.2.127 ::ffff:192.0.2.1 2001:db8:1::1", "192.0.2.128 192.0.2.255", "198.51.100.9 2001:db8:2::1"
	const unknown = "203.0.113.1 10.0.0.1 2001:db8:3::1 :: 0.0.0.0 nobody"
	f("allow: DE", germany, austria+" "+france+" "+unknown)
	f("allow: [DE, AT]", germany+" "+austria, france+" "+unknown)
	f("allow: DE, unknown: deny", germany, austria+" "+france+" "+unknown)
	f("allow: DE, unknown: allow", germany+" "+unknown, austria+" "+france)
	f("deny: [DE, FR]", austria+" "+unknown, germany+" "+france)
	f("deny: DE, unknown: allow", austria+" "+france+" "+unknown, germany)
	f("deny: DE, unknown: deny", austria+" "+france, germany+" "+unknown)
	f("deny: DE, mode: report", germany+" "+unknown, "")

	// The database is read again only when it has changed.
	const yaml = "deny: DE, unknown: deny } }], respond: {} } }\n"
	sets := func() *Plan {
		t.Helper()
		p := mustCompile(t, r, "routes: { a: { match: /a, use: [{ countries: { database: "+file+", "+yaml)
		r.Commit(p)
		return p
	}
	first := sets()
	for print, set := range sets().sets {
		if first.sets[print] != set {
			t.Error("the same database is read again")
		}
	}
}

// TestCountryDatabases: what cannot be used is an error, whatever is wrong with it.
func TestCountryDatabases(t *testing.T) {
	file := filepath.Join(t.TempDir(), "countries.mmdb")
	r := newRuntime(t)
	good := countryDatabase(t, 6, testCountries...)
	f := func(database []byte, codes, want string) {
		t.Helper()
		if err := os.WriteFile(file, database, 0o600); err != nil {
			t.Fatal(err)
		}
		yaml := "policies: { here: { countries: { database: " + file + ", allow: [" + codes + "] } } }\nroutes: { a: { match: /a, use: [here], respond: {} }, b: { match: /b, use: [here], respond: {} } }\n"
		p, problems := r.Compile(parse(t, yaml))
		if p != nil {
			r.Discard(p)
		}
		if got := problems.Error(); want == "" && p == nil || want != "" && (p != nil || len(problems) != 1 || !strings.Contains(got, "policies.here: ") || !strings.Contains(got, want)) {
			t.Errorf("the problems are %v, want %q", got, want)
		}
	}
	f(good, "DE, AT, FR", "")
	f(countryDatabase(t, 4, testCountries[:4]...), "DE, AT, FR", "")
	f(nil, "DE", "cannot use the database of countries")
	f([]byte("no database\n"), "DE", "cannot use the database of countries")
	f(good[:len(good)-100], "DE", "cannot use the database of countries")
	f(slices.Concat(make([]byte, len(good)-300), good[len(good)-300:]), "DE", "cannot use the database of countries")
	f(countryDatabase(t, 6, "192.0.2.0/24 -"), "DE", `it has no countries, its type is "Test-Country"`)
	f(good, "DE, UK", "the database has no network of the country UK")
}

// FuzzCountries: a broken database is an error or wrong, and no more.
func FuzzCountries(f *testing.F) {
	f.Add(countryDatabase(f, 6, testCountries...))
	f.Add(countryDatabase(f, 4, testCountries[:4]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, all, err := readCountries(data, []string{"DE"})
		if err == nil && len(in["DE"]) > len(all) {
			t.Fatalf("%d of %d networks are in one country", len(in["DE"]), len(all))
		}
	})
}

// TestClientCountry: whoever asks for the country of a client is told by the database that a policy names, and the database is read if
// somebody asks, and again only if it has changed.
func TestClientCountry(t *testing.T) {
	file := filepath.Join(t.TempDir(), "countries.mmdb")
	if err := os.WriteFile(file, countryDatabase(t, 6, testCountries...), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t)
	compiled := func(yaml string) *Plan {
		t.Helper()
		p := mustCompile(t, r, "policies: { home: { countries: { database: "+file+", allow: [DE] } } }\n"+yaml)
		r.Commit(p)
		return p
	}
	if p := compiled("routes: { a: { match: /a, use: [home], respond: {} } }\n"); p.Snapshot.Countries != nil {
		t.Error("a database is read that nobody asks")
	}
	const told = "routes: { a: { match: /a, respond: { status: 204, headers: { X-Country: \"$client.country.\" } } } }\n"
	p := compiled(told)
	if compiled(told).Snapshot.Countries != p.Snapshot.Countries {
		t.Error("the same database is read again")
	}
	f := func(p *Plan, client, want string) {
		t.Helper()
		e, err := p.Explain("GET", "/a", nil, nil, netip.MustParseAddr(client))
		if err != nil || len(e.Response) == 0 || e.Response[0] != [2]string{"X-Country", want + "."} {
			t.Errorf("%s: %q, %v, want %q", client, e.Response, err, want)
		}
	}
	f(p, "192.0.2.1", "DE")
	f(p, "192.0.2.129", "AT")
	f(p, "::ffff:192.0.2.129", "AT")
	f(p, "203.0.113.1", "")
	f(p, "10.0.0.1", "")
	f(p, "2001:db8:2::1", "FR")
	f(p, "2001:db8:3::1", "")
	if err := os.WriteFile(file, countryDatabase(t, 4, "192.0.2.0/24 IT"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = mustCompile(t, r, "policies: { home: { countries: { database: "+file+", allow: [IT] } } }\n"+told)
	f(p, "192.0.2.1", "IT")
	f(p, "2001:db8:2::1", "") // it knows IPv4 alone

	p = mustCompile(t, r, "policies: { home: { countries: { database: "+file+", allow: [IT] } } }\n"+`routes: { a: { match: /a, use: [{ authorize: { when: 'client.country in ["IT", "DE"]' } }], respond: { status: 204 } } }`+"\n")
	for client, want := range map[string]int{"192.0.2.1": 204, "192.0.3.1": 403} {
		if e, err := p.Explain("GET", "/a", nil, nil, netip.MustParseAddr(client)); err != nil || e.Status != want {
			t.Errorf("%s: %+v", client, e)
		}
	}
	x := proxy.Acquire()
	defer x.Release()
	x.Snapshot, x.Client.Addr = p.Snapshot, netip.MustParseAddr("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() { _ = x.Country() }); n != 0 || x.Country() != "IT" {
		t.Errorf("%q costs %v allocations", x.Country(), n)
	}
}
