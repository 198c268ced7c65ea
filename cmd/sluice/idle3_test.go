//go:build !race && !invariants

package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// TestSoakIdleH3 holds 2,000 connections of HTTP/3 that have carried a request each, and says what one costs that waits.
func TestSoakIdleH3(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	const connections, workers, idleMax = 2000, 16, 256 << 10
	config := writeFile(t, t.TempDir()+"/gateway.yaml", `version: 1
admin: off
listen: { web: { address: "127.0.0.1:0", tls: self-signed, http: [h1, h3] } }
limits: { per_client: off, idle: 10m }
routes: { all: { match: "/**", respond: { json: { ok: true } } } }
`)
	p := launch(t, "run", "-c", config)
	address := p.address("web")
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	newClient3(t).get(address, "/", `{"ok":true}`)
	before := residentMemory(t, p.cmd.Process.Pid)
	var all sync.WaitGroup
	for range workers {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close() })
		from := &quic.Transport{Conn: pc}
		t.Cleanup(func() { from.Close() })
		all.Go(func() {
			for range connections / workers {
				if err := ask3(t.Context(), from, to); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	lowest := 0
	for range 10 {
		time.Sleep(time.Second)
		if each := (residentMemory(t, p.cmd.Process.Pid) - before) / connections; lowest == 0 || each < lowest {
			lowest = each
		}
	}
	t.Logf("a connection of HTTP/3 that waits costs %d bytes", lowest)
	if lowest > idleMax {
		t.Errorf("which is more than %d", idleMax)
	}
}

// ask3 connects and asks once. The connection stays.
func ask3(ctx context.Context, from *quic.Transport, to net.Addr) error {
	conn, err := from.Dial(ctx, to, &tls.Config{InsecureSkipVerify: true, ServerName: "a.example", NextProtos: []string{"h3"}},
		&quic.Config{MaxIdleTimeout: 10 * time.Minute})
	if err != nil {
		return err
	}
	var tr http3.Transport
	req, err := http.NewRequestWithContext(ctx, "GET", "https://a.example/", nil)
	if err != nil {
		return err
	}
	resp, err := tr.NewClientConn(conn).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
