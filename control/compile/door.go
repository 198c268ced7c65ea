package compile

import (
	"fmt"

	"sluice/control/config"
	"sluice/proxy/limit"
)

// door returns what lets connections of a listener in, or nil. It lives on as policies that limit do.
func (b *builder) door(e *config.Entry[config.Listener]) *limit.Door {
	d := e.Value.Door
	if d == nil {
		return nil
	}
	o := limit.DoorOptions{Except: prefixes(d.Except), Keys: d.Keys}
	for _, list := range []struct {
		from config.List[config.Allowance]
		to   *[]limit.Window
	}{{d.New, &o.Connect}, {d.Handshakes, &o.Handshake}} {
		for _, a := range list.from {
			*list.to = append(*list.to, limit.Window{Text: a.Text, Count: a.Count, Per: a.Per, Burst: a.Burst, By: keyOf(a.By)})
		}
	}
	for _, c := range d.Connections {
		o.Open = append(o.Open, limit.Ceiling{Text: c.Text, Max: c.Max, By: keyOf(c.By)})
	}
	name := config.JoinPath("listen", e.Name)
	var before *limit.Door
	if l := b.runningLimiters[name]; l != nil {
		before = l.door
	}
	l, err := b.limiter(name, "enforce", fmt.Sprintf("%+v", o), func(l *limiter) (err error) {
		o.Allowed = l.allowed
		l.door, err = limit.NewDoor(o, before)
		return err
	})
	if err != nil {
		b.fail(name+".limits", err.Error())
		return nil
	}
	return l.door
}

// Doors calls f with every listener that has limits of its own.
func (r *Runtime) Doors(f func(listener string, refused [limit.DoorReasons]uint64, c limit.Counts)) {
	r.mu.Lock()
	limiters := r.limiters
	listeners := r.doors
	r.mu.Unlock()
	for _, name := range listeners {
		if l := limiters[config.JoinPath("listen", name)]; l != nil && l.door != nil {
			f(name, l.door.Refused(), l.door.Counts())
		}
	}
}
