package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// versioned is an origin with a body that has a version, and that may know ranges.
type versioned struct {
	body   []byte
	etag   string
	parts  bool
	down   bool
	length int64 // that is announced
	ranges []string
}

func (o *versioned) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	o.ranges = append(o.ranges, string(x.Request.Head.Get("Range")))
	if o.down {
		return errBadOrigin
	}
	r := &x.Response
	r.Status = 200
	r.Head.AddString("Cache-Control", "max-age=60")
	r.Head.AddString("ETag", o.etag)
	body, size := o.body, o.length
	if o.parts {
		part, kind := rules.EvaluateRange(&x.Request.Head, []byte(o.etag), 0, 0, int64(len(body)))
		if kind == rules.RangeOne {
			r.Status = 206
			r.Head.Add("Content-Range", rules.AppendContentRange(nil, part, kind, int64(len(body))))
			body = body[part.From : part.To+1]
			size = int64(len(body))
		}
	}
	r.Body.SetFlow(nil, &sliceFlow{bytes.NewReader(body)}, size)
	return nil
}

type sliceFlow struct{ *bytes.Reader }

func (f *sliceFlow) Buffered() int { return f.Len() }
func (f *sliceFlow) Close() error  { return nil }

// fill evicts what is in a cache.
func fill(t *testing.T, c *Cache, bytes int) {
	t.Helper()
	for i := range uint64(bytes / 900) {
		key := binary.LittleEndian.AppendUint64([]byte("filler"), i)
		if err := c.Store.Put(&store.Item{Key: key, KeepFor: time.Hour, Began: c.Store.Now()}, make([]byte, 900)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResume: when a part of a body is evicted under a slow client, the response goes on from the origin, if that has the same version and
// knows ranges. Whatever else comes cuts the response: no client takes bytes of two versions for one.
func TestResume(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	// f lets a client read a little of a body, evicts it, changes the origin and reads on. want is the part that the origin is asked for then;
	// empty: the response has to be cut.
	f := func(name string, etag string, hit bool, change func(o *versioned), want string, fields ...string) {
		t.Run(name, func(t *testing.T) {
			body := make([]byte, 700<<10)
			_, _ = random.Read(body)
			o := &versioned{body: body, etag: etag, parts: true, length: int64(len(body))}
			c := New(store.New(16<<20, wire.Now))
			defer c.Store.Close()
			chain := proxy.NewChain(proxy.Link{Name: "cache", Policy: NewPolicy(c, Options{Space: []byte("a"), Wait: time.Minute})}, proxy.Link{Name: "origin", Policy: o})
			if hit {
				if n, _, err := askLazy(chain, "/x", nil, nil); n != int64(len(body)) || err != nil {
					t.Fatal(n, err)
				}
			}
			var got []byte
			_, _, err := askLazy(chain, "/x", nil, func(x *proxy.Exchange) {
				got = make([]byte, 10<<10)
				if _, err := io.ReadFull(&x.Response.Body, got); err != nil {
					t.Error(err)
				}
				for end := time.Now().Add(30 * time.Second); c.flights.has([]byte("ahhost/x")) && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				fill(t, c, 24<<20)
				change(o)
				rest, err := io.ReadAll(&x.Response.Body)
				got = append(got, rest...)
				if cut := errors.Is(err, store.ErrTorn); cut != (want == "") || !cut && err != nil {
					t.Error(err)
				}
			}, fields...)
			if err != nil && want != "" {
				t.Error(err)
			}
			expected := body
			if len(fields) > 0 {
				expected = body[5000 : 600_000+1]
			}
			if want != "" && !bytes.Equal(got, expected) || !bytes.HasPrefix(expected, got) {
				t.Errorf("%d bytes, not those of the body", len(got))
			}
			if last := o.ranges[len(o.ranges)-1]; want != "" && (len(o.ranges) != 2 || !matches(last, want)) {
				t.Errorf("asked for %q, want %s", o.ranges, want)
			}
			if n := c.Resumed.Load(); n != 0 == (want == "") {
				t.Errorf("%d were resumed", n)
			}
		})
	}
	const strong = `"1"`
	same := func(*versioned) {}
	for _, hit := range []bool{true, false} { // false: as one who follows, far behind
		f("goes on", strong, hit, same, "bytes=*-716799")
		last := "600000"
		if !hit {
			last = "716799" // who follows does not know where its part ends
		}
		f("of a part", strong, hit, same, "bytes=*-"+last, "Range: bytes=5000-600000")
		f("no strong tag", `W/"1"`, hit, same, "")
		f("another version", strong, hit, func(o *versioned) { o.etag, o.body = `"2"`, make([]byte, len(o.body)) }, "")
		f("another length", strong, hit, func(o *versioned) { o.body = o.body[:len(o.body)-1] }, "")
		f("no ranges", strong, hit, func(o *versioned) { o.parts = false }, "")
		f("down", strong, hit, func(o *versioned) { o.down = true }, "")
	}
}

// counted is an origin that many ask at once.
type counted struct {
	mu sync.Mutex
	versioned
}

func (o *counted) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.versioned.Serve(x, next)
}

// TestResumeMany: what many clients read slowly is evicted. So many of them go on at a time, and the others are cut: the connections of the
// service are for others, too. When these have ended others go on.
func TestResumeMany(t *testing.T) {
	const clients = resumesMax + 20
	o := &counted{versioned: versioned{body: make([]byte, 700<<10), etag: `"1"`, parts: true, length: 700 << 10}}
	c := New(store.New(16<<20, wire.Now))
	defer c.Store.Close()
	chain := proxy.NewChain(proxy.Link{Name: "cache", Policy: NewPolicy(c, Options{Space: []byte("a"), Wait: time.Minute})}, proxy.Link{Name: "origin", Policy: o})
	for range 2 {
		c.Resumed.Store(0)
		if _, _, err := askLazy(chain, "/x", nil, nil); err != nil {
			t.Fatal(err)
		}
		var reading, asked, looked, done sync.WaitGroup
		var cut atomic.Int64
		var went atomic.Uint64
		evicted := make(chan struct{})
		reading.Add(clients)
		asked.Add(clients)
		looked.Add(clients)
		for range clients {
			done.Go(func() {
				_, _, err := askLazy(chain, "/x", nil, func(x *proxy.Exchange) {
					b := make([]byte, 10<<10)
					_, _ = io.ReadFull(&x.Response.Body, b)
					reading.Done()
					<-evicted
					_, err := io.ReadFull(&x.Response.Body, make([]byte, 600<<10))
					asked.Done()
					asked.Wait()
					went.Store(c.Resumed.Load())
					looked.Done()
					looked.Wait() // from here on places become free
					if errors.Is(err, store.ErrTorn) {
						cut.Add(1)
					} else if err != nil {
						t.Error(err)
					}
				})
				if err != nil && !errors.Is(err, store.ErrTorn) {
					t.Error(err)
				}
			})
		}
		reading.Wait()
		fill(t, c, 24<<20)
		close(evicted)
		done.Wait()
		if n := c.resuming.Load(); went.Load() != resumesMax || cut.Load() != clients-resumesMax || n != 0 {
			t.Errorf("%d went on, %d were cut, and %d count still", went.Load(), cut.Load(), n)
		}
	}
}

// matches compares with a pattern that has one star.
func matches(s, pattern string) bool {
	before, after, _ := bytes.Cut([]byte(pattern), []byte("*"))
	return len(s) > len(before)+len(after) && bytes.HasPrefix([]byte(s), before) && bytes.HasSuffix([]byte(s), after)
}
