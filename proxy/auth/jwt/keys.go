package jwt

import (
	"context"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/background"
	"sluice/proxy/auth/jose"
	"sluice/proxy/auth/oauth"
)

// KeysOptions say where keys come from: a set of keys at URL, or, without it, the one that Issuer names (OpenID Connect Discovery 1.0).
type KeysOptions struct {
	URL, Issuer string
	RootCAs     *x509.CertPool // whom to trust as that server; nil: whom the system trusts
	// Idle never fetches anything: it is for explaining what would be done.
	Idle bool
}

// Keys are what tokens are verified with. They are fetched in the background, ahead of need; the last good ones stay for as long as
// fetching fails. A request that brings a token of an unknown key makes them be fetched early, once for all that wait, and not again
// before a while. All methods are safe for concurrent use.
type Keys struct {
	options KeysOptions
	set     atomic.Pointer[jose.Set]
	fetch   func(context.Context) (*jose.Set, time.Duration, error) // nil: the set is fixed
	work    *background.Work
	wake    chan struct{} // somebody waits for a fetch that has not begun
	waiting atomic.Int64

	mu     sync.Mutex
	under  *round // under way, nil: none is
	next   *round
	status KeysStatus
	told   time.Time // when a failure was logged last
}

// round is one fetch, for those who wait for it.
type round struct{ done chan struct{} }

func newRound() *round { return &round{make(chan struct{})} }

// KeysStatus says how fetching goes.
type KeysStatus struct {
	Source          string // without what might be secret in a URL; empty: the keys are fixed
	Keys            int
	Fetched, Failed uint64
	At              time.Time // of the last success; zero: there was none
	Problem         string    // why the last fetch failed; empty: it did not
}

// When keys are fetched, and how long requests wait for that.
const (
	refreshDefault = 15 * time.Minute // if the issuer does not say for how long they hold
	refreshMin     = 5 * time.Minute
	refreshMax     = 24 * time.Hour
	retryMin       = time.Second // after a failure, doubled with each further one
	retryMax       = 5 * time.Minute
	coolDown       = 2 * time.Second // between two fetches, whoever asks for them
	waitMax        = 5 * time.Second // of a request
	// waitersMax is how many requests wait at a time. Others are refused at once: tokens of unknown keys cost nothing to make.
	waitersMax = 1024
	tellEvery  = time.Minute
)

// FixedKeys returns keys that do not change.
func FixedKeys(s *jose.Set) *Keys {
	k := &Keys{work: background.New()}
	k.set.Store(s)
	return k
}

// NewKeys returns keys that are fetched once Start was called.
func NewKeys(o KeysOptions) *Keys {
	k := &Keys{options: o, work: background.New(), wake: make(chan struct{}, 1), next: newRound()}
	k.fetch = newFetcher(o).keys
	k.status.Source = shownURL(o)
	return k
}

// shownURL is where keys come from, for people.
func shownURL(o KeysOptions) string {
	if o.URL == "" {
		return o.Issuer
	}
	return oauth.ShownURL(o.URL)
}

// Start begins to fetch. Only the first call counts.
func (k *Keys) Start() {
	if k.fetch != nil && !k.options.Idle {
		k.work.Start(k.run)
	}
}

// Stop ends fetching. Requests under way may go on with what there is.
func (k *Keys) Stop() { k.work.Stop() }

// Status says how fetching goes.
func (k *Keys) Status() KeysStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	if set := k.set.Load(); set != nil {
		s.Keys = set.Len()
	}
	return s
}

// Unready says what is missing, if no token can be verified; else it is empty.
func (k *Keys) Unready() string {
	if k.set.Load() != nil {
		return ""
	}
	return "no keys of " + k.Status().Source
}

func (k *Keys) current() *jose.Set { return k.set.Load() }

// run fetches, for as long as the keys are used by anything.
func (k *Keys) run() {
	failures := 0
	for {
		hold, err := k.round()
		ended := time.Now()
		if err == nil {
			failures = 0
			// Hosts that were started together do not ask together.
			hold = min(max(hold, refreshMin), refreshMax)
			hold -= time.Duration(rand.Int64N(int64(hold / 10)))
		} else {
			hold = min(retryMin<<min(failures, 10), retryMax)
			failures++
		}
		if !k.work.Sleep(hold, k.wake) || !k.work.Sleep(coolDown-time.Since(ended), nil) {
			return
		}
	}
}

// round fetches once, and tells those who wait. It returns for how long the keys hold.
func (k *Keys) round() (time.Duration, error) {
	k.mu.Lock()
	r := k.next
	k.under, k.next = r, newRound()
	select {
	case <-k.wake: // of somebody who waits for this one
	default:
	}
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(k.work.Life(), oauth.AnswerMax)
	set, hold, err := k.fetch(ctx)
	cancel()
	k.mu.Lock()
	k.learn(set, err)
	k.under = nil
	k.mu.Unlock()
	close(r.done)
	return hold, err
}

// routes is what becomes of them while fetching fails.
var routes = map[bool]string{true: "go on with the last good keys", false: "are closed"}

// learn takes what a fetch has brought. A set that is the same stays the same one: what is remembered was verified with it.
func (k *Keys) learn(set *jose.Set, err error) {
	s := &k.status
	if err != nil {
		if k.work.Over() {
			return // it was broken off
		}
		s.Failed++
		s.Problem = err.Error()
		if now := time.Now(); now.Sub(k.told) >= tellEvery {
			k.told = now
			slog.Warn("the keys that tokens are verified with were not fetched", "from", s.Source, "error", err, "routes", routes[k.set.Load() != nil])
		}
		return
	}
	s.Fetched++
	s.At = time.Now()
	if s.Problem != "" {
		slog.Info("the keys that tokens are verified with are there again", "from", s.Source)
		s.Problem, k.told = "", time.Time{}
	}
	if old := k.set.Load(); !old.Same(set) {
		slog.Info("tokens are verified with new keys", "from", s.Source, "keys", set.Len())
		for _, skipped := range set.Skipped() {
			slog.Warn("a key for tokens is not used", "from", s.Source, "why", skipped)
		}
		k.set.Store(set)
	}
}

// await returns the keys once good is content with them, which it is not with what they are now; after a while, what there is. Requests
// that come together wait for the same fetch.
func (k *Keys) await(x *proxy.Exchange, known *jose.Set, good func(*jose.Set) bool) *jose.Set {
	if k.fetch == nil || k.options.Idle || k.work.Over() || known == nil && k.failing() {
		return k.current()
	}
	defer k.waiting.Add(-1)
	if k.waiting.Add(1) > waitersMax {
		return k.current()
	}
	x.Waited = true
	t := time.NewTimer(oauth.Patience(x, waitMax))
	defer t.Stop()
	// Who comes while a fetch is under way waits for that one; what it brings may be from before the key was there, and then
	// for the next. What the next does not bring is not there.
	for seen, last := known, false; !last; {
		var r *round
		r, last = k.join(seen)
		if r != nil && !k.waitFor(r, x, t.C) {
			break
		}
		if seen = k.current(); seen != known && good(seen) || known == nil && k.failing() {
			break
		}
	}
	return k.current()
}

// failing reports whether there are no keys, and asking for them has failed: then nobody waits, and it is tried again in the background.
func (k *Keys) failing() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.set.Load() == nil && k.status.Problem != ""
}

// join returns the fetch that is under way, or, if none is, the next one: it makes sure that there is one. It returns nil if one has brought other
// keys than were seen: nobody needs to wait for those.
func (k *Keys) join(seen *jose.Set) (r *round, next bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set.Load() != seen {
		return nil, false
	}
	if k.under != nil {
		return k.under, false
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return k.next, true
}

// waitFor reports whether the fetch is over, and not the time of the request.
func (k *Keys) waitFor(r *round, x *proxy.Exchange, out <-chan time.Time) bool {
	select {
	case <-r.done:
		return true
	case <-out:
	case <-x.Done():
	case <-k.work.Life().Done():
	}
	return false
}
