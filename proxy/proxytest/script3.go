package proxytest

import (
	"os"
	"testing"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/tools/txtar"
)

// Script3 plays a script with a client of HTTP/3, and wants the same to happen, as Script2 does.
func Script3(t *testing.T, file string) {
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, file: txtar.Parse(want), origins: make(map[string]*scriptOrigin), client2: client3(t), tls: true, http3: true}
	s.playAlike(want, "HTTP/3")
}

// client3 speaks HTTP/3.
func client3(t testing.TB) *http3.Transport {
	tr := &http3.Transport{TLSClientConfig: clientTLS.Clone(), DisableCompression: true}
	t.Cleanup(func() { tr.Close() })
	return tr
}
