package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echHost is a folder with a configuration, whose certificates are its own roots, and the access log.
type echHost struct {
	*testing.T
	dir   string
	roots *x509.CertPool
}

func newECHHost(t *testing.T) *echHost {
	t.Helper()
	h := &echHost{t, t.TempDir(), x509.NewCertPool()}
	for i, name := range []string{"cdn.test", "shop.test"} {
		h.roots.AddCert(writePairFor(t, filepath.Join(h.dir, name+".pem"), int64(i+1), name))
	}
	writeFile(t, filepath.Join(h.dir, "sluice.yaml"), `version: 1
admin: off
state: `+h.dir+`/state
log: { access: { to: `+h.dir+`/access.log } }
listen: { web: { address: "127.0.0.1:0", tls: edge, http: [h1, h2] } }
tls:
  edge:
    certificates: [{ cert: cdn.test.pem }, { cert: shop.test.pem }]
    ech: cdn.test
routes: { all: { match: "/**", respond: { text: "hello\n" } } }
`)
	return h
}

// ech runs sluice ech and returns what it prints.
func (h *echHost) ech(args ...string) string {
	h.Helper()
	stdout, stderr, code := sluice(h.T, h.dir, append([]string{"ech", "-c", "sluice.yaml"}, args...)...)
	if code != 0 {
		h.Fatalf("sluice ech %v: exit code %d: %s", args, code, stderr)
	}
	return stdout
}

// keys are the names of the files.
func (h *echHost) keys() (names []string) {
	h.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "state/ech/edge/*.ech"))
	if err != nil {
		h.Fatal(err)
	}
	for _, file := range files {
		names = append(names, filepath.Base(file))
	}
	return names
}

var echRecord = regexp.MustCompile(`(?m)^shop\.test\. 300 IN HTTPS 1 \. alpn="h2,http/1\.1" ech="([A-Za-z0-9+/=]+)"$`)

// listIn is the ECHConfigList of the record for shop.test.
func (h *echHost) listIn(zone string) []byte {
	h.Helper()
	found := echRecord.FindStringSubmatch(zone)
	if found == nil || strings.Contains(zone, "cdn.test. 300") {
		h.Fatalf("there is no record, or one for the public name, in\n%s", zone)
	}
	list, err := base64.StdEncoding.DecodeString(found[1])
	if err != nil {
		h.Fatal(err)
	}
	return list
}

// TestECH: what `sluice ech` prints is all that a client needs to hide the name of the site from an observer, a gateway that runs
// takes another key without being asked to, and a client with an old key is helped.
func TestECH(t *testing.T) {
	h := newECHHost(t)
	if stdout, _, code := sluice(t, h.dir, "check", "sluice.yaml"); code != 1 ||
		!strings.Contains(stdout, "sluice.yaml:9:10: error: tls.edge.ech: ") || !strings.Contains(stdout, "`sluice ech` makes") {
		t.Errorf("check before there is a key: exit code %d: %s", code, stdout)
	}
	first := h.listIn(h.ech())
	if stdout, _, code := sluice(t, h.dir, "check", "sluice.yaml"); code != 0 {
		t.Errorf("check: %s", stdout)
	}
	gateway := launch(t, "run", "-c", filepath.Join(h.dir, "sluice.yaml"))
	seen := tap(t, gateway.address("web"))
	ask := func(list []byte) (accepted bool, err error) {
		c, err := tls.Dial("tcp", seen.address, &tls.Config{RootCAs: h.roots, ServerName: "shop.test", EncryptedClientHelloConfigList: list})
		if err != nil {
			return false, err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return false, err
		}
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
		answer, err := io.ReadAll(c)
		if err == nil && !strings.HasSuffix(string(answer), "hello\n") {
			err = fmt.Errorf("the answer is %.100q", answer)
		}
		return c.ConnectionState().ECHAccepted, err
	}

	// Who knows the key.
	if accepted, err := ask(first); !accepted || err != nil {
		t.Errorf("accepted: %t (%v)", accepted, err)
	}
	if wire := seen.take(); !bytes.Contains(wire, []byte("cdn.test")) || bytes.Contains(wire, []byte("shop.test")) {
		t.Errorf("an observer sees of a client with ECH %q", wire)
	}
	// Who does not.
	if accepted, err := ask(nil); accepted || err != nil {
		t.Errorf("without ECH: accepted: %t (%v)", accepted, err)
	}
	if wire := seen.take(); !bytes.Contains(wire, []byte("shop.test")) || bytes.Contains(wire, []byte("cdn.test")) {
		t.Errorf("an observer sees of a client without ECH %q", wire)
	}

	// Another key, while the gateway runs; the first one still decrypts.
	second := h.listIn(h.ech("--new"))
	eventually(t, "the gateway takes the key", func() bool {
		accepted, err := ask(second)
		return accepted && err == nil
	})
	if accepted, err := ask(first); !accepted || err != nil {
		t.Errorf("the key before: accepted: %t (%v)", accepted, err)
	}

	// A key of long ago, or one that was made up: the client is told the current one, under the public name.
	other := newECHHost(t)
	stale := other.listIn(other.ech())
	seen.take()
	_, err := ask(stale)
	var rejected *tls.ECHRejectionError
	if !errors.As(err, &rejected) || !bytes.Equal(rejected.RetryConfigList, second) {
		t.Fatalf("a client with an old key: %v", err)
	}
	if accepted, err := ask(rejected.RetryConfigList); !accepted || err != nil {
		t.Errorf("with the key that it was told: accepted: %t (%v)", accepted, err)
	}
	if wire := seen.take(); bytes.Contains(wire, []byte("shop.test")) {
		t.Errorf("an observer sees of a client with an old key %q", wire)
	}

	// The log tells who has come encrypted, and nobody tells a key.
	eventually(t, "the access log has both", func() bool {
		log := readText(t, filepath.Join(h.dir, "access.log"))
		return strings.Contains(log, `"sni":"shop.test","ech":true,`) && strings.Contains(log, `"sni":"shop.test","tls_fingerprint"`)
	})
	log := gateway.log() + readText(t, filepath.Join(h.dir, "access.log"))
	for _, name := range h.keys() {
		private := strings.Split(readText(t, filepath.Join(h.dir, "state/ech/edge", name)), "\n")[1]
		if strings.Contains(log, private[24:56]) {
			t.Error("a private key is in the log")
		}
	}
	eventually(t, "the log says that there is another key", func() bool { return strings.Contains(gateway.log(), "the keys for ECH are replaced") })
}

// TestECHCommand: keys are made when they are due, and removed when nobody uses them.
func TestECHCommand(t *testing.T) {
	h := newECHHost(t)
	h.ech()
	first := h.keys()
	if len(first) != 1 {
		t.Fatalf("the keys are %v", first)
	}
	mode := func(name string, want os.FileMode) {
		t.Helper()
		info, err := os.Stat(filepath.Join(h.dir, "state/ech", name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v (%v), want %v", name, info.Mode().Perm(), err, want)
		}
	}
	mode("edge", 0o700)
	mode("edge/"+first[0], 0o600)
	h.ech()
	h.ech("--print")
	if again := h.keys(); len(again) != 1 || again[0] != first[0] {
		t.Errorf("a key that is young was replaced: %v", again)
	}
	age := func(name string, by time.Duration) {
		t.Helper()
		at := time.Now().Add(-by)
		if err := os.Chtimes(filepath.Join(h.dir, "state/ech/edge", name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	age(first[0], 7*24*time.Hour+time.Minute)
	h.ech("--print")
	if again := h.keys(); len(again) != 1 {
		t.Errorf("--print has changed something: %v", again)
	}
	zone := h.ech()
	second := h.keys()
	if len(second) != 2 || second[0] != first[0] || !strings.Contains(zone, first[0]+" decrypts until ") || !strings.Contains(zone, "The key is "+filepath.Join(h.dir, "state/ech/edge", second[1])) {
		t.Errorf("a key that is old was not replaced: %v\n%s", second, zone)
	}
	age(second[1], 24*time.Hour+time.Minute)
	if zone = h.ech(); strings.Contains(zone, "decrypts until") {
		t.Errorf("a key that decrypts no more is named:\n%s", zone)
	}
	if third := h.keys(); len(third) != 1 || third[0] != second[1] {
		t.Errorf("a key that decrypts no more is still there: %v", third)
	}

	// For programs.
	var all []struct {
		TLS        string   `json:"tls"`
		PublicName string   `json:"public_name"`
		ECH        string   `json:"ech"`
		Records    []string `json:"records"`
	}
	if err := json.Unmarshal([]byte(h.ech("--json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].TLS != "edge" || all[0].PublicName != "cdn.test" || len(all[0].Records) != 1 || !strings.Contains(zone, all[0].Records[0]) ||
		!strings.Contains(zone, "; ECHConfigList: "+all[0].ECH+"\n") {
		t.Errorf("JSON says %+v, and the zone file\n%s", all, zone)
	}

	// There is an end, and a way on.
	for range 7 {
		h.ech("--new")
	}
	_, stderr, code := sluice(t, h.dir, "ech", "-c", "sluice.yaml", "--new")
	if code != 1 || !strings.Contains(stderr, "holds 8 keys that decrypt, which is the most: the oldest one does until ") {
		t.Errorf("a ninth key: exit code %d: %s", code, stderr)
	}
}

// TestECHOwner: a gateway that is not root reads what root has made for it.
func TestECHOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("nobody but root can give a file away")
	}
	h := newECHHost(t)
	const somebody = 12345
	state := filepath.Join(h.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(state, somebody, somebody+1); err != nil {
		t.Fatal(err)
	}
	h.ech()
	for _, name := range []string{"ech", "ech/edge", "ech/edge/" + h.keys()[0]} {
		info, err := os.Stat(filepath.Join(state, name))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != somebody || owner.Gid != somebody+1 {
			t.Errorf("%s belongs to %d:%d", name, owner.Uid, owner.Gid)
		}
	}
}

// TestECHRecords: hosts whose certificates are ordered have records before there is one, and names that are passed on have none.
// What is seen of the records of HTTP/3 is what clients are told otherwise.
func TestECHRecords(t *testing.T) {
	h := newECHHost(t)
	yaml := readText(t, filepath.Join(h.dir, "sluice.yaml"))
	f := func(want string, replace ...string) {
		t.Helper()
		writeFile(t, filepath.Join(h.dir, "sluice.yaml"), strings.NewReplacer(replace...).Replace(yaml))
		got := ""
		for line := range strings.Lines(h.ech()) {
			if name, rest, ok := strings.Cut(line, ". 300 IN HTTPS 1 . "); ok {
				got += name + " " + strings.Fields(rest)[0] + "; "
			}
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", replace, got, want)
		}
	}
	const order = `{ acme: ops@shop.test, hosts: [Api.test, cdn.test, www.test] }`
	f(`shop.test alpn="h2,http/1.1"; `)
	f(`api.test alpn="h2,http/1.1"; shop.test alpn="h2,http/1.1"; www.test alpn="h2,http/1.1"; `, "{ cert: shop.test.pem }", "{ cert: shop.test.pem }, "+order)
	f(`api.test alpn="h2,http/1.1"; www.test alpn="h2,http/1.1"; `, "[{ cert: cdn.test.pem }, { cert: shop.test.pem }]", order)
	f(`shop.test alpn="h2,h3,http/1.1"; `, "[h1, h2]", "[h1, h2, h3]")
	f(`shop.test alpn="h2,http/1.1"; `, "[h1, h2]", "[h1, h2, h3], alt_svc: off")
	f(`api.test alpn="h2,http/1.1"; shop.test alpn="h2,http/1.1"; `, "{ cert: shop.test.pem }", "{ cert: shop.test.pem }, "+order,
		"[h1, h2]", `[h1, h2], passthrough: { www.test: raw }`, "routes:", "services: { raw: tcp://127.0.0.1:1 }\nroutes:")
}

// TestECHProblems: what stands in the way of a key, or of the gateway, is said with its place.
func TestECHProblems(t *testing.T) {
	h := newECHHost(t)
	yaml := readText(t, filepath.Join(h.dir, "sluice.yaml"))
	f := func(old, new, line string, want string) {
		t.Helper()
		writeFile(t, filepath.Join(h.dir, "sluice.yaml"), strings.Replace(yaml, old, new, 1))
		stdout, stderr, code := sluice(t, h.dir, strings.Fields(line)...)
		if code != 1 || !strings.Contains(stdout+stderr, want) {
			t.Errorf("sluice %s: exit code %d, want %q in\n%s%s", line, code, want, stdout, stderr)
		}
	}
	f("    ech: cdn.test\n", "", "ech -c sluice.yaml", "no listener of sluice.yaml uses a section of tls with ech")
	f("ech: cdn.test", "ech: cdn", "ech -c sluice.yaml", `sluice.yaml:9:10: error: tls.edge.ech: wants a host name with a dot, got "cdn"`)
	f("", "", "ech -c sluice.yaml --print", "`sluice ech` makes the folder and a key")
	f("cert: cdn.test.pem", "cert: none.pem", "ech -c sluice.yaml", "none.pem: it cannot be read")

	writeFile(t, filepath.Join(h.dir, "sluice.yaml"), yaml)
	h.ech()
	f("ech: cdn.test", "ech: other.test", "check sluice.yaml", "sluice.yaml:9:10: error: tls.edge.ech: "+filepath.Join(h.dir, "state/ech/edge", h.keys()[0])+
		": it is for the public name cdn.test, and other.test is wanted")
	f("ech: cdn.test", "ech: other.test", "check sluice.yaml", "sluice.yaml:9:10: error: tls.edge.ech: no certificate is for the public name other.test")

	// Of the wrong kind: the key of a certificate.
	wrong := writeFile(t, filepath.Join(h.dir, "state/ech/edge/0.ech"), readText(t, filepath.Join(h.dir, "cdn.test.pem")))
	f("", "", "check sluice.yaml", "sluice.yaml:9:10: error: tls.edge.ech: "+wrong+": it holds no ECHCONFIG")
	own := readText(t, filepath.Join(h.dir, "state/ech/edge", h.keys()[1]))
	_, config, _ := strings.Cut(own, "-----END PRIVATE KEY-----\n")
	_, key, _ := strings.Cut(readText(t, filepath.Join(h.dir, "cdn.test.pem")), "-----END CERTIFICATE-----\n")
	writeFile(t, wrong, key+config)
	f("", "", "check sluice.yaml", "sluice.yaml:9:10: error: tls.edge.ech: "+wrong+": its private key is of the wrong kind: ECH takes X25519, and it is ECDSA P-256")
	f("", "", "run -c sluice.yaml", "the wrong kind")
}

// observer stands between clients and a gateway, and keeps all that the clients send in the open: all of their first records, and
// all that comes back.
type observer struct {
	address string
	mu      sync.Mutex
	all     bytes.Buffer
}

func tap(t *testing.T, target string) *observer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	o := &observer{address: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			var both sync.WaitGroup
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				both.Go(func() {
					_, _ = io.Copy(way[1], io.TeeReader(way[0], o)) // it ends with either side
					_ = way[1].(*net.TCPConn).CloseWrite()
				})
			}
			go func() {
				both.Wait()
				client.Close()
				server.Close()
			}()
		}
	}()
	return o
}

func (o *observer) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

// take returns what was seen since the last call.
func (o *observer) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := bytes.Clone(o.all.Bytes())
	o.all.Reset()
	return all
}
