package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// ALPN is what an authority asks for to verify a host by TLS (RFC 8737 section 4). A connection with it ends with the handshake.
const ALPN = acmez.ACMETLS1Protocol

// HTTP01Path begins the paths of HTTP-01 (RFC 8555 section 8.3); the token follows.
const HTTP01Path = "/.well-known/acme-challenge/"

// Challenges answers for the orders that are under way in a folder, whoever has made them.
type Challenges struct{ Folder string }

// answerFor is how long an answer is given: longer than an order takes, and not for ever, if a process has died meanwhile.
const answerFor = 15 * time.Minute

const (
	tokenBytesMax = 128 // they have 43, as a rule
	httpPrefix    = "http-01."
	tlsPrefix     = "tls-alpn-01."
)

// KeyAuthorization returns what to answer a request of HTTP-01 with. It is not a secret: the authority is told it over plain HTTP.
func (c Challenges) KeyAuthorization(token string) ([]byte, bool) {
	if !isToken(token) {
		return nil, false
	}
	return c.read(httpPrefix + token)
}

// isToken lets nothing pass that means something in the name of a file. Tokens are base64url (RFC 8555 section 8.1).
func isToken(token string) bool {
	if token == "" || len(token) > tokenBytesMax {
		return false
	}
	for i := range len(token) {
		switch c := token[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Certificate returns what to show to an authority that verifies a host by TLS, nil if none does.
func (c Challenges) Certificate(host string) *tls.Certificate {
	if !isName(host) {
		return nil
	}
	data, ok := c.read(tlsPrefix + strings.ToLower(host))
	if !ok {
		return nil
	}
	certificate, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil
	}
	return &certificate
}

func (c Challenges) path(name string) string { return filepath.Join(c.Folder, "challenges", name) }

func (c Challenges) read(name string) ([]byte, bool) {
	info, err := os.Stat(c.path(name))
	if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) > answerFor {
		return nil, false
	}
	data, err := readFile(c.path(name))
	return data, err == nil
}

// sweep removes answers of processes that died.
func (c Challenges) sweep() error {
	entries, err := os.ReadDir(c.path(""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > answerFor {
			if err := os.Remove(c.path(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// httpSolver and tlsSolver put answers where Challenges finds them.
type httpSolver struct{ Challenges }

func (s httpSolver) Present(_ context.Context, c acme.Challenge) error {
	if !isToken(c.Token) {
		return fmt.Errorf("the authority has sent %q as a token", c.Token)
	}
	return writeFile(s.path(httpPrefix+c.Token), []byte(c.KeyAuthorization))
}

func (s httpSolver) CleanUp(_ context.Context, c acme.Challenge) error {
	if !isToken(c.Token) {
		return nil // there is none
	}
	return os.Remove(s.path(httpPrefix + c.Token))
}

type tlsSolver struct{ Challenges }

// Present makes the certificate, so that nobody can have us make another one with each handshake.
func (s tlsSolver) Present(_ context.Context, c acme.Challenge) error {
	host := c.Identifier.Value
	if !isName(host) {
		return fmt.Errorf("the authority wants a proof for %q", host)
	}
	certificate, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return err
	}
	var data bytes.Buffer
	if err := pem.Encode(&data, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}); err != nil {
		return err
	}
	both, err := appendKey(data.Bytes(), certificate.PrivateKey.(crypto.Signer))
	if err != nil {
		return err
	}
	return writeFile(s.path(tlsPrefix+strings.ToLower(host)), both)
}

func (s tlsSolver) CleanUp(_ context.Context, c acme.Challenge) error {
	if !isName(c.Identifier.Value) {
		return nil // there is none
	}
	return os.Remove(s.path(tlsPrefix + strings.ToLower(c.Identifier.Value)))
}
