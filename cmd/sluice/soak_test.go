//go:build !race && !invariants

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/proxy/proxytest"
)

// TestSoakMemory serves ten million requests, proxied, rewritten, answered and logged, and watches the memory of the process: what
// it is after the first million it has to be after the last.
func TestSoakMemory(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes minutes: set SLUICE_SOAK=1")
	}
	const million, growthMax = 1e6, 4 << 20
	origin := proxytest.Canned(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"+strings.Repeat("x", 1020)+"end\n")
	dir := t.TempDir()
	config := writeFile(t, filepath.Join(dir, "sluice.yaml"), strings.Replace(listenBlock("127.0.0.1:0"), "admin: off", `admin: { address: "127.0.0.1:0" }`, 1)+`
limits: { requests_per_connection: off }
log: { access: { to: `+filepath.Join(dir, "access.log")+`, sample: 10% } }
services: { o: "http://`+origin+`" }
policies:
  inside: { addresses: { allow: [127.0.0.0/8] } }
  tag: { headers: { request: { set: { X-Client: "$client.ip" } }, response: { set: { X-Kind: "$response.status" } } } }
routes:
  static: { match: /static, respond: { text: "end\n" } }
  proxied: { match: /proxied, to: o }
  rewritten: { match: "/rewritten/{kind}", use: [inside, tag], rewrite: { path: "/{kind}" }, to: o }
`)
	p := launch(t, "run", "-c", config)
	web, admin := p.address("web"), "http://"+p.address("admin")
	served := func() (n float64) {
		status, metrics := get(admin + "/metrics")
		if status != 200 {
			t.Fatalf("/metrics answers %d", status)
		}
		for line := range strings.Lines(metrics) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), "} "); strings.HasPrefix(name, "sluice_requests_total{") {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(err)
				}
				n += v
			}
		}
		return n
	}
	for _, path := range []string{"/static", "/proxied", "/rewritten/cats"} {
		defer load(t, web, path)()
	}
	memory, reached := map[int]int{}, 0
	for reached < 10 {
		time.Sleep(100 * time.Millisecond)
		if n := int(served() / million); n > reached {
			reached = n
			memory[n] = residentMemory(t, p.cmd.Process.Pid)
			t.Logf("%d million requests: %d KiB", n, memory[n]>>10)
		}
		if t.Failed() {
			return
		}
	}
	if grown := memory[reached] - memory[1]; grown > growthMax {
		t.Errorf("the memory of the process has grown by %d KiB between the first million requests and the last", grown>>10)
	}
}
