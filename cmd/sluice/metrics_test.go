package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sluice/proxy/cache"
	"sluice/proxy/cache/store"
	"sluice/proxy/observe"
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
