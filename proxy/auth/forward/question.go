package forward

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"sluice/proxy"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// Facts are a set of what is told about a request.
type Facts uint8

// The facts.
const (
	Method Facts = 1 << iota
	Scheme
	Host
	Path
	Query
	IP
	AllFacts = Method | Scheme | Host | Path | Query | IP
)

// ownFields are those that the gateway fills in by itself, whatever is to be sent.
var ownFields = []string{"X-Request-Id", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Method", "X-Forwarded-Uri", "Via"}

func isOwn(name string) bool {
	return slices.ContainsFunc(ownFields, func(own string) bool { return strings.EqualFold(own, name) })
}

// question returns the exchange in which the service is asked: a fork of x, for the caller to end. Nothing goes along that is not said to:
// neither the body nor a condition, and what the service says before its answer is not for the client.
func (g *Guard) question(x *proxy.Exchange) *proxy.Exchange {
	c := x.Fork()
	c.Leave()
	r, of := &c.Request, &x.Request
	c.Started = wire.Now()
	c.Deadline, c.CallBy = c.Started+int64(g.options.Timeout), 0 // it is no call, whatever x is
	if g.options.Method != "" {
		r.Method = g.options.Method
	}
	r.Host, r.Path, r.Query, r.HasQuery = nil, g.path, g.query, g.hasQuery // without a host it gets its own
	r.TakesTrailers = false
	h := &r.Head
	h.Reset()
	pass := func(k wire.Known) {
		for v := range of.Head.ValuesKnown(k) {
			h.AddKnown(k, v)
		}
	}
	pass(wire.XRequestID)
	pass(wire.XForwardedFor)
	// What has found the route, and what is decided about, is one message. The fields of these names may say something else, where a trusted
	// proxy passes on what a client has sent.
	h.AddKnownString(wire.XForwardedProto, of.Scheme)
	if len(of.Host) > 0 {
		h.AddKnown(wire.XForwardedHost, of.Host)
	}
	pass(wire.Via)
	h.AddString("X-Forwarded-Method", of.Method)
	h.Add("X-Forwarded-Uri", c.KeepScratch(x.AppendURI(c.Scratch())))
	for _, name := range g.options.Send {
		if isOwn(name) {
			continue
		}
		for v := range of.Head.Values(name) {
			h.Add(name, v)
		}
	}
	var cookies []byte
	for _, name := range g.options.Cookies {
		for pair := range x.CookiePairs(name) {
			if len(cookies) > 0 {
				cookies = append(cookies, "; "...)
			}
			cookies = append(cookies, pair...)
		}
	}
	if len(cookies) > 0 {
		h.AddKnown(wire.Cookie, cookies)
	}
	return c
}

// secret begins every key: nobody can try what a client may have shown against one.
var secret = func() (s [sha256.BlockSize]byte) {
	rand.Read(s[:]) // never fails
	return
}()

// parts are put together to be hashed at once, which is faster than one by one.
type parts struct{ b []byte }

var partsPool = sync.Pool{New: func() any { return &parts{make([]byte, 0, 2<<10)} }}

// partsKeepMax caps what goes back into the pool.
const partsKeepMax = 32 << 10

// addPart adds a value with its length: "ab" and "c" are not "a" and "bc".
func addPart[V string | []byte](p *parts, value V) {
	p.b = binary.LittleEndian.AppendUint32(p.b, uint32(len(value))+1)
	p.b = append(p.b, value...)
}

// end ends a list of values, which may be empty: no length of a value is zero.
func (p *parts) end() { p.b = append(p.b, 0, 0, 0, 0) }

func (p *parts) known(x *proxy.Exchange, k wire.Known) {
	for v := range x.Request.Head.ValuesKnown(k) {
		addPart(p, v)
	}
	p.end()
}

// key is what a decision is remembered under. It holds whatever the service is told, but for the id of the request, and, of the request
// itself, what the options say.
func (g *Guard) key(x *proxy.Exchange) recall.Sum {
	p := partsPool.Get().(*parts)
	p.b = append(p.b[:0], secret[:]...)
	r, facts := &x.Request, g.options.Key
	if facts&Method != 0 {
		addPart(p, r.Method)
	}
	if facts&Scheme != 0 {
		addPart(p, r.Scheme)
	}
	if facts&Host != 0 {
		addPart(p, r.Host)
	}
	if facts&Path != 0 {
		addPart(p, r.Path)
	}
	if facts&Query != 0 {
		if r.HasQuery {
			addPart(p, r.Query)
		}
		p.end()
	}
	if facts&IP != 0 {
		p.known(x, wire.XForwardedFor)
	}
	for _, name := range g.options.Send {
		for v := range r.Head.Values(name) {
			addPart(p, v)
		}
		p.end()
	}
	for _, name := range g.options.Cookies {
		for pair := range x.CookiePairs(name) {
			addPart(p, pair)
		}
		p.end()
	}
	key := recall.Sum(sha256.Sum256(p.b))
	if cap(p.b) <= partsKeepMax {
		partsPool.Put(p)
	}
	return key
}

func cutQuery(target string) (path, query []byte, has bool) {
	p, q, has := strings.Cut(target, "?")
	return []byte(p), []byte(q), has
}
