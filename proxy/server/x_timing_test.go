package server

import (
	"net"
	"net/netip"
	"testing"

	"sluice/proxy"
	"sluice/proxy/wire"
)

const benchHead = "GET /v1/orders?limit=20 HTTP/1.1\r\nHost: api.shop.example\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36\r\n" +
	"Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n" +
	"Cookie: sid=31d4d96e407aad42; theme=dark\r\nReferer: https://shop.example/orders\r\nConnection: keep-alive\r\n\r\n"

// benchConn is a connection on which nothing is read or written.
func benchConn(b *testing.B, trust ...netip.Prefix) *h1 {
	near, far := net.Pipe()
	b.Cleanup(func() {
		near.Close()
		far.Close()
	})
	peer := netip.MustParseAddrPort("192.0.2.7:4567")
	c := newH1(near, &Listener{server: New(nil, &proxy.Snapshot{})}, origin{peer: peer, counted: peer.Addr()})
	c.settings = &settings{Listening: proxy.Listening{Trust: trust}}
	return c
}

// BenchmarkRequestHead turns the bytes of a head into a request.
func BenchmarkRequestHead(b *testing.B) {
	f := func(name, head string, trust ...netip.Prefix) {
		b.Run(name, func(b *testing.B) {
			c := benchConn(b, trust...)
			text := []byte(head)
			lim := wire.Limits{HeadBytes: 32 << 10, TargetBytes: 8 << 10, Fields: 100}
			b.ReportAllocs()
			for b.Loop() {
				x := proxy.Acquire()
				c.message.Reset()
				if done, err := wire.ScanRequest(text, &lim, &c.message, &x.Request.Head); !done || err != nil {
					b.Fatal(done, err)
				}
				x.Client = c.from.client(c.settings)
				if err := c.fillRequest(x); err != nil {
					b.Fatal(err)
				}
				x.Release()
			}
		})
	}
	f("untrusted", benchHead)
	f("trusted", benchHead[:len(benchHead)-2]+"X-Forwarded-For: 203.0.113.9, 192.0.2.8\r\nX-Forwarded-Proto: https\r\n\r\n",
		netip.MustParsePrefix("192.0.2.0/24"))
}

// BenchmarkResponseHead writes the head of an origin's response.
func BenchmarkResponseHead(b *testing.B) {
	const head = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n" +
		"Cache-Control: no-store\r\nETag: \"31d4d96e407aad42\"\r\nVary: Accept-Encoding\r\n\r\n"
	c := benchConn(b)
	x := proxy.Acquire()
	defer x.Release()
	var m wire.Message
	m.Reset()
	if done, err := wire.ScanResponse([]byte(head), &wire.Limits{HeadBytes: 1 << 10, Fields: 100}, &m, &x.Response.Head); !done || err != nil {
		b.Fatal(done, err)
	}
	wire.DropHopByHop(&m, &x.Response.Head)
	x.ID, x.Response.Status, x.Response.Reason, x.Response.Via = []byte("0123456789abcdef0123456789abcdef"), 200, m.Reason, "1.1 sluice"
	finishHead(x)
	c.message.Minor = 1
	dst := make([]byte, 0, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		dst = c.appendHead(dst[:0], x, 1024, false, true)
	}
}
