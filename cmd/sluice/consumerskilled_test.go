package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// storing is a gateway whose consumers are stored.
func storing(state string) string {
	return `version: 1
state: ` + state + `
admin: { address: "127.0.0.1:0" }
listen: { web: { address: "127.0.0.1:0" } }
consumers: { partners: { stored: true, acme: { plan: gold, keys: [{ hash: "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", prefix: pass }] } } }
policies: { key: { api_key: { consumers: partners } }, staff: { basic_auth: { consumers: partners } } }
routes:
  a: { match: /a, use: [key], respond: { headers: { X-User: $consumer, X-Plan: $consumer.plan } } }
  b: { match: /b, use: [staff], respond: { headers: { X-User: $consumer } } }
  c: { match: /c, respond: { text: open } }
`
}

// TestConsumersKilled kills a gateway in the middle of writes, some times; TestSoakConsumersKilled does it 200 times.
func TestConsumersKilled(t *testing.T) {
	t.Parallel()
	killConsumers(t, 15)
}

func TestSoakConsumersKilled(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	killConsumers(t, 200)
}

// killConsumers has clients edit stored consumers, kills the process with SIGKILL at a moment that nobody has chosen, and looks after the
// next start whether all is there that was acknowledged, whether what was revoked is gone, and whether of the edits under way each was made
// or was not.
func killConsumers(t *testing.T, rounds int) {
	dir := t.TempDir()
	config := writeFile(t, filepath.Join(dir, "sluice.yaml"), storing(filepath.Join(dir, "state")))
	var acknowledged atomic.Int64
	editors := make([]*editor, 4)
	for i := range editors {
		editors[i] = &editor{t: t, name: fmt.Sprint("editor-", i), keys: map[string]string{}, acknowledged: &acknowledged}
	}
	for round := range rounds + 1 {
		p := launch(t, "run", "-c", config)
		web, admin := "http://"+p.address("web"), "http://"+p.address("admin")
		eventually(t, "the gateway is ready", func() bool { status, _ := get(admin + "/readyz"); return status == 200 })
		for _, e := range editors {
			e.admin, e.web = admin, web
			e.compare()
		}
		if t.Failed() || round == rounds {
			break // the process is killed with the test
		}
		var editing sync.WaitGroup
		for _, e := range editors {
			editing.Go(func() {
				for e.edit() {
				}
			})
		}
		if before := acknowledged.Load(); round%2 == 1 { // on a slow machine the moment below may be too early for any edit
			eventually(t, "an edit", func() bool { return acknowledged.Load() > before || t.Failed() })
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		p.signal(os.Kill)
		editing.Wait()
		p.exit()
	}
	for _, e := range editors {
		e.tryKeys()
	}
	t.Logf("%d edits were acknowledged", acknowledged.Load())
	if n := acknowledged.Load(); n < int64(rounds/2) {
		t.Errorf("%d edits in %d rounds: nothing was in the middle of anything", n, rounds)
	}
}

// editor edits one consumer, and remembers what it was told.
type editor struct {
	t            *testing.T
	name         string
	admin, web   string
	exists       bool
	plan         string
	keys         map[string]string // by id; empty: it was made, and the answer got lost
	revoked      []string
	pending      pending
	edits        int
	acknowledged *atomic.Int64 // of all editors
}

// pending is an edit that was sent.
type pending struct {
	method, path, body string
	drops              string // the id of a key
	makes              bool
}

// told is what is read of answers.
type told struct {
	ID, Key, Plan string
	Keys          []struct{ ID string }
}

// edit makes one and reports whether it was acknowledged.
func (e *editor) edit() bool {
	e.edits++
	ids := make([]string, 0, len(e.keys))
	for id := range e.keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	p := pending{method: "PUT", body: fmt.Sprintf(`{"plan": "plan-%d"}`, e.edits)}
	switch n := rand.IntN(10); {
	case !e.exists, n == 0:
	case n == 1 && e.edits%3 == 0:
		p = pending{method: "DELETE"}
	case len(ids) < 3:
		p = pending{method: "POST", path: "/keys", makes: true}
	case n < 6:
		id := ids[rand.IntN(len(ids))]
		p = pending{method: "POST", path: "/keys/" + id + "/rotate", body: `{"overlap": "0s"}`, makes: true, drops: id}
	default:
		id := ids[rand.IntN(len(ids))]
		p = pending{method: "DELETE", path: "/keys/" + id, drops: id}
	}
	e.pending = p
	status, answer := e.send(p)
	switch {
	case status == 0:
		return false // it may have been made
	case status >= 300:
		e.t.Errorf("%s %s: %d", p.method, p.path, status)
		return false
	}
	e.apply(answer.ID, answer.Key)
	e.acknowledged.Add(1)
	return true
}

// apply does to what is known what the pending edit does.
func (e *editor) apply(id, key string) {
	p := e.pending
	e.pending = pending{}
	switch {
	case p.method == "PUT":
		e.exists, e.plan = true, strings.Split(p.body, `"`)[3]
	case p.method == "DELETE" && p.path == "":
		for id := range e.keys {
			e.revoke(id)
		}
		e.exists, e.plan = false, ""
	}
	if p.drops != "" {
		e.revoke(p.drops)
	}
	if p.makes {
		e.keys[id] = key
	}
}

func (e *editor) revoke(id string) {
	if e.keys[id] != "" {
		e.revoked = append(e.revoked, e.keys[id])
	}
	delete(e.keys, id)
}

// compare wants to find what was acknowledged, with the edit that was under way or without it.
func (e *editor) compare() {
	e.t.Helper()
	status, got := e.send(pending{method: "GET"})
	if status != 200 && status != 404 {
		e.t.Errorf("%s: %d after a start", e.name, status)
		return
	}
	if e.is(status == 200, got) {
		e.pending = pending{}
	} else if p := e.pending; p.method != "" {
		made := ""
		for _, k := range got.Keys {
			if _, known := e.keys[k.ID]; !known && p.makes {
				made = k.ID
			}
		}
		e.apply(made, "")
		if !e.is(status == 200, got) {
			e.t.Errorf("%s: %d %+v after %+v, want %v %s %v", e.name, status, got, p, e.exists, e.plan, e.keys)
		}
	} else {
		e.t.Errorf("%s: %d %+v, want %v %s %v", e.name, status, got, e.exists, e.plan, e.keys)
	}
	e.tryKeys()
}

func (e *editor) is(exists bool, got told) bool {
	if exists != e.exists || got.Plan != e.plan || len(got.Keys) != len(e.keys) {
		return false
	}
	for _, k := range got.Keys {
		if _, ok := e.keys[k.ID]; !ok {
			return false
		}
	}
	return true
}

// tryKeys wants those that are known to be good, and the last ones that were revoked not to be.
func (e *editor) tryKeys() {
	e.t.Helper()
	for id, key := range e.keys {
		if key != "" {
			if got := statusWith(e.t, e.web+"/a", "X-Api-Key", key); got != 200 {
				e.t.Errorf("the key %s of %s gets %d", id, e.name, got)
			}
		}
	}
	for _, key := range e.revoked[max(0, len(e.revoked)-3):] {
		if got := statusWith(e.t, e.web+"/a", "X-Api-Key", key); got != 401 {
			e.t.Errorf("a revoked key of %s gets %d", e.name, got)
		}
	}
}

func (e *editor) send(p pending) (int, told) {
	status, body := ask(p.method, e.admin+"/v1/consumers/partners/"+e.name+p.path, p.body)
	var answer told
	if status == 0 || status == 204 || status >= 300 {
		return status, answer
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return 0, answer // it has broken off: the status came, and not all of the body
	}
	return status, answer
}

// ask sends a body with header fields, and returns 0 if there is no whole answer.
func ask(method, url, body string, fields ...string) (int, string) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

func statusWith(t *testing.T, url, name, value string) int {
	t.Helper()
	status, _ := ask(http.MethodGet, url, "", name, value)
	return status
}
