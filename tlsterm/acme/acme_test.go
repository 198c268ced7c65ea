package acme

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/tlsterm/acme/acmetest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait for the most part
		panic(err)
	}
	os.Exit(m.Run())
}

// fixture is an ACME server, a folder, and what answers for all hosts.
type fixture struct {
	*testing.T
	server  *acmetest.Server
	folder  string
	counts  Counts
	answers bool // false: nobody answers challenges
	mu      sync.Mutex
}

func newFixture(t *testing.T, o acmetest.Options) *fixture {
	f := &fixture{T: t, folder: filepath.Join(t.TempDir(), "acme"), answers: true}
	o.HTTPPort, o.TLSPort = f.serveHTTP(), f.serveTLS()
	f.server = acmetest.Start(t, o)
	return f
}

func (f *fixture) setAnswers(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = yes
}

func (f *fixture) isAnswering() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answers
}

func (f *fixture) listen() net.Listener {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = nl.Close() })
	return nl
}

func (f *fixture) serveHTTP() int {
	nl := f.listen()
	go http.Serve(nl, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:errcheck // it ends with the test
		token, _ := strings.CutPrefix(r.URL.Path, HTTP01Path)
		answer, ok := Challenges{f.folder}.KeyAuthorization(token)
		if !ok || !f.isAnswering() {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(answer) // the server notices
	}))
	return nl.Addr().(*net.TCPAddr).Port
}

func (f *fixture) serveTLS() int {
	nl := f.listen()
	config := &tls.Config{NextProtos: []string{ALPN}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if !f.isAnswering() {
			return nil, nil
		}
		return Challenges{f.folder}.Certificate(hello.ServerName), nil
	}}
	go func() {
		for {
			c, err := nl.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = tls.Server(c, config).Handshake() // the server notices
			}()
		}
	}()
	return nl.Addr().(*net.TCPAddr).Port
}

func (f *fixture) options(hosts ...string) *Options {
	return &Options{
		Email: "ops@shop.test", Directory: f.server.Directory, CAFile: f.server.CAFile, Hosts: hosts, Folder: f.folder, HTTP01: true, TLSALPN01: true,
	}
}

func (f *fixture) manager(o *Options) *manager {
	f.Helper()
	if err := o.Valid(); err != nil {
		f.Fatal(err)
	}
	m, err := newManager(o, &f.counts)
	if err != nil {
		f.Fatal(err)
	}
	m.client.PollInterval, m.rest = 10*time.Millisecond, 0
	return m
}

// leaf returns the certificate of a host, which has to lead to the server's authority.
func (f *fixture) leaf(o *Options, host string) *x509.Certificate {
	f.Helper()
	pair, err := tls.LoadX509KeyPair(o.File(host), o.File(host))
	if err != nil {
		f.Fatal(err)
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			f.Fatal(err)
		}
		between.AddCert(c)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: f.server.Roots, Intermediates: between, DNSName: host}); err != nil {
		f.Fatal(err)
	}
	return pair.Leaf
}

// counted compares issued, renewed and the failures, such as "dns dns".
func (f *fixture) counted(issued, renewed uint64, failures string) {
	f.Helper()
	var failed []string
	for i, reason := range Reasons {
		for range f.counts.Failed[i].Load() {
			failed = append(failed, reason)
		}
	}
	if i, r, got := f.counts.Issued.Load(), f.counts.Renewed.Load(), strings.Join(failed, " "); i != issued || r != renewed || got != failures {
		f.Errorf("%d issued, %d renewed, failed: %s; want %d, %d, %s", i, r, got, issued, renewed, failures)
	}
}

// TestIssue orders by each challenge, with each kind of key, in spite of a server that rejects a fifth of all nonces.
func TestIssue(t *testing.T) {
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "20")
	f := newFixture(t, acmetest.Options{})
	overHTTP, overTLS := f.options("a.test", "B.test"), f.options("c.test")
	overHTTP.TLSALPN01, overTLS.HTTP01, overTLS.RSA = false, false, true
	f.manager(overHTTP).look(t.Context())
	f.manager(overTLS).look(t.Context())
	if _, ok := f.leaf(overHTTP, "a.test").PublicKey.(*ecdsa.PublicKey); !ok {
		t.Error("the key is not ECDSA")
	}
	f.leaf(overHTTP, "b.test")
	if _, ok := f.leaf(overTLS, "c.test").PublicKey.(*rsa.PublicKey); !ok {
		t.Error("the key is not RSA")
	}
	if left, err := os.ReadDir(filepath.Join(f.folder, "challenges")); err != nil || len(left) > 0 {
		t.Errorf("answers are left: %v %v", left, err)
	}
	f.counted(3, 0, "")

	// Whoever comes later has nothing to order, unless it is for the other kind of key, which is beside the first.
	f.manager(overHTTP).look(t.Context())
	f.counted(3, 0, "")
	other := *overTLS
	other.RSA = false
	f.manager(&other).look(t.Context())
	f.counted(4, 0, "")
	f.manager(overTLS).look(t.Context())
	f.manager(&other).look(t.Context())
	f.counted(4, 0, "")
}

// past is what a server says of a certificate that it is about to revoke.
const past = `{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"},"explanationURL":"https://ca.test/why"}`

// TestRenew renews in the last third, and when the server says so; and it repairs what is damaged.
func TestRenew(t *testing.T) {
	t.Parallel()
	f := newFixture(t, acmetest.Options{})
	o := f.options("a.test")
	m := f.manager(o)
	m.look(t.Context())
	first := f.leaf(o, "a.test")
	life := first.NotAfter.Sub(first.NotBefore)

	at := first.NotAfter.Add(-life/3 - life/30 - time.Minute)
	m.now, m.askAgain = func() time.Time { return at }, at.Add(life) // the server is not asked
	m.look(t.Context())
	f.counted(1, 0, "")
	at = first.NotAfter.Add(-life / 3)
	m.look(t.Context())
	f.counted(1, 1, "")
	second := f.leaf(o, "a.test")
	if second.Equal(first) {
		t.Fatal("it is the same certificate")
	}

	m = f.manager(o)
	m.rest = rest
	f.server.Suggest(t, second, past)
	m.look(t.Context())
	f.counted(1, 1, "") // it is new
	m.rest = 0
	m.look(t.Context())
	f.counted(1, 2, "")
	third := f.leaf(o, "a.test")

	// It is asked as often as it wants to be, every six hours.
	m = f.manager(o)
	m.look(t.Context())
	f.server.Suggest(t, third, past)
	at = time.Now().Add(5 * time.Hour)
	m.now = func() time.Time { return at }
	m.look(t.Context())
	f.counted(1, 2, "")
	at = at.Add(2 * time.Hour)
	m.look(t.Context())
	f.counted(1, 3, "")

	if err := os.WriteFile(o.File("a.test"), []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.look(t.Context())
	last := f.leaf(o, "a.test")
	f.counted(2, 3, "")

	// Neither another account nor an authority that knows nothing of the one before has a say in whether there is a new one.
	o.Email = "another@shop.test"
	m = f.manager(o)
	at = last.NotAfter.Add(-life / 3)
	m.now, m.askAgain = func() time.Time { return at }, at.Add(life)
	m.look(t.Context())
	last = f.leaf(o, "a.test")
	f.counted(2, 4, "")
	f.server.Forget(t)
	at = last.NotAfter.Add(-life / 3)
	m.askAgain = at.Add(life)
	m.look(t.Context())
	f.leaf(o, "a.test") // of the new authority
	f.counted(2, 5, "")
}

// TestShared: two processes that share a folder order once, and keep each other's pauses.
func TestShared(t *testing.T) {
	t.Parallel()
	f := newFixture(t, acmetest.Options{})
	hosts := []string{"a.test", "b.test", "no.invalid"}
	var both sync.WaitGroup
	for range 3 {
		m := f.manager(f.options(hosts...))
		both.Go(func() { m.look(t.Context()) })
	}
	both.Wait()
	if n := f.server.Orders.Load(); n > 2+2 { // each challenge of no.invalid has an order of its own
		t.Errorf("%d orders", n)
	}
	if f.counts.Issued.Load() != 2 {
		t.Errorf("%d were issued", f.counts.Issued.Load())
	}
}

// TestFailures: what fails is counted by its reason and waits; nothing that is in use is touched.
func TestFailures(t *testing.T) {
	t.Parallel()
	f := newFixture(t, acmetest.Options{})
	f.server.Block(t, "blocked.test")
	o := f.options("a.test", "blocked.test", "b.test")
	m := f.manager(o)
	at := time.Now()
	m.now, m.pause = func() time.Time { return at }, func(failures int) time.Duration { return time.Duration(failures) * time.Hour }

	// An authority that cannot be reached is asked for one host, not for all.
	f.server.Down.Store(true)
	m.look(t.Context())
	f.counted(0, 0, "server")
	m.look(t.Context()) // the next host
	m.look(t.Context())
	m.look(t.Context())
	f.counted(0, 0, "server server server")
	if r := o.readRetry("a.test"); r.Failures != 1 || !r.Next.Equal(at.Add(time.Hour)) || r.Reason != "server" {
		t.Errorf("noted: %+v", r)
	}

	// Challenges that nobody answers.
	f.server.Down.Store(false)
	f.setAnswers(false)
	at = at.Add(time.Hour)
	m.look(t.Context())
	f.counted(0, 0, "challenge challenge rejected server server server")
	f.setAnswers(true)
	requests := f.server.Requests.Load()
	m.look(t.Context()) // it is too early
	if n := f.server.Requests.Load(); n != requests {
		t.Errorf("%d requests in the pause", n-requests)
	}
	at = at.Add(2 * time.Hour)
	m.look(t.Context())
	f.counted(2, 0, "challenge challenge rejected rejected server server server")
	if r := o.readRetry("a.test"); r != (retry{}) {
		t.Errorf("after a success it is still noted: %+v", r)
	}

	// A folder that cannot be written to costs no order.
	orders := f.server.Orders.Load()
	blocked := f.options("c.test")
	blocked.Folder = filepath.Join(o.File("a.test"), "folder")
	f.manager(blocked).look(t.Context())
	f.counted(2, 0, "challenge challenge rejected rejected server server server storage")
	if n := f.server.Orders.Load(); n != orders {
		t.Errorf("%d orders that could not be stored", n-orders)
	}
}

// TestAccount: the account outlives certificates, a server that forgets it gets it again, and nobody else's secret is asked for in vain.
func TestAccount(t *testing.T) {
	t.Parallel()
	const secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	f := newFixture(t, acmetest.Options{External: map[string]string{"known": secret}})
	o := f.options("a.test")
	f.manager(o).look(t.Context())
	f.counted(0, 0, "account")
	try := func(id, key string) {
		t.Helper()
		o.KeyID, o.MACKey = id, []byte(key)
		if err := o.clearRetry("a.test"); err != nil {
			t.Fatal(err)
		}
		f.manager(o).look(t.Context())
	}
	try("known", strings.Repeat("A", 64))
	f.counted(0, 0, "account account")
	if r := o.readRetry("a.test"); strings.Contains(r.Error, strings.Repeat("A", 64)) || r.Error == "" {
		t.Errorf("noted: %q", r.Error)
	}
	try("unknown", secret)
	f.counted(0, 0, "account account account")
	try("known", secret+"==")
	f.counted(1, 0, "account account account")

	key, err := os.ReadFile(o.accountFile())
	if err != nil {
		t.Fatal(err)
	}
	m := f.manager(o)
	again := func() {
		t.Helper()
		if err := os.Remove(o.File("a.test")); err != nil {
			t.Fatal(err)
		}
		m.look(t.Context())
		f.leaf(o, "a.test")
	}
	again()
	f.server.Forget(t)
	again()
	f.counted(3, 0, "account account account")
	if now, err := os.ReadFile(o.accountFile()); err != nil || string(now) != string(key) {
		t.Errorf("the account's key has changed: %v", err)
	}

	// A key that is damaged is not replaced: it may be in a backup.
	if err := os.WriteFile(o.accountFile(), key[:len(key)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(o.File("a.test")); err != nil {
		t.Fatal(err)
	}
	f.manager(o).look(t.Context())
	f.counted(3, 0, "account account account storage")
}

// TestNonsense: what a server sends is stored if it is what was ordered, and an order that has ended on the way is a failure like any
// other.
func TestNonsense(t *testing.T) {
	t.Parallel()
	f := newFixture(t, acmetest.Options{})
	o := f.options("a.test")
	try := func() {
		t.Helper()
		if err := o.clearRetry("a.test"); err != nil {
			t.Fatal(err)
		}
		f.manager(o).look(t.Context())
	}
	other := f.options("b.test")
	f.manager(other).look(t.Context())
	theirs, err := os.ReadFile(other.File("b.test"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, _ = bytes.Cut(theirs, []byte("-----BEGIN PRIVATE"))
	fails := func(reason, want, path string, status int, contentType string, body []byte) {
		t.Helper()
		var before [len(Reasons)]uint64
		for i := range before {
			before[i] = f.counts.Failed[i].Load()
		}
		f.server.Break(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, path) {
				return false
			}
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Replay-Nonce", "nonce")
			w.WriteHeader(status)
			_, _ = w.Write(body) // the test notices
			return true
		})
		try()
		f.server.Break(nil)
		for i := range Reasons {
			if n := f.counts.Failed[i].Load() - before[i]; n != 0 && Reasons[i] != reason || n != 1 && Reasons[i] == reason {
				t.Errorf("%s: %d %s", path, n, Reasons[i])
			}
		}
		if r := o.readRetry("a.test"); !strings.Contains(r.Error, want) {
			t.Errorf("%s: %s, want %s", path, r.Error, want)
		}
		if _, err := os.Stat(o.File("a.test")); !os.IsNotExist(err) {
			t.Fatalf("%s: it is stored", path)
		}
	}
	const chain, problem = "application/pem-certificate-chain", "application/problem+json"
	fails("other", "another certificate than was ordered", "/certZ/", 200, chain, theirs)
	fails("other", "no certificate", "/certZ/", 200, chain, []byte("nothing"))
	fails("other", "no certificate", "/certZ/", 200, chain, bytes.Repeat([]byte("-"), 2<<20))
	fails("other", "the order has expired", "/finalize-order/", 404, problem, []byte(`{"type":"urn:ietf:params:acme:error:malformed","detail":"the order has expired"}`))
	fails("rate_limited", "too many", "/order-plz", 429, problem, []byte(`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}`))
	fails("caa", "not by me", "/finalize-order/", 403, problem, []byte(`{"type":"urn:ietf:params:acme:error:caa","detail":"not by me"}`))
	fails("account", "sign this", "/sign-me-up", 403, problem, []byte(`{"type":"urn:ietf:params:acme:error:userActionRequired","detail":"sign this"}`))
	fails("server", "", "/order-plz", 201, "application/json", []byte(`{"status":"pending"}`))
	fails("other", "", "/authZ/", 200, "application/json", []byte(`{"identifier":{"type":"dns","value":"../../a.test"},"status":"pending","challenges":[{"type":"tls-alpn-01","url":"https://127.0.0.1/","token":"x","status":"pending"}]}`))
	try()
	f.leaf(o, "a.test")
}

// TestOnlyTLS: an authority is spoken to over TLS alone, wherever a redirect or its directory leads.
func TestOnlyTLS(t *testing.T) {
	t.Parallel()
	var heard atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	t.Cleanup(plain.Close)
	tries := func(path string, issued uint64, failures, want string, instead http.HandlerFunc) {
		t.Helper()
		f := newFixture(t, acmetest.Options{}) // a directory is remembered
		o := f.options("a.test")
		f.server.Break(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.String() != path {
				return false
			}
			instead(w, r)
			return true
		})
		f.manager(o).look(t.Context())
		f.counted(issued, 0, failures)
		if r := o.readRetry("a.test"); !strings.Contains(r.Error, want) {
			t.Errorf("%s: %s, want %s", path, r.Error, want)
		}
		if n := heard.Swap(0); n != 0 {
			t.Errorf("%s: %d requests went over the network as they are", path, n)
		}
	}
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusTemporaryRedirect) // which repeats the body
	}
	refused := "leads to " + plain.URL + ", and only https is used"
	tries("/dir", 0, "server", refused, redirect)
	tries("/sign-me-up", 0, "server", refused, redirect)
	tries("/dir", 0, "server", refused, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"newNonce":"%[1]s/nonce","newAccount":"%[1]s/account","newOrder":"%[1]s/order"}`, plain.URL)
	})
	tries("/dir", 1, "", "", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/dir?again", http.StatusFound) })
}

// panics is what a library does that does not expect what it reads.
type panics struct{ asked *int }

func (p panics) RoundTrip(*http.Request) (*http.Response, error) {
	*p.asked++
	panic("it was not expected")
}

// TestPanic: a panic while an authority is asked ends in an error, whatever it is asked for, and is not repeated at once.
func TestPanic(t *testing.T) {
	t.Parallel()
	f := newFixture(t, acmetest.Options{})
	o := f.options("a.test")
	f.manager(o).look(t.Context())
	f.counted(1, 0, "")
	var asked int
	m := f.manager(o)
	m.client.HTTPClient = &http.Client{Transport: panics{&asked}}
	for range 3 {
		m.look(t.Context()) // it asks when to renew
	}
	if asked != 1 {
		t.Errorf("the server was asked %d times", asked)
	}
	at := m.now().Add(askMin + time.Minute)
	m.now = func() time.Time { return at }
	m.look(t.Context())
	if asked != 2 {
		t.Errorf("an hour later, the server was asked %d times", asked)
	}
	f.counted(1, 0, "")

	other := f.options("b.test")
	m = f.manager(other)
	m.client.HTTPClient = &http.Client{Transport: panics{&asked}}
	m.look(t.Context())
	f.counted(1, 0, "other")
	if r := other.readRetry("b.test"); r.Error != "panic: it was not expected" {
		t.Errorf("noted: %+v", r)
	}
}

// TestRunEnds: whoever ends Run lets an order that is under way end, and nothing begin.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, acmetest.Options{})
	release := f.server.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	o, done := f.options("a.test", "b.test"), make(chan struct{})
	go func() {
		Run(ctx, o, &f.counts)
		close(done)
	}()
	for o.readRetry("a.test").Reason != "interrupted" { // which an order is until it has ended
		time.Sleep(time.Millisecond)
	}
	cancel()
	release()
	<-done
	f.leaf(o, "a.test")
	f.counted(1, 0, "")
}
