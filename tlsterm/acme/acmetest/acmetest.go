// Package acmetest runs a real ACME server for tests: Pebble, of the makers of Let's Encrypt, which rejects one good nonce in twenty,
// and verifies hosts over the network as the real thing does.
package acmetest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"golang.org/x/net/dns/dnsmessage"
)

// Options are what a test needs to be otherwise.
type Options struct {
	HTTPPort, TLSPort int               // where hosts are verified, on 127.0.0.1
	External          map[string]string // keys of external accounts, without which nobody may register; nil: anybody may
	Validity          uint64            // of certificates, in seconds; 0: 90 days
	OCSP              string            // the responder that certificates name
}

// Server is a running ACME server. Every host name leads to 127.0.0.1, but for those below .invalid, which do not exist.
type Server struct {
	Directory string // its URL
	CAFile    string // whom to trust as its server
	Roots     *x509.CertPool
	Orders    atomic.Int64 // that were begun
	Requests  atomic.Int64
	Down      atomic.Bool // it answers nothing but errors of a balancer

	options    Options
	gate       sync.RWMutex
	handler    http.Handler
	instead    func(http.ResponseWriter, *http.Request) bool
	db         *db.MemoryStore
	management http.Handler
}

// Start runs a server until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{options: o}
	s.Forget(t)
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.Directory = server.URL + wfe.DirectoryPath
	s.CAFile = filepath.Join(t.TempDir(), "acme-ca.pem")
	if err := os.WriteFile(s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// Forget lets the server begin anew, with another authority and without the accounts and orders that it knew.
func (s *Server) Forget(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"} {
		if err := os.Setenv(name, value); err != nil { // it is read while the server is made, and means nothing to anybody else
			t.Fatal(err)
		}
	}
	o, quiet := s.options, log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(quiet, store, o.OCSP, "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: o.Validity}})
	for id, key := range o.External {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	verifier := va.New(quiet, o.HTTPPort, o.TLSPort, true, serveDNS(t), store)
	front := wfe.New(quiet, store, verifier, authority, nil, true, o.External != nil, 0, 0)
	s.gate.Lock()
	defer s.gate.Unlock()
	s.db, s.handler, s.management = store, front.Handler(), front.ManagementHandler()
	s.Roots = x509.NewCertPool()
	s.Roots.AddCert(authority.GetRootCert(0).Cert)
}

// ServeHTTP is for the test's own server of HTTP.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	s.Requests.Add(1)
	if s.Down.Load() {
		http.Error(w, "no server is available", http.StatusServiceUnavailable)
		return
	}
	if r.URL.Path == "/order-plz" {
		w = &counting{w, &s.Orders}
	}
	if s.instead == nil || !s.instead(w, r) {
		s.handler.ServeHTTP(w, r)
	}
}

// counting counts what was created: a request whose nonce is rejected creates nothing.
type counting struct {
	http.ResponseWriter
	created *atomic.Int64
}

func (c *counting) WriteHeader(status int) {
	if status == http.StatusCreated {
		c.created.Add(1)
	}
	c.ResponseWriter.WriteHeader(status)
}

// Hold lets no request be answered until release is called.
func (s *Server) Hold() (release func()) {
	s.gate.Lock()
	return s.gate.Unlock
}

// Break has instead answer what it wants to of the requests from now on; nil ends that.
func (s *Server) Break(instead func(http.ResponseWriter, *http.Request) (answered bool)) {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.instead = instead
}

// Suggest has the server say when a certificate is to be renewed.
func (s *Server) Suggest(t testing.TB, certificate *x509.Certificate, window string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{
		"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})), "ARIResponse": window,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/set-renewal-info/", bytes.NewReader(body))
	r.Header.Set("User-Agent", "test")
	w := httptest.NewRecorder()
	s.management.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("the window was not taken: %d %s", w.Code, w.Body)
	}
}

// Block makes a server refuse orders for a domain.
func (s *Server) Block(t testing.TB, domain string) {
	t.Helper()
	if err := s.db.AddBlockedDomain(domain); err != nil {
		t.Fatal(err)
	}
}

// serveDNS answers over TCP, which is what Pebble asks with.
func serveDNS(t testing.TB) string {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nl.Close() })
	go func() {
		for {
			c, err := nl.Accept()
			if err != nil {
				return
			}
			go answerDNS(c)
		}
	}()
	return nl.Addr().String()
}

func answerDNS(c net.Conn) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		switch {
		case strings.HasSuffix(q.Name.String(), ".invalid."):
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
		answer, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}
