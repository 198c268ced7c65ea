package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "good.yaml"), contract)
	writeFile(t, filepath.Join(dir, "bad.yaml"), strings.Replace(contract, "routes:", "rotues:", 1))
	writeFile(t, filepath.Join(dir, "conflict.yaml"), contract+"  thing: { match: \"GET /items/{name}\", to: origin }\n")
	writeFile(t, filepath.Join(dir, "shadowed.yaml"), contract+"  all: { match: \"/api/{x:.+}/b\", to: origin }\n  some: { match: \"/api/{x}/b\", to: origin }\n")
	writeFile(t, filepath.Join(dir, "loose.yaml"), "routes:\n      item:   { match: /a, respond: {} }\nversion: 1\n")

	f := func(line string, want int, wantText string) {
		t.Helper()
		stdout, stderr, code := sluice(t, dir, strings.Fields(line)...)
		if code != want || !strings.Contains(stdout+stderr, wantText) {
			t.Errorf("sluice %s: exit code %d, want %d and %q in\n%s%s", line, code, want, wantText, stdout, stderr)
		}
	}
	f("", 0, "Usage: sluice")
	f("--help", 0, "Usage: sluice")
	f("version", 0, "sluice ")
	f("nonsense", 2, "unexpected argument nonsense")
	f("run", 2, "--config=FILE")
	f("run --config", 2, "See sluice run --help.")
	f("run -c good.yaml --nonsense", 2, "unknown flag --nonsense")
	f("proxy", 2, "--to=URL")
	f("proxy --to nonsense", 1, "sluice: --to nonsense: the address has no scheme: http://")
	f("proxy --to http://a --to 127.0.0.1:9000", 1, "sluice: --to 127.0.0.1:9000: the address has no scheme: write http://127.0.0.1:9000\n")
	f("proxy --to http://u:p@h", 1, "sluice: --to: the address carries a user name or password\n")
	f("proxy --to http://127.0.0.1:1 --to http://127.0.0.1:1", 1, "--to http://127.0.0.1:1: the address stands here twice\n")
	f("proxy --to http://127.0.0.1:1 --listen 8080", 1, "sluice: --listen 8080: wants an address such as")
	f("proxy --to http://127.0.0.1:1 --listen 8080", 1, "write :8080 for every address")
	f("proxy --to http://127.0.0.1:1 --admin :9180", 1, "sluice: --admin :9180: others than this machine could connect; write 127.0.0.1:9180")
	f("run -c missing.yaml", 1, "no such file")
	f("run -c bad.yaml", 1, "bad.yaml:7:1")

	f("check good.yaml", 0, "good.yaml: ok\n")
	f("check bad.yaml", 1, "bad.yaml:7:1: error: ")
	f("check bad.yaml", 1, "routes")
	f("check good.yaml bad.yaml", 1, "good.yaml: ok\n")
	f("check missing.yaml", 1, "no such file")
	f("check", 2, "expected")
	f("check conflict.yaml", 1, "conflict.yaml:10:19: error: routes.thing.match: ")
	f("check shadowed.yaml", 0, "shadowed.yaml:11:18: warning: routes.some.match: ")

	f("fmt loose.yaml", 0, "version: 1\n")
	f("fmt --check good.yaml loose.yaml", 1, "loose.yaml\n")
	f("fmt --check loose.yaml missing.yaml", 1, "no such file")
	f("fmt -w --check loose.yaml", 2, "can't be used together")

	f("explain -c good.yaml GET /items/1 -H nonsense", 1, "-H wants")
	f("explain -c good.yaml GET /items/1 --client nonsense", 1, "--client wants")
	f("explain -c good.yaml GE(T /items/1", 1, "no client could send this request")
	f("explain -c bad.yaml GET /items/1", 1, "bad.yaml:7:1")
	f("explain -c good.yaml GET", 2, "expected")
}

func TestHelpHasExamples(t *testing.T) {
	stdout, _, _ := sluice(t, t.TempDir(), "--help")
	_, list, found := strings.Cut(stdout, "Commands:\n")
	if !found || !strings.Contains(stdout, "Example:\n\n    sluice ") {
		t.Fatalf("the help has no commands or no example:\n%s", stdout)
	}
	names := 0
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "  ") {
			break
		}
		if strings.HasPrefix(line, "   ") {
			continue // the rest of a long line
		}
		names++
		name := strings.Fields(line)[0]
		stdout, stderr, code := sluice(t, t.TempDir(), name, "--help")
		if code != 0 || stderr != "" || !strings.Contains(stdout, "Example:\n\n    sluice "+name) {
			t.Errorf("%s --help has no example of itself (exit code %d):\n%s%s", name, code, stdout, stderr)
		}
	}
	if names < 10 {
		t.Errorf("the help lists %d commands, want 10:\n%s", names, stdout)
	}
}

func TestInit(t *testing.T) {
	dir := t.TempDir()
	f := func(line string, want int) {
		t.Helper()
		if stdout, stderr, code := sluice(t, dir, strings.Fields(line)...); code != want {
			t.Errorf("sluice %s: exit code %d, want %d:\n%s%s", line, code, want, stdout, stderr)
		}
	}
	f("init", 0)
	f("check sluice.yaml", 0)
	f("fmt --check sluice.yaml", 0)

	writeFile(t, filepath.Join(dir, "sluice.yaml"), "mine")
	f("init", 1)
	if got := readText(t, filepath.Join(dir, "sluice.yaml")); got != "mine" {
		t.Fatalf("init has overwritten the file with %q", got)
	}
	f("init --force sluice.yaml", 0)
	f("check sluice.yaml", 0)
	f("init missing/sluice.yaml", 1)
}

func TestFmtInPlace(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "real", "a.yaml"), "routes:\n      item:   { match: /a, respond: {} }   # short\nlisten: { web: { address: \":0\" } }\nversion: 1\n")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.yaml")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := sluice(t, dir, "fmt", "-w", link); code != 0 {
		t.Fatalf("fmt -w failed: %s", stderr)
	}
	once := readText(t, file)
	if !strings.HasPrefix(once, "version: 1\n") || !strings.Contains(once, "# short") {
		t.Errorf("not formatted, or a comment was lost:\n%s", once)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced by a file (%v)", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the permissions have changed to %v (%v)", info.Mode(), err)
	}
	stdout, stderr, code := sluice(t, dir, "fmt", link)
	if code != 0 || stdout != once {
		t.Errorf("formatting twice changes more (exit code %d, %s):\n%s", code, stderr, stdout)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("fmt -w left files behind: %v (%v)", entries, err)
	}
}

func TestSchema(t *testing.T) {
	stdout, stderr, code := sluice(t, t.TempDir(), "schema")
	var schema struct {
		Schema     string         `json:"$schema"`
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal([]byte(stdout), &schema); err != nil || code != 0 {
		t.Fatalf("the schema is not JSON (exit code %d, %s): %v", code, stderr, err)
	}
	if schema.Schema == "" || schema.Properties["routes"] == nil {
		t.Errorf("the schema does not describe routes: %.200s", stdout)
	}
}

func TestVersion(t *testing.T) {
	stdout, _, code := sluice(t, t.TempDir(), "version")
	lines := strings.Split(stdout, "\n")
	if code != 0 || len(lines) != 4 || !strings.HasPrefix(lines[0], "sluice ") || !strings.HasPrefix(lines[1], "go1.") || !strings.HasPrefix(lines[2], "revision ") {
		t.Errorf("version printed (exit code %d)\n%s", code, stdout)
	}
}

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "sluice.yaml"), readText(t, "testdata/explain.yaml"))
	f := func(name string, args ...string) {
		t.Helper()
		stdout, stderr, code := sluice(t, dir, append([]string{"explain", "-c", "sluice.yaml"}, args...)...)
		if code != 0 {
			t.Errorf("explain %v: exit code %d: %s", args, code, stderr)
		}
		golden(t, "explain-"+name+".txt", stdout)
	}
	f("item", "GET", "http://api.example.com/items/7?x=1", "-H", "X-Debug: 1, 2", "-H", "Cookie: secret=1")
	f("beta", "GET", "http://api.example.com/items/7", "-H", "X-Beta: yes")
	f("inside", "GET", "/inside")
	f("outside", "GET", "/inside", "--client", "203.0.113.9")
	f("redirect", "GET", "http://www.example.com/old/a/b")
	f("respond", "GET", "/teapot")
	f("method", "DELETE", "/teapot")
	f("nothing", "GET", "/nowhere")
	f("options", "OPTIONS", "/teapot")
	f("badpath", "GET", "/a%zz")
	f("passed", "GET", "https://db.example.com/inside")
	f("json", "GET", "http://api.example.com/items/7", "--json")
}

func TestTable(t *testing.T) {
	rows := [][]string{{"a", "long", "x"}, {"äöü", "b", "y"}}
	f := func(color bool, want string) {
		t.Helper()
		if got := (&terminal{color: color}).table([]string{"", bold, ""}, rows); got != want {
			t.Errorf("table of a terminal %v:\n%q, want\n%q", color, got, want)
		}
	}
	f(false, "a\tlong\tx\näöü\tb\ty\n")
	f(true, "a    \x1b[1mlong\x1b[0m  x\näöü  \x1b[1mb\x1b[0m     y\n")
}
