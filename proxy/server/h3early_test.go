package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"sluice/proxy/proxytest"
)

// memory is what a client keeps of a host: sessions, and proofs of its address.
type memory struct {
	tls.ClientSessionCache
	quic.TokenStore
	sessions, tokens chan struct{} // what came
}

// remember begins with nothing; a client that shows no proof of its address keeps none.
func remember(proofs bool) *memory {
	m := &memory{ClientSessionCache: tls.NewLRUClientSessionCache(1), sessions: make(chan struct{}, 10), tokens: make(chan struct{}, 10)}
	if proofs {
		m.TokenStore = quic.NewLRUTokenStore(1, 10)
	}
	return m
}

// sessionCache and tokenStore tell of what they are given.
type sessionCache struct{ *memory }
type tokenStore struct{ *memory }

func (c sessionCache) Put(key string, s *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, s)
	c.sessions <- struct{}{}
}

func (s tokenStore) Put(key string, t *quic.ClientToken) {
	s.TokenStore.Put(key, t)
	s.tokens <- struct{}{}
}

func (m *memory) tls() *tls.Config {
	c := tls3()
	c.ClientSessionCache = sessionCache{m}
	return c
}

func (m *memory) quic() *quic.Config {
	c := &quic.Config{}
	if m.TokenStore != nil {
		c.TokenStore = tokenStore{m}
	}
	return c
}

// meet connects, asks, and keeps what the gateway gives.
func (m *memory) meet(t *testing.T, s *stage) (resumed bool) {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), s.Addr, m.tls(), m.quic())
	if err != nil {
		t.Fatal(err)
	}
	c := newH3client(t, conn)
	c.request("GET", "/met", true).want("200", "*")
	for _, came := range []chan struct{}{m.sessions, m.tokens} {
		if came == m.tokens && m.TokenStore == nil {
			continue
		}
		select {
		case <-came:
		case <-time.After(patience):
			t.Fatal("the gateway gives nothing to come back with")
		}
	}
	resumed = conn.ConnectionState().TLS.DidResume
	conn.CloseWithError(h3NoError, "")
	return resumed
}

// TestH3_earlyData: what comes before the end of a handshake is served only if it may come twice, and the origin is told.
func TestH3_earlyData(t *testing.T) {
	seen := make(chan string, 10)
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		seen <- fmt.Sprintf("%s %s %q early %q", r.Method, r.URL.Path, b, r.Header["Early-Data"])
	})
	const secret = "0123456789abcdef0123456789abcdef"
	start := func(early, more string) *stage {
		return &stage{t: t, Gateway: proxytest.Start(t, fmt.Sprintf(`
listen: { web: { address: "127.0.0.1:0", tls: edge, http: [h1, h3], early_data: %s } }
tls: { edge: { certificates: self-signed, session_tickets: { secret: %s } } }
services: { o: { to: ["http://%s"] } }
routes: { all: { match: "/**", to: o } }
`, early, secret, origin)+more)}
	}
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("the origin has seen %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("the origin has not seen %s", want)
		}
	}
	one, two, off, small := start("safe", ""), start("safe", ""), start("off", ""), start("safe", "limits: { headers: 50 }\n")

	// early asks before it has heard anything, and reports whether that was early data. What is not to be early is not waited for for long.
	early := func(m *memory, s *stage, want bool) bool {
		wait := 300 * time.Millisecond
		if want {
			wait = patience
		}
		t.Helper()
		hear := make(chan struct{})
		tr := via(t, &deaf{socket(t, "127.0.0.1"), hear})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var conn *quic.Conn
		var err error
		dialled := make(chan struct{})
		go func() {
			defer close(dialled)
			conn, err = tr.DialEarly(ctx, s.udpAddr(), m.tls(), m.quic())
		}()
		select {
		case <-dialled:
		case <-time.After(wait): // it does not even try
			close(hear)
			<-dialled
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseWithError(h3NoError, "")
			return conn.ConnectionState().Used0RTT
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(h3NoError, "")
		c := newH3client(t, conn)
		post := c.request("POST", "/post", false)
		post.data("body", true)
		put := c.request("GET", "/body", false)
		put.data("body", true)
		get := c.request("GET", "/get", true)
		// What is safe has reached the origin, and nothing else, while the client has heard nothing.
		select {
		case got := <-seen:
			if got != `GET /get "" early ["1"]` {
				t.Errorf("the origin has seen %s", got)
			}
		case <-time.After(wait):
			close(hear)
			<-conn.HandshakeComplete()
			return conn.ConnectionState().Used0RTT
		}
		close(hear)
		get.want("200", "*")
		post.want("200", "*")
		put.want("200", "*")
		after := map[string]bool{<-seen: true, <-seen: true}
		if !after[`POST /post "body" early []`] || !after[`GET /body "body" early []`] {
			t.Errorf("the origin has seen %v after the handshake", after)
		}
		return conn.ConnectionState().Used0RTT
	}
	f := func(what string, m *memory, first, then *stage, want bool) {
		t.Helper()
		if m.meet(t, first) {
			t.Errorf("%s: the first session was resumed", what)
		}
		expect(`GET /met "" early []`)
		if got := early(m, then, want); got != want {
			t.Errorf("%s: early is %t, want %t", what, got, want)
		}
		for len(seen) > 0 {
			<-seen
		}
	}
	f("on", remember(true), one, one, true)
	f("on, at another host", remember(true), one, two, true)
	f("off", remember(true), off, off, false)
	f("switched off", remember(true), one, off, false)
	f("an address that is not proven", remember(false), one, one, false)
	f("heads must be smaller now", remember(true), one, small, false)

	// Sessions resume all the same, also between hosts.
	m := remember(true)
	for i, s := range []*stage{one, one, two, off, small} {
		if resumed := m.meet(t, s); resumed != (i > 0) {
			t.Errorf("host %d: resumed is %t", i, resumed)
		}
		expect(`GET /met "" early []`)
	}
}
