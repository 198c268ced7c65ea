package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy/wire"
)

var crcTable = crc64.MakeTable(crc64.ECMA)

// signed is a body that ends in its own checksum, and tells in its first bytes whose it is and what had been purged when it began.
func signed(url string, version uint64, size int) []byte {
	b := make([]byte, max(size, 64))
	binary.BigEndian.PutUint64(b, version)
	copy(b[8:], url)
	rest := b[40 : len(b)-8]
	for i := range rest {
		rest[i] = byte(rand.Uint32())
	}
	binary.BigEndian.PutUint64(b[len(b)-8:], crc64.Checksum(b[:len(b)-8], crcTable))
	return b
}

// TestConcurrent has writers, readers and purges at the same few keys of a store that is too small: whatever is found is one whole body
// of its key, and one that began after the last purge that had ended when the reader began.
func TestConcurrent(t *testing.T) {
	s := New(MinBytes, wire.Now)
	defer s.Close()
	s.Start()
	const urls, lookups, foundMin = 60, 5000, 300
	var purged [urls]atomic.Uint64 // versions below this are
	var version atomic.Uint64
	urlOf := func(i int) string { return fmt.Sprintf("example.com/%d", i) }

	var readers, others sync.WaitGroup
	var found, purges atomic.Int64
	var stop atomic.Bool
	for range 2 {
		others.Go(func() {
			for !stop.Load() {
				i := rand.IntN(urls)
				it := itemOf(s, urlOf(i), "all")
				body := signed(urlOf(i), version.Add(1), rand.IntN(6000))
				if rand.IntN(2) == 0 {
					_ = s.Put(it, body) // purged meanwhile, or driven out
					continue
				}
				w := s.Create(it)
				for len(body) > 0 {
					n := min(len(body), 1+rand.IntN(3000))
					if _, err := w.Write(body[:n]); err != nil {
						t.Errorf("cannot write: %v", err)
						return
					}
					body = body[n:]
				}
				if rand.IntN(5) == 0 {
					w.Abort()
				} else {
					_ = w.Commit() // as with Put
				}
			}
		})
	}
	others.Go(func() {
		for !stop.Load() {
			i := rand.IntN(urls)
			// Whoever gets a later version has begun after this, but one that has begun with a mark from before the purge may, too.
			before := version.Load()
			began := s.Now()
			s.PurgeURL(urlOf(i), false)
			if s.Now() == began {
				t.Error("a purge left no mark")
			}
			purged[i].Store(before)
			purges.Add(1)
		}
	})
	limit := time.Now().Add(time.Minute)
	for range 3 {
		readers.Go(func() {
			// Lookups that find nothing are quick: so many can be over before a writer gets a core, or while only purges do.
			for n := 0; n < lookups || (found.Load() < foundMin || purges.Load() == 0) && time.Now().Before(limit); n++ {
				i := rand.IntN(urls)
				below := purged[i].Load()
				var e Entry
				if s.Get(itemOf(s, urlOf(i)).Key, &e) == Missing {
					continue
				}
				body := make([]byte, e.Size)
				_, err := e.ReadAt(body, 0)
				e.Free()
				if err == ErrTorn {
					continue
				}
				found.Add(1)
				end := len(body) - 8
				switch {
				case err != nil:
					t.Error(err)
				case binary.BigEndian.Uint64(body[end:]) != crc64.Checksum(body[:end], crcTable):
					t.Error("a mixed body")
				case !bytes.HasPrefix(body[8:], append([]byte(urlOf(i)), 0)):
					t.Errorf("another's body: %q", body[8:40])
				case binary.BigEndian.Uint64(body) <= below:
					t.Errorf("version %d was found after a purge of those to %d", binary.BigEndian.Uint64(body), below)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
	readers.Wait()
	stop.Store(true)
	others.Wait()
	if found.Load() < foundMin || purges.Load() == 0 {
		t.Errorf("%d lookups found something, among %d purges", found.Load(), purges.Load())
	}
	t.Logf("%d lookups found something, among %d purges; %+v", found.Load(), purges.Load(), s.Stats())
}
