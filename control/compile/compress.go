package compile

import (
	"maps"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/compress"
	"sluice/router"
)

var levels = map[string]compress.Level{"fast": compress.Fast, "default": compress.Default, "best": compress.Best}

func (b *builder) compressPolicy(_ string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	c := p.Compress
	if c == nil {
		return nil, false, nil
	}
	policy, err := compress.New(compress.Options{
		Codings: texts(c.Codings), Types: texts(c.Types), MinSize: int64(c.MinSize), Level: levels[c.Level], Secrets: c.Secrets,
		Encoders: b.runtime.encoders, Counts: b.compressCounts(),
	})
	if err != nil {
		return nil, true, err
	}
	b.plan.compressing[b.at.route] = append(b.plan.compressing[b.at.route], policy)
	return policy, true, nil
}

// compressCounts are those of the route that is built, which outlive a reload.
func (b *builder) compressCounts() *compress.Counts {
	counts := b.plan.compressed[b.at.route.Name]
	if counts == nil {
		counts = b.runtime.compressedBefore(b.at.route.Name)
		b.plan.compressed[b.at.route.Name] = counts
	}
	return counts
}

func (r *Runtime) compressedBefore(route string) *compress.Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	if counts := r.compressed[route]; counts != nil {
		return counts
	}
	return new(compress.Counts)
}

// Compressed returns what has been done on each route that compresses.
func (r *Runtime) Compressed() map[string]*compress.Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.compressed)
}

// EncoderBytes is what the encoders of responses under way take.
func (r *Runtime) EncoderBytes() int64 { return r.encoders.Bytes() }

// warnOrder warns of policies that stand where they cannot do what they are for. chain is from the client on.
func (b *builder) warnOrder(chain []*config.Policy, path string) {
	for i, p := range chain {
		for _, before := range chain[:i] {
			why := misplaced[[2]string{before.Kind(), p.Kind()}]
			if p.Cache != nil && before.Compress != nil && before.Compress.Secrets {
				continue // it has to see every request, also those that the cache answers
			}
			if why[0] != "" {
				b.warn(path, why[0], why[1])
				return
			}
		}
	}
}

// misplaced says of two kinds, the first of which stands before the second, what is wrong with that, and what to do.
var misplaced = map[[2]string][2]string{
	{"compress", "compress"}:      {"a response is compressed once, and two policies of this route compress", "leave one out: skip: [...] is for those of defaults.use"},
	{"cache", "security_headers"}: {"security_headers stands behind cache: what is kept has the fields of when it was asked for, even if the policy has changed since", "put it before cache"},
	{"cache", "cookies"}:          {"cookies stands behind cache: what is kept stays as it was when it was asked for, even if the policy has changed since", "put it before cache"},
	{"upstream_token", "cache"}:   {"upstream_token stands before cache: an answer to the gateway's token is kept only if the service says that all may have it", "put cache before it"},
	{"compress", "cache"}:         {"compress stands before cache: what is cached is compressed again for each client", "let cache come first, then each variant is compressed once"},
}
