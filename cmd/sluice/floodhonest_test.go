//go:build !race && !invariants

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// honest are clients who go on asking, one request after the other each, and expect an answer to all of them.
type honest struct {
	f      *attacked
	cancel context.CancelFunc
	done   sync.WaitGroup
	now    atomic.Pointer[phase]
}

// honestKinds is how many kinds of clients there are.
const honestKinds = 5

func newHonest(f *attacked) *honest {
	h := &honest{f: f}
	ctx, cancel := context.WithCancel(f.t.Context())
	h.cancel = cancel
	h.now.Store(new(phase))
	client := func(kind, url string, transport http.RoundTripper, done func()) {
		c := http.Client{Transport: transport, Timeout: patience}
		h.done.Go(func() {
			defer done()
			for ctx.Err() == nil {
				p, began := h.now.Load(), time.Now()
				if err := askHonestly(&c, url); err != nil {
					f.t.Errorf("%s: after %v: %v", kind, time.Since(began).Round(time.Millisecond), err)
					return
				}
				p.add(kind, time.Since(began))
				time.Sleep(time.Millisecond)
			}
		})
	}
	over := func(kind, url string, h2, keep bool) {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: !keep, Protocols: new(http.Protocols),
		}
		transport.Protocols.SetHTTP1(!h2)
		transport.Protocols.SetHTTP2(h2)
		client(kind, url, transport, transport.CloseIdleConnections)
	}
	over("HTTP/1.1", "http://"+f.web, false, true)
	over("HTTP/1.1 over TLS, a handshake each", "https://"+f.secure, false, false)
	over("HTTP/2 over TLS", "https://"+f.secure, true, true)
	over("HTTP/2 over TLS, a handshake each", "https://"+f.secure, true, false)
	quic := &http3.Transport{TLSClientConfig: tls3()}
	client("HTTP/3", "https://"+f.secure, quic, func() { _ = quic.Close() })
	return h
}

func askHonestly(c *http.Client, url string) error {
	res, err := c.Get(url + "/small")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != 200 || string(body) != "from the origin") {
		err = fmt.Errorf("got %d %.100q", res.StatusCode, body)
	}
	return err
}

// phase waits for so long, and until each client has had some answers, and returns how long all of them took that were asked for
// meanwhile.
func (h *honest) phase(atLeast time.Duration) *phase {
	h.f.t.Helper()
	const answersMin = 50
	p := new(phase)
	h.now.Store(p)
	defer h.now.Store(new(phase))
	for end := time.Now().Add(3 * patience); time.Now().Before(end) && !h.f.t.Failed(); {
		time.Sleep(atLeast)
		if p.answers() >= answersMin {
			return p
		}
	}
	h.f.t.Fatal("honest clients do not get answers")
	return nil
}

// phases are so many of them.
func (h *honest) phases(size *size) (all []*phase) {
	h.f.t.Helper()
	for range size.rounds {
		all = append(all, h.phase(size.phase))
	}
	return all
}

func (h *honest) stop() {
	h.cancel()
	h.done.Wait()
}

// phase is how long requests took that began in it, by the kind of client.
type phase struct {
	mu   sync.Mutex
	took map[string][]time.Duration
}

func (p *phase) add(kind string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.took == nil {
		p.took = make(map[string][]time.Duration)
	}
	p.took[kind] = append(p.took[kind], took)
}

// answers is how many every kind of client has had.
func (p *phase) answers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.took) < honestKinds {
		return 0
	}
	n := math.MaxInt
	for _, took := range p.took {
		n = min(n, len(took))
	}
	return n
}

// p99 is the median of the phases' 99th percentiles of each kind: what else happens on the host comes and goes.
func p99(phases []*phase) map[string]time.Duration {
	each := make(map[string][]time.Duration)
	for _, p := range phases {
		p.mu.Lock()
		for kind, took := range p.took {
			took = slices.Sorted(slices.Values(took))
			each[kind] = append(each[kind], took[len(took)*99/100])
		}
		p.mu.Unlock()
	}
	median := make(map[string]time.Duration)
	for kind, p99 := range each {
		slices.Sort(p99)
		median[kind] = p99[len(p99)/2]
	}
	return median
}

// compare says what an attack has done to the honest clients, and whether that is little enough. If it is not, the last look is an error.
func (s *size) compare(t *testing.T, without, with []*phase, last bool) (fair bool) {
	t.Helper()
	fair = true
	before, during := p99(without), p99(with)
	for _, kind := range slices.Sorted(maps.Keys(during)) {
		t.Logf("p99 of %s: %v, without the attack %v", kind, during[kind].Round(time.Millisecond/10), before[kind].Round(time.Millisecond/10))
		if during[kind] <= s.factor*before[kind]+s.floor {
			continue
		}
		if fair = false; last {
			t.Errorf("%s: others wait for %v", kind, during[kind])
		}
	}
	return fair
}
