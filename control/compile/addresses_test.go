package compile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAddressSets: a list in a file is read once for all routes that use it, and again only when it has changed.
func TestAddressSets(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list.txt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRuntime(t)
	yaml := `
policies: { listed: { addresses: { allow_file: ` + list + ` } }, same: { addresses: { allow_file: ` + list + ` } }, more: { addresses: { deny: 192.0.2.2, deny_file: ` + list + ` } } }
routes:
  a: { match: /a, use: [listed, more], respond: {} }
  b: { match: /b, use: [listed, same], respond: {} }
`
	sets := func() *Plan {
		t.Helper()
		p := mustCompile(t, r, yaml)
		r.Commit(p)
		if len(p.sets) != 2 {
			t.Fatalf("there are %d sets", len(p.sets))
		}
		return p
	}
	write("192.0.2.1\n")
	first := sets()
	for print, set := range sets().sets {
		if first.sets[print] != set {
			t.Error("the same list is read again")
		}
	}
	write("192.0.2.3\n")
	for print, set := range sets().sets {
		if first.sets[print] != nil || set.Ranges() == 0 {
			t.Error("another list is taken for the one before")
		}
	}

	// What is wrong is said once, at its place.
	write("192.0.2.1\nlocalhost\n# x\n" + strings.Repeat("10.0.0.0/33\n", 100))
	p, problems := r.Compile(parse(t, yaml))
	text := problems.Error()
	if p != nil || !strings.Contains(text, list+":2:1: wants an address") || strings.Count(text, list+":5:1: ") != 3 || // for each policy
		!strings.Contains(text, "91 more lines are not shown") || strings.Contains(text, "localhost") ||
		!strings.Contains(text, "policies.listed: the list in allow_file has lines that are no networks: 101") {
		t.Errorf("the problems are\n%s", text)
	}
}
