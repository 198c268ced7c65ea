package store

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func BenchmarkGet(b *testing.B) {
	f := func(name string, size, keys int, purged bool) {
		// It is filled once: testing calls a case several times before it knows b.N.
		filled := sync.OnceValues(func() (*Store, [][]byte) {
			s := newStore(b, 256<<20)
			body := make([]byte, size)
			all := make([][]byte, keys)
			for i := range all {
				it := itemOf(s, fmt.Sprintf("example.com/products/%d?page=%d", i, i%10), "products")
				all[i] = it.Key
				must(b, s.Put(it, body))
			}
			return s, all
		})
		b.Run(name, func(b *testing.B) {
			s, all := filled()
			var missing atomic.Int64
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var e Entry
				for i := rand.IntN(keys); pb.Next(); i = (i + 7919) % keys {
					if purged {
						s.PurgeTag("else", false) // every entry is judged anew
					}
					if s.Get(all[i], &e) == Missing {
						missing.Add(1)
						continue
					}
					e.Free()
				}
			})
			b.ReportMetric(float64(missing.Load())/float64(b.N), "missing/op")
		})
	}
	f("1KiB-100k-keys", 1<<10, 100_000, false)
	f("1KiB-1k-keys", 1<<10, 1000, false)
	f("1KiB-1k-keys-judged", 1<<10, 1000, true)
	f("100KiB-1k-keys", 100<<10, 1000, false)
	f("1MiB-100-keys", 1<<20, 100, false)
}

func BenchmarkPut(b *testing.B) {
	s := newStore(b, 64<<20)
	body := make([]byte, 1<<10)
	items := make([]*Item, 100_000)
	for i := range items {
		items[i] = itemOf(s, fmt.Sprintf("example.com/products/%d", i), "products")
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		must(b, s.Put(items[i%len(items)], body))
	}
}
