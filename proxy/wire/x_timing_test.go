package wire

import (
	"bufio"
	"bytes"
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
