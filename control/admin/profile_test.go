package admin

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/control/profiling"
)

func TestProfiles(t *testing.T) {
	address, _ := serve(t, &fake{}, Options{Private: true})
	f := func(query string, want int, part string) {
		t.Helper()
		status, header, body := ask(t, address, "GET", "/debug/pprof/"+query)
		if status != want || !strings.Contains(body, part) {
			t.Errorf("%s: status %d, want %d with %q: %.200q", query, status, want, part, body)
		}
		if want == 200 && header.Get("Content-Type") == "" {
			t.Errorf("%s has no type", query)
		}
	}
	const gzip, trace = "\x1f\x8b", "go 1."
	f("", 200, "goroutine")
	f("cmdline", 200, filepath.Base(os.Args[0]))
	f("symbol", 200, "num_symbols")
	f("heap", 200, gzip)
	f("allocs", 200, gzip)
	f("goroutine", 200, gzip)
	f("threadcreate", 200, gzip)
	f("profile?seconds=0.1", 200, gzip)
	f("profile?seconds=1", 200, gzip)
	f("trace?seconds=0.05", 200, trace)
	f("mutex?seconds=1", 200, gzip)
	f("mutex?debug=1", 200, "mutex:")
	f("block?debug=1", 200, "contention:")
	f("heap?seconds=1", 200, gzip)
	f("nonsense", 404, "Unknown profile")

	f("profile?seconds=61", 400, "bad_seconds")
	f("profile?seconds=0", 400, "bad_seconds")
	f("trace?seconds=-1", 400, "bad_seconds")
	f("heap?seconds=NaN", 400, "bad_seconds")
	f("heap?seconds=many", 400, "bad_seconds")
	f("heap?seconds=0.5", 400, "a whole number")
	f("mutex?seconds=1.5", 400, "a whole number")
	f("mutex?seconds=1&debug=1", 400, "incompatible")
}

// TestOneProfileAtATime: who comes second is told when to come again; what takes no time is served meanwhile.
func TestOneProfileAtATime(t *testing.T) {
	address, _ := serve(t, &fake{}, Options{Private: true})
	end, err := profiling.Begin(7 * time.Second) // the continuous profiler, say
	if err != nil {
		t.Fatal(err)
	}
	f := func(query string, want int) {
		t.Helper()
		status, header, body := ask(t, address, "GET", "/debug/pprof/"+query)
		if status != want {
			t.Errorf("%s: status %d, want %d: %s", query, status, want, body)
		}
		if want != 503 {
			return
		}
		if after, err := strconv.Atoi(header.Get("Retry-After")); err != nil || after < 1 || after > 7 || !strings.Contains(body, "urn:sluice:problem:profile_running") {
			t.Errorf("%s: Retry-After %q, and %s", query, header.Get("Retry-After"), body)
		}
	}
	f("profile", 503)
	f("trace?seconds=1", 503)
	f("heap?seconds=1", 503)
	f("mutex", 503)
	f("block", 503)
	f("heap", 200)
	f("goroutine?debug=2", 200)
	end()
	f("trace?seconds=0.05", 200)
	f("profile?seconds=0.05", 200)
}

// TestContention: locks are sampled while somebody asks, and what came before does not show.
func TestContention(t *testing.T) {
	address, _ := serve(t, &fake{}, Options{Private: true})
	done := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				contend()
			}
		}
	})
	shows := func(kind string) bool {
		t.Helper()
		status, _, body := ask(t, address, "GET", "/debug/pprof/"+kind+"?seconds=1")
		if status != 200 {
			t.Fatalf("%s: %d %s", kind, status, body)
		}
		unpacked, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(unpacked)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "admin.contend") // the names of functions are text in it
	}
	for _, kind := range []string{"mutex", "block"} {
		// Some only are sampled, of as many as there are in a second.
		for end := time.Now().Add(30 * time.Second); !shows(kind); {
			if time.Now().After(end) {
				t.Fatalf("the profile %s does not show who fights over locks", kind)
			}
		}
	}
	close(done)
	working.Wait()
	for _, kind := range []string{"mutex", "block"} {
		if shows(kind) {
			t.Errorf("the profile %s shows what came before", kind)
		}
	}
	if got := runtime.SetMutexProfileFraction(-1); got != 0 {
		t.Errorf("mutexes are sampled after it, 1 in %d", got)
	}
}

// TestCloseCutsProfiles: a gateway that ends does not wait for a profile, and who asked for it gets what there is.
func TestCloseCutsProfiles(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(&fake{}, Options{Private: true})
	s.Listen(nl)
	got := make(chan string, 1)
	begin := time.Now()
	go func() {
		for {
			res, err := http.Get("http://" + nl.Addr().String() + "/debug/pprof/profile?seconds=60")
			if err != nil {
				got <- err.Error()
				return
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode == 503 {
				continue // the loop below had the turn for a moment
			}
			got <- fmt.Sprintf("%d %v %.2q", res.StatusCode, err, body)
			return
		}
	}()
	for running := false; !running && time.Since(begin) < 10*time.Second; time.Sleep(time.Millisecond) {
		end, err := profiling.Begin(time.Second)
		if running = err != nil; !running {
			end()
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if answer := <-got; answer != `200 <nil> "\x1f\x8b"` {
		t.Errorf("the answer is %s", answer)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// contend makes goroutines wait for each other.
func contend() {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				mu.Lock()
				time.Sleep(100 * time.Microsecond)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestStoredProfiles(t *testing.T) {
	parent := t.TempDir()
	folder := filepath.Join(parent, "profiles")
	const cpu, trace, reason = "20260131T120000.000Z.cpu.pprof", "20260131T120500.000Z.capture.trace", "20260131T120500.000Z.capture.reason.txt"
	g := &fake{}
	address, s := serve(t, g, Options{Private: true})
	f := func(method, path string, want int, parts ...string) http.Header {
		t.Helper()
		status, header, body := ask(t, address, method, path)
		if status != want {
			t.Errorf("%s %s: status %d, want %d: %s", method, path, status, want, body)
		}
		for _, part := range parts {
			if !strings.Contains(body, part) {
				t.Errorf("%s %s: no %q in %s", method, path, part, body)
			}
		}
		return header
	}
	f("GET", "/v1/profiles", 200, `"on": false`, `"profiles": []`)
	f("GET", "/v1/profiles/"+cpu, 404, "Continuous profiling is off")
	g.ring = profiling.NewRing(folder, 10, 1<<20)
	f("GET", "/v1/profiles", 200, `"on": true`, `"folder": "`+folder+`"`, `"profiles": []`)
	f("GET", "/v1/profiles/"+cpu, 404)

	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(folder, cpu), "samples")
	write(filepath.Join(folder, trace), strings.Repeat("event ", 1<<20))
	write(filepath.Join(folder, reason), "slow")
	write(filepath.Join(folder, "secret"), "hunter2")
	write(filepath.Join(parent, cpu), "hunter2")
	f("GET", "/v1/profiles", 200, `"name": "`+cpu+`"`, `"kind": "cpu"`, `"capture": true`, `"taken": "2026-01-31T12:05:00Z"`, `"bytes": 7`)
	h := f("GET", "/v1/profiles/"+cpu, 200, "samples")
	if h.Get("Content-Type") != "application/octet-stream" || h.Get("Content-Length") != "7" || h.Get("Content-Disposition") != `attachment; filename="`+cpu+`"` {
		t.Errorf("the head is %v", h)
	}
	h = f("GET", "/v1/profiles/"+reason, 200, "slow")
	if h.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the head is %v", h)
	}
	f("HEAD", "/v1/profiles/"+cpu, 200)
	if _, _, body := ask(t, address, "GET", "/v1/profiles/"+trace); len(body) != 6<<20 {
		t.Errorf("%d bytes of the trace arrived", len(body))
	}
	for _, path := range []string{
		"", "secret", "../secret", "..%2f" + cpu, "%2e%2e/" + cpu, "..%5c" + cpu, cpu + "/", cpu + "%00", "./" + cpu + "x",
		"%2fetc%2fpasswd", "/etc/passwd", "20260131T120000.000Z.heap.pprof", cpu + "/../secret", strings.Repeat("a", 5000),
	} {
		f("GET", "/v1/profiles/"+path, 404)
	}
	f("POST", "/v1/profiles", 405)
	f("DELETE", "/v1/profiles/"+cpu, 405)

	// It holds for these paths, too, who is let in.
	s.Set(Options{Private: true, Token: "0123456789abcdef"})
	f("GET", "/v1/profiles", 401)
	f("GET", "/v1/profiles/"+cpu, 401)
	s.Set(Options{})
	f("GET", "/v1/profiles/"+cpu, 403)
	s.Set(Options{Private: true})

	// Nothing stays open.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, folder) {
			t.Errorf("%s is still open", target)
		}
	}
}
