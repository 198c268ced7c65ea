package bench

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

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

// configuration is the same for all but route-10k, so that the cases differ in what a request asks for alone.
func configuration(b *testing.B) string {
	page := strings.Repeat("x", 1<<10)
	sized := proxytest.Canned(b, fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: canned\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(page), page))
	chunked := proxytest.Canned(b, fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(page), page))
	return fmt.Sprintf(`
limits: { requests_per_connection: off }
services:
  sized: { to: ["http://%s"] }
  chunked: { to: ["http://%s"] }
policies:
  inside: { addresses: { allow: [127.0.0.0/8, 10.0.0.0/8] } }
  shield: { addresses: { deny: [203.0.113.0/24, 127.0.9.0/24] } }
  tidy: { headers: { request: { remove: [X-Debug, Referer] }, response: { remove: [Server], set: { X-Content-Type-Options: nosniff } } } }
  tag: { headers: { request: { set: { X-Client: "$client.ip via $request.scheme", X-Kind: $path.kind } } } }
  mark: { headers: { response: { set: { X-Served: "$path.kind $response.status" } } } }
routes:
  plain: { match: "/plain/{kind}", to: sized }
  five: { match: "/five/{kind}", use: [inside, shield, tidy, tag, mark], to: sized, rewrite: { path: "/find/{kind}" } }
  chunked: { match: "/chunked/{kind}", to: chunked }
  respond: { match: "GET /respond/{kind}", respond: { json: { answer: 42 } } }
`, sized, chunked)
}

func BenchmarkServe(b *testing.B) {
	plain := configuration(b)
	logged := fmt.Sprintf("log: { access: { to: %q } }\n", filepath.Join(b.TempDir(), "access.log")) + plain
	f := func(name, yaml string, status int, request string) {
		b.Helper()
		b.Run(name, func(b *testing.B) {
			r := proxytest.Start(b, yaml).Repeat(status, request)
			do(b, r) // the connections are there
			b.ReportAllocs()
			for b.Loop() {
				do(b, r)
			}
		})
	}
	f("get-0-policies", plain, 200, get("/plain/cats?q=1"))
	f("get-5-policies", plain, 200, get("/five/cats?q=1"))
	f("get-5-policies-logged", logged, 200, get("/five/cats?q=1"))
	f("post-4KiB", plain, 200, post("/five/cats", 4<<10))
	f("post-64KiB", plain, 200, post("/five/cats", 64<<10))
	f("chunked", plain, 200, get("/chunked/cats"))
	f("respond", plain, 200, get("/respond/cats"))
	f("404", plain, 404, get("/none"))
	f("route-10k", routes(plain, 10_000), 200, get("/v1/tenants/t7777/items/42/parts/9"))
}

func BenchmarkServeParallel(b *testing.B) {
	plain := configuration(b)
	logged := fmt.Sprintf("log: { access: { to: %q } }\n", filepath.Join(b.TempDir(), "access.log")) + plain
	f := func(name, yaml string, status int, request string) {
		b.Helper()
		b.Run(name, func(b *testing.B) {
			gw := proxytest.Start(b, yaml)
			clients := make(chan *proxytest.Repeater, runtime.GOMAXPROCS(0))
			for range cap(clients) {
				r := gw.Repeat(status, request)
				do(b, r)
				clients <- r
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				r := <-clients
				for pb.Next() {
					if _, err := r.Do(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	f("get-0-policies", plain, 200, get("/plain/cats?q=1"))
	f("get-5-policies-logged", logged, 200, get("/five/cats?q=1"))
	f("post-4KiB", plain, 200, post("/five/cats", 4<<10))
	f("respond", plain, 200, get("/respond/cats"))
}

func do(b *testing.B, r *proxytest.Repeater) {
	if _, err := r.Do(); err != nil {
		b.Fatal(err)
	}
}

// routes adds n routes of different depths, so that the last one is found among many.
func routes(yaml string, n int) string {
	var s strings.Builder
	s.WriteString(yaml)
	for i := range n {
		fmt.Fprintf(&s, "  r%d: { match: \"/v1/tenants/t%d/items/{id}/parts/{part}\", to: sized }\n", i, i)
	}
	return s.String()
}
