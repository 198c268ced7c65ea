package compile

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy/limit"
	"sluice/proxy/limit/redis"
)

// limitStore is a store that limits share. It outlives its own definition: when that changes, another link takes the place of the one that there is,
// and nobody is without a store, or with buckets of which nothing is known, meanwhile.
type limitStore struct {
	*limit.Fleet
	linked string // the definition of the link; Commit alone changes it
}

// relink is another link for a store that runs.
type relink struct {
	*limit.Link
	definition string
}

// sharer is a policy whose buckets hosts share. It outlives a configuration along with the policy's state.
type sharer struct {
	rates *limit.Rates
	fleet *limit.Fleet
	store string
	deny  bool
}

func (s *sharer) Prepare() { s.fleet.Join(s.rates) }
func (s *sharer) Start()   { s.fleet.Join(s.rates) }
func (s *sharer) Stop()    { s.fleet.Leave(s.rates) }

// Unready says why the policy has closed its routes, if it has.
func (s *sharer) Unready() string {
	if !s.deny || s.fleet.Up() {
		return ""
	}
	return "no answer of the store " + s.store
}

var ifDown = map[string]limit.IfDown{"local": limit.DownLocal, "allow": limit.DownAllow, "deny": limit.DownDeny}

// across returns what a policy shares with other hosts, and a text that is the same exactly if the buckets are; nil if it shares nothing.
func (b *builder) across(r *config.RateLimit, name string) (*limit.Across, string, error) {
	if r.Across.Text == "" {
		return nil, "", nil
	}
	s, ok := b.config.Stores.Get(r.Across.Text)
	if !ok {
		panic("BUG: a store that does not exist passed validation: " + r.Across.Text)
	}
	st, err := b.store(r.Across.Text, s)
	if err != nil {
		return nil, "", err
	}
	secret := s.Secret
	if secret.IsZero() {
		secret = s.Password
	}
	a := &limit.Across{
		Name: name, Fleet: st.Fleet, IfDown: ifDown[r.IfDown], Seed: limit.Seed([]byte(secret.Reveal()), sharedText(name, s.Prefix.Text, r.Allow)),
	}
	return a, fmt.Sprintf("%q %x %s", r.Across.Text, a.Seed, r.IfDown), nil
}

// store returns the store of a name, with another link waiting for it if it runs and is defined otherwise now.
func (b *builder) store(name string, s *config.Store) (*limitStore, error) {
	o, definition, err := storeOptions(s)
	if err != nil {
		return nil, err
	}
	st, err := lastingOf(b, "store "+name, func() (*limitStore, error) {
		f := limit.NewFleet(limit.FleetOptions{Name: name, Store: redis.New(o), Timeout: o.Timeout, Idle: b.runtime.options.Dry})
		return &limitStore{f, definition}, nil
	})
	if err != nil {
		return nil, err
	}
	if _, known := b.plan.relinks[st]; !known && st.linked != definition {
		if b.plan.relinks == nil {
			b.plan.relinks = make(map[*limitStore]relink)
		}
		b.plan.relinks[st] = relink{limit.NewLink(redis.New(o), o.Timeout), definition}
	}
	return st, nil
}

// sharedText is what hosts have to agree on to share buckets: the name of a policy, and what its rates are. The rest may differ, such as while a
// change of it is rolled out.
func sharedText(name, prefix string, allow []config.Allowance) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q", prefix, name)
	for _, a := range allow {
		fmt.Fprintf(&b, " %d/%d/%d by", a.Count, a.Per, a.Burst)
		for _, p := range a.By {
			fmt.Fprintf(&b, " %s %q %d %d", p.Source, p.Name, p.V4, p.V6)
		}
	}
	return b.String()
}

// storeOptions is where a store is, and a text that says so without its secrets.
func storeOptions(s *config.Store) (redis.Options, string, error) {
	a, wrong, _ := s.Address()
	if wrong != "" {
		panic("BUG: a URL of a store passed validation that " + wrong)
	}
	o := redis.Options{
		Network: a.Network, Address: a.Address, Database: a.Database, User: s.User.Text, Password: s.Password.Reveal(),
		Prefix: s.Prefix.Text, Timeout: time.Duration(s.Timeout),
	}
	definition := fmt.Sprintf("%+v %q %q %s %x", a, s.User.Text, s.Prefix.Text, o.Timeout, sha256.Sum256([]byte(s.Password.Reveal())))
	if a.TLS {
		o.TLS = &tls.Config{ServerName: a.Host, MinVersion: tls.VersionTLS12}
	}
	if s.CA != nil {
		roots, trusted, err := rootsOf(s.CA)
		if err != nil {
			return o, "", err
		}
		o.TLS.RootCAs = roots
		definition += trusted
	}
	return o, definition, nil
}

// LimitStores says how the stores do that limits share, in the order of names.
func (r *Runtime) LimitStores() []limit.FleetStatus {
	var list []limit.FleetStatus
	for _, f := range lastingAll[*limitStore](r) {
		list = append(list, f.Status())
	}
	slices.SortFunc(list, func(a, b limit.FleetStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// SharedCounts calls f with how often the policies that share buckets have judged requests without their store, and have refused one because
// this host's lease was used up.
func (r *Runtime) SharedCounts(f func(name string, fallbacks, held uint64)) {
	r.eachLimiter(func(name string, l *limiter) {
		if l.fallbacks != nil {
			f(name, l.fallbacks.Value(), l.held.Value())
		}
	})
}
