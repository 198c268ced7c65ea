package compile

import (
	"crypto/sha256"
	"fmt"
	"net/netip"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/address"
	"sluice/router"
)

func (b *builder) addressesPolicy(name string, p *config.Policy, _ *router.Pattern) (proxy.Policy, bool, error) {
	a := p.Addresses
	if a == nil {
		return nil, false, nil
	}
	guard := b.guards[a]
	if guard == nil {
		// All routes that use a policy have one guard: a long list is in memory once, and what is wrong with it is said once.
		allow, err := b.addressSet(a.Allow, a.AllowFile, "allow_file")
		var deny *address.Set
		if err == nil {
			deny, err = b.addressSet(a.Deny, a.DenyFile, "deny_file")
		}
		guard = address.NewGuard(allow, deny)
		b.guards[a] = guard
		if err != nil {
			return nil, true, err
		}
	}
	return proxy.Guarded(name, guard, modes[a.Mode], nil), true, nil
}

// addressSet makes a set of what a policy lists and what its file does; nil: neither is there. A file that is as it was when the running
// configuration was compiled is not read again.
func (b *builder) addressSet(list config.List[config.Prefix], file *config.Networks, key string) (*address.Set, error) {
	all := prefixes(list)
	if file == nil {
		if len(all) == 0 {
			return nil, nil
		}
		return address.NewSet(all)
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%v\n", all) // a hash takes everything
	hash.Write(file.Data)
	digest := [sha256.Size]byte(hash.Sum(nil))
	set := b.setBefore(digest)
	if set == nil {
		networks, err := b.networks(file, key)
		if err != nil {
			return nil, err
		}
		if set, err = address.NewSet(append(networks, all...)); err != nil {
			return nil, err
		}
	}
	b.plan.sets[digest] = set
	return set, nil
}

// networks reads a file of networks, and reports its lines that are none.
func (b *builder) networks(file *config.Networks, key string) ([]netip.Prefix, error) {
	networks, problems, wrong := address.Read(string(file.Data))
	switch {
	case wrong == 0 && len(networks) == 0:
		// Such as one that somebody writes anew, just now. Who denies nobody need not say so, and nobody wants to allow nobody.
		return nil, fmt.Errorf("the list in %s holds no network; one for nobody can hold 192.0.2.0/24, which is for documentation", key)
	case wrong == 0:
		return networks, nil
	case file.Hidden:
		return nil, fmt.Errorf("the list in %s has lines that are no networks: %d, the first is line %d", key, wrong, problems[0].Line)
	}
	if wrong > len(problems) {
		problems[len(problems)-1].Message += fmt.Sprintf("; %d more lines are not shown", wrong-len(problems))
	}
	for _, p := range problems {
		b.problems = append(b.problems, config.Problem{Pos: config.Pos{File: file.Name, Line: p.Line, Column: 1}, Message: p.Message})
	}
	return nil, fmt.Errorf("the list in %s has lines that are no networks: %d", key, wrong)
}

// setBefore is a set that was made before, for this configuration or the running one, or nil.
func (b *builder) setBefore(digest [sha256.Size]byte) *address.Set {
	if set := b.plan.sets[digest]; set != nil {
		return set
	}
	b.runtime.mu.Lock()
	defer b.runtime.mu.Unlock()
	return b.runtime.sets[digest]
}
