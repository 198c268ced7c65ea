package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/proxy/proxytest"
)

// TestSoakProfilingOverhead compares what a request costs with continuous profiling and without, in turn, in one
// process that is told so by reloads. The profiles take the share of the time that they take by default, and come 50
// times as often, so that what each of them costs besides counts more than it does in production.
//
// On a machine with other work a single pair says nothing, and even the median of all pairs is off by a percent: the
// test fails at several, and prints the ratio for people.
func TestSoakProfilingOverhead(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes minutes: set SLUICE_SOAK=1")
	}
	const pairs, phase, failAt = 10, 6500 * time.Millisecond, 1.04
	origin := proxytest.Canned(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"+strings.Repeat("x", 1020)+"end\n")
	dir := t.TempDir()
	file := filepath.Join(dir, "sluice.yaml")
	configure := func(profiling string) {
		writeFile(t, file, strings.Replace(listenBlock("127.0.0.1:0"), "admin: off", "admin: { address: \"127.0.0.1:0\", profiling: "+profiling+" }", 1)+
			"limits: { requests_per_connection: off }\nservices: { o: \"http://"+origin+"\" }\n"+
			"routes: { static: { match: /static, respond: { text: \"end\\n\" } }, proxied: { match: /proxied, to: o } }\n")
	}
	configure("off")
	t.Setenv("GOMAXPROCS", "1")
	p := launch(t, "run", "-c", file)
	web, admin := p.address("web"), "http://"+p.address("admin")

	for _, route := range []string{"static", "proxied"} {
		stop := load(t, web, "/"+route)
		var ratios []float64
		for range pairs {
			var cost [2]float64
			for i, profiling := range []string{"off", "{ to: " + filepath.Join(dir, "profiles") + ", every: 6s, for: 200ms, capture_if: { p99: 1m } }"} {
				configure(profiling)
				if status, body := call("POST", admin+"/v1/reload"); status != 200 {
					t.Fatalf("reload: %d %s", status, body)
				}
				cost[i] = costOver(t, admin, route, phase)
			}
			ratios = append(ratios, cost[1]/cost[0])
		}
		stop()
		slices.Sort(ratios)
		median := (ratios[pairs/2-1] + ratios[pairs/2]) / 2
		t.Logf("%s: with continuous profiling a request costs %.3f of what it costs without, the median of %d pairs between %.3f and %.3f", route, median, pairs, ratios[0], ratios[pairs-1])
		if median > failAt {
			t.Errorf("%s: that is above %v", route, failAt)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "profiles", "*.cpu.pprof"))
	if err != nil || len(files) < 2*pairs {
		t.Errorf("only %d profiles were taken (%v)", len(files), err)
	}
}

// load keeps 64 connections busy until stop is called. Every response ends with "end\n".
func load(t *testing.T, address, path string) (stop func()) {
	request, end := []byte("GET "+path+" HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8.9\r\nAccept: */*\r\n\r\n"), []byte("end\n")
	var clients sync.WaitGroup
	conns := make([]net.Conn, 64)
	done := make(chan struct{})
	for i := range conns {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
		clients.Go(func() {
			buf := make([]byte, 8<<10)
			for {
				_, err := c.Write(request)
				for n := 0; err == nil && !bytes.HasSuffix(buf[:n], end); {
					var m int
					m, err = c.Read(buf[n:])
					n += m
				}
				if err == nil {
					continue
				}
				select {
				case <-done:
				default:
					t.Error(err)
				}
				return
			}
		})
	}
	return func() {
		close(done)
		for _, c := range conns {
			_ = c.Close() // which ends the client
		}
		clients.Wait()
	}
}

// costOver is the CPU time of the process per request of a route over some time, in seconds.
func costOver(t *testing.T, admin, route string, d time.Duration) float64 {
	t.Helper()
	cpu, requests := "process_cpu_seconds_total ", `sluice_requests_total{route="`+route+`",class="2xx"} `
	read := func() (values [2]float64) {
		status, metrics := get(admin + "/metrics")
		if status != 200 {
			t.Fatalf("/metrics answers %d", status)
		}
		for i, name := range []string{cpu, requests} {
			_, rest, found := strings.Cut(metrics, "\n"+name)
			text, _, _ := strings.Cut(rest, "\n")
			v, err := strconv.ParseFloat(text, 64)
			if !found || err != nil {
				t.Fatalf("the metrics have no %s: %v", name, err)
			}
			values[i] = v
		}
		return values
	}
	before := read()
	time.Sleep(d)
	after := read()
	if after[1]-before[1] < 1000 {
		t.Fatalf("only %.0f requests were answered", after[1]-before[1])
	}
	return (after[0] - before[0]) / (after[1] - before[1])
}
