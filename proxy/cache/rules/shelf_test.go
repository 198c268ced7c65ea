package rules_test

import (
	"maps"
	"strings"

	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/rules/model"
	"sluice/proxy/wire"
)

// shelf is the plainest cache that follows the rules: a map, one request at a time, everything kept for ever.
type shelf struct {
	policy  *rules.Policy
	world   *model.World
	entries map[string]*entry
	names   map[string]string // by URL: the fields that its responses vary by
}

type entry struct {
	status     int
	head       *wire.Head
	body       string
	life       rules.Life
	initialAge int64
	receivedAt int64
}

func newShelf(w *model.World) model.Cache {
	return &shelf{policy: w.Policy, world: w, entries: map[string]*entry{}, names: map[string]string{}}
}

// Serve implements model.Cache.
func (s *shelf) Serve(url, method string, req *wire.Head, now int64) model.Served {
	if method != "GET" {
		a := s.pass(url, method, req, now)
		if method == "HEAD" {
			a.Body = ""
		}
		return a
	}
	r := rules.ParseRequest(req)
	e := s.entries[s.key(url, req)]
	if e == nil {
		if rules.OnlyIfCached(&r, s.policy) {
			return model.Served{Status: 504}
		}
		return s.fill(url, req, &r, nil, now)
	}
	age := e.initialAge + now - e.receivedAt
	switch rules.Judge(age, &e.life, &r, s.policy) {
	case rules.Fresh:
		return e.answer(req)
	case rules.StaleUsable:
		a := e.answer(req)
		// In the background: what comes of it is for the next request.
		again := wire.Head{}
		rules.Merge(&again, &wire.Head{}, req)
		again.Del("cache-control")
		unconditional := rules.ParseRequest(&again)
		s.fill(url, &again, &unconditional, e, now)
		return a
	case rules.Missing:
		return model.Served{Status: 504}
	}
	a := s.fill(url, req, &r, e, now)
	if a.Failed && rules.MayUseOnError(age, &e.life, &r, s.policy) {
		a = e.answer(req)
		a.Asked, a.Failed = true, true
	}
	return a
}

// answer is an entry for a client: the whole, or that it has it.
func (e *entry) answer(req *wire.Head) model.Served {
	a := model.Served{Status: e.status, Head: e.head, Body: e.body}
	resp := rules.ParseResponse(e.head)
	if e.status == 200 && rules.NotModified(req, e.head.Get("etag"), resp.LastModified) {
		a.Status, a.Body = 304, ""
	}
	return a
}

// fill asks the origin, with an entry whether that still holds.
func (s *shelf) fill(url string, req *wire.Head, r *rules.Request, e *entry, now int64) model.Served {
	asked := new(wire.Head)
	rules.Merge(asked, &wire.Head{}, req)
	var stored *wire.Head
	if e != nil {
		stored = e.head
	}
	rules.Ask(asked, stored)
	status, h, body, failed := s.world.Answer(url, "GET", asked, now)
	if failed {
		return model.Served{Status: 504, Asked: true, Failed: true}
	}
	if e != nil && status == 304 {
		if !rules.Freshens(h, e.head) {
			return s.fill(url, req, r, nil, now)
		}
		h.Del("set-cookie")
		merged := new(wire.Head)
		rules.Merge(merged, e.head, h)
		e = &entry{status: e.status, head: merged, body: e.body, receivedAt: now}
		s.keep(url, req, r, e, now)
		a := e.answer(req)
		a.Asked = true
		return a
	}
	e = &entry{status: status, head: h, body: body, receivedAt: now}
	s.keep(url, req, r, e, now)
	return model.Served{Status: status, Head: h, Body: body, Asked: true, Failed: rules.FailsOver(status)}
}

// keep stores what may be stored; what may not takes the place of nothing but what it was to replace.
func (s *shelf) keep(url string, req *wire.Head, r *rules.Request, e *entry, now int64) {
	resp := rules.ParseResponse(e.head)
	if resp.Date == 0 {
		resp.Date = epoch + now
	}
	if rules.Storable(e.status, r, &resp, s.policy) != rules.Stored {
		if !rules.FailsOver(e.status) {
			delete(s.entries, s.key(url, req))
		}
		return
	}
	if s.policy.StripSetCookie {
		e.head.Del("set-cookie")
	}
	names, ok := rules.AppendVary(nil, e.head)
	if !ok {
		panic("stored although nothing matches")
	}
	s.names[url] = string(names)
	e.life = rules.Lifetime(e.status, &resp, s.policy)
	e.initialAge = rules.InitialAge(&resp, epoch+now, epoch+now)
	s.entries[s.key(url, req)] = e
}

func (s *shelf) key(url string, req *wire.Head) string {
	names := s.names[url]
	who := ""
	if s.policy.ByIdentity {
		who = string(req.Get("authorization"))
	}
	return url + "\n" + who + "\n" + names + "\n" + string(rules.AppendVariant(nil, []byte(names), req, nil))
}

func (s *shelf) pass(url, method string, req *wire.Head, now int64) model.Served {
	status, h, body, failed := s.world.Answer(url, method, req, now)
	if !failed && rules.Invalidates(method, status) {
		maps.DeleteFunc(s.entries, func(key string, _ *entry) bool { return strings.HasPrefix(key, url+"\n") })
	}
	return model.Served{Status: status, Head: h, Body: body, Asked: true, Failed: failed}
}
