package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/control/config"
)

// startGateway starts one in this process and ends it with the test.
func startGateway(t *testing.T, file string) *gateway {
	t.Helper()
	g := newGateway(source{name: file})
	if err := g.start(); err != nil {
		g.abandon()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := g.close(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

func listenBlock(addresses ...string) string {
	return "version: 1\nadmin: off\nlisten: { web: { address: [\"" + strings.Join(addresses, `", "`) + "\"] } }\n"
}

const pingRoute = "routes: { ping: { match: /ping, respond: { text: pong } } }\n"

func TestReloadMovesListeners(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sluice.yaml")
	a, b := freePort(t), freePort(t)
	f := func(address string, serves bool) {
		t.Helper()
		if status, body := get("http://" + address + "/ping"); (status == 200 && body == "pong") != serves || !serves && status != 0 {
			t.Errorf("%s answers %d %q", address, status, body)
		}
	}
	writeFile(t, file, listenBlock(a)+pingRoute)
	g := startGateway(t, file)
	f(a, true)
	f(b, false)

	// A connection on an address that stays never notices.
	kept := &http.Client{Transport: &http.Transport{}}
	ping := func() bool {
		t.Helper()
		res, err := kept.Get("http://" + a + "/ping")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode == 200
	}
	ping()
	accepted := g.server.Counts().Accepted
	reload := func(addresses ...string) error {
		t.Helper()
		writeFile(t, file, listenBlock(addresses...)+pingRoute)
		_, err := g.Reload()
		return err
	}
	if err := reload(a, b); err != nil {
		t.Fatal(err)
	}
	ping()
	if got := g.server.Counts().Accepted; got != accepted {
		t.Errorf("a reload cost a kept connection: %d were accepted, want %d", got, accepted)
	}
	kept.CloseIdleConnections()
	f(a, true)
	f(b, true)
	if err := reload(b); err != nil {
		t.Fatal(err)
	}
	f(a, false)
	f(b, true)

	// An address that cannot be had leaves everything as it was, what could be opened included.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	generation := g.Status().Generation
	err = reload(a, taken.Addr().String())
	var broken config.Problems
	if !errors.Is(err, syscall.EADDRINUSE) || errors.As(err, &broken) || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("the error is %v, want one about %s", err, taken.Addr())
	}
	f(a, false)
	f(b, true)
	if got := g.Status().Generation; got != generation {
		t.Errorf("generation %d, want %d", got, generation)
	}

	// What stands in the way may be the gateway itself.
	_, port, err := net.SplitHostPort(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := reload(":" + port); err == nil || !strings.Contains(err.Error(), "this gateway itself listens on "+b) {
		t.Errorf("the error is %v", err)
	}
	f(a, false)
	f(b, true)

	// After a failure a good one works again.
	if err := reload(a); err != nil {
		t.Fatal(err)
	}
	f(a, true)
	f(b, false)
}

func TestSeveralFreePorts(t *testing.T) {
	file := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), listenBlock("127.0.0.1:0", "127.0.0.1:0")+pingRoute)
	g := startGateway(t, file)
	before := g.Status().Listen
	if len(before) != 2 || before[0] == before[1] {
		t.Fatalf("it listens on %v", before)
	}
	if _, err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	for i, address := range g.Status().Listen {
		if status, _ := get("http://" + address + "/ping"); status != 200 || address != before[i] {
			t.Errorf("after a reload %s answers %d, before it was %s", address, status, before[i])
		}
	}
}

func TestAdminMovesAndEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	a, b := freePort(t), freePort(t)
	configure := func(section string) {
		t.Helper()
		writeFile(t, file, strings.Replace(listenBlock("127.0.0.1:0"), "admin: off", section, 1)+pingRoute)
	}
	configure("admin: { address: \"" + a + "\" }")
	startGateway(t, file)
	if status, _ := get("http://" + a + "/healthz"); status != 200 {
		t.Fatalf("the admin API answers %d", status)
	}
	configure("admin: { address: \"" + b + "\", token: 0123456789abcdef }")
	// The answer comes over a connection of the listener that ends with it.
	if status, body := call("POST", "http://"+a+"/v1/reload"); status != 200 {
		t.Fatalf("reload: %d %s", status, body)
	}
	for url, want := range map[string]int{a + "/healthz": 0, b + "/healthz": 200, b + "/v1/status": 401} {
		if status, _ := get("http://" + url); status != want {
			t.Errorf("%s: %d, want %d", url, status, want)
		}
	}
}

func TestUnixSockets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.sock")
	file := writeFile(t, filepath.Join(dir, "sluice.yaml"), listenBlock("unix:"+path)+pingRoute)

	// A socket of a process that died.
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	g := newGateway(source{name: file})
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("the socket has mode %v (%v)", info.Mode(), err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	res, err := client.Get("http://localhost/ping")
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("no answer over the socket: %v %v", res, err)
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}

	// One that is in use, and a file that is none, stay.
	second := newGateway(source{name: file})
	if err := second.start(); err == nil || !strings.Contains(err.Error(), "another process listens on it") {
		t.Errorf("a second gateway took the socket: %v", err)
	}
	second.abandon()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := g.close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket was left behind: %v", err)
	}
	writeFile(t, path, "precious")
	third := newGateway(source{name: file})
	if err := third.start(); err == nil || !strings.Contains(err.Error(), "it is no socket") {
		t.Errorf("a file was taken for a socket: %v", err)
	}
	third.abandon()
	if got := readText(t, path); got != "precious" {
		t.Errorf("the file was changed to %q", got)
	}
}

func TestReloadsQueue(t *testing.T) {
	file := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), listenBlock("127.0.0.1:0")+pingRoute)
	g := startGateway(t, file)
	results := make(chan error)
	for range 8 {
		go func() {
			_, err := g.Reload()
			results <- err
		}()
	}
	for range 8 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := g.Status().Generation; got != 9 {
		t.Errorf("generation %d, want 9", got)
	}
}

// TestMetrics also lints the names: one that is not fit panics when it is registered.
func TestMetrics(t *testing.T) {
	file := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), listenBlock("127.0.0.1:0")+
		"services: { one: { to: [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"] }, two: { to: \"http://127.0.0.1:3\", health: GET / } }\n"+
		"routes: { r: { match: /r, to: one }, s: { match: /s, to: two } }\n")
	g := startGateway(t, file)
	if status, _ := get("http://" + g.Status().Listen[0] + "/r"); status != 502 && status != 503 {
		t.Errorf("an unreachable service gives %d", status)
	}
	var b strings.Builder
	if err := g.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	has := func(line string) bool { return strings.Contains(b.String(), "\n"+line) }
	f := func(line string) {
		t.Helper()
		if !has(line) {
			t.Errorf("no line %q", line)
		}
	}
	f("sluice_config_generation 1\n")
	f("sluice_config_last_reload_successful 1\n")
	f("sluice_config_reloads_total{result=\"succeeded\"} 0\n")
	f("sluice_config_reloads_total{result=\"failed\"} 0\n")
	f("sluice_connections_open ")
	f("sluice_connections_accepted_total 1\n")
	f("sluice_connections_refused_total 0\n")
	f("sluice_connections_shunned_total 0\n")
	f("sluice_connections_calmed_total 0\n")
	f("sluice_panics_total ")
	f("sluice_access_log_dropped_total 0\n")
	f("sluice_profiling_captures_total{threshold=\"cpu\"} 0\n")
	f("sluice_profiling_files_total{kind=\"heap\"} 0\n")
	f("sluice_profiling_failures_total 0\n")
	f("sluice_profiling_stored_bytes 0\n")
	f("sluice_upstream_connections{service=\"one\",endpoint=\"127.0.0.1:1\",state=\"open\"} 0\n")
	f("sluice_upstream_connections{service=\"one\",endpoint=\"127.0.0.1:2\",state=\"idle\"} 0\n")
	f("sluice_upstream_in_flight{service=\"one\",endpoint=\"127.0.0.1:1\"} 0\n")
	f("sluice_upstream_endpoint_left_out{service=\"one\",endpoint=\"127.0.0.1:1\"} ")
	f("sluice_upstream_connect_failures_total{service=\"one\",endpoint=\"127.0.0.1:2\"} 1\n")
	f("sluice_upstream_endpoint_healthy{service=\"two\",endpoint=\"127.0.0.1:3\"} ")
	f("sluice_upstream_health_checks_total{service=\"two\",endpoint=\"127.0.0.1:3\",result=\"passed\"} 0\n")
	f("sluice_upstream_health_changes_total{service=\"two\",endpoint=\"127.0.0.1:3\"} ")
	if strings.Contains(b.String(), "sluice_upstream_endpoint_healthy{service=\"one\"") {
		t.Error("a service that is not checked is said to be healthy")
	}
	// At first an endpoint is left out for a tenth of a second only, which may be over before the metrics are read; then for longer each time.
	eventually(t, "the endpoint is left out", func() bool {
		get("http://" + g.Status().Listen[0] + "/r")
		b.Reset()
		if err := g.WriteMetrics(&b); err != nil {
			t.Fatal(err)
		}
		return has("sluice_upstream_endpoint_left_out{service=\"one\",endpoint=\"127.0.0.1:1\"} 1\n")
	})
}
