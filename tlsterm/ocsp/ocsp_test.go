package ocsp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// epoch is when all of it takes place.
var epoch = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

// signer is a certificate with its key.
type signer struct {
	*x509.Certificate
	key crypto.Signer
}

var serials atomic.Int64

func newSigner(t testing.TB, by *signer, change func(*x509.Certificate)) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)), Subject: pkix.Name{CommonName: "someone"}, NotBefore: epoch.AddDate(0, -1, 0), NotAfter: epoch.AddDate(1, 0, 0),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	change(template)
	parent := by
	if by == nil {
		parent = &signer{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.Certificate, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{c, key}
}

func newAuthority(t testing.TB) *signer {
	return newSigner(t, nil, func(c *x509.Certificate) { c.IsCA, c.Subject.CommonName = true, "authority" })
}

// subject issues a certificate that names a responder.
func (s *signer) subject(t testing.TB, responder string, must bool) Subject {
	leaf := newSigner(t, s, func(c *x509.Certificate) {
		c.DNSNames, c.OCSPServer = []string{"a.test"}, []string{"ldap://directory.test/", responder}
		if must {
			value, err := asn1.Marshal([]int{stapling})
			if err != nil {
				t.Fatal(err)
			}
			c.ExtraExtensions = []pkix.Extension{{Id: featureExtension, Value: value}}
		}
	})
	return Subject{Leaf: leaf.Certificate, Issuer: s.Certificate, ID: leaf.SerialNumber.String()}
}

// says makes an answer about a certificate.
func (s *signer) says(t testing.TB, about Subject, at time.Time, change func(*ocsp.Response)) []byte {
	t.Helper()
	template := ocsp.Response{Status: ocsp.Good, SerialNumber: about.Leaf.SerialNumber, ThisUpdate: at, NextUpdate: at.Add(10 * time.Hour)}
	if change != nil {
		change(&template)
	}
	raw, err := ocsp.CreateResponse(about.Issuer, s.Certificate, template, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestVerify: what is not proven is not believed.
func TestVerify(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	appointed := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }
	responder, usual := newSigner(t, ca, appointed), newSigner(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	late := newSigner(t, ca, func(c *x509.Certificate) { appointed(c); c.NotAfter = epoch.Add(-time.Hour) })
	strange := newSigner(t, other, appointed)
	a := ca.subject(t, "http://ocsp.test/", false)
	along := func(s *signer, more func(*ocsp.Response)) []byte { // with the certificate of who signs it
		return s.says(t, a, epoch, func(r *ocsp.Response) {
			r.Certificate = s.Certificate
			if more != nil {
				more(r)
			}
		})
	}
	f := func(raw []byte, want string) {
		t.Helper()
		got, err := verify(raw, a, epoch.Add(time.Hour))
		switch {
		case want == "" && (err != nil || !got.revokedAt.IsZero()):
			t.Errorf("%v, revoked %s", err, got.revokedAt)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v, want %s", err, want)
		}
	}
	good := ca.says(t, a, epoch, nil)
	f(good, "")
	f(along(responder, nil), "")
	f(along(ca, nil), "")

	f(along(usual, nil), "not appointed")
	f(along(late, nil), "not valid now")
	f(along(strange, nil), "bad OCSP signature")
	f(strange.says(t, a, epoch, nil), "bad OCSP signature")
	f(other.says(t, a, epoch, nil), "bad OCSP signature")
	f(ca.says(t, ca.subject(t, "", false), epoch, nil), "no response matching")
	f(ca.says(t, a, epoch.Add(-10*time.Hour), nil), "has ended")
	f(ca.says(t, a, epoch.Add(2*time.Hour), nil), "is to come")
	f(ca.says(t, a, epoch.Add(time.Hour+time.Minute), nil), "") // clocks differ
	f(ca.says(t, a, epoch, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), "does not say how long")
	f(ca.says(t, a, epoch, func(r *ocsp.Response) {
		r.ThisUpdate, r.NextUpdate = epoch.Add(65*time.Minute), epoch.Add(63*time.Minute)
	}), "ends before")
	f(ca.says(t, a, epoch, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), "does not know")
	f(ocsp.TryLaterErrorResponse, "try later")
	f(ocsp.UnauthorizedErrorResponse, "unauthorized")
	f(nil, "asn1")
	f([]byte("<html>"), "asn1")
	f(append(good[:len(good):len(good)], 0), "trailing data")
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	f(broken, "bad OCSP signature")

	got, err := verify(ca.says(t, a, epoch, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, epoch.Add(-time.Hour) }), a, epoch)
	if err != nil || !got.revokedAt.Equal(epoch.Add(-time.Hour)) {
		t.Errorf("revoked at %s, %v", got.revokedAt, err)
	}
}

func TestSubjects(t *testing.T) {
	f := func(want string, servers ...string) {
		t.Helper()
		if got := Responder(&x509.Certificate{OCSPServer: servers}); got != want {
			t.Errorf("%v: %q, want %q", servers, got, want)
		}
	}
	f("")
	f("", "", "ldap://a.test/", "file:///etc/passwd", "http://", "gopher://a.test", "%zz")
	f("https://a.test/x", "ldap://a.test/", "https://a.test/x", "http://b.test/")

	ca := newAuthority(t)
	if MustStaple(ca.subject(t, "http://a.test/", false).Leaf) || !MustStaple(ca.subject(t, "http://a.test/", true).Leaf) {
		t.Error("must-staple is not told")
	}
}

// responder answers with what a test wants it to.
type responder struct {
	*httptest.Server
	mu    sync.Mutex
	reply http.HandlerFunc
	asked atomic.Int64
}

func newResponder(t *testing.T) *responder {
	r := &responder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		r.mu.Lock()
		reply := r.reply
		r.mu.Unlock()
		reply(w, q)
	}))
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func (r *responder) will(reply http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reply = reply
}

func (r *responder) willSay(raw []byte) {
	r.will(func(w http.ResponseWriter, q *http.Request) {
		question, err := io.ReadAll(q.Body)
		if parsed, parseErr := ocsp.ParseRequest(question); err != nil || parseErr != nil || parsed.SerialNumber.Sign() <= 0 ||
			q.Header.Get("Content-Type") != "application/ocsp-request" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		_, _ = w.Write(raw) // the test notices
	})
}

// staplings is a Stapler whose time a test moves.
type staplings struct {
	*testing.T
	*Stapler
	counts Counts
	at     atomic.Int64
}

func newStaplings(t *testing.T, folder string) *staplings {
	s := &staplings{T: t}
	s.at.Store(epoch.Unix())
	s.Stapler = New("web", folder, &s.counts, func() time.Time { return time.Unix(s.at.Load(), 0).UTC() })
	return s
}

// after moves the clock, and follows until nothing is asked any more.
func (s *staplings) after(d time.Duration, list ...Subject) {
	s.Helper()
	s.at.Add(int64(d / time.Second))
	s.Follow(s.Context(), list)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		asking := s.asking
		s.mu.Unlock()
		if asking == 0 {
			return
		}
		if time.Now().After(end) {
			s.Fatal("it goes on asking")
		}
	}
}

func (s *staplings) staples(about Subject, want []byte) {
	s.Helper()
	if got, until := s.Staple(about.ID); string(got) != string(want) || until.IsZero() != (want == nil) {
		s.Errorf("%d bytes are stapled until %s, want %d", len(got), until, len(want))
	}
}

func (s *staplings) counted(good, revoked, failed uint64) {
	s.Helper()
	if g, r, f := s.counts.Good.Load(), s.counts.Revoked.Load(), s.counts.Failed.Load(); g != good || r != revoked || f != failed {
		s.Errorf("%d good, %d revoked, %d failed; want %d, %d, %d", g, r, f, good, revoked, failed)
	}
}

// TestStapler: an answer is refreshed in its second half, and stays until it ends whatever its responder says then, unless it is revoked.
func TestStapler(t *testing.T) {
	ca, r, dir := newAuthority(t), newResponder(t), t.TempDir()
	a := ca.subject(t, r.URL, true)
	s := newStaplings(t, dir)
	first, second := ca.says(t, a, epoch, nil), ca.says(t, a, epoch.Add(5*time.Hour), nil)
	r.willSay(first)
	s.Know([]Subject{a})
	s.staples(a, nil)
	s.after(0, a)
	s.staples(a, first)
	if !s.Follow(t.Context(), []Subject{a}) || s.Follow(t.Context(), []Subject{a}) {
		t.Error("a change is not told, or is told twice")
	}
	r.willSay(second)
	s.after(4*time.Hour+59*time.Minute, a)
	s.staples(a, first)
	s.after(31*time.Minute+time.Minute, a)
	s.staples(a, second)
	s.counted(2, 0, 0)

	// The next start begins with it.
	again := newStaplings(t, dir)
	again.at.Store(s.at.Load())
	again.Know([]Subject{a})
	again.staples(a, second)
	again.after(0, a)
	again.counted(0, 0, 0)
	late := newStaplings(t, dir)
	late.at.Store(epoch.Add(16 * time.Hour).Unix())
	late.Know([]Subject{a})
	late.staples(a, nil)

	// Lies, nonsense and silence change nothing until it ends.
	lies := []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "nonsense") },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, answerBytesMax+1)) },
		func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "/", http.StatusTemporaryRedirect) },
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(newAuthority(t).says(t, a, epoch.Add(10*time.Hour), nil))
		},
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(first) }, // which ends at 10h
	}
	s.after(5*time.Hour-32*time.Minute, a) // 10h: it is asked
	for i, lie := range lies {
		r.will(lie)
		before := s.counts.Failed.Load()
		s.after(71*time.Minute/2, a)
		s.after(71*time.Minute/2, a)
		if i > 0 && s.counts.Failed.Load() == before {
			t.Errorf("lie %d: nobody was asked", i)
		}
		if s.now().Before(epoch.Add(15 * time.Hour)) {
			s.staples(a, second)
		} else {
			s.staples(a, nil)
		}
	}
	if s.now().Before(epoch.Add(15 * time.Hour)) {
		t.Fatal("the test does not get as far as it wants to")
	}
	s.staples(a, nil)

	// And good again.
	now := s.now()
	third := ca.says(t, a, now, nil)
	r.willSay(third)
	s.after(71*time.Minute, a)
	s.staples(a, third)

	// Revoked: at once, and not for the next start either.
	r.willSay(ca.says(t, a, now.Add(6*time.Hour), func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }))
	s.after(6*time.Hour, a)
	s.staples(a, nil)
	if s.counts.Revoked.Load() != 1 {
		t.Error("it is not counted")
	}
	again = newStaplings(t, dir)
	again.at.Store(s.at.Load())
	again.Know([]Subject{a})
	again.staples(a, nil)

	// A certificate that is gone is forgotten.
	s.after(0)
	if len(s.states) != 0 {
		t.Errorf("%d states", len(s.states))
	}
}

// TestStapler_slow: a responder that says nothing keeps no other from answering, and is not asked twice at a time.
func TestStapler_slow(t *testing.T) {
	ca, slow, quick := newAuthority(t), newResponder(t), newResponder(t)
	ended := make(chan struct{})
	slow.will(func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-ended:
		case <-q.Context().Done():
		}
	})
	waiting, a := ca.subject(t, slow.URL, false), ca.subject(t, quick.URL, false)
	good := ca.says(t, a, epoch, nil)
	quick.willSay(good)
	s := newStaplings(t, "")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s.Follow(t.Context(), []Subject{waiting, a})
		if raw, _ := s.Staple(a.ID); raw != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the slow one is waited for")
		}
	}
	for slow.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Follow(t.Context(), []Subject{waiting, a})
	if n := slow.asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	// Nor do many of them open more connections than four.
	list := []Subject{waiting, a}
	for range 10 {
		list = append(list, ca.subject(t, slow.URL, false))
	}
	s.Follow(t.Context(), list)
	s.mu.Lock()
	if s.asking != askingAtOnce {
		t.Errorf("%d are asked at once", s.asking)
	}
	s.mu.Unlock()
	close(ended)
	s.after(0, list...)
}

// FuzzVerify: nothing is believed that the issuer has not signed.
func FuzzVerify(f *testing.F) {
	ca := newAuthority(f)
	a := ca.subject(f, "http://ocsp.test/", false)
	good := ca.says(f, a, epoch, nil)
	f.Add(good)
	f.Add(newAuthority(f).says(f, a, epoch, nil))
	f.Add(ocsp.TryLaterErrorResponse)
	r, err := ocsp.ParseResponse(good, ca.Certificate)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := verify(raw, a, epoch); err != nil {
			return
		}
		if got, err := ocsp.ParseResponse(raw, nil); err != nil || string(got.TBSResponseData) != string(r.TBSResponseData) {
			t.Errorf("%x is believed", raw)
		}
	})
}
