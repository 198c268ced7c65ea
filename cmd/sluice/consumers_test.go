package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestConsumersAPI edits stored consumers as a user would, and looks at what requests get meanwhile.
func TestConsumersAPI(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	file := writeFile(t, filepath.Join(dir, "sluice.yaml"), storing(state))
	var logged syncedBuffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	g := startGateway(t, file)
	admin, web := "http://"+g.adminAddress()+"/v1/consumers", "http://"+g.Status().Listen[0]

	var last struct {
		ID, Key, Password, Next, Field, Type, Plan string
		Labels                                     map[string]string
		Consumers                                  []struct{ Name string }
		Keys                                       []struct{ ID, Expires string }
	}
	var shown []string // every answer
	f := func(method, path, body string, want int, fields ...string) {
		t.Helper()
		status, text := ask(method, admin+path, body, fields...)
		if status != want {
			t.Errorf("%s %s %s: %d, want %d: %s", method, path, body, status, want, text)
		}
		shown = append(shown, text)
		last.ID, last.Key, last.Password, last.Next, last.Field, last.Labels, last.Consumers, last.Keys = "", "", "", "", "", nil, nil, nil
		if text != "" {
			if err := json.Unmarshal([]byte(text), &last); err != nil {
				t.Errorf("%s %s: %v in %s", method, path, err, text)
			}
		}
	}
	key := func(key string, want int) {
		t.Helper()
		if got := statusWith(t, web+"/a", "X-Api-Key", key); got != want {
			t.Errorf("%s gets %d, want %d", key, got, want)
		}
	}

	f("GET", "/partners/bolt", "", 404)
	f("POST", "/partners/bolt/keys", "", 404)
	f("PUT", "/partners/bolt", `{"plan": "silver", "scopes": ["read"], "labels": {"region": "eu", "x": "y"}}`, 201, "If-None-Match", "*")
	f("PUT", "/partners/bolt", `{}`, 412, "If-None-Match", "*")
	f("PUT", "/partners/bolt", `{"plan": "silver", "labels": {"region": "eu", "x": "y"}}`, 200)
	f("PATCH", "/partners/bolt", `{"plan": "gold", "labels": {"x": null}}`, 200, "If-Match", `"2"`)
	if last.Plan != "gold" || fmt.Sprint(last.Labels) != "map[region:eu]" {
		t.Errorf("it became %+v", last)
	}
	f("PATCH", "/partners/bolt", `{"plan": "free"}`, 412, "If-Match", `"2"`)
	f("PATCH", "/partners/bolt", `{"plan": "free"}`, 412, "If-Match", `W/"3"`)
	f("DELETE", "/partners/bolt", ``, 412, "If-Match", `"2"`)

	f("POST", "/partners/bolt/keys", `{"prefix": "sk_live"}`, 201)
	first, id := last.Key, last.ID
	key(first, 200)
	f("POST", "/partners/bolt/keys/"+id+"/rotate", `{"overlap": "1h"}`, 201)
	second := last.Key
	key(first, 200)
	key(second, 200)
	f("DELETE", "/partners/bolt/keys/"+id, "", 200)
	key(first, 401)
	key(second, 200)
	f("DELETE", "/partners/bolt/keys/"+id, "", 404)
	f("POST", "/partners/bolt/keys", `{"expires": "2099-01-31T12:00:00+01:00"}`, 201)
	f("POST", "/partners/bolt/passwords", `{"password": "planted-password"}`, 201)
	f("POST", "/partners/bolt/passwords", ``, 201)
	made := last.Password
	basic := func(password string, want int) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, web+"/b", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("bolt", password)
		if got := statusWith(t, web+"/b", "Authorization", r.Header.Get("Authorization")); got != want {
			t.Errorf("a password gets %d, want %d", got, want)
		}
	}
	basic("planted-password", 200)
	basic(made, 200)
	f("DELETE", "/partners/bolt/passwords/"+last.ID, "", 200)
	basic(made, 401)

	// A reload changes nothing of it.
	if _, err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	key(second, 200)

	for _, name := range []string{"anne", "bert", "carl"} {
		f("PUT", "/partners/"+name, "{}", 201)
	}
	names, after := "", ""
	for range 10 {
		f("GET", "?limit=2&after="+after, "", 200)
		for _, c := range last.Consumers {
			names += c.Name + " "
		}
		if after = last.Next; after == "" {
			break
		}
	}
	if want := "acme anne bert bolt carl "; names != want {
		t.Errorf("the pages have %q, want %q", names, want)
	}
	f("GET", "?limit=0", "", 400)
	f("GET", "?limit=1001", "", 400)

	wrong := func(method, path, body string, status int, field string) {
		t.Helper()
		f(method, path, body, status)
		if last.Field != field {
			t.Errorf("%s %s %s: the field is %q, want %q", method, path, body, last.Field, field)
		}
	}
	wrong("PUT", "/partners/bolt", `{"plam": "gold"}`, 422, `"plam"`)
	wrong("PUT", "/partners/bolt", `{"Plan": "gold"}`, 422, `"Plan"`)
	wrong("PUT", "/partners/bolt", `{"plan": "gold", "plan": "free"}`, 422, "plan")
	wrong("PUT", "/partners/bolt", `{"plan": 7}`, 422, "plan")
	wrong("PUT", "/partners/bolt", `{"plan": null}`, 422, "plan")
	wrong("PUT", "/partners/bolt", `{"plan": "a\nb"}`, 422, "plan")
	wrong("PUT", "/partners/bolt", `{"scopes": "read"}`, 422, "scopes")
	wrong("PUT", "/partners/bolt", `{"scopes": ["read write"]}`, 422, "scopes[0]")
	wrong("PUT", "/partners/bolt", `{"scopes": [null]}`, 422, "scopes[0]")
	wrong("PUT", "/partners/bolt", `{"labels": {"plan": "x"}}`, 422, "labels")
	wrong("PUT", "/partners/bolt", `{"labels": {"a": "x", "a": "y"}}`, 422, "labels")
	wrong("PUT", "/partners/bolt", `{"labels": {"a": null}}`, 422, "labels")
	wrong("PUT", "/partners/Bolt", `{}`, 422, "name")
	wrong("PUT", "/partners/bolt", ``, 400, "")
	wrong("PATCH", "/partners/bolt", ``, 400, "")
	wrong("PUT", "/partners/bolt", `[]`, 400, "")
	wrong("PUT", "/partners/bolt", `{} {}`, 400, "")
	wrong("PUT", "/partners/bolt", "{\"plan\": \"\xff\"}", 400, "")
	wrong("PUT", "/partners/bolt", `{"plan": "`+strings.Repeat("x", 300)+`"}`, 422, "plan")
	wrong("POST", "/partners/bolt/keys", `{"prefix": "a b"}`, 422, "prefix")
	wrong("POST", "/partners/bolt/keys", `{"expires": "2001-01-31T12:00:00Z"}`, 422, "expires")
	wrong("POST", "/partners/bolt/keys", `{"expires": "2001-01-31"}`, 422, "expires")
	wrong("POST", "/partners/bolt/keys", `{"expires": "2099-02-30"}`, 422, "expires")
	wrong("POST", "/partners/bolt/keys", `{"expires": 4070908800}`, 422, "expires")
	wrong("POST", "/partners/bolt/keys", `{"key": "mine"}`, 422, `"key"`)
	wrong("POST", "/partners/bolt/passwords", `{"password": "short"}`, 422, "password")
	wrong("POST", "/partners/bolt/keys/x/rotate", `{"overlap": "-1h"}`, 422, "overlap")
	wrong("DELETE", "/partners/bolt", `{"plan": "gold"}`, 422, `"plan"`)
	f("POST", "/partners/bolt/keys", `{"expires": "2099-01-31"}`, 201)
	expiring := last.ID
	f("GET", "/partners/bolt", "", 200)
	if !slices.ContainsFunc(last.Keys, func(k struct{ ID, Expires string }) bool {
		return k.ID == expiring && k.Expires == "2099-02-01T00:00:00Z"
	}) {
		t.Errorf("a key that is good on a day, too, is one of %+v", last.Keys)
	}
	f("PUT", "/partners/acme", `{}`, 409)
	f("PUT", "/others/bolt", `{}`, 404)
	f("GET", "/partners", "", 404)
	f("POST", "/partners/bolt", `{}`, 405)
	f("GET", "/partners/bolt/keys", ``, 405)
	f("PUT", "/partners/bolt/keys/x/rotate/y", ``, 404)
	f("PUT", "/partners/bolt", `{"plan": "`+strings.Repeat("x", 70_000)+`"}`, 413, "Expect", "100-continue")
	f("PUT", "/partners/evil", `{}`, 403, "Origin", "https://evil.example")
	f("PUT", "/partners/evil", `{}`, 403, "Sec-Fetch-Site", "cross-site")
	f("DELETE", "/partners/bolt", ``, 204)
	key(second, 401)
	basic("planted-password", 401)
	f("DELETE", "/partners/bolt", ``, 404)

	// Keys are shown once, and nothing else of them anywhere.
	for secret, times := range map[string]int{first: 1, second: 1, made: 1, "planted-password": 0} {
		if got := strings.Count(strings.Join(shown, "\n"), secret); got != times {
			t.Errorf("a secret was answered %d times, want %d", got, times)
		}
		if strings.Contains(logged.String(), secret) {
			t.Error("a secret is in the log")
		}
		if data, err := os.ReadFile(filepath.Join(state, "consumers.db")); err != nil || bytes.Contains(data, []byte(secret)) {
			t.Errorf("a secret is in the file: %v", err)
		}
		if _, text := get("http://" + g.adminAddress() + "/metrics"); strings.Contains(text, secret) {
			t.Error("a secret is in the metrics")
		}
	}
	for _, line := range []string{`"edit":"key made","group":"partners","consumer":"bolt","by":"127.0.0.1:`, `"edit":"key rotated"`, `"instead_of":"` + id, `"edit":"removed"`} {
		if !strings.Contains(logged.String(), line) {
			t.Errorf("%s is not in the log", line)
		}
	}
}

// TestConsumersBroken: what needs the file is closed, what does not goes on, and the gateway says so.
func TestConsumersBroken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "sluice.yaml"), storing(dir))
	db := writeFile(t, filepath.Join(dir, "consumers.db"), strings.Repeat("garbage ", 4096))
	p := launch(t, "run", "-c", file)
	web, admin := "http://"+p.address("web"), "http://"+p.address("admin")
	f := func(url string, want int, wantText string, fields ...string) {
		t.Helper()
		if status, text := ask(http.MethodGet, url, "", fields...); status != want || !strings.Contains(text, wantText) {
			t.Errorf("%s: %d %s, want %d %s", url, status, text, want, wantText)
		}
	}
	eventually(t, "it is closed", func() bool {
		status, text := get(admin + "/readyz")
		return status == 503 && strings.Contains(text, "cannot open the file of consumers")
	})
	f(web+"/a", 503, "consumers_unavailable", "X-Api-Key", "password")
	f(web+"/b", 503, "consumers_unavailable")
	f(web+"/c", 200, "open")
	f(admin+"/v1/consumers/partners/bolt", 503, "consumers_unavailable")
	f(admin+"/v1/consumers", 200, `"missing": "stored consumers`)
	f(admin+"/metrics", 200, "sluice_consumer_store_up 0")
	if err := os.Remove(db); err != nil {
		t.Fatal(err)
	}
	if status, text := call(http.MethodPost, admin+"/v1/reload"); status != 200 {
		t.Fatal(status, text)
	}
	f(web+"/a", 200, "", "X-Api-Key", "password")
	f(admin+"/readyz", 200, "")

	// A second gateway with the same folder is told, and closed.
	second := launch(t, "run", "-c", file)
	f("http://"+second.address("web")+"/a", 503, "consumers_unavailable", "X-Api-Key", "password")
	f("http://"+second.address("admin")+"/readyz", 503, "another process has it open")
	f(web+"/a", 200, "", "X-Api-Key", "password")

	// When the first one is gone, the second finds out by itself.
	p.signal(os.Kill)
	eventually(t, "the second gateway opens", func() bool { status, _ := get("http://" + second.address("admin") + "/readyz"); return status == 200 })
	f("http://"+second.address("web")+"/a", 200, "", "X-Api-Key", "password")
}

// syncedBuffer is written by many.
type syncedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
