package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/control/config"
	"sluice/proxy/auth/consumer"
)

// piped runs the binary with something on its standard input.
func piped(t *testing.T, input string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("cannot run %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

var newKey = regexp.MustCompile(`^(sk_acme_[0-9A-Za-z]{43})\n- { hash: "((?:hmac-)?sha256:[0-9a-f]{64})", prefix: sk_acme }\n$`)

func TestKeysCommands(t *testing.T) {
	dir := t.TempDir()
	pepper := writeFile(t, filepath.Join(dir, "pepper"), "0123456789abcdef0123456789abcdef\n")
	short := writeFile(t, filepath.Join(dir, "short"), "0123\n")
	seen := map[string]bool{}
	for _, more := range [][]string{nil, {"--pepper", pepper}} {
		for range 3 {
			stdout, stderr, code := sluice(t, dir, append([]string{"keys", "new", "--prefix", "sk_acme"}, more...)...)
			parts := newKey.FindStringSubmatch(stdout)
			if code != 0 || stderr != "" || parts == nil || seen[parts[1]] {
				t.Fatalf("%v: got %q %q", more, stdout, stderr)
			}
			seen[parts[1]] = true
			// What is made is what is read.
			if hash, _, _ := piped(t, parts[1]+"\n", append([]string{"keys", "hash"}, more...)...); hash != parts[2]+"\n" {
				t.Errorf("%v: %s hashes to %q, and not to %q", more, parts[1], hash, parts[2])
			}
		}
	}
	f := func(input, line string, want int, wantText string) {
		t.Helper()
		stdout, stderr, code := piped(t, input, strings.Fields(line)...)
		if code != want || !strings.Contains(stdout+stderr, wantText) {
			t.Errorf("sluice %s: exit code %d, want %d and %q in\n%s%s", line, code, want, wantText, stdout, stderr)
		}
	}
	f("", "keys new --prefix a/b", 1, "--prefix wants")
	long := writeFile(t, filepath.Join(dir, "long"), strings.Repeat("0", config.SecretFileBytesMax+1))
	f("", "keys new --pepper "+long, 1, "longer than 65536 bytes")
	f("", "keys new --pepper "+short, 1, "shorter than 16 bytes")
	f("", "keys new --pepper "+dir+"/none", 1, "no such file")
	f("", "keys hash", 1, "standard input is empty")
	f("a\x00b", "keys hash", 1, "control character")
	f(strings.Repeat("a", consumer.KeyBytesMax+1), "keys hash", 1, "longer than 512 bytes")
	f(strings.Repeat("a", consumer.KeyBytesMax), "keys hash", 0, "sha256:")
	f("short\r\nmore", "keys hash", 0, fmt.Sprintf("sha256:%x\n", sha256.Sum256([]byte("short"))))
	f("short", "keys hash", 0, "The key is short")
	f("1234567", "keys password", 1, "at least 8 characters")
	f("correct horse", "keys password", 0, "$argon2id$v=19$m=19456,t=2,p=1$")
}

// TestConsumers runs the binary with keys and passwords that it has made itself, and looks at everything that it says: who was there, who
// is admitted without a reason, and nothing that is secret.
func TestConsumers(t *testing.T) {
	dir := t.TempDir()
	stdout, _, _ := sluice(t, dir, "keys", "new", "--prefix", "sk_acme")
	parts := newKey.FindStringSubmatch(stdout)
	if parts == nil {
		t.Fatalf("got %q", stdout)
	}
	key, hash := parts[1], parts[2]
	const password, wrong, expired = "planted horse battery", "sk_planted_wrong_0123456789", "sk_planted_expired_0123456789"
	phc, _, code := piped(t, password, "keys", "password")
	if code != 0 {
		t.Fatal("keys password failed")
	}
	phc = strings.TrimSpace(phc)
	gone := sha256.Sum256([]byte(expired))
	access := filepath.Join(dir, "access.log")
	text := `
version: 1
admin: { address: "127.0.0.1:0" }
log: { access: { to: ` + access + ` } }
listen: { web: { address: "127.0.0.1:0" } }
consumers:
  partners:
    acme:
      keys:
        - { hash: "` + hash + `", prefix: sk_acme }
        - { hash: "sha256:` + hex.EncodeToString(gone[:]) + `", prefix: sk_gone, expires: 2020-01-01 }
      plan: gold
      scopes: [orders.read]
    anne: { passwords: "` + phc + `" }
policies:
  partner-key: { api_key: { consumers: partners, query: k, header: X-Partner, keep: true } }
  writers: { api_key: { consumers: partners, require: { scope: orders.write } } }
  staff: { basic_auth: { consumers: partners } }
  watched: { api_key: { consumers: partners, mode: report } }
routes:
  a: { match: /a, use: [partner-key], respond: { text: "in", headers: { X-User: $consumer of $consumer.group on $consumer.plan } } }
  write: { match: /write, use: [writers], respond: { text: in } }
  staff: { match: /staff, use: [staff], respond: { text: in, headers: { X-User: $consumer } } }
  watched: { match: /watched, use: [watched], respond: { text: in } }
`
	file := writeFile(t, filepath.Join(dir, "sluice.yaml"), text)
	p := launch(t, "run", "-c", file)
	web, admin := p.address("web"), p.address("admin")
	var said strings.Builder // everything that anybody can read
	ask := func(path string, fields ...string) (int, http.Header, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+web+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(body)
		fmt.Fprintln(&said, response.Header)
		return response.StatusCode, response.Header, string(body)
	}
	f := func(path string, fields []string, want int, wantUser, wantBody string) {
		t.Helper()
		status, h, body := ask(path, fields...)
		if status != want || h.Get("X-User") != wantUser || !strings.Contains(body, wantBody) {
			t.Errorf("%s %v: %d %q %s, want %d %q %s", path, fields, status, h.Get("X-User"), body, want, wantUser, wantBody)
		}
		if challenge := h.Get("WWW-Authenticate"); (challenge != "") != (status == 401) {
			t.Errorf("%s: %d with the challenge %q", path, status, challenge)
		}
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("anne:"+password))
	f("/a", []string{"X-Partner", key}, 200, "acme of partners on gold", "in")
	f("/a?k="+key, nil, 200, "acme of partners on gold", "in")
	f("/a?k="+wrong, nil, 401, "", "key_invalid")
	f("/a?k="+expired, nil, 401, "", "key_invalid")
	f("/a", nil, 401, "", "key_required")
	f("/a?k="+wrong, []string{"X-Partner", key}, 400, "", "key_ambiguous")
	f("/write", []string{"X-Api-Key", key}, 403, "", "insufficient_scope")
	f("/staff", []string{"Authorization", basic}, 200, "anne", "in")
	f("/staff", []string{"Authorization", basic}, 200, "anne", "in")
	f("/staff", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("anne:"+wrong))}, 401, "", "password_invalid")
	f("/watched", []string{"X-Api-Key", wrong}, 200, "", "in")
	page := func(path string, wanted ...string) {
		t.Helper()
		_, text := get("http://" + admin + path)
		said.WriteString(text)
		for _, want := range wanted {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %s:\n%s", path, want, text)
			}
		}
	}
	page("/v1/consumers", `"prefix": "sk_acme"`, `"last_used": "2`, `"expires": "2020-01-02T00:00:00Z"`, `"expired": true`, `"plan": "gold"`)
	page("/metrics", "\nsluice_identity_unenforced{policy=\"watched\"} 1\n", "\nsluice_passwords_hashed_total 2\n", "\nsluice_passwords_refused_total 0\n")
	page("/v1/routes", "watched (report)")
	page("/v1/status")

	// A reload with another key beside it: both are good, and the first one has still been used.
	writeFile(t, file, strings.Replace(text, "prefix: sk_acme }", "prefix: sk_acme }\n        - { hash: \"sha256:"+fmt.Sprintf("%x", sha256.Sum256([]byte("sk_next")))+"\", prefix: sk_next }", 1))
	if status, body := call("POST", "http://"+admin+"/v1/reload"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	f("/a", []string{"X-Partner", "sk_next"}, 200, "acme of partners on gold", "in")
	f("/staff", []string{"Authorization", basic}, 200, "anne", "in")
	page("/metrics", "\nsluice_passwords_hashed_total 2\n")
	_, list := get("http://" + admin + "/v1/consumers")
	if n := strings.Count(list, `"last_used"`); n != 3 {
		t.Errorf("%d were used, want the old key, the new one and a password:\n%s", n, list)
	}

	eventually(t, "the access log", func() bool {
		text, err := os.ReadFile(access)
		return err == nil && strings.Contains(string(text), `"would_refuse":"watched"`) && strings.Contains(string(text), `"cause":"the key has expired"`) &&
			strings.Contains(string(text), `"query":"k=***"`)
	})
	said.WriteString(readText(t, access))
	for _, args := range [][]string{{"check", file}, {"explain", "-c", file, "GET", "/a?k=" + key}, {"explain", "-c", file, "--json", "GET", "/a?k=" + key, "-H", "X-Partner: " + key},
		{"explain", "-c", file, "GET", "/staff", "-H", "Authorization: " + basic}} {
		stdout, stderr, code := sluice(t, dir, args...)
		if code != 0 {
			t.Errorf("%v: %s", args, stderr)
		}
		said.WriteString(stdout + stderr)
	}
	p.signal(os.Interrupt)
	p.exit()
	said.WriteString(p.log())
	if !strings.Contains(p.log(), "EVERYBODY IS ADMITTED") || !strings.Contains(p.log(), "has expired") {
		t.Errorf("the log says not that everybody is admitted, or that a key has expired:\n%s", p.log())
	}
	for name, secret := range map[string]string{"a key": key, "a wrong key": wrong, "an expired key": expired, "a password": password, "credentials": strings.TrimPrefix(basic, "Basic "),
		"a hash": strings.TrimPrefix(hash, "sha256:"), "a hash in base64": base64.StdEncoding.EncodeToString(gone[:]), "what has expired": hex.EncodeToString(gone[:]),
		"a salt": strings.Split(phc, "$")[4], "a hashed password": strings.Split(phc, "$")[5]} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%s is shown:\n%s", name, said.String())
		}
	}
}
