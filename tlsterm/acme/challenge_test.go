package acme

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// TestChallenges: answers are given while they are there, for the token or the host alone, and not for long.
func TestChallenges(t *testing.T) {
	c := Challenges{Folder: t.TempDir()}
	challenge := acme.Challenge{
		Type: acme.ChallengeTypeTLSALPN01, Token: "tok-_1", KeyAuthorization: "tok-_1.thumb", Identifier: acme.Identifier{Type: "dns", Value: "a.test"},
	}
	f := func(token, want, host string, shown bool) {
		t.Helper()
		if got, ok := c.KeyAuthorization(token); string(got) != want || ok != (want != "") {
			t.Errorf("%q is answered with %q %v", token, got, ok)
		}
		if got := c.Certificate(host); (got != nil) != shown {
			t.Errorf("%q is shown %v", host, got)
		}
	}
	f("tok-_1", "", "a.test", false)
	for _, s := range []interface {
		Present(context.Context, acme.Challenge) error
	}{httpSolver{c}, tlsSolver{c}} {
		if err := s.Present(t.Context(), challenge); err != nil {
			t.Fatal(err)
		}
	}
	f("tok-_1", "tok-_1.thumb", "A.Test", true)
	f("tok", "", "b.test", false)
	f("", "", "", false)
	f("../challenges/http-01.tok-_1", "", "../a.test", false)
	f("tok-_1.", "", "a.test.", false)
	f(strings.Repeat("a", 300), "", strings.Repeat("a.", 200)+"test", false)

	// What a process has left that died.
	old := time.Now().Add(-answerFor - time.Minute)
	name := filepath.Join(c.Folder, "challenges", "http-01.tok-_1")
	if err := os.Chtimes(name, old, old); err != nil {
		t.Fatal(err)
	}
	f("tok-_1", "", "a.test", true)
	if err := c.sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	if err := (tlsSolver{c}).CleanUp(t.Context(), challenge); err != nil {
		t.Fatal(err)
	}
	f("tok-_1", "", "a.test", false)
}

// FuzzChallenges: nothing that a client can ask for leads out of the folder, or to another file of it.
func FuzzChallenges(f *testing.F) {
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "x", "challenges"), 0o700); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"secret", "x/secret", "x/challenges/secret", "x/challenges/tls-alpn-01.a.test"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("secret"), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	for _, seed := range []string{"", "secret", "../secret", "/../../secret", "..", ".", "a.test", "a\x00b", "%2e%2e/secret", "a/../../secret"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Challenges{Folder: filepath.Join(dir, "x")}
		if got, ok := c.KeyAuthorization(s); ok {
			t.Errorf("%q is answered with %q", s, got)
		}
		if c.Certificate(s) != nil {
			t.Errorf("%q is shown a certificate", s)
		}
	})
}
