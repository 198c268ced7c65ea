package compile

import (
	"sluice/proxy/cache"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// cache returns the cache of the gateway, which is made when the first policy wants it.
func (b *builder) cache() *cache.Cache {
	if b.runtime.cache == nil {
		b.runtime.cache = cache.New(store.New(64<<20, wire.Now))
	}
	return b.runtime.cache
}

// Cache returns the cache of the gateway; nil: no policy has wanted it.
func (r *Runtime) Cache() *cache.Cache { return r.cache }
