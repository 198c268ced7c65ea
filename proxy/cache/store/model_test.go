package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/wire"
)

// model is a store that is obviously right and never full: it remembers every purge, and judges an object by all of them.
type model struct {
	purges  []modelPurge
	objects map[string]*modelObject
}

type modelPurge struct {
	hits func(url string, tags []string) bool
	soft bool
}

type modelObject struct {
	url     string
	tags    []string
	meta    string
	body    []byte
	began   int // how many purges there had been
	judged  int // and the hard ones before this do not concern it
	expires time.Time
}

func (m *model) judge(o *modelObject) Found {
	found := Usable
	for i, p := range m.purges {
		switch {
		case !p.hits(o.url, o.tags):
		case !p.soft && i >= min(o.began, o.judged):
			return Missing
		case p.soft && i >= o.began:
			found = Stale
		}
	}
	return found
}

// TestModel plays random histories. A store may have evicted anything, so that Missing is always right; nothing else is but
// what the model says, to the byte.
func TestModel(t *testing.T) { testModel(t, 4) }

func TestSoakModel(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("takes minutes: SLUICE_SOAK=1")
	}
	testModel(t, 1000)
}

func testModel(t *testing.T, seeds uint64) {
	f := func(bytesOfStore int64, urls, bodyMax int, foundMin float64) {
		t.Helper()
		for seed := range seeds {
			synctest.Test(t, func(t *testing.T) {
				h := newHistory(t, seed, bytesOfStore, urls, bodyMax)
				defer h.store.Close()
				h.store.Start()
				for range 3000 {
					h.step()
					if t.Failed() {
						t.Fatalf("seed %d", seed)
					}
				}
				if share := float64(h.found) / float64(max(h.expected, 1)); share < foundMin {
					t.Errorf("seed %d: %d of %d lookups found what is there", seed, h.found, h.expected)
				}
			})
		}
	}
	f(MinBytes, 100, 700, 0.5)
	f(MinBytes, 400, 20_000, 0.01) // far too much for it
	f(16<<20, 200, 60_000, 0.9)
}

type history struct {
	t       *testing.T
	random  *rand.Rand
	bytes   *rand.ChaCha8
	store   *Store
	model   model
	urls    int
	bodyMax int
	writers []*modelWriter

	expected, found int
}

type modelWriter struct {
	w      *Writer
	object *modelObject
	rest   []byte
}

func newHistory(t *testing.T, seed uint64, bytesOfStore int64, urls, bodyMax int) *history {
	return &history{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), bytes: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}), store: New(bytesOfStore, wire.Now),
		model: model{objects: make(map[string]*modelObject)}, urls: urls, bodyMax: bodyMax,
	}
}

func (h *history) step() {
	switch n := h.random.IntN(100); {
	case n < 50:
		h.get(h.url())
	case n < 70:
		h.put()
	case n < 76:
		h.create()
	case n < 90:
		h.write()
	case n < 93:
		h.refresh(h.url())
	case n < 94:
		url := h.url()
		h.store.Delete(itemOf(h.store, url).Key)
		delete(h.model.objects, url)
	case n < 97:
		h.purge()
	case n < 99:
		time.Sleep(time.Duration(h.random.IntN(3000)) * time.Millisecond)
	default:
		time.Sleep(time.Duration(h.random.Int64N(int64(rest) * 3 / 2)))
	}
}

func (h *history) url() string {
	n := h.random.IntN(h.urls)
	return fmt.Sprintf("example.com/%d/%d", n%5, n)
}

// object is a new version of a URL, and the Item that says the same.
func (h *history) object(url string) (*modelObject, *Item) {
	o := &modelObject{url: url, began: len(h.model.purges), judged: len(h.model.purges)}
	for i := range h.random.IntN(4) {
		o.tags = append(o.tags, fmt.Sprint("tag", h.random.IntN(5)+i))
	}
	size := h.random.IntN(h.bodyMax)
	if h.random.IntN(2) == 0 {
		size %= 500
	}
	o.body = make([]byte, size)
	_, _ = h.bytes.Read(o.body) // never fails
	o.meta = strings.Repeat("m", h.random.IntN(100))
	it := itemOf(h.store, url, o.tags...)
	it.Meta = []byte(o.meta)
	it.KeepFor = time.Duration(h.random.IntN(300_000)+1) * time.Millisecond
	if h.random.IntN(2) == 0 {
		it.KeepFor = 4 * rest // outlives purges
	}
	return o, it
}

func (h *history) stored(o *modelObject, keep time.Duration, err error) {
	switch {
	case err == nil:
		if h.model.judge(o) == Missing {
			h.t.Errorf("%s was stored, and had been purged", o.url)
		}
		h.model.objects[o.url] = o
	case err == ErrPurged, err == ErrTorn, err == ErrReplaced, err == ErrTooLarge, err == ErrExpired:
	default:
		h.t.Errorf("%s: %v", o.url, err)
	}
	o.expires = time.Now().Add(keep)
}

func (h *history) put() {
	o, it := h.object(h.url())
	h.stored(o, it.KeepFor, h.store.Put(it, o.body))
}

func (h *history) create() {
	o, it := h.object(h.url())
	o.expires = time.Now().Add(it.KeepFor)
	h.writers = append(h.writers, &modelWriter{w: h.store.Create(it), object: o, rest: o.body})
}

// write goes on with one of the writers.
func (h *history) write() {
	if len(h.writers) == 0 {
		return
	}
	i := h.random.IntN(len(h.writers))
	w := h.writers[i]
	n := min(len(w.rest), h.random.IntN(h.bodyMax))
	_, err := w.w.Write(w.rest[:n])
	w.rest = w.rest[n:]
	switch {
	case err == nil && len(w.rest) > 0 && h.random.IntN(10) > 0:
		return
	case err == nil && len(w.rest) > 0:
		w.w.Abort()
	case err == nil:
		h.stored(w.object, time.Until(w.object.expires), w.w.Commit())
	case err != ErrTooLarge && err != ErrExpired:
		h.t.Errorf("%s: %v", w.object.url, err)
	}
	h.writers = slices.Delete(h.writers, i, i+1)
}

func (h *history) purge() {
	soft := h.random.IntN(2) == 0
	p := modelPurge{soft: soft}
	switch h.random.IntN(10) {
	case 0:
		p.hits = func(string, []string) bool { return true }
		h.store.PurgeAll(soft)
	case 1, 2, 3:
		tag := fmt.Sprint("tag", h.random.IntN(8))
		p.hits = func(_ string, tags []string) bool { return slices.Contains(tags, tag) }
		h.store.PurgeTag(tag, soft)
	case 4, 5:
		prefix := fmt.Sprintf("example.com/%d/%d", h.random.IntN(5), h.random.IntN(10))
		p.hits = func(url string, _ []string) bool { return strings.HasPrefix(url, prefix) }
		h.store.PurgePrefix(prefix, soft)
	default:
		url := h.url()
		p.hits = func(u string, _ []string) bool { return u == url }
		h.store.PurgeURL(url, soft)
	}
	h.model.purges = append(h.model.purges, p)
}

func (h *history) refresh(url string) {
	var e Entry
	old := h.model.objects[url]
	if h.store.Get(itemOf(h.store, url).Key, &e) == Missing {
		return
	}
	defer e.Free()
	if h.random.IntN(2) == 0 {
		h.purge() // while the origin is asked, or before
	}
	o, it := h.object(url)
	if h.random.IntN(2) == 0 {
		h.purge()
	}
	if h.random.IntN(4) == 0 {
		other, it := h.object(url)
		h.stored(other, it.KeepFor, h.store.Put(it, other.body))
		if h.model.objects[url] != other {
			return
		}
	}
	o.body = old.body
	if it.Tags == nil {
		o.tags = old.tags
	}
	err := h.store.Refresh(&e, it)
	if err == nil && h.model.judge(&modelObject{url: url, tags: old.tags, began: len(h.model.purges), judged: old.judged}) == Missing {
		h.t.Errorf("%s was refreshed, and had been purged", url)
	}
	if err == nil && h.model.objects[url] != old {
		h.t.Errorf("%s was refreshed, and had been replaced", url)
	}
	h.stored(o, it.KeepFor, err)
}

func (h *history) get(url string) {
	h.t.Helper()
	found, meta, body := get(h.t, h.store, url)
	o := h.model.objects[url]
	want := Missing
	if o != nil && time.Now().Before(o.expires) {
		want = h.model.judge(o)
	}
	if want != Missing {
		h.expected++
	}
	switch {
	case found == Missing:
		return
	case found != want:
		h.t.Errorf("%s: found %d, want %d", url, found, want)
	case meta != o.meta || !bytes.Equal(body, o.body):
		h.t.Errorf("%s: found %d bytes which are not those of its %d", url, len(body), len(o.body))
	}
	h.found++
}
