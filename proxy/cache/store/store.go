package store

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coocood/freecache"

	"sluice/proxy/wire"
)

// Bounds of what one object may bring. Whatever is longer is not stored.
const (
	KeyMax  = 16 << 10
	MetaMax = 64 << 10
	TagsMax = 1000

	keepMax = 10 * 365 * 24 * time.Hour // freecache counts seconds in 32 bits
)

// MinBytes is the least memory that New takes. Key, head and tags of an object have to fit in 1/1024 of the memory
// together, so that a store of this size is for small heads and short URLs.
const MinBytes = 1 << 20

// Why something was not stored.
var (
	ErrTooLarge = errors.New("the object is larger than the store takes")
	ErrPurged   = errors.New("the object was purged while it was on its way")
	ErrTorn     = errors.New("a part of the object is gone")
	ErrReplaced = errors.New("another object has taken its place")
	ErrExpired  = errors.New("the object is of no use by now")
)

// Mark orders what begins and what is purged.
type Mark uint64

// Item is what Put, Create and Refresh are told of an object. Nothing of it is kept: it is copied.
type Item struct {
	Key []byte // what Get is asked with
	// URLFrom and URLTo say where host + path + "?" + query lie in Key: what is purged by URL and prefix. Both 0: not by those.
	URLFrom, URLTo int
	Tags           [][]byte      // what else it can be purged by
	Meta           []byte        // whatever the caller wants to know with it
	KeepFor        time.Duration // after which it is of no use to anybody
	Began          Mark          // Now() of when the request that brings it began
}

// Found is what Get found.
type Found uint8

// What Get finds.
const (
	Missing Found = iota
	Usable
	Stale // was purged softly: may be used as something stale may
)

// Store is the memory of the response cache. All methods are safe for concurrent use.
type Store struct {
	cache *freecache.Cache
	clock func() int64
	start int64
	coarse
	layout

	keySeed, urlSeed, tagSeed maphash.Seed
	ids                       atomic.Uint64
	marks                     marks
	counts                    counts
	innards                   innards

	lurker lurker
	once   sync.Once // Close
}

// New returns a store of that many bytes, or MinBytes. clock is wire.Now: nanoseconds that never go back.
func New(bytes int64, clock func() int64) *Store {
	bytes = max(bytes, MinBytes)
	s := &Store{
		clock: clock, start: clock(), layout: layoutOf(bytes),
		keySeed: maphash.MakeSeed(), urlSeed: maphash.MakeSeed(), tagSeed: maphash.MakeSeed(),
	}
	s.coarse.seconds.Store(1)
	s.cache = freecache.NewCacheCustomTimer(int(bytes), &s.coarse)
	s.innards = look(s.cache)
	s.marks.init()
	s.lurker.init()
	pace(s)
	return s
}

// Now is the mark for what begins now.
func (s *Store) Now() Mark { return Mark(s.marks.now()) }

// MaxObject is the size of the largest body that is stored.
func (s *Store) MaxObject() int64 { return s.objectMax }

// Get looks key up. If it finds something, e holds it until e.Free.
//
// An object of one piece costs one look into freecache, under the lock of one of its 256 segments, where it is judged and copied. Of
// an object of several pieces, all are asked for: so it is complete now, and its pieces are known as used together.
func (s *Store) Get(key []byte, e *Entry) Found {
	now := s.now()
	found := Missing
	k := s.keyOf(key)
	// The error is ErrNotFound or nil: then found tells.
	_ = s.cache.GetFn(k[:], func(value []byte) error {
		var h head
		if !h.decode(value) || string(h.key(value)) != string(key) || h.expires <= now {
			return nil
		}
		if found = s.judge(&h, value); found != Missing {
			e.take(s, k, &h, value)
		}
		return nil
	})
	if found != Missing && !e.whole() {
		s.counts.torn.Add(1)
		e.Free()
		return Missing
	}
	return found
}

// judge says whether value was purged. What is not, need not be asked again about the purges until now: that is noted in
// place, which the lock of the segment allows. If value is a copy, because it wraps around the end of the segment,
// the note is lost, and the same is asked next time.
func (s *Store) judge(h *head, value []byte) Found {
	if h.stamp != s.marks.last.Load() {
		at, hard, soft := s.judgeSince(h.stamp, h.url(value), h.tagsOf(value))
		if hard {
			return Missing
		}
		h.stamp, h.stale = at, h.stale || soft
		h.note(value)
	}
	if h.stale {
		return Stale
	}
	return Usable
}

// Put stores an object as a whole.
func (s *Store) Put(it *Item, body []byte) error {
	overhead := headLen + len(it.Key) + len(it.Tags)*tagLen + len(it.Meta)
	if overhead+len(body) > s.entryMax {
		w := s.Create(it)
		if _, err := w.Write(body); err != nil {
			return err
		}
		return w.Commit()
	}
	h, err := s.headOf(it)
	if err != nil {
		return err
	}
	b := wire.GetBuf(overhead + len(body))
	defer b.Free()
	s.fill(b.B, it)
	copy(b.B[overhead:], body)
	h.size, h.id = int64(len(body)), s.ids.Add(1)
	return s.set(&h, b.B[:overhead+len(body)], it.Began)
}

// headOf checks what can be known before the body is.
func (s *Store) headOf(it *Item) (head, error) {
	if it.URLFrom < 0 || it.URLTo < it.URLFrom || it.URLTo > len(it.Key) {
		panic(fmt.Sprintf("BUG: a URL at %d to %d of a key of %d bytes", it.URLFrom, it.URLTo, len(it.Key)))
	}
	switch {
	case len(it.Key) > KeyMax || len(it.Meta) > MetaMax || len(it.Tags) > TagsMax,
		headLen+len(it.Key)+len(it.Tags)*tagLen+len(it.Meta) > s.entryMax:
		return head{}, ErrTooLarge
	case it.KeepFor <= 0:
		return head{}, ErrExpired
	}
	return head{
		keyLen: len(it.Key), urlFrom: it.URLFrom, urlTo: it.URLTo, tags: len(it.Tags), metaLen: len(it.Meta),
		expires: s.now() + int64(min(it.KeepFor, keepMax)),
	}, nil
}

// fill writes what stands between the head and the body.
func (s *Store) fill(value []byte, it *Item) {
	at := headLen + copy(value[headLen:], it.Key)
	for _, tag := range it.Tags {
		putTag(value[at:], maphash.Bytes(s.tagSeed, tag))
		at += tagLen
	}
	copy(value[at:], it.Meta)
}

// set puts an entry into freecache, unless it was purged since it began.
func (s *Store) set(h *head, value []byte, began Mark) error {
	at, hard, soft := s.judgeSince(uint64(began), value[headLen+h.urlFrom:headLen+h.urlTo], h.tagsOf(value))
	if hard {
		return ErrPurged
	}
	left := h.expires - s.now()
	if left <= 0 {
		return ErrExpired
	}
	h.stamp, h.stale = at, soft
	h.encode(value)
	k := s.keyOf(h.key(value))
	if err := s.cache.Set(k[:], value, secondsOf(left)); err != nil {
		return fmt.Errorf("cannot store an entry of %d bytes: %w", len(value), err)
	}
	s.counts.sets.Add(1)
	return nil
}

// secondsOf is how long freecache shall keep what is of use for that many nanoseconds: its seconds are ours cut off, so that it takes
// one more, and the head of an entry says to the nanosecond.
func secondsOf(left int64) int { return int(left/int64(time.Second)) + 2 }

// PurgedSince reports whether a URL was purged since then, by itself, by a prefix or with everything.
func (s *Store) PurgedSince(m Mark, url []byte) bool {
	if m == s.Now() {
		return false
	}
	_, hard, soft := s.judgeSince(uint64(m), url, nil)
	return hard || soft
}

// Delete forgets what Get finds with key. What is on its way to it is not held up: purge for that.
func (s *Store) Delete(key []byte) {
	k := s.keyOf(key)
	s.del(k[:])
}

func (s *Store) del(k []byte) {
	if s.cache.Del(k) {
		s.counts.deleted.Add(1)
	}
}

// keyOf is what freecache knows an object by. Its own hash has no secret, so that whoever may choose URLs could fill one slot with
// keys of the same hash and have each look at it compare thousands. The whole key stands in the value and is compared there.
func (s *Store) keyOf(key []byte) (k [8]byte) {
	putTag(k[:], maphash.Bytes(s.keySeed, key))
	return k
}

func (s *Store) judgeSince(since uint64, url, tags []byte) (at uint64, hard, soft bool) {
	urlName := uint64(0)
	if len(url) > 0 {
		urlName = maphash.Bytes(s.urlSeed, url)
	}
	return s.marks.judge(since, urlName, url, tags)
}
