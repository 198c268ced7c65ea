package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

const (
	// orderMax is how long an order may take, from the account to the certificate.
	orderMax         = 5 * time.Minute
	pollEvery        = 500 * time.Millisecond // where the authority does not say how often it may be asked
	pollMax          = 2 * time.Minute
	responseMax      = 30 * time.Second
	responseBytesMax = 1 << 20
	rsaBits          = 2048
)

// newClient is for one process's time with an authority. It returns an error if whom to trust cannot be read.
func (o *Options) newClient() (*acmez.Client, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: responseMax,
		ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: 10 * time.Second,
	}
	if o.CAFile != "" {
		data, err := readFile(o.CAFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(data) {
			return nil, errors.New("it holds no certificate of an authority")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	challenges := Challenges{Folder: o.Folder}
	solvers := map[string]acmez.Solver{}
	if o.HTTP01 {
		solvers[acme.ChallengeTypeHTTP01] = httpSolver{challenges}
	}
	if o.TLSALPN01 {
		solvers[acme.ChallengeTypeTLSALPN01] = tlsSolver{challenges}
	}
	return &acmez.Client{
		Client: &acme.Client{
			Directory: o.Directory, UserAgent: "Sluice", PollInterval: pollEvery, PollTimeout: pollMax,
			HTTPClient: &http.Client{Transport: bounded{transport}, Timeout: responseMax},
		},
		ChallengeSolvers: solvers,
	}, nil
}

// CheckCA says what is wrong with the file of whom to trust.
func (o *Options) CheckCA() error {
	_, err := o.newClient()
	return err
}

// bounded cuts responses that are longer than any of an authority, and takes errors that are not its own, of a balancer in front of it
// say, for what they are: it was not reached. Nothing is said to anybody without TLS (RFC 8555 section 6.1), whether it is the directory
// or a redirect that leads there.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		if r.Body != nil {
			_ = r.Body.Close() // it lies in memory
		}
		return nil, fmt.Errorf("the ACME server leads to %s://%s, and only https is used", r.URL.Scheme, r.URL.Host)
	}
	response, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 500 && !strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
		_ = response.Body.Close() // what it says is not for us
		return nil, fmt.Errorf("status %s", response.Status)
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, responseBytesMax), response.Body}
	return response, nil
}

// obtain orders a certificate for a host and returns it with its chain and its key, as it is kept. replaces is the one before, if any.
func (m *manager) obtain(ctx context.Context, host string, replaces *x509.Certificate) ([]byte, error) {
	key, err := m.newKey()
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	csr, err := acmez.NewCSR(key, []string{strings.ToLower(host)})
	if err != nil {
		return nil, err
	}
	chains, err := m.order(ctx, csr, replaces)
	if problem, ok := errors.AsType[acme.Problem](err); ok && problem.Type == acme.ProblemTypeAccountDoesNotExist {
		// The authority has forgotten us, or was set up anew.
		m.account = nil
		chains, err = m.order(ctx, csr, replaces)
	}
	if replaces != nil && aboutPredecessor(err) {
		chains, err = m.order(ctx, csr, nil)
	}
	if err != nil {
		return nil, err
	}
	return withKey(chains, key, host)
}

// aboutPredecessor reports whether an order was not taken because it names the certificate that it replaces, if that may be why. An authority may know
// nothing of that one, which some tell by an error of the server, or know that another account ordered it: a certificate is worth more than
// the mention (RFC 9773 section 5). That another order replaces it already, the client finds out by itself.
func aboutPredecessor(err error) bool {
	problem, ok := errors.AsType[acme.Problem](err)
	if !ok || !strings.HasPrefix(err.Error(), "creating new order") { // else it has failed later, and would again
		return false
	}
	switch problem.Type {
	case acme.ProblemTypeMalformed, acme.ProblemTypeServerInternal, acme.ProblemTypeUnauthorized:
		return true
	}
	return false
}

func (m *manager) order(ctx context.Context, csr *x509.CertificateRequest, replaces *x509.Certificate) ([]acme.Certificate, error) {
	if m.account == nil {
		account, err := m.register(ctx, m.client)
		if err != nil {
			return nil, err
		}
		m.account = &account
	}
	parameters, err := acmez.OrderParametersFromCSR(*m.account, csr)
	if err != nil {
		return nil, err
	}
	if directory, err := m.client.GetDirectory(ctx); err == nil && directory.RenewalInfo != "" && replaces != nil {
		parameters.Replaces = replaces // RFC 9773 section 5
	}
	return m.client.ObtainCertificate(ctx, parameters)
}

func (o *Options) newKey() (crypto.Signer, error) {
	if o.RSA {
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// withKey verifies that what the authority has sent is what was ordered: it may be broken, and what it has sent replaces what works.
func withKey(chains []acme.Certificate, key crypto.Signer, host string) ([]byte, error) {
	if len(chains) == 0 {
		return nil, errors.New("the authority has sent no certificate")
	}
	var data []byte
	var leaf *x509.Certificate
	for block, rest := pem.Decode(chains[0].ChainPEM); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fmt.Errorf("the authority has sent a %s that is no certificate", block.Type)
		}
		if leaf == nil {
			leaf = c
		}
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: c.Raw})...)
	}
	if leaf == nil {
		return nil, errors.New("the authority has sent no certificate")
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return nil, fmt.Errorf("the authority has sent another certificate than was ordered: %w", err)
	}
	if public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the authority has sent a certificate for another key")
	}
	return appendKey(data, key)
}
