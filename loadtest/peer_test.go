package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stage is what a test needs: an origin, a folder and a plan.
func stage(t *testing.T) (p plan, backend, dir string) {
	t.Helper()
	dir, err := folder("", "loadtest-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	backend, child, err := startOrigin(t.Context(), "0", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(child.stop)
	return plan{rounds: 1, seconds: 1, threads: 1, proxy: "0", load: "0", shared: true, progress: io.Discard}, backend, dir
}

// TestPeersDoEachScenario starts every peer in every way that a scenario wants it, and makes a request: whoever does
// not accept its configuration, or answers something else, fails here and not in a run of an hour.
func TestPeersDoEachScenario(t *testing.T) {
	p, backend, dir := stage(t)
	for _, peer := range append([]peer{build(t)}, peers...) {
		t.Run(peer.name, func(t *testing.T) {
			if _, err := peer.find(); err != nil {
				t.Skip(err)
			}
			if _, err := peer.tells(); err != nil {
				t.Error(err)
			}
			for word, its := range byWord(peer.program) {
				to, err := p.launch(t.Context(), entrant{its[0], subject{peer, word}, 1, 0}, backend, dir)
				if err != nil {
					t.Errorf("%s with %q: %v", peer.name, word, err)
					continue
				}
				started := to.proxy
				for _, s := range its {
					if err := s.verify(t.Context(), started); err != nil {
						t.Errorf("%s with %q, scenario %s: %v", peer.name, word, s.name, err)
					}
				}
				if word == "" {
					seesClient(t, peer, started)
					upgrades(t, started)
				}
				if word == "scrape" {
					if err := scrapeOnce(t.Context(), started.metrics()); err != nil {
						t.Error(err)
					}
				}
				started.stop()
			}
		})
	}
}

// byWord are the scenarios that a program takes part in, by the word of its configuration.
func byWord(program string) map[string][]scenario {
	all := map[string][]scenario{}
	for _, s := range scenarios {
		if !slices.Contains(s.without, program) {
			all[s.needs] = append(all[s.needs], s)
			if s.with != "" {
				all[s.with] = append(all[s.with], s)
			}
		}
	}
	return all
}

// seesClient looks at what the origin is told, which is the work that the peers have to have in common.
func seesClient(t *testing.T, p peer, r *running) {
	t.Helper()
	response, err := http.Get("http://" + r.listen + "/head")
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	head, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	wanted := []string{"x-forwarded-for: 127.0.0.1\r\n"}
	if p.same || p.file == "sluice.yaml" {
		wanted = append(wanted, "x-forwarded-proto: http\r\n", "x-forwarded-host: "+r.listen+"\r\n", "forwarded: for=127.0.0.1;host=\""+r.listen+"\";proto=http\r\n", "x-request-id: ", "via: 1.1 ")
		if response.Header.Get("Via") == "" || response.Header.Get("X-Request-Id") == "" {
			t.Errorf("the response lacks Via or X-Request-Id: %v", response.Header)
		}
	}
	for _, field := range wanted {
		if n := strings.Count(strings.ToLower(string(head)), field); n != 1 {
			t.Errorf("%q is there %d times:\n%s", field, n, head)
		}
	}
}

func upgrades(t *testing.T, r *running) {
	t.Helper()
	fd, err := upgrade(r.listen, "/socket")
	if err != nil {
		t.Error(err)
		return
	}
	syscall.Close(fd)
}

// TestWrongRunsHaveNoFigures: a proxy that is dead, or quick to say something else, must not win.
func TestWrongRunsHaveNoFigures(t *testing.T) {
	p, backend, dir := stage(t)
	ours := build(t)
	f := func(what string, s scenario, spoil func(*running), complaint string) {
		t.Helper()
		to := started(t, p, ours, backend, dir)
		defer to.proxy.stop()
		spoil(to.proxy)
		to.path, to.url = s.path, "http://"+to.proxy.listen+s.path
		one, err := p.sample(t.Context(), entrant{s, subject{peer: ours}, 1, 0}, to)
		if err == nil || !strings.Contains(err.Error(), complaint) || one != (sample{}) {
			t.Errorf("%s: %+v, error %v; want no figures and %q", what, one, err, complaint)
		}
	}
	nothing := func(*running) {}
	if wrk, _ := (peer{program: "wrk"}).find(); wrk == "" {
		t.Skip("wrk is not installed")
	}
	f("not found", scenario{path: "/nothing", answer: anything}, nothing, "status")
	f("another body", scenario{path: "/100", answer: strings.Repeat("x", 5000)}, nothing, "an answer has")
	f("dead before", scenario{path: "/1k"}, func(r *running) { r.stop() }, "ended")
	f("dies", scenario{path: "/1k"}, func(r *running) {
		go func() {
			time.Sleep(300 * time.Millisecond)
			r.stop()
		}()
	}, "")
	f("no WebSocket", scenario{path: "/1k", load: echo{}, answer: anything}, nothing, "not accepted")
	f("nothing to hold", scenario{path: "/none", load: hold{connections: 10, rests: time.Millisecond}, answer: anything}, nothing, "not 200")

	other := scenario{path: "/1k", answer: "other"}
	if err := other.verify(t.Context(), started(t, p, ours, backend, dir).proxy); err == nil {
		t.Error("another answer was taken for the right one")
	}
}

func started(t *testing.T, p plan, who peer, backend, dir string) target {
	t.Helper()
	to, err := p.launch(t.Context(), entrant{scenario{path: "/1k"}, subject{peer: who}, 1, 0}, backend, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.stop)
	return to
}

// TestHold holds connections of each kind, and asks twice on each.
func TestHold(t *testing.T) {
	t.Parallel()
	p, backend, dir := stage(t)
	ours := build(t)
	f := func(word string) {
		t.Helper()
		to, err := p.launch(t.Context(), entrant{scenario{path: "/1k"}, subject{ours, word}, 1, 0}, backend, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer to.stop()
		held, err := startHolder(t.Context(), to, 20)
		if err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		if o, err := held.release(); err != nil || o.Requests != 40 {
			t.Errorf("%s: %d requests, %v", word, o.Requests, err)
		}
	}
	f("")
	f("tls")
	f("tls+h2")
}

// TestCompare is a small run of the whole.
func TestCompare(t *testing.T) {
	t.Parallel() // with the others that mostly wait
	if wrk, _ := (peer{program: "wrk"}).find(); wrk == "" {
		t.Skip("wrk is not installed")
	}
	ours := build(t)
	var progress strings.Builder
	p := plan{rounds: 1, seconds: 1, threads: 1, proxy: "0", load: "0", progress: &progress, peers: []peer{ours}}
	p.scenarios = []scenario{
		{name: "good", path: "/1k", with: "log"},
		{name: "echo", path: "/socket", load: echo{}, answer: anything},
		{name: "hold", path: "/100", load: hold{connections: 50, rests: time.Second}},
		{name: "bad", path: "/none", answer: anything},
	}
	r, err := p.compare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if failed := r.failed(); len(failed) != 1 || failed[0] != "bad" || r.Scenarios[3].Subjects != nil {
		t.Errorf("failed: %v, want bad alone, without figures:\n%s", failed, progress.String())
	}
	for _, s := range r.Scenarios[:3] {
		for _, one := range s.Subjects {
			if m := one.Median; m.Requests == 0 || m.Cost == 0 || s.Name != "hold" && (m.P99 < m.P50 || m.P50 == 0) {
				t.Errorf("%s %s: %+v", s.Name, one.label(), m)
			}
		}
	}
	if added := r.Scenarios[0].Subjects[1].Added; added == 0 {
		t.Error("what the log adds is missing")
	}
	dir := t.TempDir()
	var table strings.Builder
	if err := r.table(&table); err != nil || !strings.Contains(table.String(), "sluice+log") || !strings.Contains(table.String(), "FAILED") {
		t.Errorf("error %v, table:\n%s", err, table.String())
	}
	if err := r.write(dir + "/result.json"); err != nil {
		t.Error(err)
	}
	if err := r.chart(dir + "/chart.svg"); err != nil {
		t.Error(err)
	}
	if svg, err := os.ReadFile(dir + "/chart.svg"); err != nil || !strings.Contains(string(svg), "good") || strings.Contains(string(svg), ">bad<") {
		t.Errorf("error %v, chart:\n%s", err, svg)
	}
}

func TestPick(t *testing.T) {
	f := func(want string, names ...string) {
		t.Helper()
		got, err := pick(names, false)
		var all []string
		for _, s := range got {
			all = append(all, s.name)
		}
		if (err != nil) != (want == "") || strings.Join(all, " ") != want {
			t.Errorf("%q: %v, error %v; want %s", names, all, err, want)
		}
	}
	f("static", "static")
	f("idle static", "idle", "static", "idle")
	f("proxy-1k proxy-100k proxy-1m", "proxy*")
	f("", "nonsense")
	f("", "nonsense*")
	if quick, _ := pick(nil, false); len(quick) == 0 || slices.ContainsFunc(quick, func(s scenario) bool { return s.slow }) {
		t.Error("the quick run is empty, or has scenarios of the thorough one")
	}
	if all, _ := pick(nil, true); len(all) != len(scenarios) {
		t.Error("the thorough run lacks scenarios")
	}
	if _, err := choose(peers, []string{"nginx", "apache"}); err == nil || !strings.Contains(err.Error(), "apache") {
		t.Errorf("a peer that there is not: %v", err)
	}
}
