package compile

import (
	"fmt"

	"sluice/proxy/cache"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// cache returns the cache of the gateway. It exists from the first policy on that wants it, and stays what it is over reloads as
// long as its memory does.
func (b *builder) cache() *cache.Cache {
	if b.plan.cache == nil {
		b.plan.cacheBytes = int64(b.config.Cache.Memory)
		b.plan.cache = b.runtime.keptCache(b.plan.cacheBytes)
	}
	if b.plan.cache == nil {
		b.plan.cache = cache.New(store.New(b.plan.cacheBytes, wire.Now))
	}
	return b.plan.cache
}

// cacheFits reports whether there is memory for the cache, and says so once if not.
func (b *builder) cacheFits() bool {
	size, machine := int64(b.config.Cache.Memory), machineMemory()
	if !b.cacheJudged {
		b.cacheJudged = true
		b.judgeCacheMemory(size, machine)
	}
	return machine == 0 || size <= machine
}

// judgeCacheMemory compares the memory that is asked for with what the machine has, 0 if that is not known. What the Go runtime cannot
// get ends the process, so that too much is an error, unless the configuration is only looked at, maybe elsewhere.
func (b *builder) judgeCacheMemory(size, machine int64) {
	const path = "cache.memory"
	switch {
	case machine == 0:
	case size > machine && b.runtime.options.Dry:
		b.warn(path, fmt.Sprintf("is more than the %d MiB of memory that this machine has", machine>>20), "elsewhere that may be right")
	case size > machine:
		b.fail(path, fmt.Sprintf("is more than the %d MiB of memory that this machine has", machine>>20))
	case size > machine/2:
		b.warn(path, fmt.Sprintf("is more than half of the %d MiB of memory that this machine has", machine>>20), "a reload that changes it takes the old and the new memory for a moment")
	}
}

// keptCache returns the cache that runs, if it has this much memory.
func (r *Runtime) keptCache(bytes int64) *cache.Cache {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cacheBytes != bytes {
		return nil
	}
	return r.cache
}

// useCache makes a plan's cache the one that runs. What is stored in a new one by now may have missed a purge: it goes. The old one holds
// nothing any more, and what was found in it before can be read to its end. It is called with r.mu held.
func (r *Runtime) useCache(p *Plan) (retired *cache.Cache) {
	if r.cache == p.cache {
		return nil
	}
	if p.cache != nil {
		p.cache.Store.PurgeAll(false)
		p.cache.Store.Start()
	}
	retired = r.cache
	r.cache, r.cacheBytes = p.cache, p.cacheBytes
	return retired
}

// Cache returns the cache of the gateway; nil: no policy wants it.
func (r *Runtime) Cache() *cache.Cache {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache
}

// PurgeCache calls purge with the store of the cache, and reports whether there is one. No reload comes in between, which would leave the
// purge to a store that is not used any more.
func (r *Runtime) PurgeCache(purge func(*store.Store)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cache == nil {
		return false
	}
	purge(r.cache.Store)
	return true
}
