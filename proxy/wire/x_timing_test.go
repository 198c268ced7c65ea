package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/valyala/fasthttp"
)

var browserHead = []byte("GET /api/v1/orders?limit=20 HTTP/1.1\r\nHost: api.shop.example\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36\r\n" +
	"Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n" +
	"Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl\r\n" +
	"Cookie: sid=31d4d96e407aad42; theme=dark\r\nX-Request-Id: 4bf92f3577b34da6a3ce929d0e0e4736\r\n" +
	"Referer: https://shop.example/orders\r\nConnection: keep-alive\r\n\r\n")

func BenchmarkScanRequest(b *testing.B) {
	b.Run("wire", func(b *testing.B) {
		b.ReportAllocs()
		var m Message
		var h Head
		lim := Limits{HeadBytes: 32 << 10, TargetBytes: 8 << 10, Fields: 100}
		for b.Loop() {
			m.Reset()
			h.Reset()
			if done, err := ScanRequest(browserHead, &lim, &m, &h); !done || err != nil {
				b.Fatal(done, err)
			}
		}
	})
	b.Run("fasthttp", func(b *testing.B) {
		b.ReportAllocs()
		var h fasthttp.RequestHeader
		r := bytes.NewReader(browserHead)
		br := bufio.NewReaderSize(r, 8192)
		for b.Loop() {
			r.Reset(browserHead)
			br.Reset(r)
			if err := h.Read(br); err != nil {
				b.Fatal(err)
			}
			h.Peek("Accept") // it parses fields when they are first asked for
		}
	})
}

var originHead = []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\n" +
	"Content-Length: 1024\r\nConnection: keep-alive\r\nCache-Control: no-store\r\nETag: \"31d4d96e407aad42\"\r\nVary: Accept-Encoding\r\n\r\n")

func BenchmarkScanResponse(b *testing.B) {
	b.ReportAllocs()
	var m Message
	var h Head
	lim := Limits{HeadBytes: 32 << 10, TargetBytes: 1, Fields: 100}
	for b.Loop() {
		m.Reset()
		h.Reset()
		if done, err := ScanResponse(originHead, &lim, &m, &h); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}

// BenchmarkEdit is what the gateway itself does to a request's head: hop-by-hop fields go, some are looked up, some added.
func BenchmarkEdit(b *testing.B) {
	b.ReportAllocs()
	var m Message
	var h, scanned Head
	if done, err := ScanRequest(browserHead, &Limits{32 << 10, 8 << 10, 100}, &m, &scanned); !done || err != nil {
		b.Fatal(done, err)
	}
	id, client := []byte("0123456789abcdef0123456789abcdef"), []byte("192.0.2.1")
	for b.Loop() {
		h.block, h.fields, h.seen = scanned.block, append(h.fields[:0], scanned.fields...), scanned.seen
		h.added = h.added[:0]
		DropHopByHop(&m, &h)
		h.DelKnown(Host.Bit() | Expect.Bit() | Forwarded.Bit() | XForwardedFor.Bit() | XRequestID.Bit())
		if h.GetKnown(Cookie) == nil || h.Get("Referer") == nil {
			b.Fatal("a field has gone")
		}
		h.Add("X-Request-Id", id)
		h.Add("X-Forwarded-For", client)
		h.AddString("X-Forwarded-Proto", "https")
	}
}

// BenchmarkChunked decodes a body of 64 KiB in chunks.
func BenchmarkChunked(b *testing.B) {
	f := func(name string, size int) {
		b.Run(name, func(b *testing.B) {
			const total = 64 << 10
			var text []byte
			for range total / size {
				text = fmt.Appendf(text, "%x\r\n%s\r\n", size, bytes.Repeat([]byte("x"), size))
			}
			text = append(text, "0\r\n\r\n"...)
			c := &scriptedConn{pieces: func(most int) int { return most }}
			var r Reader
			r.Init(NewConn(c, nil), Medium)
			var body Body
			var trailers Head
			lim := Limits{HeadBytes: 1 << 10, TargetBytes: 1, Fields: 10}
			buf := make([]byte, Large)
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				c.text = text
				body.Init(&r, Chunked, 0, &trailers, &lim)
				n := 0
				for err := error(nil); err != io.EOF; {
					var k int
					if k, err = body.Read(buf); err != nil && err != io.EOF {
						b.Fatal(err)
					}
					n += k
				}
				if n != total {
					b.Fatalf("got %d bytes, want %d", n, total)
				}
				r.Unpin()
			}
		})
	}
	f("64-bytes", 64)
	f("8-KiB", 8<<10)
}

func BenchmarkAppendTo(b *testing.B) {
	b.ReportAllocs()
	var m Message
	var h Head
	m.Reset()
	if done, err := ScanRequest(browserHead, &Limits{32 << 10, 8 << 10, 100}, &m, &h); !done || err != nil {
		b.Fatal(done, err)
	}
	DropHopByHop(&m, &h)
	h.AddString("X-Forwarded-For", "192.0.2.1")
	dst := make([]byte, 0, 4096)
	for b.Loop() {
		dst = h.AppendTo(dst[:0])
	}
}
