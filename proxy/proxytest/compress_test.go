package proxytest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const compressing = `
listen: { web: { address: "127.0.0.1:0", tls: self-signed, http: [h1, h2, h3] } }
limits: { min_rate: off }
services: { origin: { to: ["http://%s"] } }
policies:
  zstd: { compress: { codings: [zstd] } }
  br: { compress: { codings: [br] } }
  gzip: { compress: { codings: [gzip] } }
routes:
  zstd: { match: "/zstd/**", use: [zstd], to: origin }
  br: { match: "/br/**", use: [br], to: origin }
  gzip: { match: "/gzip/**", use: [gzip], to: origin }
`

// overEach runs f with a client of each protocol.
func overEach(t *testing.T, gw *Gateway, f func(t *testing.T, name string, get func(path, coding string) (*http.Response, error))) {
	h1 := &http.Transport{TLSClientConfig: clientTLS.Clone(), DisableCompression: true}
	t.Cleanup(h1.CloseIdleConnections)
	for name, client := range map[string]http.RoundTripper{"h1": h1, "h2": client2(t, true), "h3": client3(t)} {
		t.Run(name, func(t *testing.T) {
			f(t, name, func(path, coding string) (*http.Response, error) {
				r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+gw.Addr+path, nil)
				if err != nil {
					return nil, err
				}
				r.Header.Set("Accept-Encoding", coding)
				return client.RoundTrip(r)
			})
		})
	}
}

// page is 1 MiB, of which the first half compresses well and the rest does not.
var page = []byte(strings.Repeat("<li>one item after the other</li>\n", (1<<19)/34+1)[:1<<19] + pattern(7, 1<<19))

// TestCompressedBodies are decoded by curl, whose decoders are not those of the encoders' makers: zlib, and the libraries of zstd and brotli.
func TestCompressedBodies(t *testing.T) {
	version, err := exec.Command("curl", "--version").Output()
	if err != nil {
		t.Fatalf("curl does not work: %v", err)
	}
	large := 64
	if underRace {
		large = 4
	}
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/") // coding, framing, pages or bytes
		n, err := strconv.Atoi(parts[len(parts)-1])
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/html")
		if parts[len(parts)-2] == "sized" {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		for n > 0 {
			some := min(n, len(page))
			if _, err := w.Write(page[:some]); err != nil {
				t.Error(err)
				return
			}
			if f, ok := w.(http.Flusher); ok {
				f.Flush()
			}
			n -= some
		}
	})
	gw := Start(t, fmt.Sprintf(compressing, origin))
	f := func(coding, framing, protocol string, size int) {
		t.Helper()
		want := sha256.New()
		for left := size; left > 0; left -= min(left, len(page)) {
			want.Write(page[:min(left, len(page))])
		}
		got := sha256.New()
		cmd := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--fail", "--insecure", "--max-time", "60", "--compressed",
			"--header", "Accept-Encoding: "+coding, protocol, fmt.Sprintf("https://%s/%s/%s/%d", gw.Addr, coding, framing, size))
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = got, &said
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s of %d bytes over %s: %v: %s", coding, size, protocol, err, &said)
		}
		if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			t.Errorf("%s of %d bytes over %s is another body", coding, size, protocol)
		}
	}
	for coding, feature := range map[string]string{"zstd": "zstd", "br": "brotli", "gzip": "libz"} {
		if !bytes.Contains(version, []byte(feature)) {
			t.Logf("this curl does not know %s, which is not looked at: %s", feature, version)
			continue
		}
		for _, protocol := range []string{"--http1.1", "--http2"} {
			for _, framing := range []string{"sized", "chunked"} {
				for _, size := range []int{0, 1, 3000, 1 << 20} {
					f(coding, framing, protocol, size)
				}
			}
		}
		f(coding, "chunked", "--http1.1", large<<20)
		f(coding, "sized", "--http2", large<<20/4)
	}
	in, out := uint64(0), uint64(0)
	for _, c := range gw.Runtime.Compressed() {
		in, out = in+c.In.Load(), out+c.Out.Load()
	}
	if in < uint64(large<<20) || out*4 > in*3 {
		t.Errorf("%d bytes have become %d", in, out)
	}
}

// TestCompressedEvents: an event is at the client, and can be decoded, before the origin sends the next one.
func TestCompressedEvents(t *testing.T) {
	const events = 20
	next := make(chan struct{})
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		flusher := w.(http.Flusher)
		flusher.Flush()
		for i := range events {
			<-next
			if _, err := io.WriteString(w, event(i)); err != nil {
				t.Error(err)
			}
			flusher.Flush()
		}
	})
	gw := Start(t, fmt.Sprintf(compressing, origin))
	overEach(t, gw, func(t *testing.T, name string, get func(path, coding string) (*http.Response, error)) {
		resp, err := get("/gzip/events", "gzip") // the head comes before the first event
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("the events are not compressed: %v", resp.Header)
		}
		var plain io.Reader
		for i := range events {
			next <- struct{}{}
			if plain == nil {
				if plain, err = gzip.NewReader(resp.Body); err != nil {
					t.Fatal(err)
				}
			}
			got := make([]byte, len(event(i)))
			if _, err := io.ReadFull(plain, got); err != nil || string(got) != event(i) {
				t.Fatalf("event %d: got %q, %v", i, got, err)
			}
		}
		if rest, err := io.ReadAll(plain); err != nil || len(rest) > 0 {
			t.Errorf("after the last event: %q, %v", rest, err)
		}
	})
}

// TestCompressedBreaksOff: an origin that breaks off in the middle leaves a body that is broken over every protocol, and for HTTP/1.0 a
// reset: its end would look like the body's.
func TestCompressedBreaksOff(t *testing.T) {
	origin := RawOrigin(t, func(c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return // the gateway has closed
		}
		framing := "Content-Length: 1000000\r\n\r\n"
		if strings.HasSuffix(r.URL.Path, "chunked") {
			framing = "Transfer-Encoding: chunked\r\n\r\n30d40\r\n"
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"+framing+string(page[:100_000]))
	})
	gw := Start(t, fmt.Sprintf(compressing, origin))
	overEach(t, gw, func(t *testing.T, name string, get func(path, coding string) (*http.Response, error)) {
		for _, coding := range []string{"gzip", "zstd", "br"} {
			for _, framing := range []string{"sized", "chunked"} {
				resp, err := get("/"+coding+"/"+framing, coding)
				if name == "h3" && err != nil {
					continue // a reset may overtake what was sent before it
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil || resp.Header.Get("Content-Encoding") != coding {
					t.Errorf("%s, %s: %d bytes in %q end in %v", coding, framing, len(got), resp.Header.Get("Content-Encoding"), err)
				}
				if coding != "gzip" || name == "h3" {
					continue
				}
				plain, err := gzip.NewReader(bytes.NewReader(got))
				if err != nil {
					t.Fatal(err)
				}
				if decoded, err := io.ReadAll(plain); err == nil || name == "h1" && len(decoded) == 0 || !bytes.Equal(decoded, page[:len(decoded)]) {
					t.Errorf("%s: %d bytes are decoded, %v", framing, len(decoded), err)
				}
			}
		}
	})
	old := Start(t, strings.Replace(fmt.Sprintf(compressing, origin), "tls: self-signed, http: [h1, h2, h3]", "http: h1", 1))
	c := old.Dial()
	c.Send("GET /gzip/chunked HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
	if got, err := io.ReadAll(c.R); err == nil || !bytes.Contains(got, []byte("\r\nContent-Encoding: gzip\r\n")) {
		t.Errorf("over HTTP/1.0 %d bytes end in %v", len(got), err)
	}
	eventually(t, "the encoders are given back", func() bool { return gw.Runtime.EncoderBytes() == 0 && old.Runtime.EncoderBytes() == 0 })
}

// TestCompressedHTTP10: what is whole has a length, anything else ends with the connection.
func TestCompressedHTTP10(t *testing.T) {
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if strings.HasSuffix(r.URL.Path, "/short") {
			_, _ = w.Write(page[:2000])
		} else {
			_, _ = w.Write(page)
		}
	})
	gw := Start(t, strings.Replace(fmt.Sprintf(compressing, origin), "tls: self-signed, http: [h1, h2, h3]", "http: h1", 1))
	for path, n := range map[string]int{"short": 2000, "long": len(page)} {
		c := gw.Dial()
		c.Send("GET /gzip/" + path + " HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
		resp, err := http.ReadResponse(c.R, nil)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := gzip.NewReader(resp.Body)
		if err != nil {
			t.Fatalf("%s: %v: %v", path, resp.Header, err)
		}
		if got, err := io.ReadAll(plain); err != nil || !bytes.Equal(got, page[:n]) {
			t.Errorf("%s: %d bytes of %d, %v", path, len(got), n, err)
		}
		if len(resp.TransferEncoding) > 0 || (resp.ContentLength >= 0) != (path == "short") {
			t.Errorf("%s: the length is %d, the transfer coding %v", path, resp.ContentLength, resp.TransferEncoding)
		}
	}
}

// TestCompressedClientLeaves: the encoder of a client that has gone is given back, and the origin's response ends.
func TestCompressedClientLeaves(t *testing.T) {
	var gone atomic.Int32
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, "data: still there\n\n"); err != nil {
				break
			}
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
		gone.Add(1)
	})
	gw := Start(t, fmt.Sprintf(compressing, origin))
	overEach(t, gw, func(t *testing.T, name string, get func(path, coding string) (*http.Response, error)) {
		before := gone.Load()
		for _, coding := range []string{"gzip", "zstd", "br"} {
			resp, err := get("/"+coding+"/events", coding)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 20)); err != nil {
				t.Fatal(err)
			}
			if gw.Runtime.EncoderBytes() == 0 {
				t.Error("an encoder that is in use counts nothing")
			}
			resp.Body.Close()
		}
		eventually(t, "the origin sees that the clients have gone", func() bool { return gone.Load() == before+3 })
		eventually(t, "the encoders are given back", func() bool { return gw.Runtime.EncoderBytes() == 0 })
	})
}

// TestCompressedTrailers go on behind what is compressed, short or long.
func TestCompressedTrailers(t *testing.T) {
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Trailer", "X-Sum")
		n := 3000
		if strings.HasSuffix(r.URL.Path, "/long") {
			n = len(page)
		}
		_, _ = w.Write(page[:n])
		w.Header().Set("X-Sum", strconv.Itoa(n))
	})
	gw := Start(t, fmt.Sprintf(compressing, origin))
	overEach(t, gw, func(t *testing.T, name string, get func(path, coding string) (*http.Response, error)) {
		for path, n := range map[string]int{"short": 3000, "long": len(page)} {
			resp, err := get("/gzip/"+path, "gzip")
			if err != nil {
				t.Fatal(err)
			}
			plain, err := gzip.NewReader(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(plain)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
			}
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, page[:n]) || resp.Trailer.Get("X-Sum") != strconv.Itoa(n) {
				t.Errorf("%s: %d bytes of %d, %v, trailers %v", path, len(got), n, err, resp.Trailer)
			}
		}
	})
}
