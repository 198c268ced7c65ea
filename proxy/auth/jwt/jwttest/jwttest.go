// Package jwttest is for tests with tokens: keys that sign, clients whose tokens are bound to theirs, and an issuer that answers who asks for its
// keys, well or badly.
package jwttest

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Issuer signs with ES256. Safe for concurrent use.
type Issuer struct {
	// URL is what the issuer is called; empty if it was not started.
	URL string
	// Asked counts the times that it was asked for its keys.
	Asked atomic.Int64

	server *httptest.Server
	mu     sync.Mutex
	keys   []key // the last one signs
	made   int
	broken http.Handler
}

type key struct {
	id string
	*Key
}

// New returns an issuer that nobody can ask.
func New() *Issuer {
	i := &Issuer{}
	i.Rotate()
	return i
}

// Start returns an issuer that answers on this machine, over http.
func Start() *Issuer {
	i := New()
	i.server = httptest.NewUnstartedServer(i)
	i.server.Config.ErrorLog = log.New(io.Discard, "", 0) // what is cut off on purpose
	i.server.Start()
	i.URL = i.server.URL
	return i
}

// Close ends it.
func (i *Issuer) Close() {
	if i.server != nil {
		i.server.CloseClientConnections()
		i.server.Close()
	}
}

// ServeHTTP answers discovery (OpenID Connect Discovery 1.0) and the JWK Set.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	broken := i.broken
	i.mu.Unlock()
	if r.URL.Path == "/keys" {
		i.Asked.Add(1)
	}
	switch {
	case broken != nil:
		broken.ServeHTTP(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"%s/keys"}`, i.URL, i.URL)
	case r.URL.Path == "/keys":
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = w.Write(i.Set()) // who has gone away needs no keys
	default:
		http.NotFound(w, r)
	}
}

// Break makes h answer in its place; nil mends it.
func (i *Issuer) Break(h http.Handler) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken = h
}

// Rotate makes a key and signs with it from now on. The one before it stays published, older ones go.
func (i *Issuer) Rotate() {
	next := NewES256()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	i.keys = append(i.keys, key{fmt.Sprintf("key-%d", i.made), next})
	i.keys = slices.Clone(i.keys[max(0, len(i.keys)-2):])
}

// Set is the JWK Set.
func (i *Issuer) Set() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	var list []any
	for _, k := range i.keys {
		published := k.JWK()
		published["use"], published["alg"], published["kid"] = "sig", k.Alg, k.id
		list = append(list, published)
	}
	return marshal(map[string]any{"keys": list})
}

// Token signs claims: those of an ordinary token, changed by pairs of a name and a value; nil removes one.
func (i *Issuer) Token(changes ...any) string {
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": i.URL, "aud": "shop-api", "sub": "user-7", "scope": "openid orders.read", "email_verified": true, "exp": now + 3600, "iat": now,
	}
	for n := 0; n+1 < len(changes); n += 2 {
		if claims[changes[n].(string)] = changes[n+1]; changes[n+1] == nil {
			delete(claims, changes[n].(string))
		}
	}
	return i.Sign("at+jwt", claims)
}

// Sign signs claims as a token of a type.
func (i *Issuer) Sign(typ string, claims map[string]any) string {
	i.mu.Lock()
	k := i.keys[len(i.keys)-1]
	i.mu.Unlock()
	return k.Key.Sign(marshal(map[string]any{"alg": k.Alg, "kid": k.id, "typ": typ}), marshal(claims))
}
