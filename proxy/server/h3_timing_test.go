package server_test

import (
	"context"
	"testing"

	"github.com/quic-go/quic-go"

	"sluice/proxy/proxytest"
)

// BenchmarkH3 asks over one connection, as many at a time as there are cores. The client's part is in the figures, too.
func BenchmarkH3(b *testing.B) {
	gw := proxytest.Start(b, own3+"limits: { requests_per_connection: off }\n")
	conn, err := quic.DialAddr(context.Background(), gw.Addr, tls3(), &quic.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.CloseWithError(h3NoError, "")
	get := frame(0x1, section(usual("GET", "/")...))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if frames, err := ask(conn, get); err != nil || frames != 2 {
				b.Errorf("got %d frames and %v", frames, err)
				return
			}
		}
	})
}
