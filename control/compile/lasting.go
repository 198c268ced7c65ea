package compile

import (
	"slices"
	"strings"
)

// lasting is what a policy needs that outlives a configuration, for as long as its own definition is in use: keys that are fetched, tokens
// that were verified.
type lasting interface {
	// Start begins what happens in the background, and Stop ends it. Start may be called again while it runs.
	Start()
	Stop()
}

// unready is a lasting thing that may have to say why what depends on it is closed.
type unready interface{ Unready() string }

// lastingOf returns what has this definition: of the plan, of what runs, or made now. Nothing is started before the plan is committed.
func lastingOf[T lasting](b *builder, definition string, create func() (T, error)) (T, error) {
	if b.plan.lasting == nil {
		b.plan.lasting = make(map[string]lasting)
	}
	for _, known := range []map[string]lasting{b.plan.lasting, b.runningLasting} {
		if t, ok := known[definition]; ok {
			b.plan.lasting[definition] = t
			return t.(T), nil
		}
	}
	t, err := create()
	if err == nil {
		b.plan.lasting[definition] = t
	}
	return t, err
}

// stopLasting stops what another set does not have.
func stopLasting(old, kept map[string]lasting) {
	for definition, t := range old {
		if _, ok := kept[definition]; !ok {
			t.Stop()
		}
	}
}

// lastingAll yields what runs of one kind.
func lastingAll[T lasting](r *Runtime) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []T
	for _, l := range r.lasting {
		if t, ok := l.(T); ok {
			all = append(all, t)
		}
	}
	return all
}

// Unready says why policies have closed their routes, or is empty.
func (r *Runtime) Unready() string {
	var reasons []string
	for _, t := range lastingAll[lasting](r) {
		if u, ok := t.(unready); ok {
			if why := u.Unready(); why != "" {
				reasons = append(reasons, why)
			}
		}
	}
	if why := r.Members().Unready(); why != "" {
		reasons = append(reasons, why)
	}
	slices.Sort(reasons)
	return strings.Join(slices.Compact(reasons), "; ")
}
