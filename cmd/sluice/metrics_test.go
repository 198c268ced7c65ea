package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/proxy/cache"
	"sluice/proxy/cache/store"
	"sluice/proxy/observe"
	"sluice/proxy/upstream"
	"sluice/proxy/wire"
)

func TestCacheMetrics(t *testing.T) {
	var s *store.Store
	m := observe.New()
	registerCache(m, func() *cache.Cache {
		if s == nil {
			return nil
		}
		return cache.New(s)
	})
	text := func() string {
		t.Helper()
		var b bytes.Buffer
		if err := m.WritePrometheus(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got := text(); strings.Contains(got, "\nsluice_cache_") {
		t.Errorf("there is no cache, and there are samples:\n%s", got)
	}

	s = store.New(2<<20, wire.Now)
	defer s.Close()
	if err := s.Put(&store.Item{Key: []byte("k"), KeepFor: time.Hour, Began: s.Now()}, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	s.PurgeTag("a", false)
	got := "\n" + text()
	f := func(line string) {
		t.Helper()
		if !strings.Contains(got, "\n"+line) {
			t.Errorf("there is no line %q in\n%s", line, got)
		}
	}
	f("sluice_cache_memory_bytes 2.097152e+06\n")
	f("sluice_cache_used_bytes 1081\n") // the body, the key and two heads of 24 and 48 bytes
	f("sluice_cache_taken_bytes 3.")    // an empty index has 1 MiB, and more
	f("sluice_cache_entries 1\n")
	f("sluice_cache_refreshes_total 0\n")
	f("sluice_cache_refreshes_skipped_total 0\n")
	f("# TYPE sluice_cache_refreshes_total counter\n")
	f("sluice_cache_evictions_total 0\n")
	f("sluice_cache_torn_total 0\n")
	f("sluice_cache_purges_total 1\n")
	f("sluice_cache_purges_remembered 1\n")
	f("sluice_cache_purge_overflows_total 0\n")
	f("# TYPE sluice_cache_evictions_total counter\n")
	f("# TYPE sluice_cache_entries gauge\n")
}

// TestScrapeReadsOnce: what costs something is read once for all metrics that show it, and anew for the next scrape.
func TestScrapeReadsOnce(t *testing.T) {
	s := store.New(2<<20, wire.Now)
	defer s.Close()
	c := cache.New(s)
	m := observe.New()
	caches, limits, services := 0, 0, 0
	registerCache(m, func() *cache.Cache { caches++; return c })
	registerLimits(m, func() []seenLimit { limits++; return []seenLimit{{name: "fair-use", allowed: uint64(limits)}} })
	registerEndpoints(m, func() []upstream.Status {
		services++
		return []upstream.Status{{Name: "origin", Endpoints: []upstream.EndpointStatus{{Address: "127.0.0.1:1", Open: services}}}}
	})
	for n := 1; n <= 2; n++ {
		var b bytes.Buffer
		if err := m.WritePrometheus(&b); err != nil {
			t.Fatal(err)
		}
		if caches != n || limits != n || services != n {
			t.Errorf("%d scrapes read the cache %d times, limits %d times, services %d times", n, caches, limits, services)
		}
		for _, want := range []string{
			fmt.Sprintf("\nsluice_limit_requests_total{policy=\"fair-use\",result=\"allowed\"} %d\n", n),
			fmt.Sprintf("\nsluice_upstream_connections{service=\"origin\",endpoint=\"127.0.0.1:1\",state=\"open\"} %d\n", n),
			"\nsluice_limit_keys{policy=\"fair-use\"} 0\n",
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("there is no %q in\n%s", want, b.String())
			}
		}
	}
}
