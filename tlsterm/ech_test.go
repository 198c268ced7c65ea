package tlsterm

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/hpke"
)

// TestECHKey: what is made is what is read, and its two halves belong together for HPKE (RFC 9180).
func TestECHKey(t *testing.T) {
	key := newECHKey(t, "cdn.test")
	text := echPEM(t, key)
	again, err := parseECHKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if again.PublicName != "cdn.test" || again.ID != key.ID || !bytes.Equal(again.List(), key.List()) || !again.private.Equal(key.private) {
		t.Errorf("%v is read as %v", key, again)
	}
	kem := echKEM.Scheme()
	public, err := kem.UnmarshalBinaryPublicKey(again.private.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	private, err := kem.UnmarshalBinaryPrivateKey(again.reveal())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range echSuites {
		suite := hpke.NewSuite(echKEM, s.kdf, s.aead)
		info := append([]byte("tls ech\x00"), again.config...)
		sender, err := suite.NewSender(public, info)
		if err != nil {
			t.Fatal(err)
		}
		encapsulated, sealer, err := sender.Setup(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := sealer.Seal([]byte("hidden.test"), nil)
		if err != nil {
			t.Fatal(err)
		}
		receiver, err := suite.NewReceiver(private, info)
		if err != nil {
			t.Fatal(err)
		}
		opener, err := receiver.Setup(encapsulated)
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := opener.Open(sealed, nil); err != nil || string(opened) != "hidden.test" {
			t.Errorf("%v: %q (%v)", suite, opened, err)
		}
	}
	if !strings.HasPrefix(text, "-----BEGIN PRIVATE KEY-----\n") { // RFC 9934 section 3: the key comes first
		t.Errorf("the file begins with %.30q", text)
	}
}

// TestECHKeyHidden: the private key shows in no form but that of the file.
func TestECHKeyHidden(t *testing.T) {
	key := newECHKey(t, "cdn.test")
	file := ECHFile{ECHKey: key, File: "a.ech"}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("keys", "key", key, "file", file, "list", []ECHFile{file})
	marshalled, err := json.Marshal(map[string]any{"key": key, "file": file})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %x %q %v %+v %#v", key, key, key, key, key, key, file, file, []ECHFile{file}) + logged.String() + string(marshalled)
	secret := key.reveal()
	for _, hidden := range []string{string(secret), fmt.Sprintf("%x", secret), fmt.Sprint(secret), strings.Trim(fmt.Sprintf("%#v", secret), "[]byte{}")} {
		if strings.Contains(all, hidden) {
			t.Errorf("the private key is in %s", all)
		}
	}
	if !strings.Contains(all, "cdn.test") {
		t.Errorf("nothing is said of it: %s", all)
	}
}

func TestParseECHKey(t *testing.T) {
	a := newAuthority(t, "ca")
	good, other := newECHKey(t, "cdn.test"), newECHKey(t, "cdn.test")
	private, config := splitPEM(echPEM(t, good))
	ecdsa, rsa := a.server(t, "a.test").keys, a.issue(t, order{names: "a.test", key: "rsa"}).keys
	ed25519 := a.issue(t, order{names: "a.test", key: "ed25519"}).keys
	f := func(text, want string) {
		t.Helper()
		_, err := parseECHKey([]byte(text))
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); err != nil && len(line) > 16 && line[0] != '-' && strings.Contains(err.Error(), line[:16]) {
				t.Errorf("the error shows what is in the file: %v", err)
			}
		}
	}
	f(private+config, "<nil>")
	f(config+private, "<nil>")
	f("a remark\n"+private+"another\n"+config, "<nil>")

	// Of the wrong kind.
	f(ecdsa+config, "its private key is of the wrong kind: ECH takes X25519, and it is ECDSA P-256")
	f(rsa+config, "the wrong kind: ECH takes X25519, and it is RSA 2048")
	f(ed25519+config, "the wrong kind: ECH takes X25519, and it is Ed25519")
	f(a.server(t, "a.test").both(), "it holds no ECHCONFIG")
	f(a.server(t, "a.test").certs, errNoKey.Error())
	f(private+listPEM(changed(good, 6, 0x10)), "of the wrong kind: it names KEM 0x0010")
	f(private+listPEM(changed(good, 6, 0x30)), "it names KEM 0x0030")

	// Not belonging together, too much, too little.
	_, others := splitPEM(echPEM(t, other))
	f(private+others, "its private key does not belong to its ECHConfig")
	f(private+private+config, "more than one PRIVATE KEY")
	f(private+config+config, "more than one ECHCONFIG")
	f(private, "it holds no ECHCONFIG")
	f(config, "it holds no private key")
	f("", "it is not PEM")
	f("text", "it is not PEM")
	f(block("PRIVATE KEY", []byte("text"))+config, "its private key is damaged")
	f(block("ENCRYPTED PRIVATE KEY", []byte("text"))+config, "damaged, encrypted")

	// Lists that are damaged: each length is off by one, both ways.
	list := good.List()
	f(private+listPEM(nil), "is damaged")
	f(private+listPEM([]byte{0, 0}), "is damaged")
	f(private+listPEM(list[:len(list)-1]), "is damaged")
	f(private+listPEM(append(slices.Clone(list), 0)), "is damaged")
	two := append(slices.Clone(good.config), good.config...)
	f(private+listPEM(append([]byte{byte(len(two) >> 8), byte(len(two))}, two...)), "more than one ECHConfig")
	f(private+listPEM(changed(good, 1, 0x0c)), "of version 0xfe0c")
	nameAt := 2 + 2 + 1 + 2 + 2 + 32 + 2 + 8 + 1
	for _, at := range []int{3, 8, 2 + 2 + 1 + 2 + 2 + 32 + 1, nameAt, len(good.config) - 1} {
		f(private+listPEM(changed(good, at, good.config[at]+1)), "its ECHConfigList")
		f(private+listPEM(changed(good, at, good.config[at]-1)), "its ECHConfigList")
	}
	for i := range "cdn.test" {
		f(private+listPEM(changed(good, nameAt+1+i, '*')), "is no public name")
	}
}

// TestPublicName: what clients would pass over is refused (RFC 9849 section 4).
func TestPublicName(t *testing.T) {
	f := func(name string, want bool) {
		t.Helper()
		if err := validPublicName(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := NewECHKey(name, nil); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	f("cdn.test", true)
	f("a-b.c1.test", true)
	f("1.a", true)
	f(strings.Repeat("a.", 126)+"b", true)

	f("", false)
	f("localhost", false)
	f("cdn.test.", false)
	f(".cdn.test", false)
	f("*.test", false)
	f("a_b.test", false)
	f("10.0.0.1", false)
	f("a.0x1", false)
	f("::1", false)
	f("a b.test", false)
	f("ä.test", false)
	f("-a.test", false)
	f(strings.Repeat("a", 64)+".test", false)
	f(strings.Repeat("a.", 127)+"b", false)
}

// TestFreeID: no two keys of a folder share an ID as long as there are any.
func TestFreeID(t *testing.T) {
	var all []ECHFile
	for range ECHKeysMax {
		id := freeID(all)
		for _, o := range all {
			if o.ID == id {
				t.Fatalf("%02x is there twice", id)
			}
		}
		all = append(all, ECHFile{ECHKey: ECHKey{ID: id}})
	}
}

// hidden is a server with ECH: its certificates are for the public name cdn.test and for others.
type hidden struct {
	*reloading
	keys string // the folder
}

func newHidden(t *testing.T, change func(*Options)) *hidden {
	t.Helper()
	r := &reloading{T: t, authority: newAuthority(t, "servers"), clock: newClock(epoch), dir: t.TempDir(), logs: logging(t)}
	h := &hidden{r, filepath.Join(r.dir, "ech")}
	if err := os.Mkdir(h.keys, 0o700); err != nil {
		t.Fatal(err)
	}
	h.add("1", newECHKey(t, "cdn.test"))
	o := Options{
		Name: "web", Tickets: &Tickets{Secret: []byte(secret)},
		Certificates: []Source{
			put(t, r.dir, "default", r.server(t, "default.test")),
			put(t, r.dir, "cdn", r.server(t, "cdn.test")), put(t, r.dir, "hidden", r.server(t, "hidden.test *.many.test")),
		},
		ECH: &ECH{PublicName: "cdn.test", Dir: h.keys, Keep: time.Hour},
	}
	if change != nil {
		change(&o)
	}
	r.Terminator = openAt(t, r.clock, o)
	h.logged()
	return h
}

// add writes a key as of now.
func (h *hidden) add(name string, key ECHKey) ECHKey {
	h.Helper()
	file := write(h.T, h.keys, name+".ech", echPEM(h.T, key))
	if err := os.Chtimes(file, h.clock.now(), h.clock.now()); err != nil {
		h.Fatal(err)
	}
	return key
}

// published is the ECHConfigList in the DNS.
func (h *hidden) published() []byte {
	h.Helper()
	files, err := h.ech.Files()
	if err != nil {
		h.Fatal(err)
	}
	return files[len(files)-1].List()
}

// client hides the name if there is a list.
func (h *hidden) client(name string, list []byte) *tls.Config {
	c := trusting(h.authority, h.clock, name, nil)
	c.EncryptedClientHelloConfigList = list
	return c
}

// asks makes a handshake, and returns what became of it: "hidden", "open", "retry" if other keys were offered, or an error; and
// what an observer has seen of it up to the server's answer.
func (h *hidden) asks(client *tls.Config) (became string, retry []byte, seen string) {
	h.Helper()
	s, wire := h.shakeSeen(client)
	var rejected *tls.ECHRejectionError
	switch {
	case errors.As(s.clientErr, &rejected):
		if s.server.ECHAccepted {
			h.Error("the server has accepted what the client says it has not")
		}
		return "retry", rejected.RetryConfigList, wire
	case s.err() != nil:
		return s.err().Error(), nil, wire
	case s.server.ECHAccepted != s.client.ECHAccepted:
		h.Errorf("accepted: the server says %t, the client %t", s.server.ECHAccepted, s.client.ECHAccepted)
	case s.server.ServerName != client.ServerName:
		h.Errorf("the server has heard of %q, the client asked for %q", s.server.ServerName, client.ServerName)
	case s.server.ECHAccepted:
		return "hidden", nil, wire
	}
	return "open", nil, wire
}

func (h *hidden) expects(client *tls.Config, want string) {
	h.Helper()
	if got, _, _ := h.asks(client); !strings.Contains(got, want) {
		h.Errorf("%s: %q, want %q", client.ServerName, got, want)
	}
}

// shakeSeen is shake with somebody who records all that passes, in both directions.
func (h *hidden) shakeSeen(client *tls.Config) (shaken, string) {
	h.Helper()
	far, near, err := connect("127.0.0.1")
	if err != nil {
		h.Fatal(err)
	}
	tap := &recording{Conn: near}
	s := shakeOver(far, tap, h.Config(), client)
	return s, tap.seen()
}

// recording keeps all that passes.
type recording struct {
	net.Conn
	mu  sync.Mutex
	all bytes.Buffer
}

func (r *recording) keep(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all.Write(p)
}

func (r *recording) seen() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.String()
}

func (r *recording) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.keep(p[:n])
	return n, err
}

func (r *recording) Write(p []byte) (int, error) {
	n, err := r.Conn.Write(p)
	r.keep(p[:n])
	return n, err
}

// TestECH: who has the key hides which name it asks for, and everybody else is served as before.
func TestECH(t *testing.T) {
	h := newHidden(t, nil)
	list := h.published()
	f := func(client *tls.Config, want string, seen, unseen string) {
		t.Helper()
		got, _, wire := h.asks(client)
		if got != want {
			t.Errorf("%s: %q, want %q", client.ServerName, got, want)
		}
		if !strings.Contains(wire, seen) {
			t.Errorf("%s: %q was not seen", client.ServerName, seen)
		}
		if unseen != "" && strings.Contains(wire, unseen) {
			t.Errorf("%s: %q was seen", client.ServerName, unseen)
		}
	}
	f(h.client("hidden.test", list), "hidden", "cdn.test", "hidden.test")
	f(h.client("deep.many.test", list), "hidden", "cdn.test", "many.test")
	f(h.client("cdn.test", list), "hidden", "cdn.test", "")
	f(h.client("hidden.test", nil), "open", "hidden.test", "")
	f(h.client("cdn.test", nil), "open", "cdn.test", "")

	// A name that there is no certificate for gets the default one, as without ECH.
	s, wire := h.shakeSeen(h.client("nobody.test", list))
	if s.clientErr == nil || !strings.Contains(s.clientErr.Error(), "valid for default.test, not nobody.test") || strings.Contains(wire, "nobody.test") {
		t.Errorf("a name without a certificate: %v", s.clientErr)
	}

	// The second ClientHello after a HelloRetryRequest is encrypted, too.
	retried := h.client("hidden.test", list)
	retried.CurvePreferences = []tls.CurveID{tls.SecP256r1MLKEM768, tls.X25519}
	f(retried, "hidden", "cdn.test", "hidden.test")
	if _, wire := h.shakeSeen(retried); strings.Count(wire, "cdn.test") != 2 {
		t.Error("no second ClientHello was asked for")
	}

	// TLS 1.2 has no ECH: a client that does not insist on it asks in the open.
	old := h.client("hidden.test", nil)
	old.MaxVersion = tls.VersionTLS12
	f(old, "open", "hidden.test", "")
}

// TestECHResumes: sessions are resumed, and the name is hidden then, too.
func TestECHResumes(t *testing.T) {
	h := newHidden(t, nil)
	client := h.client("hidden.test", h.published())
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i := range 3 {
		s, wire := h.shakeSeen(client)
		if s.err() != nil || !s.client.ECHAccepted || s.client.DidResume != (i > 0) || strings.Contains(wire, "hidden.test") {
			t.Errorf("handshake %d: %v, accepted %t, resumed %t", i, s.err(), s.client.ECHAccepted, s.client.DidResume)
		}
	}
}

// TestECHStale: a client with a key that nobody has is told the current one under the public name, and gets in with it. A hello
// that was made up (GREASE, RFC 9849 section 6.2) looks the same, so that it is served as well.
func TestECHStale(t *testing.T) {
	h := newHidden(t, nil)
	stale := newECHKey(t, "cdn.test")
	client := h.client("hidden.test", stale.List())
	got, retry, wire := h.asks(client) // which verifies the certificate for cdn.test before it believes what it is told
	if got != "retry" || strings.Contains(wire, "hidden.test") {
		t.Fatalf("%q, or the name was seen", got)
	}
	// A browser that has made its hello up goes on where this client stops: the handshake is complete, for the name outside.
	if s, _ := h.shakeSeen(client); !s.server.HandshakeComplete || s.server.ServerName != "cdn.test" || s.server.ECHAccepted {
		t.Errorf("the server has %+v", s.server)
	}
	if !bytes.Equal(retry, h.published()) {
		t.Errorf("other keys were offered: %x", retry)
	}
	h.expects(h.client("hidden.test", retry), "hidden")

	// Old keys are not offered.
	h.clock.advance(time.Minute)
	h.add("2", newECHKey(t, "cdn.test"))
	h.look()
	h.logged("replaced & 2.ech & cdn.test")
	if _, retry, _ := h.asks(client); !bytes.Equal(retry, h.published()) {
		t.Errorf("after another key came, these were offered: %x", retry)
	}
}

// TestECHRotates: a key is used as soon as it is there, the one before it for as long as is said, and no file has to go for that.
func TestECHRotates(t *testing.T) {
	h := newHidden(t, nil)
	first := h.published()
	h.clock.advance(24 * time.Hour)
	h.look()
	h.expects(h.client("hidden.test", first), "hidden") // however old it is

	h.add("2", newECHKey(t, "cdn.test"))
	second := h.published()
	h.expects(h.client("hidden.test", second), "retry") // nobody has looked
	h.look()
	h.logged("replaced & 2.ech")
	h.expects(h.client("hidden.test", second), "hidden")
	h.expects(h.client("hidden.test", first), "hidden")

	h.clock.advance(time.Hour - time.Second)
	h.look()
	h.expects(h.client("hidden.test", first), "hidden")
	h.clock.advance(time.Second)
	h.look()
	h.expects(h.client("hidden.test", first), "retry")
	h.expects(h.client("hidden.test", second), "hidden")
	h.logged()

	// What is wrong changes nothing, and is told once.
	h.add("3", newECHKey(t, "other.test"))
	h.look()
	h.look()
	h.logged("cannot be read, what was in force stays & web & 3.ech: it is for the public name other.test, and cdn.test is wanted")
	write(t, h.keys, "3.ech", "half a k")
	h.look()
	h.look()
	h.logged("stays & 3.ech: it is not PEM")
	h.expects(h.client("hidden.test", second), "hidden")
	if err := os.Rename(h.keys, h.keys+".away"); err != nil {
		t.Fatal(err)
	}
	h.look()
	h.look()
	h.logged("stays & ech: file does not exist")
	h.expects(h.client("hidden.test", second), "hidden")
	if err := os.Rename(h.keys+".away", h.keys); err != nil {
		t.Fatal(err)
	}
	third := h.add("3", newECHKey(t, "cdn.test")).List()
	h.look()
	h.logged("replaced & 3.ech")
	h.expects(h.client("hidden.test", third), "hidden")

	// A key that is removed is gone at once.
	h.remove("1")
	h.remove("2")
	h.look()
	h.logged("replaced & 3.ech")
	h.expects(h.client("hidden.test", second), "retry")
	h.expects(h.client("hidden.test", third), "hidden")
}

func (h *hidden) remove(name string) {
	h.Helper()
	if err := os.Remove(filepath.Join(h.keys, name+".ech")); err != nil {
		h.Fatal(err)
	}
}

// TestECHDeleted: nobody opens anything with a key whose file is gone, the only one included. A folder that is emptied to be filled
// again, or that is not there, is no such thing.
func TestECHDeleted(t *testing.T) {
	h := newHidden(t, nil)
	first := h.published()
	text, err := os.ReadFile(filepath.Join(h.keys, "1.ech"))
	if err != nil {
		t.Fatal(err)
	}
	const empty = "what was in force stays & web & it holds no ECH key: `sluice ech` makes one"
	h.remove("1")
	h.look()
	h.logged(empty)
	h.expects(h.client("hidden.test", first), "hidden")
	write(t, h.keys, "1.ech", string(text))
	h.look()
	h.look()
	h.logged("replaced & 1.ech")
	h.expects(h.client("hidden.test", first), "hidden")

	// Looks in a row are meant: what was not seen in between does not count.
	away := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	h.remove("1")
	h.look()
	h.logged(empty)
	away(h.keys, h.keys+".away")
	h.look()
	h.look()
	h.logged("stays & ech: file does not exist")
	away(h.keys+".away", h.keys)
	h.look()
	h.logged()
	h.expects(h.client("hidden.test", first), "hidden")
	write(t, h.keys, "1.ech", string(text))
	h.look()
	h.logged("replaced & 1.ech")
	h.expects(h.client("hidden.test", first), "hidden")

	h.remove("1")
	for range 3 {
		h.look()
	}
	h.logged(empty, "its file is gone & web & 1.ech", "no key for ECH is left & web & ech")
	got, retry, wire := h.asks(h.client("hidden.test", first))
	if got != "retry" || len(retry) > 0 || strings.Contains(wire, "hidden.test") {
		t.Errorf("with a key that was deleted: %s, and these are offered: %x", got, retry)
	}
	h.expects(h.client("hidden.test", nil), "open")

	h.add("2", newECHKey(t, "cdn.test"))
	h.look()
	h.logged("replaced & 2.ech")
	h.expects(h.client("hidden.test", h.published()), "hidden")
}

// TestECHDeletedBeside: that another file is wrong keeps no key in force whose file is gone.
func TestECHDeletedBeside(t *testing.T) {
	h := newHidden(t, nil)
	first := h.published()
	h.add("2", newECHKey(t, "cdn.test"))
	second := h.published()
	h.look()
	h.logged("replaced & 2.ech")
	write(t, h.keys, "3.ech", "half a k")
	h.remove("2")
	h.look()
	h.logged("stays & 3.ech: it is not PEM")
	h.expects(h.client("hidden.test", second), "hidden")
	h.look()
	h.logged("its file is gone & 2.ech")
	if got, retry, _ := h.asks(h.client("hidden.test", second)); got != "retry" || !bytes.Equal(retry, first) {
		t.Errorf("with a key that was deleted: %s, and these are offered: %x", got, retry)
	}
	h.clock.advance(2 * time.Hour)
	h.look()
	h.expects(h.client("hidden.test", first), "hidden") // it is the newest
	h.logged()

	// One that is overwritten is not gone, half a file included.
	write(t, h.keys, "1.ech", "half a k")
	h.look()
	h.look()
	h.expects(h.client("hidden.test", first), "hidden")
	h.logged("stays & 1.ech: it is not PEM")

	// Nor does it matter that there are too many.
	for i := range ECHKeysMax {
		h.add(fmt.Sprint("more", i), newECHKey(t, "cdn.test"))
	}
	h.remove("1")
	for range 3 {
		h.look()
	}
	h.logged("stays & it holds 9 ECH keys", "its file is gone & 1.ech", "no key for ECH is left")
	h.expects(h.client("hidden.test", first), "retry")
}

// TestECHDeletedRenamed: after the published key, one of another public name is left. It decrypts as long as it would have, and no
// client is told it.
func TestECHDeletedRenamed(t *testing.T) {
	h := newHidden(t, nil)
	h.add("0", newECHKey(t, "old.test"))
	h.look()
	h.logged("replaced & 1.ech")
	files, err := h.ech.Files()
	if err != nil {
		t.Fatal(err)
	}
	former := files[0].List()
	h.remove("1")
	h.look()
	h.look()
	h.logged("stays & 0.ech: it is for the public name old.test", "its file is gone & 1.ech")
	h.expects(h.client("hidden.test", former), "hidden")
	if got, retry, _ := h.asks(h.client("hidden.test", newECHKey(t, "cdn.test").List())); got != "retry" || len(retry) > 0 {
		t.Errorf("%s, and these are offered: %x", got, retry)
	}
	h.clock.advance(time.Hour)
	h.look()
	h.look()
	h.logged("no key for ECH is left")
	if s := shake(h.Config(), h.client("hidden.test", former)); s.server.ECHAccepted {
		t.Error("it decrypts after its time")
	}
}

// TestECHManyKeys: there is an end to what a hello is tried with.
func TestECHManyKeys(t *testing.T) {
	h := newHidden(t, nil)
	for i := 2; i <= ECHKeysMax; i++ {
		h.add(fmt.Sprint(i), newECHKey(t, "cdn.test"))
	}
	h.look()
	h.logged("replaced & 8.ech")
	h.expects(h.client("hidden.test", h.published()), "hidden")
	h.add("9", newECHKey(t, "cdn.test"))
	h.look()
	h.look()
	h.logged("stays & it holds 9 ECH keys, and each ClientHello is tried with 8 at most")
}

// TestECHBare: the certificate for the public name may go missing while the gateway runs, which is told.
func TestECHBare(t *testing.T) {
	h := newHidden(t, nil)
	write(t, h.dir, "cdn.crt", h.server(t, "else.test").certs)
	h.look() // the key does not fit
	h.logs.take()
	put(t, h.dir, "cdn", h.server(t, "else.test"))
	h.look()
	h.look()
	h.logged("a TLS certificate is in force", "no certificate is for the public name of ECH & web & cdn.test")
	h.expects(h.client("hidden.test", h.published()), "hidden")
	if s := shake(h.Config(), h.client("hidden.test", newECHKey(t, "cdn.test").List())); !strings.Contains(fmt.Sprint(s.clientErr), "not cdn.test") {
		t.Errorf("a client with an old key, without the certificate: %v", s.clientErr)
	}
	put(t, h.dir, "cdn", h.server(t, "*.test"))
	h.look()
	h.logged("a TLS certificate is in force")
	put(t, h.dir, "cdn", h.server(t, "else.test"))
	h.look()
	h.logged("a TLS certificate is in force", "no certificate is for the public name")
}

// TestECHClone: servers clone what they are given, before a key is replaced.
func TestECHClone(t *testing.T) {
	h := newHidden(t, nil)
	h.config = h.config.Clone()
	h.add("2", newECHKey(t, "cdn.test"))
	h.look()
	h.logged("replaced")
	h.expects(h.client("hidden.test", h.published()), "hidden")
}

// TestECHClientCerts: the name that counts is the hidden one, and who is told another key is not shut out for having shown no
// certificate (RFC 9849 section 6.1.6 has clients show none then).
func TestECHClientCerts(t *testing.T) {
	ca := newAuthority(t, "clients")
	h := newHidden(t, func(o *Options) {
		o.ClientCerts = []ClientCerts{{CAFile: write(t, filepath.Dir(o.ECH.Dir), "ca.pem", ca.pem())}}
	})
	client := h.client("hidden.test", h.published())
	h.expects(client, "client didn't provide a certificate")
	client.GetClientCertificate = ca.client(t, "good").client().GetClientCertificate
	h.expects(client, "hidden")
	client.EncryptedClientHelloConfigList = newECHKey(t, "cdn.test").List()
	s, wire := h.shakeSeen(client)
	var rejected *tls.ECHRejectionError
	if !errors.As(s.clientErr, &rejected) || !bytes.Equal(rejected.RetryConfigList, h.published()) || strings.Contains(wire, "hidden.test") {
		t.Errorf("a client with an old key: %v", s.clientErr)
	}
	if len(s.server.VerifiedChains) > 0 {
		t.Error("its certificate was shown under the public name")
	}
}

// TestECHOff: without keys, a hello that is encrypted, or made up, is served by the name outside, and nothing is offered.
func TestECHOff(t *testing.T) {
	h := newHidden(t, nil)
	off := openAt(t, h.clock, Options{Certificates: h.store.options()})
	s := shake(off.Config(), h.client("hidden.test", h.published()))
	var rejected *tls.ECHRejectionError
	if !errors.As(s.clientErr, &rejected) || len(rejected.RetryConfigList) > 0 {
		t.Errorf("%v", s.clientErr)
	}
}

func (s *store) options() (list []Source) {
	for _, from := range s.sources {
		list = append(list, from.Source)
	}
	return list
}

// TestECHFiles: what the folder of keys says about them.
func TestECHFiles(t *testing.T) {
	dir := t.TempDir()
	o := ECH{PublicName: "cdn.test", Dir: dir, Keep: time.Hour}
	f := func(want string) {
		t.Helper()
		files, err := o.Files()
		got := fmt.Sprint(err)
		for _, file := range files {
			got += fmt.Sprintf(" %s %s %s", filepath.Base(file.File), file.Since.UTC().Format("15:04"), file.Until.UTC().Format("15:04"))
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f("<nil>")
	for i, name := range []string{"b.ech", "a.ech", "c.pem.ech"} {
		at := epoch.Add(time.Duration(i) * 24 * time.Hour).Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(write(t, dir, name, echPEM(t, newECHKey(t, "cdn.test"))), at, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, ignored := range []string{".hidden.ech", "readme", "d.pem"} {
		write(t, dir, ignored, "text")
	}
	if err := os.Mkdir(filepath.Join(dir, "z.ech"), 0o700); err != nil {
		t.Fatal(err)
	}
	f("<nil> a.ech 06:01 07:00 b.ech 06:00 07:02 c.pem.ech 06:02 00:00")
	o.Dir = filepath.Join(dir, "none")
	f(o.Dir + ": file does not exist: `sluice ech` makes the folder and a key")
	o.Dir = dir
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "e.ech")); err != nil {
		t.Fatal(err)
	}
	f("e.ech: it is not a regular file")
}

// FuzzECHKey: whatever a file holds, reading it ends, in an error or in a key that can be used and written again.
func FuzzECHKey(f *testing.F) {
	key := newECHKey(f, "cdn.test")
	private, config := splitPEM(echPEM(f, key))
	for _, list := range [][]byte{key.List(), nil, key.List()[:20], changed(key, 6, 0x10), changed(key, 1, 0)} {
		f.Add([]byte(private), list)
	}
	f.Add([]byte(config), []byte(nil))
	f.Add([]byte(""), []byte("text"))
	f.Fuzz(func(t *testing.T, private, list []byte) {
		k, err := parseECHKey(append(slices.Clone(private), listPEM(list)...))
		if err != nil {
			return
		}
		if k.private.Curve() != ecdh.X25519() || validPublicName(k.PublicName) != nil {
			t.Fatalf("%v", k)
		}
		again, err := parseECHKey([]byte(echPEM(t, k)))
		if err != nil || !bytes.Equal(again.List(), k.List()) {
			t.Fatalf("%v (%v)", again, err)
		}
	})
}

func newECHKey(t testing.TB, publicName string) ECHKey {
	t.Helper()
	key, err := NewECHKey(publicName, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func echPEM(t testing.TB, key ECHKey) string {
	t.Helper()
	text, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// splitPEM returns the two blocks of a file.
func splitPEM(text string) (private, config string) {
	first, rest := pem.Decode([]byte(text))
	return string(pem.EncodeToMemory(first)), string(rest)
}

func listPEM(list []byte) string { return block("ECHCONFIG", list) }

// changed is a list of which a byte of the ECHConfig is another one.
func changed(key ECHKey, at int, b byte) []byte {
	list := slices.Clone(key.List())
	list[2+at] = b
	return list
}
