package rules

import (
	"maps"
	"strings"

	"sluice/proxy/wire"
)

// shelf is the plainest cache that follows the rules: a map, one request at a time, everything kept for ever.
type shelf struct {
	policy  *Policy
	origin  func(url, method string, req *wire.Head, now int64) (status int, h *wire.Head, body string, failed bool)
	entries map[string]*entry
	names   map[string]string // by URL: the fields that its responses vary by
}

type entry struct {
	status     int
	head       *wire.Head
	body       string
	life       Life
	initialAge int64
	receivedAt int64
}

// answer is what a client gets, and where it is from.
type answer struct {
	status    int
	head      *wire.Head
	body      string
	fromShelf bool // the body is, whatever the origin has said
	asked     bool // the origin
	failed    bool // and it did not answer, or with an error
}

func (s *shelf) serve(url, method string, req *wire.Head, now int64) answer {
	if method != "GET" {
		return s.pass(url, method, req, now)
	}
	r := ParseRequest(req)
	e := s.entries[s.key(url, req)]
	if e == nil {
		if OnlyIfCached(&r, s.policy) {
			return answer{status: 504}
		}
		return s.fill(url, req, &r, nil, now)
	}
	age := e.initialAge + now - e.receivedAt
	switch Judge(age, &e.life, &r, s.policy) {
	case Fresh:
		return e.answer(req)
	case StaleUsable:
		a := e.answer(req)
		// In the background: what comes of it is for the next request.
		again := wire.Head{}
		Merge(&again, &wire.Head{}, req)
		again.Del("cache-control")
		unconditional := ParseRequest(&again)
		s.fill(url, &again, &unconditional, e, now)
		return a
	case Missing:
		return answer{status: 504}
	}
	a := s.fill(url, req, &r, e, now)
	if a.failed && MayUseOnError(age, &e.life, &r, s.policy) {
		a = e.answer(req)
		a.asked, a.failed = true, true
	}
	return a
}

// answer is an entry for a client: the whole, or that it has it.
func (e *entry) answer(req *wire.Head) answer {
	a := answer{status: e.status, head: e.head, body: e.body, fromShelf: true}
	resp := ParseResponse(e.head)
	if e.status == 200 && NotModified(req, e.head.Get("etag"), resp.LastModified) {
		a.status = 304
	}
	return a
}

// fill asks the origin, with an entry whether that still holds.
func (s *shelf) fill(url string, req *wire.Head, r *Request, e *entry, now int64) answer {
	asked := new(wire.Head)
	Merge(asked, &wire.Head{}, req)
	var stored *wire.Head
	if e != nil {
		stored = e.head
	}
	Ask(asked, stored)
	status, h, body, failed := s.origin(url, "GET", asked, now)
	if failed {
		return answer{status: 504, asked: true, failed: true}
	}
	if e != nil && status == 304 {
		if !Freshens(h, e.head) {
			return s.fill(url, req, r, nil, now)
		}
		h.Del("set-cookie")
		merged := new(wire.Head)
		Merge(merged, e.head, h)
		e = &entry{status: e.status, head: merged, body: e.body, receivedAt: now}
		s.keep(url, req, r, e, now)
		a := e.answer(req)
		a.asked = true
		return a
	}
	e = &entry{status: status, head: h, body: body, receivedAt: now}
	s.keep(url, req, r, e, now)
	return answer{status: status, head: h, body: body, asked: true, failed: FailsOver(status)}
}

// keep stores what may be stored; what may not takes the place of nothing but what it was to replace.
func (s *shelf) keep(url string, req *wire.Head, r *Request, e *entry, now int64) {
	resp := ParseResponse(e.head)
	if resp.Date == 0 {
		resp.Date = epoch + now
	}
	if Storable(e.status, r, &resp, s.policy) != Stored {
		if !FailsOver(e.status) {
			delete(s.entries, s.key(url, req))
		}
		return
	}
	if s.policy.StripSetCookie {
		e.head.Del("set-cookie")
	}
	names, ok := AppendVary(nil, e.head)
	if !ok {
		panic("stored although nothing matches")
	}
	s.names[url] = string(names)
	e.life = Lifetime(e.status, &resp, s.policy)
	e.initialAge = InitialAge(&resp, epoch+now, epoch+now)
	s.entries[s.key(url, req)] = e
}

func (s *shelf) key(url string, req *wire.Head) string {
	names := s.names[url]
	who := ""
	if s.policy.ByIdentity {
		who = string(req.Get("authorization"))
	}
	return url + "\n" + who + "\n" + names + "\n" + string(AppendVariant(nil, []byte(names), req, nil))
}

func (s *shelf) pass(url, method string, req *wire.Head, now int64) answer {
	status, h, body, failed := s.origin(url, method, req, now)
	if !failed && Invalidates(method, status) {
		maps.DeleteFunc(s.entries, func(key string, _ *entry) bool { return strings.HasPrefix(key, url+"\n") })
	}
	return answer{status: status, head: h, body: body, asked: true, failed: failed}
}
