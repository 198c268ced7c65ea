// Package model is what the RFCs say of caches once more, for tests: small, slow, and written from the prose rather than from the functions under test.
//
// It does not read heads. A test makes up what two sides mean, as Facts; the model judges the facts, and what is tested judges the head that the facts are
// written as, in one of the many ways that there are to write them. A World is an origin that remembers what it has meant; Play lets clients, time and that
// origin go on at random around a cache.
package model

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/proxy/cache/rules"
	"sluice/proxy/wire"
)

// Facts are directives with their arguments, in their order: "max-age" → "60"; "" for none.
type Facts []Fact

// Fact is one of them.
type Fact struct{ name, argument string }

// Has reports whether a directive is there.
func (f Facts) Has(name string) bool {
	return slices.ContainsFunc(f, func(d Fact) bool { return d.name == name })
}

// seconds is RFC 9111 section 4.2.1: "if there is more than one value present for a given directive, either the first occurrence should be used or the
// response should be considered stale"; what is invalid is "considered stale". The least of several is never more than the first.
func (f Facts) seconds(name string) (n int64, ok bool) {
	n = rules.DeltaMax
	for _, d := range f {
		if d.name == name {
			ok = true
			var one int64
			if _, err := fmt.Sscanf(d.argument, "%d", &one); err != nil || fmt.Sprint(one) != d.argument || one < 0 {
				one = 0
			}
			n = min(n, one)
		}
	}
	return n, ok
}

// Exchange is a request and the response to it. Times are in seconds since the epoch of the test.
type Exchange struct {
	Request     Facts
	Credentials bool // the request had Authorization

	Status       int
	response     Facts
	targeted     Facts  // what CDN-Cache-Control says; nil: it is not there
	age          string // the field, or "-"
	dated        int64
	expires      string // seconds after Date, "x" for what is no date, or "-"
	lastModified int64  // seconds before Date, or -1
	etag         bool
	cookie       bool
	varyStar     bool

	RequestedAt, ReceivedAt int64
}

// Control is RFC 9213 section 2.2: of a targeted field "the cache MUST use the directives", and MUST ignore Cache-Control and Expires.
func (x *Exchange) Control() Facts {
	if x.targeted != nil {
		return x.targeted
	}
	return x.response
}

// MayStore is RFC 9111 section 3, for a shared cache, item by item. It returns the item that forbids it.
func (x *Exchange) MayStore(p *rules.Policy) (why string) {
	c := x.Control()
	understands := slices.Contains([]int{200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 500, 501, 502, 503, 504}, x.Status)
	if x.Request.Has("no-store") && !p.IgnoreRequest {
		return "5.2.1.5: a cache MUST NOT store any part of either this request or any response to it"
	}
	if x.Status < 200 || x.Status == 206 || x.Status == 304 {
		return "3: the response status code is final, and 206 and 304 only if the cache understands them: this one stores complete responses"
	}
	if slices.Contains([]int{428, 429, 431, 511}, x.Status) {
		return "RFC 6585: responses MUST NOT be stored by a cache"
	}
	if c.Has("must-understand") && !understands {
		return "5.2.2.3: limits caching to a cache that understands the status code"
	}
	if c.Has("no-store") && !(c.Has("must-understand") && understands) {
		return "3: the no-store cache directive is not present in the response"
	}
	if c.Has("private") {
		return "3: if the cache is shared: the private response directive is not present"
	}
	if x.Credentials && !p.ByIdentity && !c.Has("must-revalidate") && !c.Has("public") && !c.Has("s-maxage") && !c.Has("proxy-revalidate") {
		return "3.5: MUST NOT use a cached response to a request with Authorization"
	}
	heuristically := slices.Contains([]int{200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}, x.Status)
	expires := x.expires != "-" && x.targeted == nil
	if !c.Has("public") && !expires && !c.Has("max-age") && !c.Has("s-maxage") && !c.Has("no-cache") && !heuristically && !named(p, x.Status) {
		return "3: the response contains at least one of: public, Expires, max-age, s-maxage, a status code that is heuristically cacheable"
	}
	if x.varyStar {
		return "4.1: a stored response with a Vary header field value containing a member \"*\" always fails to match"
	}
	if x.cookie && !p.StripSetCookie {
		return "our own: no cookie of one client for another"
	}
	return ""
}

func named(p *rules.Policy, status int) bool {
	return slices.ContainsFunc(p.ByStatus, func(s rules.StatusFor) bool { return s.Status == status && s.For > 0 })
}

// Lifetime is section 4.2.1: "by evaluating the following rules and using the first match". Where none matches a cache may guess (4.2.2), which is what the
// operator does with For; how long is for nobody but the operator to say.
func (x *Exchange) Lifetime(p *rules.Policy) int64 {
	c := x.Control()
	if n, ok := c.seconds("s-maxage"); ok {
		return n
	}
	if n, ok := c.seconds("max-age"); ok {
		return n
	}
	if x.expires != "-" && x.targeted == nil {
		var n int64
		if _, err := fmt.Sscanf(x.expires, "%d", &n); err != nil {
			return 0
		}
		return max(n, 0)
	}
	for _, s := range p.ByStatus {
		if s.Status == x.Status {
			return s.For
		}
	}
	return p.For
}

// CurrentAge is section 4.2.3, formula by formula. "The corrected_age_value MAY be used as the corrected_initial_age", without the apparent age.
func (x *Exchange) CurrentAge(now int64, conservative bool) int64 {
	apparentAge := max(0, x.ReceivedAt-x.dated)
	ageValue, _ := Facts{{"age", x.age}}.seconds("age")
	responseDelay := x.ReceivedAt - x.RequestedAt
	correctedAgeValue := ageValue + responseDelay
	correctedInitialAge := correctedAgeValue
	if conservative {
		correctedInitialAge = max(apparentAge, correctedAgeValue)
	}
	residentTime := now - x.ReceivedAt
	return correctedInitialAge + residentTime
}

// Use is how a stored response may be used.
type Use struct{ Fresh, Stale, OnError bool }

// MayUse is section 4 for a request that presents itself now and matches.
func (x *Exchange) MayUse(request Facts, age int64, p *rules.Policy) (u Use) {
	c := x.Control()
	lifetime := x.Lifetime(p)
	isFresh := lifetime > age // 4.2: response_is_fresh = (freshness_lifetime > current_age)

	// 5.2.2.4: "MUST NOT be used to satisfy any other request without forwarding it for validation".
	if c.Has("no-cache") {
		return Use{}
	}
	if p.IgnoreRequest {
		request = nil
	}
	// RFC 8246: what is immutable and fresh does not change; a reload need not be passed on.
	reload := !(c.Has("immutable") && isFresh)
	if request.Has("no-cache") && reload { // 5.2.1.4
		return Use{}
	}
	if n, ok := request.seconds("max-age"); ok && age > n && reload { // 5.2.1.1
		return Use{}
	}
	if n, ok := request.seconds("min-fresh"); ok && lifetime-age < n { // 5.2.1.3
		return Use{}
	}
	if isFresh {
		return Use{Fresh: true, OnError: true}
	}

	// 4.2.4: "MUST NOT generate a stale response if it is prohibited by an explicit in-protocol directive".
	if c.Has("must-revalidate") || c.Has("proxy-revalidate") || c.Has("s-maxage") {
		return Use{}
	}
	// "unless ... explicitly permitted by the client or origin server (e.g., by the max-stale request directive, extension directives such as those defined
	// in RFC 5861, or configuration in accordance with an out-of-band contract)".
	stale := age - lifetime
	permitted := func(name string, operator int64) bool {
		n, ok := c.seconds(name)
		if !ok {
			n = operator
		}
		return stale < n
	}
	u.Stale = permitted("stale-while-revalidate", p.StaleWhileRevalidate)
	u.OnError = permitted("stale-if-error", p.StaleIfError)
	if request.Has("max-age") && !request.Has("max-stale") {
		u.Stale, u.OnError = false, false // "unless the max-stale request directive is also present, the client does not wish to receive a stale response"
	}
	if request.Has("max-stale") {
		n := int64(rules.DeltaMax)
		for _, d := range request {
			if d.name == "max-stale" && d.argument != "" {
				one, _ := Facts{d}.seconds(d.name)
				n = min(n, one)
			}
		}
		u.Stale, u.OnError = stale <= n, stale <= n
	}
	if n, ok := request.seconds("stale-if-error"); ok && stale <= n {
		u.OnError = true
	}
	return u
}

// Write adds the directives to a head, in one of the many ways.
func (f Facts) Write(h *wire.Head, name string, r *rand.Rand) {
	var items []string
	for _, d := range f {
		item := anyCase(d.name, r)
		if d.argument != "" {
			if r.IntN(4) == 0 {
				item += `="` + d.argument + `"`
			} else {
				item += "=" + d.argument
			}
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return
	}
	// Among others that a cache does not know.
	for _, noise := range []string{`ext="no-store, max-age=99"`, "max-age-x=5", "ext=no-cache", "", `q="\"", x`} {
		if r.IntN(8) == 0 {
			items = slices.Insert(items, r.IntN(len(items)+1), noise)
		}
	}
	for len(items) > 0 {
		n := 1 + r.IntN(len(items))
		h.AddString(anyCase(name, r), strings.Join(items[:n], []string{",", ", ", " ,\t"}[r.IntN(3)]))
		items = items[n:]
	}
}

func anyCase(s string, r *rand.Rand) string {
	switch r.IntN(4) {
	case 0:
		return strings.ToUpper(s)
	case 1:
		return strings.ToUpper(s[:1]) + s[1:]
	}
	return s
}

// Head writes the response as the origin might have sent it; epoch is in Unix seconds.
func (x *Exchange) Head(r *rand.Rand, epoch int64) *wire.Head {
	date := func(seconds int64) string { return time.Unix(epoch+seconds, 0).UTC().Format(http.TimeFormat) }
	h := new(wire.Head)
	fields := []func(){
		func() { x.response.Write(h, "cache-control", r) },
		func() { h.AddString("Date", date(x.dated)) },
		func() {
			if x.targeted != nil {
				h.AddString("CDN-Cache-Control", x.targeted.dictionary(r))
			}
		},
		func() {
			if x.age != "-" {
				h.AddString("Age", x.age)
			}
		},
		func() {
			var n int64
			if _, err := fmt.Sscanf(x.expires, "%d", &n); err == nil {
				h.AddString("Expires", date(x.dated+n))
			} else if x.expires != "-" {
				h.AddString("Expires", x.expires)
			}
		},
		func() {
			if x.lastModified >= 0 {
				h.AddString("Last-Modified", date(x.dated-x.lastModified))
			}
		},
		func() {
			if x.etag {
				h.AddString("ETag", `"x"`)
			}
		},
		func() {
			if x.cookie {
				h.AddString("Set-Cookie", "a=b")
			}
		},
		func() {
			if x.varyStar {
				h.AddString("Vary", "accept, *")
			} else if r.IntN(2) == 0 {
				h.AddString("Vary", "accept")
			}
		},
	}
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	for _, add := range fields {
		add()
	}
	return h
}

// dictionary writes directives as RFC 8941 wants them, without those that it could not hold.
func (f Facts) dictionary(r *rand.Rand) string {
	var items []string
	for _, d := range f {
		item := d.name
		if d.argument != "" {
			item += "=" + d.argument
		}
		if r.IntN(6) == 0 {
			item += `;a;b="no-store"`
		}
		items = append(items, item)
	}
	return strings.Join(items, ", ")
}

// pick returns one of the values; zero ones are as likely as others, so that most things are not said.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func anyResponse(r *rand.Rand, targeted bool) (f Facts) {
	for _, name := range []string{"no-store", "no-cache", "private", "public", "must-revalidate", "proxy-revalidate", "must-understand", "immutable"} {
		if r.IntN(10) == 0 {
			f = append(f, Fact{name, ""})
		}
	}
	for _, name := range []string{"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"} {
		for range pick(r, 0, 0, 0, 1, 1, 2) {
			argument := fmt.Sprint(r.IntN(9))
			if r.IntN(12) == 0 {
				argument = pick(r, "x", "-5", "1.5")
				if targeted {
					argument = pick(r, "x", "-5", "1.5")
				}
			}
			f = append(f, Fact{name, argument})
		}
	}
	r.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] })
	return f
}

// AnyRequest is what a client may say in Cache-Control.
func AnyRequest(r *rand.Rand) (f Facts) {
	for _, name := range []string{"no-store", "no-cache", "only-if-cached"} {
		if r.IntN(12) == 0 {
			f = append(f, Fact{name, ""})
		}
	}
	for _, name := range []string{"max-age", "min-fresh", "max-stale", "stale-if-error"} {
		if r.IntN(6) == 0 {
			f = append(f, Fact{name, fmt.Sprint(r.IntN(9))})
		}
	}
	if r.IntN(12) == 0 {
		f = append(f, Fact{"max-stale", ""})
	}
	return f
}

// AnyExchange is a request and a response that say anything.
func AnyExchange(r *rand.Rand) *Exchange {
	x := &Exchange{
		Status:       pick(r, 200, 200, 200, 200, 200, 200, 204, 206, 301, 302, 304, 307, 404, 410, 429, 500, 503, 299),
		response:     anyResponse(r, false),
		age:          pick(r, "-", "-", "0", "3", "x", "-1"),
		dated:        int64(r.IntN(5) - 3),
		expires:      pick(r, "-", "-", "-", "0", "6", "-6", "x", "3"),
		lastModified: pick(r, int64(-1), -1, 0, 100),
		etag:         r.IntN(3) == 0,
		cookie:       r.IntN(10) == 0,
		varyStar:     r.IntN(20) == 0,
		Credentials:  r.IntN(6) == 0,
		ReceivedAt:   int64(r.IntN(3)),
	}
	if r.IntN(3) == 0 {
		x.Request = AnyRequest(r)
	}
	if r.IntN(4) == 0 {
		if x.targeted = anyResponse(r, true); len(x.targeted) == 0 {
			x.targeted = nil
		}
	}
	return x
}

// AnyPolicy is what an operator may add to the RFC, but an override.
func AnyPolicy(r *rand.Rand) *rules.Policy {
	return &rules.Policy{
		For:                  pick(r, int64(0), 0, 4),
		ByStatus:             pick(r, nil, []rules.StatusFor{{Status: 404, For: 2}, {Status: 503, For: 2}, {Status: 302, For: 0}}),
		StaleWhileRevalidate: pick(r, int64(0), 0, 3),
		StaleIfError:         pick(r, int64(0), 0, 5),
		StripSetCookie:       r.IntN(4) == 0,
		ByIdentity:           r.IntN(4) == 0,
		IgnoreRequest:        r.IntN(4) == 0,
	}
}
