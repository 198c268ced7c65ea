package compile

import (
	"strconv"
	"strings"
	"testing"
)

// TestComponents: what cannot be signed is said where it stands, also of a policy that no route uses, and once.
func TestComponents(t *testing.T) {
	consumers := "consumers: { partners: { acme: { signing_keys: { k: { secret: 0123456789abcdef0123456789abcdef } } } } }\n"
	f := func(policies, use, want string) {
		t.Helper()
		_, problems := New(Options{Dry: true}).Compile(parse(t, consumers+policies+"routes:\n  a: { match: /a, use: "+use+", respond: {} }\n"))
		if got := problems.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	const hint = ` is no component of a request that can be signed (the name of a field in small letters, or @method, @target-uri, @authority, @scheme, @request-target, @path, @query or @query-param;name="...")`
	const at = `policies: { signed: { signature: { consumers: partners, components: ["@method", "@metod"] } } }` + "\n"
	where := "test.yaml:5:" + position(at, `"@metod"`)
	f(at, "[signed]", where+`: policies.signed.signature.components[1]: "@metod"`+hint)
	f(at, "[]", where+`: policies.signed.signature.components[1]: "@metod"`+hint)
	f("", `[{ signature: { consumers: partners, components: [Date, "@query-param"] } }]`,
		`test.yaml:6:`+position("  a: { match: /a, use: [{ signature: { consumers: partners, components: [Date", "Date")+`: routes.a.use[0].signature.components[0]: "Date"`+hint+"\n"+
			`test.yaml:6:`+position(`  a: { match: /a, use: [{ signature: { consumers: partners, components: [Date, "@query-param"`, `"@query`)+`: routes.a.use[0].signature.components[1]: "@query-param"`+hint)
}

// position is the column of a word in a line.
func position(line, word string) string { return strconv.Itoa(strings.Index(line, word) + 1) }
