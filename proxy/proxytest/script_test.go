package proxytest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the scripts")

// overHTTP2 are the scripts about policies and routes, which do not say how a connection is used.
var overHTTP2 = []string{
	"addresses*",
	"api-key*",
	"balance-*",
	"basic",
	"browser-*",
	"cache*",
	"compress-*",
	"cors*",
	"errors-*",
	"grpc-web",
	"jwt*",
	"path-dot-segments", "path-escapes",
	"policies-*",
	"quota",
	"rate-*",
	"upstream-token",
	"redirect", "respond", "rewrite-*", "route-*", "split*",
}

// TestScripts2 plays those with a client of HTTP/2, with and without TLS.
func TestScripts2(t *testing.T) {
	playEach(t, "", func(t *testing.T, file string) { Script2(t, file, false) }, overHTTP2...)
	playEach(t, "-tls", func(t *testing.T, file string) { Script2(t, file, true) }, overHTTP2...)
}

// TestScripts3 plays them with a client of HTTP/3.
func TestScripts3(t *testing.T) {
	playEach(t, "", func(t *testing.T, file string) { Script3(t, file) }, overHTTP2...)
}

// ownScheme are the scripts whose outcome names the scheme, if only by Secure, or that redirect to the other one, or whose listener and service see it.
var ownScheme = regexp.MustCompile(`cookies: \{|\$request\.scheme|redirect: https }|(?m)^listen:.*\n(.*\n)*-- upstream`)

// TestScriptsTLS plays all the others over TLS.
func TestScriptsTLS(t *testing.T) {
	playEach(t, "", func(t *testing.T, file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if ownScheme.Match(text) {
			t.Skip("the script is about the scheme")
		}
		ScriptTLS(t, file)
	}, "*")
}

// playEach runs f on the scripts that the patterns name.
func playEach(t *testing.T, suffix string, f func(t *testing.T, file string), patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob("../testdata/" + pattern + ".txt")
		if err != nil || len(files) == 0 {
			t.Fatalf("there are no scripts %s: %v", pattern, err)
		}
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+suffix, func(t *testing.T) {
				t.Parallel()
				f(t, file)
			})
		}
	}
}

// TestScripts plays proxy/testdata. go test ./proxy/proxytest -run TestScripts/hop plays those with hop in their name.
func TestScripts(t *testing.T) {
	playEach(t, "", func(t *testing.T, file string) { Script(t, file, *rewrite) }, "*")
}
