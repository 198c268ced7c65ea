package proxytest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTablesOfContents: where the documentation of a package goes through its files, it names all of them, and none that is gone.
func TestTablesOfContents(t *testing.T) {
	named := regexp.MustCompile(`(^|[^/\w])(\w+\.go)\b`)
	for _, dir := range []string{
		"../address", "../auth/dpop", "../auth/forward", "../auth/introspect", "../auth/servicetoken", "../cache", "../limit", "../limit/ledger",
		"../server", "../transcode", "../upstream", "../../tlsterm", "../../tlsterm/acme", "../../tlsterm/ocsp",
	} {
		doc, err := os.ReadFile(filepath.Join(dir, "doc.go"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range named.FindAllStringSubmatch(string(doc), -1) {
			names = append(names, m[2])
			if _, err := os.Stat(filepath.Join(dir, m[2])); err != nil {
				t.Errorf("%s/doc.go names %s: %v", dir, m[2], err)
			}
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if name := filepath.Base(file); name != "doc.go" && !strings.HasSuffix(name, "_test.go") && !slices.Contains(names, name) {
				t.Errorf("%s/doc.go does not name %s", dir, name)
			}
		}
	}
}
