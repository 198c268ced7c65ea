package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/control/profiling"
)

// TestProfileFetches takes every kind from a gateway that works, over TCP, and some over a unix socket, each with a
// token, and reads them with Go's own tools.
func TestProfileFetches(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "admin.sock")
	const token = "0123456789abcdef0123"
	f := func(address string, wanted []string, more ...string) {
		t.Helper()
		config := strings.Replace(listenBlock("127.0.0.1:0"), "admin: off", "admin: { address: \""+address+"\", token: "+token+" }", 1) + pingRoute
		p := launch(t, "run", "-c", writeFile(t, filepath.Join(dir, "sluice.yaml"), config))
		web, admin := p.address("web"), p.address("admin")
		stop, _ := hammer(t, "http://"+web+"/ping")
		out := filepath.Join(t.TempDir(), "some where")
		args := slices.Concat([]string{"profile", "--admin", admin, "--for", "500ms", "-o", out}, wanted, more)
		stdout, stderr, code := sluice(t, dir, args...)
		stop()
		if code != 0 || strings.Contains(stdout+stderr, token) {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
		expected := kinds
		if len(wanted) > 0 {
			expected = slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !slices.Contains(wanted, k.name) })
		}
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		if len(lines) != len(expected) {
			t.Fatalf("there are %d lines, want %d:\n%s", len(lines), len(expected), stdout)
		}
		for i, k := range expected {
			cells := strings.Split(lines[i], "\t")
			if len(cells) != 3 || cells[0] != k.name || cells[2] != k.read+" '"+cells[1]+"'" || !strings.HasSuffix(cells[1], k.ending) {
				t.Errorf("the line for %s is %q", k.name, lines[i])
				continue
			}
			if info, err := os.Stat(cells[1]); err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
				t.Errorf("%s: %v, %v", cells[1], info, err)
			}
			readable(t, k.name, cells[1])
		}
		if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder: %v, %v", info, err)
		}
		p.signal(os.Interrupt)
		p.exit()
	}
	tokenFile := writeFile(t, filepath.Join(dir, "token"), token+"\n")
	f("127.0.0.1:0", nil, "--token-file", tokenFile)
	t.Setenv(adminTokenVariable, token)
	f("unix:"+socket, []string{"cpu", "goroutine"})
}

// hammer has 16 clients send requests until stop is called, or the test has failed. longest is what one of them has had to wait so far.
func hammer(t *testing.T, url string) (stop func(), longest func() time.Duration) {
	var over atomic.Bool
	var longestYet atomic.Int64
	var clients sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	for range 16 {
		clients.Go(func() {
			for !over.Load() && !t.Failed() {
				began := time.Now()
				res, err := client.Get(url)
				took := int64(time.Since(began))
				for old := longestYet.Load(); took > old && !longestYet.CompareAndSwap(old, took); old = longestYet.Load() {
				}
				if err != nil {
					t.Error(err)
					return
				}
				_ = res.Body.Close() // it has nothing more to say
			}
		})
	}
	stop = func() {
		over.Store(true)
		clients.Wait()
		client.CloseIdleConnections()
	}
	t.Cleanup(stop) // a second time does no harm
	return stop, func() time.Duration { return time.Duration(longestYet.Load()) }
}

// readable has the tools of Go read a profile: in its report must be what only such a profile holds.
func readable(t *testing.T, kind, file string) {
	t.Helper()
	args, want := []string{"tool", "pprof", "-top", file}, map[string]string{
		"cpu": "Type: cpu", "heap": "Type: inuse_space", "allocs": "Type: alloc_space", "goroutine": "Type: goroutine", "mutex": "Type: delay", "block": "Type: delay",
	}[kind]
	if kind == "trace" {
		args, want = []string{"tool", "trace", "-d=parsed", file}, "StateTransition"
	}
	text, err := exec.Command("go", args...).CombinedOutput()
	if err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s cannot be read: %v\n%.500s", file, err, text)
	}
	if kind == "goroutine" && !strings.Contains(string(text), "runtime.gopark") {
		t.Errorf("no goroutine is in the profile:\n%s", text)
	}
}

// TestProfileErrors: what stands in the way is said in a sentence, and leaves no file.
func TestProfileErrors(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed, with %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	var mode atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem := func(status int, code, detail string) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			text, err := json.Marshal(detail)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, `{"type":"urn:sluice:problem:%s","detail":%s}`, code, text)
		}
		switch mode.Load() {
		case "token":
			problem(401, "token_required", "Send the admin token.")
		case "foreign":
			problem(403, "foreign_host", "The Host is\x1b[2J not this listener's.")
		case "busy":
			w.Header().Set("Retry-After", "3600")
			problem(503, "profile_running", "One at a time.")
		case "redirect":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "other":
			http.NotFound(w, r)
		case "off":
			fmt.Fprint(w, `{"on":false,"profiles":[]}`)
		case "empty":
			fmt.Fprint(w, `{"on":true,"folder":"/p","profiles":[]}`)
		case "nonsense":
			fmt.Fprint(w, `<html>`)
		case "evil":
			fmt.Fprint(w, `{"on":true,"folder":"/p","profiles":[{"name":"../../evil.cpu.pprof","kind":"cpu"},{"name":"/etc/cron.d/x","kind":"cpu"}]}`)
		case "short":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "only this")
		}
	}))
	defer s.Close()
	f := func(m, line string, want string) {
		t.Helper()
		mode.Store(m)
		args := strings.Fields(strings.ReplaceAll(line, "SERVER", strings.TrimPrefix(s.URL, "http://")))
		stdout, stderr, code := sluice(t, dir, append(args, "-o", out)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, want) || strings.Contains(stderr, "\x1b") || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: %s: exit code %d, want %q in\n%s%s", m, line, code, want, stdout, stderr)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*out*", "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: %s left %v behind (%v)", m, line, left, err)
		}
	}
	nobody := freePort(t)
	writeFile(t, filepath.Join(dir, "token"), "hunter2hunter2hunter2")
	writeFile(t, filepath.Join(dir, "empty"), "\n")
	writeFile(t, filepath.Join(dir, "binary"), "hunter2\x00hunter2")

	f("", "profile heap --admin "+nobody, "cannot reach the admin listener at "+nobody+": ")
	f("", "profile heap --admin "+nobody, "connection refused; --admin names another address")
	f("", "profile heap --admin unix:/nowhere.sock", "cannot reach the admin listener at unix:/nowhere.sock: ")
	f("", "profile heap --admin ftp://x:1", "--admin wants host:port")
	f("", "profile heap --admin http://u:hunter2@x:1", "--admin wants host:port")
	f("", "profile heap --admin nonsense", "--admin wants host:port")
	f("", "profile heap --admin x:1/path", "--admin wants host:port")
	f("", "profile hepa", `there is no profile "hepa": cpu, mutex, block, trace, heap, allocs, goroutine`)
	f("", "profile mutex --recent", `there is no profile "mutex": cpu, heap, goroutine, trace, reason`)
	f("", "profile --for 2m", "--for wants a time from 100ms to 1m0s, got 2m0s")
	f("", "profile --recent --count 0", "--count wants a number")
	f("", "profile heap --admin SERVER --token-file missing", "cannot read the token: ")
	f("", "profile heap --admin SERVER --token-file empty", "there is no token in empty")
	f("", "profile heap --admin SERVER --token-file binary", "what is in binary is no token")

	f("token", "profile --admin SERVER", "wants a token: --token-file FILE, or SLUICE_ADMIN_TOKEN in the environment")
	f("token", "profile --admin SERVER --token-file token", "does not take this token")
	f("foreign", "profile heap --admin SERVER", "answers 403: The Host is [2J not this listener's\n")
	f("busy", "profile cpu --admin SERVER", "cpu: another profile is being taken; try again in 1h0m0s")
	f("redirect", "profile heap --admin SERVER --token-file token", "answers 302, and may be no admin listener of Sluice")
	f("other", "profile heap --admin SERVER", "has no such page, and may be no admin listener of Sluice")
	f("short", "profile heap --admin SERVER", "broke off after 9 bytes")
	f("off", "profile --recent --admin SERVER", "continuous profiling is off at ")
	f("empty", "profile --recent --admin SERVER", "there is no such profile yet in /p of ")
	f("nonsense", "profile --recent --admin SERVER", "is not what an admin listener of Sluice sends")
	f("evil", "profile --recent --admin SERVER", "there is no such profile yet")
	f("other", "profile --recent --admin SERVER", "has no such page")

	// One that is in the way for a moment is waited for.
	var asked atomic.Int32
	once := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(503)
			fmt.Fprint(w, `{"type":"urn:sluice:problem:profile_running"}`)
			return
		}
		fmt.Fprint(w, "samples")
	}))
	defer once.Close()
	file := filepath.Join(dir, "cpu.pprof")
	stdout, stderr, code := sluice(t, dir, "profile", "cpu", "--admin", once.URL, "-o", file)
	if code != 0 || readText(t, file) != "samples" || !strings.Contains(stderr, "Waiting up to 1s") || !strings.Contains(stdout, "go tool pprof -top "+file) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestAdminAnswersAreBounded: what does not end is not read for ever.
func TestAdminAnswersAreBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 64<<10)
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	c, err := newAdminClient(s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.get(t.Context(), "/", 0, 1<<20, &b); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") || b.Len() > 1<<20+1 {
		t.Errorf("%d bytes and %v", b.Len(), err)
	}
}

func TestExposed(t *testing.T) {
	f := func(address, token string, want bool) {
		t.Helper()
		c, err := newAdminClient(address, token)
		if err != nil || c.exposed() != want {
			t.Errorf("%s: %v, %v", address, c, err)
		}
	}
	f("127.0.0.1:9180", "x", false)
	f("[::1]:9180", "x", false)
	f("localhost:9180", "x", false)
	f("unix:/run/a.sock", "x", false)
	f("https://gateway.example", "x", false)
	f("10.0.0.1:9180", "", false)
	f("10.0.0.1:9180", "x", true)
	f("http://gateway.example:9180", "x", true)
}

func TestShellQuoted(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if got := shellQuoted(s); got != want {
			t.Errorf("%q is quoted as %s, want %s", s, got, want)
		}
	}
	f("./a-b_c.pprof", "./a-b_c.pprof")
	f("a b", "'a b'")
	f("it's", `'it'\''s'`)
	f("", "''")
	f("$(x)", "'$(x)'")
}

func TestChoose(t *testing.T) {
	file := func(minute int, capture bool, kind string) profiling.File {
		ending := ".pprof"
		if kind == "trace" {
			ending = ""
		}
		middle := "."
		if capture {
			middle = ".capture."
		}
		name := fmt.Sprintf("20260131T12%02d00.000Z%s%s%s", minute, middle, kind, ending)
		p, ok := profiling.ParseName(name)
		if !ok {
			t.Fatal(name)
		}
		return p
	}
	all := []profiling.File{
		file(9, false, "cpu"), file(9, false, "heap"), file(7, true, "cpu"), file(7, true, "trace"), file(4, false, "cpu"), file(4, false, "heap"), file(2, true, "cpu"),
	}
	f := func(want string, count int, kinds ...string) {
		t.Helper()
		var got []string
		for _, p := range choose(all, kinds, count) {
			got = append(got, fmt.Sprintf("%d %s", p.Taken.Minute(), p.Kind))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("got %q, want %q", strings.Join(got, ", "), want)
		}
	}
	f("9 cpu, 9 heap, 7 cpu, 7 trace", 1)
	f("9 cpu, 7 cpu, 4 cpu, 2 cpu", 2, "cpu")
	f("7 trace", 5, "trace")
	f("", 1, "goroutine")
}

// TestCaptureEndToEnd: requests become slow, and what the gateway did then is on its disk, in its log and in its metrics.
func TestCaptureEndToEnd(t *testing.T) {
	slow := make(chan struct{})
	var slowly atomic.Bool
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slowly.Load() && asked.Add(1)%10 == 0 { // longer than a busy machine keeps 1 % of them waiting
			select {
			case <-time.After(700 * time.Millisecond):
			case <-slow:
			}
		}
	}))
	defer origin.Close()
	defer close(slow)
	dir := t.TempDir()
	folder := filepath.Join(dir, "state", "profiles")
	file := filepath.Join(dir, "sluice.yaml")
	configure := func(profiling string) {
		t.Helper()
		writeFile(t, file, strings.Replace(listenBlock("127.0.0.1:0"), "admin: off", "admin: { address: \"127.0.0.1:0\", profiling: "+profiling+" }", 1)+
			"state: "+filepath.Join(dir, "state")+"\nservices: { o: \""+origin.URL+"\" }\nroutes: { all: { match: /**, to: o } }\n")
	}
	configure("off")
	p := launch(t, "run", "-c", file)
	web, admin := "http://"+p.address("web"), "http://"+p.address("admin")
	if _, body := get(admin + "/v1/profiles"); !strings.Contains(body, `"on": false`) {
		t.Errorf("off, the list is %s", body)
	}

	// A reload turns it on.
	configure("{ every: 2s, for: 200ms, keep: 3, capture_if: { p99: 500ms, over: 2s, at_most: 1/1h } }")
	if status, body := call("POST", admin+"/v1/reload"); status != 200 {
		t.Fatalf("reload: %d %s", status, body)
	}
	stop, longest := hammer(t, web+"/x")
	eventually(t, "a continuous profile", func() bool { return len(stored(t, admin, false, "heap")) > 0 })
	// All is not well on a machine that stands still for half a second: with 16 clients that may be 1 % of the requests.
	if got, waited := stored(t, admin, true, ""), longest(); len(got) > 0 && waited < 250*time.Millisecond {
		t.Errorf("captured while nobody waited longer than %v: %v", waited, got)
	}
	slowly.Store(true)
	eventually(t, "a capture", func() bool { return len(stored(t, admin, true, "reason")) > 0 })

	// What is on the disk can be read, and is what the API and the log speak of.
	capture := stored(t, admin, true, "")
	if len(capture) != 4 {
		t.Errorf("the capture is %v, want cpu, goroutine, trace and reason", capture)
	}
	for _, name := range capture {
		f, ok := profiling.ParseName(name)
		if !ok {
			t.Fatalf("the API names %q", name)
		}
		if f.Kind != "reason" {
			readable(t, f.Kind, filepath.Join(folder, name))
		} else if text := readText(t, filepath.Join(folder, name)); !strings.Contains(text, "and the threshold is 500ms") {
			t.Errorf("the reason is %q", text)
		}
		eventually(t, "the log says so", func() bool { return strings.Contains(p.log(), name) })
	}
	if n := strings.Count(p.log(), "captured what the gateway is doing: 1% of "); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	_, metrics := get(admin + "/metrics")
	for _, line := range []string{
		`sluice_profiling_captures_total{threshold="p99"} 1`, `sluice_profiling_captures_total{threshold="cpu"} 0`,
		`sluice_profiling_files_total{kind="trace"} 1`, "sluice_profiling_failures_total 0",
	} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("the metrics have no line %q", line)
		}
	}

	// The command fetches them.
	out := filepath.Join(dir, "fetched")
	stdout, stderr, code := sluice(t, dir, "profile", "--recent", "--admin", admin, "-o", out)
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, name := range capture {
		if got, want := readText(t, filepath.Join(out, name)), readText(t, filepath.Join(folder, name)); got != want {
			t.Errorf("%s was fetched with %d bytes, it has %d", name, len(got), len(want))
		}
	}
	for _, part := range []string{"\tgo tool trace ", "\tgo tool pprof -top ", "\tcat "} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in\n%s", part, stdout)
		}
	}

	// The ring stays small, and who asks for a profile beside the continuous ones gets it.
	if stdout, stderr, code := sluice(t, dir, "profile", "cpu", "--for", "4s", "--admin", admin, "-o", filepath.Join(dir, "own.pprof")); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	eventually(t, "the ring is full", func() bool { return len(stored(t, admin, false, "heap")) == 3 })
	if got := stored(t, admin, true, "reason"); len(got) != 1 {
		t.Errorf("there are %d captures, want 1 an hour", len(got))
	}

	stop()

	// Another reload turns it off, and the files stay.
	configure("off")
	if status, body := call("POST", admin+"/v1/reload"); status != 200 {
		t.Fatalf("reload: %d %s", status, body)
	}
	if got := stored(t, admin, false, ""); len(got) != 0 {
		t.Errorf("off, the API lists %v", got)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*.capture.*")); err != nil || len(left) != 4 {
		t.Errorf("the folder holds %v (%v)", left, err)
	}
	p.signal(os.Interrupt)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// stored lists what the admin API has, captures or not, of a kind or all.
func stored(t *testing.T, admin string, capture bool, kind string) []string {
	t.Helper()
	status, body := get(admin + "/v1/profiles")
	var answer struct{ Profiles []profiling.File }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 {
		t.Fatalf("%d %v: %s", status, err, body)
	}
	var names []string
	for _, f := range answer.Profiles {
		if f.Capture == capture && (kind == "" || f.Kind == kind) {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}
