package servicetoken

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/background"
	"sluice/proxy/auth/oauth"
	"sluice/proxy/wire"
)

// Own is a policy that shows the service a token of the gateway's own. It is fetched in the background, ahead of need; the last good one
// serves until it ends while the provider is down, and then the routes are closed. All methods are safe for concurrent use.
type Own struct {
	options Options
	form    url.Values
	ask     func(context.Context, url.Values) (*oauth.Token, error)

	held    atomic.Pointer[held]
	work    *background.Work
	wake    chan struct{} // somebody waits for a token that nobody fetches yet
	waiting atomic.Int64

	fetched, failed, rejected, refused atomic.Uint64

	mu      sync.Mutex
	next    *round // the fetch under way, or else the next one
	under   bool   // it is under way
	last    int64  // wire.Now when the last fetch began; 0: none has
	problem string // why the last fetch failed; empty: it did not
}

// round is one fetch, for those who wait for it.
type round struct{ done chan struct{} }

func newRound() *round { return &round{make(chan struct{})} }

// How long requests wait.
const (
	waitFirst  = 5 * time.Second // for a token, when there is none
	waitBetter = time.Second     // for one in the place of one that a service has refused
	waitersMax = 1024            // requests that wait at a time; others do not
)

// NewOwn returns a policy that fetches its token once Start was called.
func NewOwn(o Options) *Own {
	own := &Own{options: o, form: o.form("client_credentials"), work: background.New(), wake: make(chan struct{}, 1), next: newRound()}
	own.ask = func(ctx context.Context, form url.Values) (*oauth.Token, error) {
		select { // at the start, it is being asked where its endpoints are
		case <-o.Client.Provider().Known():
			return o.Client.Token(ctx, form)
		case <-ctx.Done():
			return nil, oauth.ErrUnknown
		}
	}
	return own
}

// Serve shows the service the token. A service that refuses it makes it be fetched anew; the request is not repeated, as nobody knows what
// the service has done.
func (o *Own) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	h := o.held.Load()
	if h == nil || h.doubted.Load() || h.until <= wire.Now() {
		if h = o.await(x, h); h == nil {
			o.refused.Add(1)
			return ErrUnavailable
		}
	}
	h.show(x)
	err := next.Serve(x)
	if err == nil && x.Response.Status == 401 {
		o.reject(h)
	}
	return err
}

// await waits for a token that is better than h, which is none, has ended, or was refused. It returns what there is then: one that a
// service has refused may be good for others.
func (o *Own) await(x *proxy.Exchange, h *held) *held {
	now := wire.Now()
	r, patience := o.join(h == nil || h.until <= now)
	if r == nil {
		return o.good()
	}
	defer o.waiting.Add(-1)
	if o.waiting.Add(1) > waitersMax {
		return o.good()
	}
	x.Waited = true
	t := time.NewTimer(oauth.Patience(x, patience))
	defer t.Stop()
	select {
	case <-r.done:
	case <-t.C:
	case <-x.Done():
	case <-o.work.Life().Done():
	}
	return o.good()
}

// good is the token, if it has not ended.
func (o *Own) good() *held {
	if h := o.held.Load(); h != nil && h.until > wire.Now() {
		return h
	}
	return nil
}

// join returns the fetch to wait for, and for how long at most; nil if it is not worth it: without any token nobody waits for a provider that has
// not given one when it was asked last, and it is tried again in the background.
func (o *Own) join(none bool) (*round, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.work.Begun() || o.work.Over() || none && o.problem != "" {
		return nil, 0
	}
	if h := o.good(); h != nil && !h.doubted.Load() {
		return nil, 0 // it has come since somebody looked
	}
	if !o.under {
		o.stir()
	}
	if none {
		return o.next, waitFirst
	}
	return o.next, waitBetter
}

// stir makes the goroutine fetch, if it does not.
func (o *Own) stir() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// reject is called when a service has refused a token.
func (o *Own) reject(h *held) {
	o.rejected.Add(1)
	if o.held.Load() != h || wire.Now()-h.asked < int64(rejectedAfter) {
		return // there is a newer one, or it is new itself
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.work.Begun() || wire.Now()-o.last < int64(rejectedAfter) || !h.doubted.CompareAndSwap(false, true) {
		return
	}
	o.stir()
}

// Unready says what is missing while the routes are closed; else it is empty.
func (o *Own) Unready() string {
	if o.good() != nil {
		return ""
	}
	return "no token for services of " + o.options.Client.Status().Source
}

// OwnStatus says how it goes.
type OwnStatus struct {
	Fetched, Failed uint64
	Rejected        uint64    // answers 401 of services
	Refused         uint64    // requests, for want of a token
	Ends            time.Time // when the token does; zero: there is none
}

// Status says how it goes.
func (o *Own) Status() OwnStatus {
	s := OwnStatus{Fetched: o.fetched.Load(), Failed: o.failed.Load(), Rejected: o.rejected.Load(), Refused: o.refused.Load()}
	if h := o.good(); h != nil {
		s.Ends = time.Now().Add(time.Duration(h.until - wire.Now()))
	}
	return s
}
