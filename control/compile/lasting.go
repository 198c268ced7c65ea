package compile

import (
	"fmt"
	"maps"
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

// idle is embedded in what lasts and does nothing in the background.
type idle struct{}

func (idle) Start() {}
func (idle) Stop()  {}

// prepared is a lasting thing that has to stand before requests meet it. Prepare begins as Start does, unless it runs, and waits for that: for
// some seconds at the most.
type prepared interface{ Prepare() }

// closer is a lasting thing that writes something when it is stopped. Close does what Stop does, and says what became of it.
type closer interface{ Close() error }

// ended stops one thing for good.
func ended(t lasting) error {
	if c, ok := t.(closer); ok {
		return c.Close()
	}
	t.Stop()
	return nil
}

// nameOf is what messages call a lasting thing: its name if it has one, or what it is. Its definition may hold secrets.
func nameOf(t lasting) string {
	if named, ok := t.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("what policies keep (%T)", t)
}

// unready is a lasting thing that may have to say why what depends on it is closed.
type unready interface{ Unready() string }

// lastingOf returns what has this definition: of the plan, of what runs, or made now. Nothing is started before the plan is prepared or committed.
func lastingOf[T lasting](b *builder, definition string, create func() (T, error)) (T, error) {
	if b.plan.lasting == nil {
		b.plan.lasting, b.plan.enforced = make(map[string]lasting), make(map[string]bool)
	}
	if b.enforcing {
		b.plan.enforced[definition] = true
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

// byName makes one row of what runs under one name, in the order of names: add puts one more into a row, which is empty at first. What has no name
// has no row.
func byName[Row any, T lasting](r *Runtime, name func(T) string, add func(*Row, T)) []Row {
	rows := make(map[string]*Row)
	for _, t := range lastingAll[T](r) {
		n := name(t)
		if n == "" {
			continue
		}
		if rows[n] == nil {
			rows[n] = new(Row)
		}
		add(rows[n], t)
	}
	var list []Row
	for _, n := range slices.Sorted(maps.Keys(rows)) {
		list = append(list, *rows[n])
	}
	return list
}

// Unready says why policies have closed their routes, or is empty. Policies that are tried out, or switched off, have closed nothing: what they
// miss is in their metrics and in the log.
func (r *Runtime) Unready() string {
	r.mu.Lock()
	var needed []unready
	for definition, t := range r.lasting {
		if u, ok := t.(unready); ok && r.enforced[definition] {
			needed = append(needed, u)
		}
	}
	if r.asksMembers {
		needed = append(needed, r.members)
	}
	r.mu.Unlock()
	var reasons []string
	for _, u := range needed {
		if why := u.Unready(); why != "" {
			reasons = append(reasons, why)
		}
	}
	slices.Sort(reasons)
	return strings.Join(slices.Compact(reasons), "; ")
}
