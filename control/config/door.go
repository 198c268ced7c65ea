package config

import (
	"fmt"
	"slices"
)

// Door is what a listener lets in, by the addresses of clients, before there is a request.
type Door struct {
	New         List[Allowance] `cfg:"new_connections" doc:"rates of new connections, such as 50/s per ip or 20/s burst 100 per ip/24/56; all of them hold"`
	Handshakes  List[Allowance] `cfg:"handshakes" doc:"rates of TLS handshakes, such as 20/s per ip"`
	Connections List[Ceiling]   `cfg:"connections" doc:"connections at the same time, such as 200 per ip"`
	Except      List[Prefix]    `cfg:"except" doc:"whom none of it limits, such as the balancers that check health: networks or addresses"`
	Keys        int             `cfg:"keys" default:"100000" min:"1" max:"100000000" doc:"how many clients are told apart at the same time, for each limit; 32 bytes each"`
	Pos         Pos
}

func (v *validator) door(l *Listener, path string) {
	d := l.Door
	if d == nil {
		return
	}
	v.calledAs(path)
	path = joinPath(path, "limits")
	if d.New == nil && d.Handshakes == nil && d.Connections == nil {
		for _, key := range []string{"new_connections", "handshakes", "connections"} {
			if v.written(joinPath(path, key)) {
				return // it was said what is wrong with that
			}
		}
		v.fail(path, "limits nothing", "new_connections: 50/s per ip")
		return
	}
	if len(l.Address) > 0 && !slices.ContainsFunc(l.Address, func(a Address) bool { return a.Network != "unix" }) {
		v.fail(path, "is for clients with an address, and who comes by a unix socket has none", "")
	}
	if d.Handshakes != nil && l.TLS.Text == "" {
		v.fail(path+".handshakes", "is for TLS, which the listener does not have", "new_connections: ...")
	}
	check := func(key string, n int, examples string, at func(i int) (Pos, []KeyPart)) {
		where := joinPath(path, key)
		if n > allowancesMax {
			v.fail(where, fmt.Sprintf("has more than %d limits", allowancesMax), "")
		}
		if n == 0 && v.written(where) {
			v.fail(where, "names no limit", examples)
		}
		for i := range n {
			if pos, by := at(i); len(by) > 1 || len(by) == 1 && by[0].Source != "ip" {
				v.failAt(pos, v.item(where, i), "counts by something of a request, and there is none yet", "per ip, ip/24/56, or nothing for all clients together")
			}
		}
	}
	rates := func(list List[Allowance]) func(i int) (Pos, []KeyPart) {
		return func(i int) (Pos, []KeyPart) { return list[i].Pos, list[i].By }
	}
	check("new_connections", len(d.New), "50/s per ip", rates(d.New))
	check("handshakes", len(d.Handshakes), "20/s per ip", rates(d.Handshakes))
	check("connections", len(d.Connections), "200 per ip", func(i int) (Pos, []KeyPart) { return d.Connections[i].Pos, d.Connections[i].By })
}

// calledAs wants that no policy that limits is called as a listener that does: metrics apart, both are known by that name alone.
func (v *validator) calledAs(listener string) {
	if p, there := v.config.Policies.Get(listener); there && (p.RateLimit != nil || p.Concurrent != nil || p.Quota != nil) {
		v.fail(joinPath("policies", listener), "is the name by which "+listener+".limits are listed and reset", "call the policy something else")
	}
}
