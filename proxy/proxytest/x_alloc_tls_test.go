//go:build !race && !invariants

package proxytest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestTLSAllocates: over TLS, a request of HTTP/1.1 costs no allocation besides those that crypto/tls makes for the same bytes.
func TestTLSAllocates(t *testing.T) {
	page := strings.Repeat("x", 1<<10)
	origin := Canned(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(page), page))
	gw := Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", tls: edge } }
tls: { edge: { certificates: self-signed, hsts: 1h } }
services: { o: { to: ["http://%s"] } }
routes:
  proxied: { match: /proxied, to: o }
  fixed: { match: /fixed, respond: { text: "end\n" } }
`, origin))
	request := func(path string) []byte { return []byte("GET " + path + " HTTP/1.1\r\n" + fields + "\r\n") }
	conn := func(addr string) net.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	// least is the fewest allocations per request of some rounds: pools and stacks grow in the first ones.
	least := func(c net.Conn, request []byte, end string) float64 {
		t.Helper()
		buf := make([]byte, 64<<10)
		ask := func() {
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			for n := 0; !bytes.HasSuffix(buf[:n], []byte(end)); {
				m, err := c.Read(buf[n:])
				if err != nil {
					t.Fatalf("%v after %.300q", err, buf[:n])
				}
				n += m
			}
		}
		for range warmUp {
			ask()
		}
		const n = 1000
		best := float64(1 << 20)
		for round := 0; round < 8 && best > allocationsMax; round++ {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range n {
				ask()
			}
			runtime.ReadMemStats(&after)
			best = min(best, float64(after.Mallocs-before.Mallocs)/n)
		}
		return best
	}
	// What crypto/tls allocates to carry as many bytes there and back, in as many records.
	answer := func(size int) float64 {
		t.Helper()
		s := httptest.NewUnstartedServer(nil)
		s.StartTLS()
		certificates := s.TLS.Certificates
		s.Close()
		nl, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates})
		if err != nil {
			t.Fatal(err)
		}
		defer nl.Close()
		go func() {
			c, err := nl.Accept()
			if err != nil {
				return // the test has ended
			}
			defer c.Close()
			in, out := make([]byte, 64<<10), append(bytes.Repeat([]byte("x"), size-4), "end\n"...)
			for {
				n, err := c.Read(in)
				for err == nil && !bytes.HasSuffix(in[:n], []byte("\r\n\r\n")) {
					var m int
					m, err = c.Read(in[n:])
					n += m
				}
				if err == nil {
					_, err = c.Write(out)
				}
				if err != nil {
					if err != io.EOF {
						t.Log(err)
					}
					return
				}
			}
		}()
		return least(conn(nl.Addr().String()), request("/proxied"), "end\n")
	}
	f := func(path, end string, size int) {
		t.Helper()
		got, unavoidable := least(conn(gw.Addr), request(path), end), answer(size)
		t.Logf("%s: %.3f allocations per request, of which crypto/tls and the client make %.3f", path, got, unavoidable)
		if got > unavoidable+allocationsMax {
			t.Errorf("%s: %.3f allocations per request, want %.3f", path, got, unavoidable)
		}
	}
	f("/fixed", "end\n", 300)
	f("/proxied", page, 1500)
}
