package cache

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// lazyOrigin answers with a body of unknown length, when it may.
type lazyOrigin struct {
	size  int64
	cut   int // per read
	delay time.Duration
	sized bool // the length is announced after all
	parts bool // Range is answered with 206 and nothing
	asked atomic.Int64
	gate  chan struct{}
	ended atomic.Int64
}

func (o *lazyOrigin) Finish(*proxy.Exchange) { o.ended.Add(1) }

func (o *lazyOrigin) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	o.asked.Add(1)
	x.OnFinish(o)
	if o.gate != nil {
		select {
		case <-o.gate:
		case <-x.Done():
			return x.Canceled()
		}
	}
	x.Response.Status = 200
	x.Response.Head.AddString("Cache-Control", "max-age=60")
	if o.parts && x.Request.Head.Has("Range") {
		x.Response.Status = 206
		return nil
	}
	size := int64(-1)
	if o.sized {
		size = o.size
	}
	x.Response.Body.SetFlow(nil, &lazyBody{o: o, x: x, left: o.size}, size)
	return nil
}

type lazyBody struct {
	o    *lazyOrigin
	x    *proxy.Exchange
	left int64
}

func (f *lazyBody) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	if f.o.delay > 0 {
		time.Sleep(f.o.delay)
	}
	n := int(min(int64(len(p)), f.left, int64(f.o.cut)))
	f.left -= int64(n)
	return n, nil
}
func (f *lazyBody) Buffered() int { return int(f.left) }
func (f *lazyBody) Close() error  { return nil }

func lazyChain(o *lazyOrigin, opt Options) (*proxy.Chain, *Cache) {
	c := New(store.New(1<<20, wire.Now))
	opt.Space = []byte("a")
	opt.Wait = time.Minute
	return proxy.NewChain(proxy.Link{Name: "cache", Policy: NewPolicy(c, opt)}, proxy.Link{Name: "origin", Policy: o}), c
}

func askLazy(ch *proxy.Chain, path string, cancel chan struct{}, look func(x *proxy.Exchange), fields ...string) (n int64, word string, err error) {
	x := proxy.Acquire()
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Request.Head.AddString(name, value)
	}
	x.Edge, x.Started = proxy.Nobody{}, wire.Now()
	x.Request.Method, x.Request.Scheme, x.Request.Host = "GET", "http", []byte("host")
	x.Received.Method = []byte("GET")
	x.Request.Path = []byte(path)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	if cancel != nil {
		wg.Add(1)
		go func() {
			defer wg.Done()
			select {
			case <-cancel:
				x.Cancel(proxy.ErrClientGone)
			case <-stop:
			}
		}()
	}
	defer func() {
		close(stop)
		wg.Wait()
		x.Response.Body.Close()
		x.Wait()
		x.Finish()
		x.Release()
	}()
	if err = ch.Serve(x); err != nil {
		return 0, x.Cache, err
	}
	word = x.Cache
	if look != nil {
		look(x)
	}
	n, err = io.Copy(io.Discard, &x.Response.Body)
	return
}

// TestTooMuchIsNotHeld: what is read of a body that is not kept is garbage, of which a busy machine may have some: 72 MiB were seen,
// however large the body is.
func TestTooMuchIsNotHeld(t *testing.T) {
	o := &lazyOrigin{size: 400 << 20, cut: 32 << 10}
	ch, _ := lazyChain(o, Options{})
	var peak uint64
	done := make(chan bool)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
		}
	}()
	n, w, err := askLazy(ch, "/x", nil, nil)
	close(done)
	wg.Wait()
	if n != o.size || w != "miss" || err != nil {
		t.Errorf("%d bytes, %s, %v", n, w, err)
	}
	if peak > uint64(o.size)/2 {
		t.Errorf("heap %d MiB", peak>>20)
	}
}

// TestTooMuchForOne: the leader reads a body that is not kept, however soon that turns out.
func TestTooMuchForOne(t *testing.T) {
	o := &lazyOrigin{size: 100 << 10, cut: 32 << 10}
	ch, _ := lazyChain(o, Options{MaxObject: 4 << 10})
	bad := 0
	for i := range 2000 {
		n, w, err := askLazy(ch, fmt.Sprintf("/%d", i), nil, nil)
		if err != nil || n != o.size {
			bad++
			if bad < 4 {
				t.Logf("%d %s %v", n, w, err)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of 2000 broken", bad)
	}
}

// TestFollowersOfTooMuch: the leader leaves before the head is there, and the body turns out to be too large to be kept: those who follow get
// all of it.
func TestFollowersOfTooMuch(t *testing.T) {
	bad, total := 0, 0
	for i := range 40 {
		o := &lazyOrigin{size: 2 << 20, cut: 32 << 10, gate: make(chan struct{})}
		ch, c := lazyChain(o, Options{MaxObject: 4 << 10})
		var mu sync.Mutex
		var wg sync.WaitGroup
		cancel := make(chan struct{})
		for k := range 6 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				cc := (chan struct{})(nil)
				if k == 0 {
					cc = cancel
				}
				n, w, err := askLazy(ch, "/x", cc, nil)
				mu.Lock()
				defer mu.Unlock()
				if k == 0 {
					return
				}
				total++
				if err != nil || n != o.size {
					bad++
					if bad < 5 {
						t.Logf("%d: %d %s %v", i, n, w, err)
					}
				}
			}()
			if k == 0 {
				for o.asked.Load() == 0 {
					runtime.Gosched()
				}
			}
		}
		for c.Waiting.Load() < 5 {
			runtime.Gosched()
		}
		close(cancel)
		time.Sleep(time.Millisecond)
		close(o.gate)
		wg.Wait()
	}
	if bad > 0 {
		t.Errorf("%d of %d followers broken", bad, total)
	}
}

// TestAllGone: when nobody waits any more, whoever led and whoever came later, the request to the origin ends.
func TestAllGone(t *testing.T) {
	o := &lazyOrigin{size: 10, cut: 32 << 10, gate: make(chan struct{})}
	ch, c := lazyChain(o, Options{})
	cancel := make(chan struct{})
	var wg, lead sync.WaitGroup
	for k := range 3 {
		g := &wg
		if k == 0 {
			g = &lead
		}
		g.Add(1)
		go func() { defer g.Done(); askLazy(ch, "/x", cancel, nil) }()
		if k == 0 {
			for o.asked.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	for c.Waiting.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	close(cancel)
	wg.Wait()
	gone := make(chan bool)
	go func() { lead.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Errorf("everybody is gone, and the request to the origin goes on: asked %d ended %d", o.asked.Load(), o.ended.Load())
	}
	close(o.gate)
	lead.Wait()
}

// TestContentWith304: a client that is content with a 304 does not end what others will want.
func TestContentWith304(t *testing.T) {
	o := &lazyOrigin{size: 40 << 10, cut: 8 << 10, delay: 10 * time.Millisecond}
	chain, c := lazyChain(o, Options{})
	if _, word, err := askLazy(chain, "/x", nil, func(x *proxy.Exchange) { _ = x.Response.Body.Close() }); word != "miss" {
		t.Fatal(word, err)
	}
	for end := time.Now().Add(10 * time.Second); c.flights.has([]byte("ahhost/x")) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n, word, err := askLazy(chain, "/x", nil, nil); n != o.size || word != "hit" || err != nil {
		t.Error(n, word, err)
	}
}

// TestStored: Cache-Status says that an answer was stored (RFC 9211 section 2.5) only if that is known when its head goes out.
func TestStored(t *testing.T) {
	f := func(o *lazyOrigin, want string) {
		t.Helper()
		o.cut = 32 << 10
		chain, _ := lazyChain(o, Options{MaxObject: 64 << 10})
		status := ""
		_, _, err := askLazy(chain, "/x", nil, func(x *proxy.Exchange) {
			x.EditHead()
			status = string(x.Response.Head.Get("Cache-Status"))
		})
		if status != want || err != nil {
			t.Errorf("got %q, %v; want %q", status, err, want)
		}
	}
	f(&lazyOrigin{size: 40 << 10, sized: true}, "sluice; fwd=uri-miss; ttl=60; stored")
	f(&lazyOrigin{size: 100 << 10, sized: true}, "sluice; fwd=uri-miss; detail=size")
	f(&lazyOrigin{size: 40 << 10}, "sluice; fwd=uri-miss; ttl=60")
	f(&lazyOrigin{size: 100 << 10}, "sluice; fwd=uri-miss; ttl=60")
}

// TestPartOfTooMuch: who asks for a part of what turns out not to be kept does not get all of it, but where that costs less than to ask again.
func TestPartOfTooMuch(t *testing.T) {
	f := func(o *lazyOrigin, wantStatus int, wantAsked, wantEnded int64, wantStatusField string, fields ...string) {
		t.Helper()
		o.cut, o.parts = 32<<10, true
		chain, _ := lazyChain(o, Options{MaxObject: 64 << 10})
		for i := range int64(2) {
			status, field := 0, ""
			n, _, err := askLazy(chain, "/x", nil, func(x *proxy.Exchange) {
				x.EditHead()
				status, field = x.Response.Status, string(x.Response.Head.Get("Cache-Status"))
			}, fields...)
			if status != wantStatus || err != nil || wantStatus == 206 && n > 0 {
				t.Errorf("%d and %d bytes, %v", status, n, err)
			}
			if i == 0 && (o.asked.Load() != wantAsked || o.ended.Load() != wantEnded || field != wantStatusField) {
				t.Errorf("asked %d times, ended %d, %q", o.asked.Load(), o.ended.Load(), field)
			}
		}
		if n := o.asked.Load(); n > wantAsked+1 { // from now on it is known
			t.Errorf("asked %d times for two", n)
		}
	}
	const part = "Range: bytes=0-99"
	f(&lazyOrigin{size: 1 << 30, sized: true}, 206, 2, 2, "sluice; fwd=uri-miss; detail=size", part)
	f(&lazyOrigin{size: 1 << 20, sized: true}, 200, 1, 1, "sluice; fwd=uri-miss; detail=size")
	f(&lazyOrigin{size: 1 << 20, sized: true}, 200, 2, 2, "sluice; fwd=uri-miss; detail=size", `If-None-Match: "x"`)
}

// TestParkLate: who begins to read when the body is in the store already does not hold it either, unless it is small.
func TestParkLate(t *testing.T) {
	f := func(size int, want bool) {
		t.Helper()
		fl := newFlight([]byte("k"), 0)
		fl.land(nil, int64(size), make([]byte, size), true)
		fl.park(&parked{})
		if r := fl.read(&visit{}, true); (r.parked != nil) != want || (r.at == nil) != want {
			t.Errorf("of %d bytes: parked %v, held %v", size, r.parked != nil, r.at != nil)
		}
	}
	f(parkFrom, false)
	f(parkFrom+1, true)
}

// TestFlightOfVariant: who comes when the head is there already looks for the variant that it is of, and joins whoever has not known of it.
func TestFlightOfVariant(t *testing.T) {
	var fs flights
	never := func(store.Mark) bool { return false }
	f, leads := fs.join([]byte("url"), []byte("url"), 0, true, never)
	if !leads {
		t.Fatal("the first one does not lead")
	}
	f.variant = "url gzip"
	want := func(full string, same bool) {
		t.Helper()
		if g, leads := fs.join([]byte("url"), []byte(full), 0, true, never); (g == f) != same || leads == same {
			t.Errorf("%s: the same flight: %v, leads: %v", full, g == f, leads)
		}
	}
	want("url", true)
	f.land(nil, -1, nil, false)
	want("url gzip", true)
	want("url br", false)
	fs.leave(f)
	want("url gzip", false)
}

// TestEndAloneCaught: a bug at the end of a body that nobody reads ends nobody else.
func TestEndAloneCaught(t *testing.T) {
	fork := proxy.Acquire()
	fork.CancelFork(new(proxy.Exchange), func() bool { panic("a bug of the test in a flight") })
	f := &flight{fork: fork}
	before := proxy.Panics.Load()
	f.endAlone()
	if n := proxy.Panics.Load() - before; n != 1 {
		t.Errorf("%d bugs were counted", n)
	}
	if !f.mu.TryLock() {
		t.Error("the lock is held")
	}
}
