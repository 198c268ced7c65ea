package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// client3 is a client of HTTP/3 on one connection at a time, that counts how many it has made.
type client3 struct {
	*http3.Transport
	t       *testing.T
	dialled int
}

func newClient3(t *testing.T) *client3 {
	c := &client3{t: t}
	c.Transport = &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.test"},
		Dial: func(ctx context.Context, address string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			c.dialled++
			return quic.DialAddr(ctx, address, tlsConfig, config)
		},
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// get asks for a page, and wants it.
func (c *client3) get(address, path, want string) *http.Response {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+address+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != want {
		c.t.Fatalf("got %q, %v, want %q", body, err, want)
	}
	return resp
}

// TestH3Reload: a UDP socket and its connections stay as long as reloads keep them, and one that is given up and wanted again goes on
// where it was, with the requests that are under way.
func TestH3Reload(t *testing.T) {
	o := newTestOrigin(t)
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	address := freePort(t)
	reload := func(g *gateway, http, text string) {
		t.Helper()
		writeFile(t, file, `version: 1
admin: off
listen: { web: { address: "`+address+`", tls: self-signed, http: `+http+` } }
services: { origin: { to: "`+o.url+`" } }
routes:
  ping: { match: /ping, respond: { text: `+text+` } }
  slow: { match: "/items/**", to: origin }
`)
		if g != nil {
			if _, err := g.Reload(); err != nil {
				t.Fatal(err)
			}
		}
	}
	reload(nil, "[h1, h3]", "one")
	g := startGateway(t, file)
	c := newClient3(t)
	c.get(address, "/ping", "one")
	reload(g, "[h1, h3]", "two")
	c.get(address, "/ping", "two")
	if c.dialled != 1 {
		t.Errorf("a reload that changes nothing of the listener has cost a connection: %d were made", c.dialled)
	}
	if n := g.server.Counts(); n.QUIC != 1 || n.Open != 1 {
		t.Errorf("got %+v", n)
	}

	slow := make(chan error, 1)
	go func() {
		req, err := http.NewRequest("GET", "https://"+address+"/items/slow", nil)
		if err == nil {
			var resp *http.Response
			if resp, err = c.RoundTrip(req); err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
		}
		slow <- err
	}()
	<-o.reached
	reload(g, "h1", "three")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := quic.DialAddr(ctx, address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}},
		&quic.Config{HandshakeIdleTimeout: 200 * time.Millisecond})
	if refused, ok := errors.AsType[*quic.TransportError](err); err == nil || ok && refused.ErrorCode != quic.ConnectionRefused {
		t.Errorf("h3 is off, and a client gets %v", err)
	}
	// The socket is still open for what is under way, and another one cannot be opened.
	if pc, err := net.ListenPacket("udp", address); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
		if err == nil {
			pc.Close()
		}
	}
	reload(g, "[h1, h3]", "four")
	fresh := newClient3(t)
	fresh.get(address, "/ping", "four")
	close(o.release)
	if err := <-slow; err != nil {
		t.Errorf("what was under way when h3 was switched off: %v", err)
	}
	reload(g, "h1", "five")
	fresh.Close()
	c.Close()
	eventually(t, "the socket is closed", func() bool {
		pc, err := net.ListenPacket("udp", address)
		if err == nil {
			pc.Close()
		}
		return err == nil
	})
	reload(g, "[h1, h3]", "six")
	newClient3(t).get(address, "/ping", "six")
	g.reloading.Lock()
	defer g.reloading.Unlock()
	if n := len(g.leaving); n != 0 {
		t.Errorf("%d sockets that are closed are kept", n)
	}
}

// TestH3Process runs the binary: h3 on the port that the kernel chose, a certificate that is replaced, metrics, and a drain.
func TestH3Process(t *testing.T) {
	pair := filepath.Join(t.TempDir(), "pair.pem")
	writePair(t, pair, 1)
	config := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), `version: 1
admin: { address: "127.0.0.1:0" }
listen: { web: { address: "127.0.0.1:0", tls: edge, http: [h1, h2, h3] } }
tls: { edge: { certificates: { cert: `+pair+` } } }
routes: { all: { match: "/**", respond: { text: hello } } }
`)
	p := launch(t, "run", "-c", config)
	address, admin := p.address("web"), p.address("admin")
	c := newClient3(t)
	serial := func() string {
		c.CloseIdleConnections()
		var shown *x509.Certificate
		c.TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error {
			shown = s.PeerCertificates[0]
			return nil
		}
		resp := c.get(address, "/", "hello")
		if resp.Proto != "HTTP/3.0" {
			t.Errorf("got %s", resp.Proto)
		}
		return shown.SerialNumber.String()
	}
	if got := serial(); got != "1" {
		t.Errorf("got the certificate %s", got)
	}
	writePair(t, pair, 2)
	eventually(t, "the new certificate is shown", func() bool { return serial() == "2" })
	for _, want := range []string{"sluice_quic_connections_open 1\n", "sluice_quic_retries_total 0\n"} {
		eventually(t, "the metrics have "+want, func() bool { // the client has just closed another connection
			_, metrics := get("http://" + admin + "/metrics")
			return strings.Contains(metrics, want)
		})
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("the exit code is %d", code)
	}
}
