package proxytest

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the scripts")

// overHTTP2 are the scripts about policies and routes, which do not say how a connection is used.
var overHTTP2 = []string{"addresses-refused", "balance-*", "errors-*", "path-dot-segments", "path-escapes", "policies-*",
	"redirect", "respond", "rewrite-*", "route-*", "split*"}

// TestScripts2 plays those with a client of HTTP/2.
func TestScripts2(t *testing.T) {
	for _, pattern := range overHTTP2 {
		files, err := filepath.Glob("../testdata/" + pattern + ".txt")
		if err != nil || len(files) == 0 {
			t.Fatalf("there are no scripts %s: %v", pattern, err)
		}
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				t.Parallel()
				Script2(t, file)
			})
		}
	}
}

// TestScripts plays proxy/testdata. go test ./proxy/proxytest -run TestScripts/hop plays those with hop in their name.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("../testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			Script(t, file, *rewrite)
		})
	}
}
