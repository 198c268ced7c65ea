package compile

import (
	"crypto/sha256"
	"fmt"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/cache"
	"sluice/proxy/cache/rules"
	"sluice/proxy/compress"
	"sluice/router"
)

func (b *builder) cachePolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	c := p.Cache
	if c == nil {
		return nil, false, nil
	}
	b.checkCacheOrder(c.Key.Claims)
	b.checkCacheKey(c)
	b.explainCache(name, c)
	if fits := b.cacheFits(); !fits || b.runtime.options.Dry {
		return transparent{}, true, nil
	}
	o := cache.Options{
		Rules:   cacheRules(c),
		Headers: texts(c.Vary), Cookies: texts(c.Key.Cookies), Claims: texts(c.Key.Claims),
		Shared: c.Share, Tags: c.Tags.Text, MaxObject: int64(c.MaxObject), Wait: time.Duration(c.Wait), Timeout: b.at.route.Timeout,
	}
	if q := c.Key.Query; q != nil && !q.All {
		o.Query = append([]string{}, texts(q.Names)...)
	}
	for _, after := range b.at.after {
		if z := after.Compress; z != nil {
			if o.Codings = texts(z.Codings); len(o.Codings) == 0 {
				o.Codings = compress.Codings[:]
			}
		}
	}
	// What is kept is found by whoever asks for the same in the same way: a route whose policy has changed begins anew.
	digest := sha256.Sum256(fmt.Appendf(nil, "%+v %q %q %q %q %t %q %q", o.Rules, o.Query, o.Headers, o.Cookies, o.Claims, o.Shared, o.Codings, o.Tags))
	o.Space = append(append([]byte(b.at.route.Name), 0), digest[:8]...)
	return cache.NewPolicy(b.cache(), o), true, nil
}

// transparent stands for a cache where no request is served: it has nothing.
type transparent struct{}

func (transparent) Serve(x *proxy.Exchange, next *proxy.Chain) error { return next.Serve(x) }

// checkCacheOrder reports what does not work behind or before the cache that is being built.
func (b *builder) checkCacheOrder(claims config.List[config.Text]) {
	path := b.at.path + ".use"
	if len(claims) > 0 && !b.identified() {
		b.fail(path, "the key of cache holds claims, and no policy before it finds out who is asking: put jwt or another one that does before it")
	}
	for _, p := range b.at.after {
		switch {
		case p.Guards():
			b.fail(path, "the policy "+p.Kind()+" stands behind cache: whoever asks for what is kept would pass it by; put it before cache")
		case p.Compress != nil && p.Compress.Secrets:
			b.fail(path, "compress with secrets stands behind cache: what it has compressed for one request would be given to others, which it would not; put it before cache")
		case p.RateLimit != nil && p.RateLimit.Cost.Size > 0, p.Quota != nil && p.Quota.Cost.Size > 0:
			b.fail(path, "the policy "+p.Kind()+" counts the bytes that clients get, and stands behind cache, which none of them pass: put it before cache")
		case p.Cache != nil:
			b.fail(path, "has two caches, one behind the other")
		}
	}
}

func cacheRules(c *config.CachePolicy) rules.Policy {
	r := rules.Policy{
		For: seconds(time.Duration(c.For)), Override: c.Override,
		HeuristicPercent: int64(c.Heuristic.Fraction() * 100), HeuristicMax: seconds(heuristicMax),
		StaleWhileRevalidate: seconds(c.StaleWhileRevalidate()), StaleIfError: seconds(c.StaleIfError()),
		StripSetCookie: c.SetCookie == "strip", IgnoreRequest: c.Requests == "ignore",
	}
	for _, s := range c.Statuses {
		statuses, _ := config.ParseStatuses(s.Name) // checked before
		for status := statuses.From; status <= statuses.To; status++ {
			r.ByStatus = append(r.ByStatus, rules.StatusFor{Status: status, For: seconds(time.Duration(s.Value))})
		}
	}
	return r
}

// heuristicMax bounds a lifetime that nobody has stated.
const heuristicMax = 24 * time.Hour

// seconds rounds up: what was asked for is not to be nothing.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
