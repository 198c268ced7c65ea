package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/proxy/proxytest"
)

// fields are what a browser sends, more or less: ten fields, one of them a cookie.
const fields = "Host: shop.example\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Referer: https://shop.example/start\r\n" +
	"Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n" +
	"Cookie: theme=dark; session=0123456789abcdef\r\n" +
	"X-Debug: yes\r\n" +
	"Cache-Control: no-cache\r\n"

func get(target string) string { return "GET " + target + " HTTP/1.1\r\n" + fields + "\r\n" }

func post(target string, n int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", target, fields, n, strings.Repeat("y", n))
}

// response has the fields that an API's origin sends, more or less, and a body of n bytes.
func response(n int) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: canned\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"+
		"ETag: \"0123456789abcdef\"\r\nX-Version: 42\r\nVary: Accept-Encoding\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n))
}

// cacheable is that, for a cache.
func cacheable(n int) string {
	return strings.Replace(response(n), "no-store", "public, max-age=86400", 1)
}

func chunkedResponse(n int) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, strings.Repeat("x", n))
}

// configuration is the same for all but route-10k and those with an access log, so that the cases differ in what a request
// asks for alone. canned adds an origin.
func configuration(canned func(response string) string) string {
	return fmt.Sprintf(`
limits: { requests_per_connection: off }
services:
  sized: { to: ["http://%s"] }
  large: { to: ["http://%s"] }
  chunked: { to: ["http://%s"] }
  kept: { to: ["http://%s"] }
  kept-large: { to: ["http://%s"] }
policies:
  inside: { addresses: { allow: [127.0.0.0/8, 10.0.0.0/8] } }
  outside: { addresses: { deny: [127.0.0.0/8] } }
  shield: { addresses: { deny: [203.0.113.0/24, 127.0.9.0/24] } }
  tidy: { headers: { request: { remove: [X-Debug, Referer] }, response: { remove: [Server], set: { X-Content-Type-Options: nosniff } } } }
  tag: { headers: { request: { set: { X-Client: "$client.ip via $request.scheme", X-Kind: $path.kind } } } }
  mark: { headers: { response: { set: { X-Served: "$path.kind $response.status" } } } }
  fair-use: { rate_limit: { allow: [1000000/s per ip, 1000000/s per header Authorization and path.kind, 1000000/s] } }
  few: { concurrency: { max: 1000 per ip } }
routes:
  plain: { match: "/plain/{kind}", to: sized }
  five: { match: "/five/{kind}", use: [inside, shield, tidy, tag, mark], to: sized, rewrite: { path: "/find/{kind}" } }
  limited: { match: "/limited/{kind}", use: [fair-use], to: sized }
  few: { match: "/few/{kind}", use: [few], to: sized }
  kept: { match: "/kept/{kind}", use: [{ cache: {} }], to: kept }
  kept-large: { match: "/kept-large/{kind}", use: [{ cache: {} }], to: kept-large }
  large: { match: "/large/{kind}", to: large }
  chunked: { match: "/chunked/{kind}", to: chunked }
  respond: { match: "GET /respond/{kind}", respond: { json: { answer: 42 } } }
  redirect: { match: "/old/{kind}", redirect: { to: "https://shop.example/new/{kind}" } }
  refused: { match: "/refused", use: [outside], to: sized }
`, canned(response(1<<10)), canned(response(100<<10)), canned(chunkedResponse(1<<10)),
		canned(cacheable(1<<10)), canned(cacheable(100<<10)))
}

// withLog adds an access log.
func withLog(yaml, file string) string {
	return fmt.Sprintf("log: { access: { to: %q } }\n", file) + yaml
}

// withRoutes adds n routes, so that one is found among many.
func withRoutes(yaml string, n int) string {
	var s strings.Builder
	s.WriteString(yaml)
	for i := range n {
		fmt.Fprintf(&s, "  r%d: { match: \"/v1/tenants/t%d/items/{id}/parts/{part}\", to: sized }\n", i, i)
	}
	return s.String()
}

const targetOf10k = "/v1/tenants/t7777/items/42/parts/9"

// BenchmarkServe is the whole path in memory.
func BenchmarkServe(b *testing.B) {
	// A gateway outlives the runs of its cases: testing calls a case several times before it knows b.N.
	gateway := func(edit func(yaml string) string) func() *proxytest.Memory {
		return sync.OnceValue(func() *proxytest.Memory {
			m := proxytest.NewMemory()
			m.Start(b, edit(configuration(m.Canned)))
			return m
		})
	}
	plain := gateway(func(yaml string) string { return yaml })
	logged := gateway(func(yaml string) string { return withLog(yaml, os.DevNull) })
	many := gateway(func(yaml string) string { return withRoutes(yaml, 10_000) })
	f := func(name string, gateway func() *proxytest.Memory, status int, request string) {
		b.Run(name, func(b *testing.B) {
			r := gateway().Replay(b, status, request)
			replay(b, r, 100) // pools are filled, connections are there
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			replay(b, r, b.N)
			reportCPU(b, before)
		})
	}
	f("get-0-policies", plain, 200, get("/plain/cats?q=1"))
	f("get-5-policies", plain, 200, get("/five/cats?q=1"))
	f("get-5-policies-logged", logged, 200, get("/five/cats?q=1"))
	f("get-3-limits", plain, 200, get("/limited/cats?q=1"))
	f("get-concurrency", plain, 200, get("/few/cats?q=1"))
	f("get-100KiB", plain, 200, get("/large/cats"))
	f("cache-hit", plain, 200, get("/kept/cats?q=1"))
	f("cache-hit-100KiB", plain, 200, get("/kept-large/cats?q=1"))
	f("post-4KiB", plain, 200, post("/five/cats", 4<<10))
	f("post-64KiB", plain, 200, post("/five/cats", 64<<10))
	f("chunked", plain, 200, get("/chunked/cats"))
	f("respond", plain, 200, get("/respond/cats"))
	f("redirect", plain, 308, get("/old/cats"))
	f("refused", plain, 403, get("/refused"))
	f("404", plain, 404, get("/none"))
	f("route-10k", many, 200, get(targetOf10k))
}

func replay(b *testing.B, r *proxytest.Replayer, n int) {
	if err := r.Do(n); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLoopback is the whole path over sockets, one client that waits for each answer.
func BenchmarkLoopback(b *testing.B) {
	canned := func(response string) string { return proxytest.Canned(b, response) }
	plain := sync.OnceValue(func() *proxytest.Gateway { return proxytest.Start(b, configuration(canned)) })
	f := func(name string, status int, request string) {
		b.Run(name, func(b *testing.B) {
			r := plain().Repeat(status, request)
			repeat(b, r, 100)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			repeat(b, r, b.N)
			reportCPU(b, before)
		})
	}
	f("get-0-policies", 200, get("/plain/cats?q=1"))
	f("get-5-policies", 200, get("/five/cats?q=1"))
	f("get-100KiB", 200, get("/large/cats"))
	f("post-4KiB", 200, post("/five/cats", 4<<10))
	f("post-64KiB", 200, post("/five/cats", 64<<10))
	f("chunked", 200, get("/chunked/cats"))
	f("respond", 200, get("/respond/cats"))
}

func repeat(b *testing.B, r *proxytest.Repeater, n int) {
	for range n {
		if _, err := r.Do(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoopbackParallel has as many clients as there are cores.
func BenchmarkLoopbackParallel(b *testing.B) {
	canned := func(response string) string { return proxytest.Canned(b, response) }
	f := func(name string, edit func(yaml string) string, status int, request string) {
		b.Helper()
		b.Run(name, func(b *testing.B) {
			gw := proxytest.Start(b, edit(configuration(canned)))
			clients := make(chan *proxytest.Repeater, runtime.GOMAXPROCS(0))
			for range cap(clients) {
				r := gw.Repeat(status, request)
				repeat(b, r, 100)
				clients <- r
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			b.RunParallel(func(pb *testing.PB) {
				r := <-clients
				for pb.Next() {
					if _, err := r.Do(); err != nil {
						b.Error(err)
						return
					}
				}
			})
			reportCPU(b, before)
		})
	}
	plain := func(yaml string) string { return yaml }
	logged := func(yaml string) string { return withLog(yaml, filepath.Join(b.TempDir(), "access.log")) }
	f("get-0-policies", plain, 200, get("/plain/cats?q=1"))
	f("get-5-policies-logged", logged, 200, get("/five/cats?q=1"))
	f("cache-hit", plain, 200, get("/kept/cats?q=1"))
	f("cache-hit-100KiB", plain, 200, get("/kept-large/cats?q=1"))
	f("post-4KiB", plain, 200, post("/five/cats", 4<<10))
	f("respond", plain, 200, get("/respond/cats"))
	f("route-10k", func(yaml string) string { return withRoutes(yaml, 10_000) }, 200, get(targetOf10k))
}

// cpuTime is what the process has used so far. Others who use the same cores make an exchange take longer; they do not make
// it cost more.
func cpuTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// reportCPU reports what an exchange has cost since before.
func reportCPU(b *testing.B, before time.Duration) {
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}
