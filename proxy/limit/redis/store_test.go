package redis_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/limit"
	"sluice/proxy/limit/redis"
	"sluice/proxy/limit/redis/redistest"
	"sluice/proxy/wire"
	"sluice/router"
)

const patience = 20 * time.Second

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: it did not happen", what)
		}
	}
}

const timeout = 250 * time.Millisecond

// TestSettle holds the script against the arithmetic that it stands for. Nothing is exact but for the time that passes meanwhile.
func TestSettle(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := redis.New(redis.Options{Network: "unix", Address: server.Socket(), Prefix: "test", Timeout: patience})
	t.Cleanup(store.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const s = int64(time.Second)
	began := time.Now()
	// f wants a bucket of ten seconds to be full in so many, or a little less: as much as has passed since the test began, in whole milliseconds.
	f := func(e limit.Entry, want int64) {
		t.Helper()
		e.Burst, e.Policy = 10*s, "p"
		entries := []limit.Entry{{Policy: "other", Key: 1, Burst: s}, e}
		if err := store.Settle(ctx, entries); err != nil {
			t.Fatal(err)
		}
		if got := entries[1].Full; got > want*s+int64(time.Millisecond) || got < max(want*s-int64(time.Since(began)), 0) {
			t.Errorf("full in %v, want %d s", time.Duration(got), want)
		}
	}
	f(limit.Entry{Key: 1}, 0)
	f(limit.Entry{Key: 1, Take: 3 * s}, 3)
	f(limit.Entry{Key: 2, Take: 8 * s}, 8)
	f(limit.Entry{Key: 1}, 3)
	f(limit.Entry{Key: 1, View: 9 * s}, 3)              // the server knows better
	f(limit.Entry{Key: 1, View: 5 * s, Merge: true}, 5) // unless it has been away
	f(limit.Entry{Key: 1, View: 4 * s, Merge: true, Take: s}, 6)
	f(limit.Entry{Key: 3, View: 4 * s, Take: s}, 5) // it has lost the bucket
	f(limit.Entry{Key: 1, Charge: -2 * s}, 4)
	f(limit.Entry{Key: 1, Charge: -200 * s}, 0)
	f(limit.Entry{Key: 4, Charge: 200 * s}, 20) // nobody waits for more than two bursts
	f(limit.Entry{Key: 4, Take: 5 * s}, 25)     // but what was taken counts
	f(limit.Entry{Key: 4, Charge: 5 * s}, 25)
	f(limit.Entry{Key: 4, Take: 1 << 50}, 2560)
	if known, err := store.Reset(ctx, limit.Entry{Policy: "p", Key: 4, Burst: 10 * s}); !known || err != nil {
		t.Errorf("reset: %v, %v", known, err)
	}
	f(limit.Entry{Key: 4, View: 9 * s, Take: s}, 1)
	if known, err := store.Reset(ctx, limit.Entry{Policy: "p", Key: 5, Burst: 10 * s}); known || err != nil {
		t.Errorf("reset of what is not there: %v, %v", known, err)
	}
	f(limit.Entry{Key: 5, View: 9 * s}, 0) // no host brings back what it knew before

	// Nothing lasts for good, and what is there says nothing about a client.
	keys := server.Command(t, "KEYS", "*")
	for _, key := range keys {
		ttl := server.Command(t, "PTTL", key)
		if !strings.HasPrefix(key, "test:") || ttl[0] == "-1" || len(ttl[0]) > len("2570000") { // -2: it has expired
			t.Errorf("%s expires in %s ms", key, ttl)
		}
	}
	if len(keys) < 5 { // the one that is always full is kept for two seconds, the others for seven or more
		t.Errorf("there are only %q", keys)
	}

	// The longest burst there can be does not overflow.
	long := []limit.Entry{{Policy: "long", Key: 1, Burst: int64(10 * 365 * 24 * time.Hour), Take: int64(10 * 365 * 24 * time.Hour)}}
	if err := store.Settle(ctx, long); err != nil || long[0].Full < long[0].Take-s {
		t.Errorf("got %v, %v", long, err)
	}
}

// TestExpiry: a key is kept for two seconds more than its bucket takes to fill, or would take if nothing had been given back: for so long may a host
// take the bucket for emptier than it is.
func TestExpiry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := redis.New(redis.Options{Network: "unix", Address: server.Socket(), Prefix: "test", Timeout: patience})
	t.Cleanup(store.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const s, day = int64(time.Second), int64(24 * time.Hour)
	began := time.Now()
	// f wants the key of a bucket of a day to be kept for so long, or a little less: as much as has passed since the test began, in whole milliseconds.
	expires := func(key uint64, want int64) {
		t.Helper()
		ms, err := strconv.ParseInt(server.Command(t, "PTTL", fmt.Sprintf("test:limit:day:%016x", key))[0], 10, 64)
		if got := ms * int64(time.Millisecond); err != nil || got > want+5*int64(time.Millisecond) || got < want-int64(time.Since(began)+time.Millisecond) {
			t.Errorf("key %d expires in %v, want %v, %v", key, time.Duration(got), time.Duration(want), err)
		}
	}
	f := func(e limit.Entry, want int64) {
		t.Helper()
		e.Burst, e.Policy = day, "day"
		if err := store.Settle(ctx, []limit.Entry{e}); err != nil {
			t.Fatal(err)
		}
		expires(e.Key, want)
	}
	const one = 86_400 * s / 1000 // a token of 1000/d
	f(limit.Entry{Key: 1, Take: one}, one+2*s)
	f(limit.Entry{Key: 1}, one+2*s)
	f(limit.Entry{Key: 1, Take: one, Charge: one}, 3*one+2*s)
	f(limit.Entry{Key: 2}, 2*s) // whoever asks for a bucket that is full leaves nothing for long
	f(limit.Entry{Key: 3, View: 5 * one}, 5*one+2*s)
	f(limit.Entry{Key: 4, Take: day}, day+2*s)

	// Given back: other hosts may know the bucket as it was, and are not believed.
	f(limit.Entry{Key: 5, Take: 10 * one}, 10*one+2*s)
	f(limit.Entry{Key: 5, Charge: -9 * one}, 10*one+2*s)
	f(limit.Entry{Key: 5, Take: one, View: 10 * one}, 10*one+2*s)
	f(limit.Entry{Key: 5, Charge: -10 * one, View: 10 * one}, 10*one+2*s)
	f(limit.Entry{Key: 5, Take: 11 * one}, 11*one+2*s) // and with that it is as if nothing had been
	f(limit.Entry{Key: 6, Take: one, Charge: -one}, one+2*s)
	f(limit.Entry{Key: 6, Take: one, Charge: -one}, one+2*s) // again and again

	// Reset: what hosts know may be up to two bursts, or what the bucket is in debt, or was.
	if _, err := store.Reset(ctx, limit.Entry{Policy: "day", Key: 4, Burst: day}); err != nil {
		t.Fatal(err)
	}
	expires(4, 2*day+2*s)
	f(limit.Entry{Key: 4, Take: one, View: day}, 2*day+2*s)
	if value := server.Command(t, "GET", "test:limit:day:0000000000000004"); len(strings.Fields(value[0])) != 2 {
		t.Errorf("got %q", value)
	}

	f(limit.Entry{Key: 8, Take: 5 * day}, 5*day+2*s)
	f(limit.Entry{Key: 8, Charge: -4 * day}, 5*day+2*s)
	for range 2 {
		if known, err := store.Reset(ctx, limit.Entry{Policy: "day", Key: 8, Burst: day}); !known || err != nil {
			t.Errorf("reset: %v, %v", known, err)
		}
		expires(8, 5*day+2*s)
	}
	f(limit.Entry{Key: 8, Take: one, View: 5 * day}, 5*day+2*s)
	server.Command(t, "SET", "test:limit:day:0000000000000009", fmt.Sprint(int64(1)<<52)) // of a clock that was far ahead
	if _, err := store.Reset(ctx, limit.Entry{Policy: "day", Key: 9, Burst: day}); err != nil {
		t.Fatal(err)
	}
	expires(9, 256*day+2*s)

	// What is no bucket is taken for none, and what a former version has left for one.
	now := time.Now().UnixMicro()
	for _, value := range []string{"", "x", "1x", " 1", "1 2 3", "-1", fmt.Sprintf("%d x", now)} {
		server.Command(t, "SET", "test:limit:day:0000000000000007", value)
		f(limit.Entry{Key: 7, View: one}, one+2*s)
	}
	server.Command(t, "SET", "test:limit:day:0000000000000007", fmt.Sprint(now+one/1000))
	f(limit.Entry{Key: 7, View: day}, one+2*s)
}

// TestSecured: TLS and a password are what the server wants, and neither a wrong one nor anything about the right one is told.
func TestSecured(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := certificate(t, dir)
	address := freePort(t)
	_, port, _ := net.SplitHostPort(address)
	redistest.Start(t, "--tls-port", port, "--bind", "127.0.0.1", "--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", filepath.Join(dir, "cert.pem"), "--tls-auth-clients", "no", "--user", "gateway", "on", ">hunter2", "~test:*", "+set", "+get", "+exists", "+time", "+eval", "+evalsha", "--user", "default", "off")
	f := func(user, password string, roots *x509.CertPool, want string) {
		t.Helper()
		store := redis.New(redis.Options{Network: "tcp", Address: address, User: user, Password: password, Prefix: "test", Timeout: patience,
			TLS: &tls.Config{ServerName: "store.example", RootCAs: roots, MinVersion: tls.VersionTLS12}})
		defer store.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		entries := []limit.Entry{{Policy: "p", Key: 1, Burst: 1e9, Take: 5e8}}
		err := store.Settle(ctx, entries)
		if err == nil && (want != "" || entries[0].Full == 0) || err != nil && (want == "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter")) {
			t.Errorf("%s %s: got %v, want %q", user, password, err, want)
		}
	}
	f("gateway", "hunter2", roots, "")
	f("gateway", "hunter3", roots, "WRONGPASS")
	f("", "hunter2", roots, "WRONGPASS")
	f("gateway", "hunter2", x509.NewCertPool(), "certificate")
}

// certificate writes a pair for store.example and returns what trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"store.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(crand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert.pem": text, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return roots
}

// freePort is an address that nobody uses, below those that the kernel hands out: one of them might belong to a connection a moment later.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		if nl, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 15_000+rand.IntN(5000))); err == nil {
			defer nl.Close()
			return nl.Addr().String()
		}
	}
	t.Fatal("100 ports are taken")
	return ""
}

// host is one of several that share a limit.
type host struct {
	guard *limit.Rate
	rates *limit.Rates
	fleet *limit.Fleet
	held  count
}

type count struct{ atomic.Uint64 }

func (c *count) Add(n uint64) { c.Uint64.Add(n) }

func newHost(t *testing.T, server *redistest.Server, ifDown limit.IfDown, w limit.Window) *host {
	t.Helper()
	return hostOf(t, limit.NewFleet(limit.FleetOptions{Name: "redis", Timeout: timeout,
		Store: redis.New(redis.Options{Network: "tcp", Address: server.Address(), Prefix: "test", Timeout: timeout})}), ifDown, w)
}

func hostOf(t *testing.T, fleet *limit.Fleet, ifDown limit.IfDown, w limit.Window) *host {
	t.Helper()
	h := &host{fleet: fleet}
	var err error
	h.rates, err = limit.NewRates(limit.Options{
		Name: "fair", Windows: []limit.Window{w}, Keys: 1000, Cost: limit.Cost{Request: 1}, Allowed: new(count), Refused: new(count),
		Across: &limit.Across{Fleet: h.fleet, IfDown: ifDown, Seed: limit.Seed(nil, "fair"), Fallbacks: new(count), Held: &h.held},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := router.ParsePattern("/")
	if err != nil {
		t.Fatal(err)
	}
	if h.guard, err = h.rates.Guard(&proxy.Route{Name: "a", Pattern: p}, 1); err != nil {
		t.Fatal(err)
	}
	h.fleet.Join(h.rates)
	h.fleet.Start()
	t.Cleanup(h.fleet.Stop)
	return h
}

// ask reports whether a request of a tenant is let in.
func (h *host) ask(tenant string) bool {
	x := proxy.Acquire()
	defer x.Release()
	x.Request.Host = []byte(tenant)
	x.Started = wire.Now()
	err := h.guard.Check(x)
	x.EditHead()
	x.Finish()
	return err == nil
}

func perHost(n int, per time.Duration, burst int) limit.Window {
	return limit.Window{Text: fmt.Sprintf("%d/%v burst %d", n, per, burst), Count: n, Per: per, Burst: burst, By: limit.Key{{Source: "host"}}}
}

// offered is what became of requests.
type offered struct {
	sent, admitted, slow int
	one                  int // that one host would have let in
	took                 time.Duration
}

func (o offered) and(p offered) offered {
	return offered{o.sent + p.sent, o.admitted + p.admitted, o.slow + p.slow, o.one + p.one, o.took + p.took}
}

// noneWaited: if requests waited for the store, most of those that came in a bad time would; a few are slow on a machine that is busy.
func (o offered) noneWaited(t *testing.T) {
	t.Helper()
	if o.slow > o.sent/100+1 {
		t.Errorf("%d of %d requests were slow", o.slow, o.sent)
	}
}

// offer lets requests of a tenant come at about a rate, from any of the hosts.
func offer(hosts []*host, tenant string, rate float64, d time.Duration, one *single) offered {
	began := time.Now()
	o := offered{}
	for now := began; now.Sub(began) < d; now = time.Now() {
		for ; float64(o.sent) < now.Sub(began).Seconds()*rate; o.sent++ {
			asked := time.Now()
			o.one += one.take(asked)
			if hosts[rand.IntN(len(hosts))].ask(tenant) {
				o.admitted++
			}
			if time.Since(asked) > 20*time.Millisecond {
				o.slow++
			}
		}
		time.Sleep(time.Millisecond)
	}
	o.took = time.Since(began)
	return o
}

func fleetOf(t *testing.T, n int, server *redistest.Server, ifDown limit.IfDown, w limit.Window) []*host {
	hosts := make([]*host, n)
	for i := range hosts {
		hosts[i] = newHost(t, server, ifDown, w)
	}
	allUp(t, hosts)
	return hosts
}

func allUp(t *testing.T, hosts []*host) {
	t.Helper()
	eventually(t, "the store is up", func() bool { return up(hosts) == len(hosts) })
}

// TestOneBudget: four hosts let through together what one would, give or take 5 %.
func TestOneBudget(t *testing.T) {
	t.Parallel()
	oneBudget(t, time.Second, 0)
}

// oneBudget asks for twice what is allowed. On a machine that has no time for the test, hosts are slow to tell each other what they took, so that
// a while may be off by that: it is asked for again then.
func oneBudget(t *testing.T, d, delay time.Duration) {
	server := redistest.Start(t)
	hosts := fleetOf(t, 4, server, limit.DownLocal, perHost(1000, time.Second, 400))
	server.Delay(delay)
	one := &single{interval: time.Second / 1000, burst: 400 * time.Second / 1000}
	offer(hosts, "a", 10_000, 100*time.Millisecond, one) // the burst goes,
	offer(hosts, "a", 2000, 600*time.Millisecond, one)   // and what was too much of it is made up for
	for try := range 8 {
		o := offer(hosts, "a", 2000, d, one)
		o.noneWaited(t)
		off := math.Abs(float64(o.admitted-o.one)) / float64(o.one)
		if off <= 0.05 {
			return
		}
		t.Logf("try %d: %d were let in, and one host would have let in %d", try, o.admitted, o.one)
	}
	t.Error("hosts do not let in what one would")
}

// single is the limit as one host would apply it.
type single struct {
	interval, burst time.Duration
	full            time.Time
}

func (s *single) take(now time.Time) int {
	if s.full.Before(now) {
		s.full = now
	}
	if s.full.Sub(now)+s.interval > s.burst {
		return 0
	}
	s.full = s.full.Add(s.interval)
	return 1
}

// TestSoakOneBudget is the same for longer, and with a store that is far away.
func TestSoakOneBudget(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	oneBudget(t, 10*time.Second, 0)
	oneBudget(t, 10*time.Second, 20*time.Millisecond)
}

// TestStoreFails lets the store fail in all the ways it can while four hosts are asked for ten times what they may let in: what they let in is
// never more than is said in the documentation of package limit, no request waits, and afterwards there is one budget again.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	storeFails(t, 300*time.Millisecond, false)
}

// TestSoakStoreFails is the same for longer.
func TestSoakStoreFails(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	storeFails(t, 10*time.Second, true)
}

func storeFails(t *testing.T, d time.Duration, all bool) {
	f := func(name string, away, back func(r *redistest.Server)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const h, rate, burst, lease = 4, 200, 40, 10
			server := redistest.Start(t)
			one := &single{interval: time.Second / rate, burst: burst * time.Second / rate}
			hosts := fleetOf(t, h, server, limit.DownLocal, perHost(rate, time.Second, burst))
			failures := failed(hosts)
			// judge holds what was let in against the bound, of which outage is how long hosts were by themselves. They are so as well when the
			// machine had no time to let the store answer.
			judge := func(when string, o offered, outage time.Duration) {
				t.Helper()
				took, share := o.took.Seconds(), 0.7
				now := failed(hosts)
				if outage == 0 && now != failures {
					outage = o.took
				}
				failures = now
				most := burst + rate*took + h*lease
				if outage > 0 {
					most += (h - 1) * (burst + rate*outage.Seconds())
					share = 0.4 // hosts first have to find out
				}
				// Requests that a busy machine sends late all at once are not all let in.
				least := share*min(rate*took, float64(o.one)) - 2*lease
				if n := float64(o.admitted); n > most || n < least {
					t.Errorf("%s: %d were let in within %v, want %.0f to %.0f", when, o.admitted, o.took, least, most)
				}
				o.noneWaited(t)
			}
			judge("together", offer(hosts, "a", 10*rate, d, one), 0)
			began := time.Now()
			away(server)
			o := offer(hosts, "a", 10*rate, d, one)
			for end := time.Now().Add(patience); up(hosts) > 0 && time.Now().Before(end); {
				o = o.and(offer(hosts, "a", 10*rate, 20*time.Millisecond, one))
			}
			if up(hosts) > 0 {
				t.Error("a host has not noticed")
			}
			back(server)
			for returned := time.Now(); up(hosts) < h; {
				o = o.and(offer(hosts, "a", 10*rate, 20*time.Millisecond, one))
				if took := time.Since(returned); took > 5*time.Second { // two are promised, and the machine may be busy
					t.Fatalf("after %v only %d hosts are back", took, up(hosts))
				}
			}
			judge("each by itself", o, time.Since(began))
			judge("together again", offer(hosts, "a", 10*rate, 2*d, one), 0)
		})
	}
	f("killed", (*redistest.Server).Kill, (*redistest.Server).Revive)
	f("slow", func(r *redistest.Server) { r.Delay(2 * timeout) }, func(r *redistest.Server) { r.Delay(0) })
	f("silent", (*redistest.Server).Swallow, (*redistest.Server).Pass)
	if !all {
		return
	}
	f("read only", func(r *redistest.Server) { r.Command(t, "REPLICAOF", "127.0.0.1", "1") }, func(r *redistest.Server) { r.Command(t, "REPLICAOF", "NO", "ONE") })
	f("full", func(r *redistest.Server) { r.Command(t, "CONFIG", "SET", "maxmemory", "1") }, func(r *redistest.Server) { r.Command(t, "CONFIG", "SET", "maxmemory", "0") })
}

// failed counts what the store did not answer, or not in time.
func failed(hosts []*host) (n uint64) {
	for _, h := range hosts {
		n += h.fleet.Status().Failed
	}
	return n
}

func up(hosts []*host) int {
	n := 0
	for _, h := range hosts {
		if h.fleet.Up() {
			n++
		}
	}
	return n
}

// TestHostileReplies: whatever a server says that is none, hosts are by themselves then, and nothing breaks.
func TestHostileReplies(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"", "+OK\r\n", ":1\r\n", "$3\r\nabc\r\n", "*0\r\n", "*1\r\n:-5\r\n", "*1\r\n:0\r\n", "*1\r\n:500000\r\n", "*1\r\n:9223372036854775807\r\n", "*1\r\n:99999999999\r\n", "*1\r\n$1\r\nx\r\n",
		"*1\r\n*0\r\n", "*2\r\n:1\r\n:1\r\n", "*-1\r\n", "$-1\r\n", "-NOSCRIPT none\r\n", "-ERR \x00\r\n", "?\r\n",
		"*99999\r\n", // for as many as are announced the client makes room at once, which for 100 million takes 4 GB
		"HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		store := redis.New(redis.Options{Network: "tcp", Address: hostile(t, reply), Prefix: "test", Timeout: 100 * time.Millisecond})
		fleet := limit.NewFleet(limit.FleetOptions{Name: "redis", Store: store, Timeout: 100 * time.Millisecond})
		h := hostOf(t, fleet, limit.DownLocal, perHost(100, 5*time.Minute, 100)) // a token comes every 3 s: none while it is asked
		var s limit.FleetStatus
		eventually(t, "an answer to "+reply, func() bool {
			h.ask("a")
			s = fleet.Status()
			return s.Settled > 0 || s.Failed > 0 && !s.Up // it is counted first
		})
		if s.Settled > 0 || s.Up {
			t.Errorf("%q: got %+v", reply, s)
		}
		n := 0
		for h.ask("b") {
			n++
		}
		if n < 25 || n > 100 {
			t.Errorf("%q: %d of 100 are let in", reply, n)
		}
	}
}

// hostile answers what a client says when it begins as a server does, and anything else with a reply.
func hostile(t *testing.T, reply string) string {
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
			go func() {
				defer c.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					text := string(b[:n])
					if strings.Contains(text, "EVAL") {
						_, err = io.WriteString(c, reply)
					} else {
						_, err = io.WriteString(c, strings.Repeat("+OK\r\n", strings.Count("\n"+text, "\n*")))
					}
					if err != nil || reply == "" {
						return
					}
				}
			}()
		}
	}()
	return nl.Addr().String()
}

// TestConnectingHoldsNobody: while a server takes its time to be connected to, whoever waits gives up when his time is over, and the store is
// closed. The connection that comes late is not kept.
func TestConnectingHoldsNobody(t *testing.T) {
	t.Parallel()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	store := redis.New(redis.Options{Network: "tcp", Address: nl.Addr().String(), Timeout: patience})
	ctx, cancel := context.WithCancel(t.Context())
	settled := make(chan error)
	go func() { settled <- store.Settle(ctx, nil) }()
	c, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 4<<10)
	n, err := c.Read(b) // the client has said who it is, and waits
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := store.Reset(ctx, limit.Entry{}); !errors.Is(err, context.Canceled) {
		t.Errorf("reset: %v", err)
	}
	if err := <-settled; !errors.Is(err, context.Canceled) {
		t.Errorf("settle: %v", err)
	}
	store.Close()
	if _, err := store.Reset(t.Context(), limit.Entry{}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("reset of what is closed: %v", err)
	}
	for err == nil {
		if _, err = io.WriteString(c, strings.Repeat("+OK\r\n", strings.Count("\n"+string(b[:n]), "\n*"))); err == nil {
			n, err = c.Read(b)
		}
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the connection is kept: %v", err)
	}
}
