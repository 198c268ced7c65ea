package compile

import (
	"context"
	"strings"
	"testing"
	"time"

	"sluice/proxy/cache/store"
)

const cachedRoute = "services: { s: \"http://127.0.0.1:1\" }\nroutes: { a: { match: /a, to: s, use: [{ cache: {} }] }, b: { match: /b, to: s, use: [{ cache: { for: 1m } }] } }\n"

const uncachedRoute = "routes: { a: { match: /a, respond: {} } }\n"

func TestCacheOutlivesReloads(t *testing.T) {
	r := newRuntime(t)
	put := func(s *store.Store) {
		t.Helper()
		if err := s.Put(&store.Item{Key: []byte("k"), KeepFor: time.Hour, Began: s.Now()}, []byte("body")); err != nil {
			t.Fatal(err)
		}
	}
	found := func(s *store.Store) bool {
		var e store.Entry
		defer e.Free()
		return s.Get([]byte("k"), &e) == store.Usable
	}
	purge := func() bool { return r.PurgeCache(func(s *store.Store) { s.PurgeAll(false) }) }

	r.Commit(mustCompile(t, r, "cache: { memory: 2MiB }\n"+uncachedRoute))
	if r.Cache() != nil || purge() {
		t.Error("there is a store that nobody uses")
	}

	r.Commit(mustCompile(t, r, "cache: { memory: 2MiB }\n"+cachedRoute))
	first := r.Cache().Store
	if got := first.Stats().Bytes; got != 2<<20 {
		t.Errorf("the store has %d bytes", got)
	}
	put(first)
	r.Commit(mustCompile(t, r, "cache: { memory: 2MiB }\nlimits: { headers: 50 }\n"+cachedRoute))
	if r.Cache().Store != first || !found(first) {
		t.Error("a reload lost the store")
	}

	// A plan that is not served changes nothing, be it larger.
	larger := mustCompile(t, r, "cache: { memory: 3MiB }\n"+cachedRoute)
	r.Discard(larger)
	if r.Cache().Store != first || !found(first) {
		t.Error("a plan that was discarded lost the store")
	}

	larger = mustCompile(t, r, "cache: { memory: 3MiB }\n"+cachedRoute)
	put(larger.cache.Store) // a request between publishing and committing
	r.Commit(larger)
	if r.Cache() != larger.cache || r.Cache().Store.Stats().Bytes != 3<<20 {
		t.Error("the size of the store has not changed")
	}
	if found(first) {
		t.Error("the former store goes on to answer, and no purge would reach it")
	}
	if found(larger.cache.Store) {
		t.Error("what was stored before a purge could reach it is found")
	}
	put(larger.cache.Store)
	if !found(larger.cache.Store) || !purge() || found(larger.cache.Store) {
		t.Error("the store does not store, or a purge does not reach it")
	}

	r.Commit(mustCompile(t, r, ""+uncachedRoute))
	if r.Cache() != nil || found(larger.cache.Store) {
		t.Error("the last policy has gone, and the store is still there")
	}

	r.Commit(mustCompile(t, r, "cache: { memory: 2MiB }\n"+cachedRoute))
	last := r.Cache().Store
	put(last)
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r.Cache() != nil || found(last) {
		t.Error("the store outlives the runtime")
	}
}

func TestCacheOfADryRun(t *testing.T) {
	if machineMemory() >= 1<<40 {
		t.Skip("nothing is wrong with it here")
	}
	r := New(Options{Dry: true})
	p, problems := r.Compile(parse(t, "cache: { memory: 1TiB }\n"+cachedRoute))
	if p == nil || p.cache != nil || len(problems) != 1 || !strings.Contains(problems.Error(), "cache.memory: is more than") {
		t.Errorf("a dry run takes memory, or says nothing: %v", problems)
	}
}

func TestCacheThatDoesNotFit(t *testing.T) {
	if machineMemory() >= 1<<40 {
		t.Skip("it fits")
	}
	r := newRuntime(t)
	p, problems := r.Compile(parse(t, "cache: { memory: 1TiB }\n"+cachedRoute))
	if p != nil || len(problems) != 1 || !strings.Contains(problems.Error(), "test.yaml:4:18: cache.memory: is more than") || r.Cache() != nil {
		t.Errorf("%v", problems)
	}
	r.Commit(mustCompile(t, r, "cache: { memory: 1TiB }\n"+uncachedRoute)) // nobody takes it
}

func TestCacheMemory(t *testing.T) {
	f := func(size, machine int64, dry bool, want string, isError bool) {
		t.Helper()
		b := &builder{config: parse(t, "cache: { memory: 1GiB }\n"+uncachedRoute), runtime: New(Options{Dry: dry})}
		b.judgeCacheMemory(size<<20, machine<<20)
		text := ""
		for _, p := range b.problems {
			text += p.String() + "\n"
		}
		if !strings.Contains(text, want) || (want == "") != (text == "") || b.problems.HasErrors() != isError {
			t.Errorf("%d of %d MiB: %q", size, machine, text)
		}
	}
	f(64, 1024, false, "", false)
	f(512, 1024, false, "", false)
	f(513, 1024, false, "cache.memory: is more than half of the 1024 MiB of memory that this machine has", false)
	f(1024, 1024, false, "half", false)
	f(1025, 1024, false, "is more than the 1024 MiB", true)
	f(1025, 1024, true, "is more than the 1024 MiB", false)
	f(1<<20, 0, false, "", false)
}

func TestMachineMemory(t *testing.T) {
	if got := machineMemory(); got < 64<<20 {
		t.Errorf("this machine has %d bytes of memory", got)
	}
	f := func(machine int64, cgroup string, want int64) {
		t.Helper()
		if got := lesserMemory(machine, cgroup); got != want {
			t.Errorf("%d and %q: %d, want %d", machine, cgroup, got, want)
		}
	}
	f(1000, "max\n", 1000)
	f(1000, "500\n", 500)
	f(1000, "2000\n", 1000)
	f(1000, "", 1000)
	f(1000, "-1", 1000)
	f(0, "500\n", 500)
	f(0, "max", 0)
}
