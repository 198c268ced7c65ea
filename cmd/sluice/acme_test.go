package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/tlsterm/acme/acmetest"
)

// acmeGateway is the configuration of a gateway that orders certificates from a real ACME server, on ports that this one verifies.
type acmeGateway struct {
	*testing.T
	server     *acmetest.Server
	plain, tls string // addresses
	state      string
	fromFile   *x509.Certificate
	file       string
}

func newACMEGateway(t *testing.T) *acmeGateway {
	g := &acmeGateway{T: t, state: filepath.Join(t.TempDir(), "state")}
	port := func(address *string) int {
		l := listenBelow(t)
		defer l.Close()
		*address = l.Addr().String()
		return l.Addr().(*net.TCPAddr).Port
	}
	o := acmetest.Options{HTTPPort: port(&g.plain), TLSPort: port(&g.tls)}
	g.server = acmetest.Start(t, o)
	g.file = filepath.Join(t.TempDir(), "pair.pem")
	g.fromFile = writePair(t, g.file, 1)
	return g
}

// write writes the configuration: one entry for each challenge, and one certificate from a file.
func (g *acmeGateway) write(httpHosts, tlsHosts string) string {
	order := func(challenge, hosts string) string {
		return fmt.Sprintf("      - { acme: { email: ops@shop.test, directory: %q, ca: %q, challenges: %s }, hosts: [%s] }\n",
			g.server.Directory, g.server.CAFile, challenge, hosts)
	}
	return writeFile(g.T, filepath.Join(filepath.Dir(g.state), "sluice.yaml"), `version: 1
admin: { address: "127.0.0.1:0" }
state: `+g.state+`
listen:
  edge:  { address: "`+g.tls+`", tls: edge, http: [h1, h2] }
  plain: { address: "`+g.plain+`", redirect: https }
tls:
  edge:
    certificates:
      - { cert: "`+g.file+`" }
`+order("http-01", httpHosts)+order("tls-alpn-01", tlsHosts)+`routes: { all: { match: "/**", respond: { text: "hello\n" } } }
`)
}

// shown makes a handshake as a client that trusts the ACME server's authority, and returns the certificate.
func (g *acmeGateway) shown(host string, protocols ...string) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", g.tls, &tls.Config{RootCAs: g.server.Roots, ServerName: host, NextProtos: protocols})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// arrives waits until a host has a certificate other than the one before.
func (g *acmeGateway) arrives(host string, before *x509.Certificate) (now *x509.Certificate) {
	g.Helper()
	eventually(g.T, "a certificate of "+host, func() bool {
		c, err := g.shown(host)
		if err != nil || before != nil && c.Equal(before) {
			return false
		}
		now = c
		return true
	})
	return now
}

func (g *acmeGateway) alert(host, want string, protocols ...string) {
	g.Helper()
	if _, err := g.shown(host, protocols...); err == nil || !strings.HasSuffix(err.Error(), want) {
		g.Errorf("%s: %v, want the alert %s", host, err, want)
	}
}

const (
	unrecognizedName = "tls: unrecognized name"
	noProtocol       = "tls: no application protocol"
)

// TestACME goes through the life of ordered certificates with the program itself and a real ACME server, while clients of another
// certificate come and go.
func TestACME(t *testing.T) {
	t.Parallel() // it waits most of the time
	g := newACMEGateway(t)
	release := g.server.Hold()
	p := launch(t, "run", "-c", g.write("api.test", "shop.alpn.test"))
	p.address("edge")
	stop := g.traffic()

	// Nothing is there yet: a clear alert, nobody else's certificate, and the gateway is ready.
	g.alert("api.test", unrecognizedName)
	g.alert("shop.alpn.test", unrecognizedName)
	g.alert("api.test", unrecognizedName, "h2", "http/1.1")
	g.alert("shop.alpn.test", noProtocol, "acme-tls/1") // no order has got so far
	admin := "http://" + p.address("admin")
	if status, _ := get(admin + "/readyz"); status != 200 {
		t.Errorf("/readyz answers %d", status)
	}
	g.metric(admin, `sluice_acme_hosts_awaited{tls="edge"} 2`)

	// A reload while orders are under way, which its successor does not repeat.
	g.write("api.test, new.test", "shop.alpn.test")
	p.signal(syscall.SIGHUP)
	g.metric(admin, `sluice_acme_hosts_awaited{tls="edge"} 3`)
	release()

	api, shop := g.arrives("api.test", nil), g.arrives("shop.alpn.test", nil)
	g.arrives("new.test", nil)
	g.ordered(3)
	g.metric(admin, `sluice_acme_hosts_awaited{tls="edge"} 0`)
	g.metric(admin, `sluice_acme_certificates_total{result="issued"} 3`)
	g.metric(admin, `sluice_tls_certificate_expiry_timestamp_seconds{tls="edge",names="api.test",serial="`+api.SerialNumber.Text(16)+`"} `)
	// What was in flight is over.
	g.alert("shop.alpn.test", noProtocol, "acme-tls/1")
	g.alert("pair.test", noProtocol, "acme-tls/1")
	if status, _ := get("http://" + g.plain + "/.well-known/acme-challenge/" + strings.Repeat("a", 43)); status != 0 { // the redirect leads nowhere
		t.Errorf("a token that nobody knows is answered with %d", status)
	}
	for _, pattern := range []string{"acme/*/*", "acme/lock", "acme/challenges/*"} {
		files, err := filepath.Glob(filepath.Join(g.state, pattern))
		if err != nil || pattern == "acme/*/*" && len(files) != 4 || pattern == "acme/challenges/*" && len(files) != 0 {
			t.Errorf("%s: %v %v", pattern, files, err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", f, info.Mode(), err)
			}
		}
	}

	// A restart orders nothing that is there.
	stop()
	p.signal(syscall.SIGINT)
	p.exit()
	files, err := filepath.Glob(filepath.Join(g.state, "acme/*/api.test.pem"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if old := time.Now().Add(-2 * time.Hour); os.Chtimes(files[0], old, old) != nil { // a new one would be left alone
		t.Fatal("its time cannot be set")
	}
	g.server.Suggest(t, api, `{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"}}`)
	p = launch(t, "run", "-c", g.write("api.test, new.test", "shop.alpn.test"))
	p.address("edge")
	if now, err := g.shown("shop.alpn.test"); err != nil || !now.Equal(shop) {
		t.Errorf("after a restart there is another certificate: %v", err)
	}
	// The server wants one of them renewed at once (RFC 9773).
	g.arrives("api.test", api)
	g.metric("http://"+p.address("admin"), `sluice_acme_certificates_total{result="renewed"} 1`)
	g.ordered(4)
}

func (g *acmeGateway) ordered(want int64) {
	g.Helper()
	if n := g.server.Orders.Load(); n != want {
		g.Errorf("%d orders, want %d", n, want)
	}
}

func (g *acmeGateway) metric(admin, line string) {
	g.Helper()
	var page string
	eventually(g.T, line, func() bool {
		_, page = get(admin + "/metrics")
		return strings.Contains(page, line)
	})
}

// traffic has clients of the certificate from a file come and go until stop is called: none of them may notice anything.
func (g *acmeGateway) traffic() (stop func()) {
	trusted := x509.NewCertPool()
	trusted.AddCert(g.fromFile)
	done, clients, served := make(chan struct{}), sync.WaitGroup{}, atomic.Int64{}
	for range 2 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, _, err := askTLS(g.tls, &tls.Config{RootCAs: trusted, ServerName: "shop.test"}); err != nil {
					select {
					case <-done: // the gateway is going
					default:
						g.Error(err)
					}
					return
				}
				served.Add(1)
			}
		})
	}
	return sync.OnceFunc(func() {
		close(done)
		clients.Wait()
		if served.Load() == 0 {
			g.Error("no client was served")
		}
		g.Log("clients served: " + strconv.FormatInt(served.Load(), 10))
	})
}
