package cache

import (
	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// refresh takes over what a 304 says about the entry that v has found, for v and for the store (RFC 9111 section 4.3.4). It returns
// false if the 304 is about something else: then nothing can be said of the entry, which is dropped.
func (p *Policy) refresh(c *proxy.Exchange, f *flight, v *visit, asked, now int64) bool {
	var stored wire.Head
	stored.Load(v.entry.Meta[v.record.headAt:])
	if !rules.Freshens(&c.Response.Head, &stored) {
		p.cache.Store.Delete(v.full)
		v.has = false
		return false
	}
	p.update(&c.Response.Head, &stored, f.mark, v, asked, now)
	return true
}

// update takes over what a newer head says about the entry that v has found (RFC 9111 section 3.2). It spoils fresh.
func (p *Policy) update(fresh, stored *wire.Head, began store.Mark, v *visit, asked, now int64) {
	var merged wire.Head
	tags := p.tags(fresh)
	age := rules.ParseResponse(fresh).Age // of another cache's answer
	p.clean(fresh)
	rules.Merge(&merged, stored, fresh)
	said := rules.ParseResponse(&merged)
	said.Age = age
	rec := record{kind: kindObject, status: v.record.status, via: v.record.via}
	rec.judge(&said, p, v.x, asked, now)
	v.fresh = rec.build(&merged)
	v.soft = false
	policy := p.rules(v.x)
	switch {
	case rules.Storable(rec.status, &rules.Request{}, &said, policy) != rules.Stored, p.varies(stored) != p.varies(&merged):
		// The origin does not want it to be kept any more, or not under this key.
		p.cache.Store.Delete(v.full)
	case rules.Storable(rec.status, &v.req, &said, policy) != rules.Stored:
		// Said to this client alone: what is kept for the others stays as it is.
	default:
		// If the entry was evicted or purged meanwhile, what v holds of it answers v's client all the same: it was good when it was asked.
		_ = p.cache.Store.Refresh(&v.entry, &store.Item{Meta: v.fresh, Tags: tags, KeepFor: rec.keepFor(&said, now), Began: began})
	}
	v.record.decode(v.fresh)
}

// passHead hands on a HEAD that is not to be answered from what was found, and lets the answer say what is to become of that.
func (v *visit) passHead(next *proxy.Chain, began store.Mark) error {
	x, p := v.x, v.p
	v.result = Miss
	c := x.Fork()
	passed := false
	defer func() {
		if !passed { // a panic behind us costs its own request an error 500 and no more
			x.CancelFork(nil, nil)
			c.End()
		}
	}()
	x.CancelFork(c, nil)
	asked := wire.Now()
	err := next.Serve(c)
	if err == nil {
		c.RunEditors() // what is behind us has its say about the head before it is kept
		if c.Response.Status == 200 && !p.changed(c, v) {
			p.hear(c, v, began, asked, wire.Now())
		}
	}
	passed = true
	x.Adopt(c)
	if err != nil && x.FailedAt == "" {
		x.FailedAt = c.FailedAt
	}
	return err
}

// hear takes over what the 200 to a HEAD says about the entry that v has found (RFC 9111 section 4.3.5). A validator must match: an answer
// without one may be about another body of the same length. If one does not match, or the length does not, the entry is stale from now on.
func (p *Policy) hear(c *proxy.Exchange, v *visit, began store.Mark, asked, now int64) {
	var fresh, stored wire.Head
	fresh.Load(c.Response.Head.AppendTo(nil)) // the client gets it as it is
	stored.Load(v.entry.Meta[v.record.headAt:])
	if string(fresh.Get("Content-Encoding")) != string(stored.Get("Content-Encoding")) {
		return // what compresses bodies leaves a HEAD alone: this is not about what is kept
	}
	size := c.Response.Body.Size()
	switch {
	case !rules.HeadFreshens(&fresh, &stored), size >= 0 && size != v.entry.Size:
		p.outdate(v, began, now)
	case fresh.Has("ETag"), fresh.Has("Last-Modified"):
		p.update(&fresh, &stored, began, v, asked, now)
	}
}

// outdate makes the entry that v has found stale, if it is not: it is served no longer without asking the origin than stale answers are.
func (p *Policy) outdate(v *visit, began store.Mark, now int64) {
	rec, age := v.record, v.age(now)
	if age >= rec.life.Fresh || v.authorized() {
		return
	}
	rec.life.Fresh = age
	lines := v.entry.Meta[rec.headAt:]
	said := rules.Response{ETag: rec.etagLen > 0 || rec.modLen > 0} // whether the origin can be asked about it
	_ = p.cache.Store.Refresh(&v.entry, &store.Item{
		Meta: append(rec.append(nil), lines...), KeepFor: rec.keepFor(&said, now), Began: began,
	}) // else it was evicted, replaced or purged meanwhile
}
