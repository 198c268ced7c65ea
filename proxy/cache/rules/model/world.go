package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"sluice/proxy/cache/rules"
	"sluice/proxy/wire"
)

// World is an origin whose every response is remembered as what it meant, so that whatever comes out of a cache later can be held against it.
type World struct {
	Policy  *rules.Policy
	r       *rand.Rand
	epoch   int64           // of the times here, in Unix seconds
	said    []*Exchange     // by serial number, as last validated
	pages   []page          // likewise, what stands in the bodies
	tags    map[string]page // what was said with an entity tag
	version map[string]int
	log     []string

	request Facts // of the client that is being served
	down    bool
	held    int // the response of which a 304 has said last that it holds
}

// page is what a body says about itself.
type page struct {
	serial, version     int
	url                 string
	language, encoding  string
	cookie, credentials string
}

func (p page) String() string {
	return fmt.Sprintf("%d %d %s %s %s %s %s", p.serial, p.version, p.url, p.language, p.encoding, p.cookie, p.credentials)
}

func tagOf(p page) string { return fmt.Sprintf(`"%s-%d"`, p.url, p.serial) }

// wanted is what a request asks for, whatever was stored. An origin that shares with everybody does not look at who asks.
func (w *World) wanted(url string, req *wire.Head) page {
	p := page{version: w.version[url], url: url, language: "en", encoding: "identity", cookie: "-", credentials: "-"}
	if strings.Contains(strings.ToLower(string(req.Get("accept-language"))), "de") {
		p.language = "de"
	}
	if codings := strings.ToLower(string(req.Get("accept-encoding"))); strings.ContainsAny(codings, "g*") && !strings.Contains(codings, "gzip;q=0") {
		p.encoding = "gzip"
	}
	if v := req.Get("cookie"); v != nil {
		p.cookie = string(v)
	}
	if v := req.Get("authorization"); v != nil {
		p.credentials = string(v)
	}
	return p
}

// Answer is what the origin says to a request of the cache; failed: nothing. It varies by everything that it looks at but who asks, which caches have to
// know of themselves.
func (w *World) Answer(url, method string, req *wire.Head, now int64) (status int, head *wire.Head, body string, failed bool) {
	if w.down {
		w.log = append(w.log, "  the origin is down")
		return 0, nil, "", true
	}
	if method == "POST" {
		w.version[url]++
		w.log = append(w.log, fmt.Sprintf("  %s is version %d", url, w.version[url]))
		return pick(w.r, 200, 204, 303), new(wire.Head), "", false
	}
	p := w.wanted(url, req)
	x := AnyExchange(w.r)
	if w.r.IntN(2) == 0 {
		x.response, x.targeted = Facts{{"max-age", "3"}, {"stale-while-revalidate", "3"}, {"stale-if-error", "9"}}, nil
	}
	x.Request, x.Credentials = nil, p.credentials != "-"
	if req.Has("cache-control") {
		x.Request = w.request
	}
	x.RequestedAt, x.ReceivedAt, x.varyStar = now, now, false
	x.dated = now - pick(w.r, int64(0), 0, 0, 5)
	x.lastModified = -1
	x.Status = pick(w.r, 200, 200, 200, 200, 200, 404, 503, 302)
	if c := x.Control(); c.Has("public") || c.Has("s-maxage") || c.Has("must-revalidate") || c.Has("proxy-revalidate") {
		p.credentials = "-" // the same for everybody, then
	}
	asked := strings.TrimPrefix(string(req.Get("if-none-match")), "W/")
	if held, ok := w.tags[asked]; ok && x.Status == 200 {
		p.serial = held.serial
		if p == held {
			return w.notModified(p.serial, x, string(req.Get("if-none-match")))
		}
	}
	p.serial = len(w.said)
	w.said, w.pages = append(w.said, x), append(w.pages, p)
	x.etag = x.etag && x.Status == 200
	h := w.head(x)
	if x.etag {
		tag := tagOf(p)
		w.tags[tag] = p
		h.AddString("ETag", pick(w.r, "", "W/")+tag)
	}
	for _, line := range pick(w.r, []string{"Accept-Language, accept-encoding, Cookie"}, []string{"cookie", "ACCEPT-ENCODING,Accept-Language"}) {
		h.AddString("Vary", line)
	}
	h.AddString("X-Serial", fmt.Sprint(p.serial))
	w.log = append(w.log, fmt.Sprintf("  %d %q %s", x.Status, p, Lines(h)))
	return x.Status, h, p.String(), false
}

// notModified answers that a response still holds. What it does not say again stays as it was said (RFC 9111 section 3.2).
func (w *World) notModified(serial int, x *Exchange, tag string) (int, *wire.Head, string, bool) {
	updated := w.said[serial].update(x)
	alone := *updated
	if alone.Request, alone.Credentials = nil, false; updated.MayStore(w.Policy) == "" || alone.MayStore(w.Policy) != "" {
		w.said[serial] = updated // or else it was said to this client alone
	}
	w.held = serial
	h := w.head(x)
	if w.r.IntN(4) > 0 {
		h.AddString("ETag", tag)
	}
	w.log = append(w.log, fmt.Sprintf("  304 of %d %s", serial, Lines(h)))
	return 304, h, "", false
}

// head is the exchange's, but for what the world says itself.
func (w *World) head(x *Exchange) *wire.Head {
	h := x.Head(w.r, w.epoch)
	h.Del("vary")
	h.Del("etag")
	return h
}

// update is what an older response means after a 304.
func (x *Exchange) update(by *Exchange) *Exchange {
	y := *by
	y.Status, y.cookie, y.etag = x.Status, false, x.etag
	if len(by.response) == 0 {
		y.response = x.response
	}
	if by.targeted == nil {
		y.targeted = x.targeted
	}
	if by.expires == "-" {
		y.expires = x.expires
		// Seconds after its own Date, which is another now.
		var n int64
		if _, err := fmt.Sscanf(x.expires, "%d", &n); err == nil {
			y.expires = fmt.Sprint(x.dated + n - by.dated)
		}
	}
	return &y
}

// anyClient makes a request and says in words what it is.
func (w *World) anyClient() (req *wire.Head) {
	req = new(wire.Head)
	if s := pick(w.r, "de", "de", "de", "DE ;q=0.9, en; q=0.80", "de;q=0.9,en;q=0.8", "fr", ""); s != "" {
		req.AddString("Accept-Language", s)
	}
	if s := pick(w.r, "gzip", "gzip, br", "br,  GZIP", "", "br, x-gzip", "gzip;q=0", "*", "gzip, *;q=0.5", "*,gzip;q=0.0"); s != "" {
		req.AddString("Accept-Encoding", s)
	}
	if s := pick(w.r, "", "", "", "", "", "", "a=1", "a=2"); s != "" {
		req.AddString("Cookie", s)
	}
	if s := pick(w.r, "", "", "", "ann", "bob"); s != "" {
		req.AddString("Authorization", s)
	}
	if w.r.IntN(6) == 0 && len(w.pages) > 0 {
		// In a list, so that the origin answers with the whole if it is ever asked this.
		req.AddString("If-None-Match", `"other", `+tagOf(w.pages[max(0, len(w.pages)-1-w.r.IntN(9))]))
	}
	if s := pick(w.r, "", "", "", "", "", "", "bytes=3-5", "bytes=-4", "bytes=2-", "bytes=500-"); s != "" {
		req.AddString("Range", s)
	}
	w.request = nil
	if w.r.IntN(3) == 0 {
		w.request = AnyRequest(w.r)
		w.request.Write(req, "cache-control", w.r)
	}
	return req
}

// Cache is what is held against the model.
type Cache interface {
	// Serve answers a client, and waits until what was asked for in the background has come.
	Serve(url, method string, req *wire.Head, now int64) Served
}

// Served is what a client got.
type Served struct {
	Status int
	Head   *wire.Head
	Body   string
	// Asked says that the answer waited for the origin, and Failed that this did not answer, or with an error.
	Asked, Failed bool
}

// Tally counts answers with bodies that did not come from the origin at that time.
type Tally struct{ Fresh, Stale, OnError, Validated int }

// Play lets clients, time and an origin go on at random around a cache, and holds every answer that did not come from the origin against what the origin has
// meant. The error tells the whole story.
func Play(seed uint64, steps int, epoch int64, build func(w *World) Cache, tally *Tally) error {
	r := rand.New(rand.NewPCG(2, seed))
	w := &World{r: r, epoch: epoch, Policy: AnyPolicy(r), version: map[string]int{}, tags: map[string]page{}}
	cache := build(w)
	oldest := map[string]int{} // by URL: the first response since it was changed
	now := int64(0)
	for range steps {
		now += pick(r, int64(0), 0, 0, 1, 1, 1, 2, 6)
		url := pick(r, "/a", "/b")
		req := w.anyClient()
		method := "GET"
		switch r.IntN(20) {
		case 0:
			method = "POST"
		case 1, 2:
			method = "HEAD"
		}
		w.down = r.IntN(6) == 0
		w.held = -1
		w.log = append(w.log, fmt.Sprintf("%d: %s %s %s", now, method, url, Lines(req)))
		before := slices.Clone(w.said)
		a := cache.Serve(url, method, req, now)
		w.log = append(w.log, fmt.Sprintf("  got %d %q, asked %t, failed %t", a.Status, a.Body, a.Asked, a.Failed))
		if method == "POST" && !w.down {
			oldest[url] = len(w.said)
		}
		if err := w.judge(url, method, req, a, before, oldest[url], now, tally); err != nil {
			return fmt.Errorf("seed %d: %w\npolicy %+v\n%s", seed, err, w.Policy, strings.Join(w.log, "\n"))
		}
	}
	return nil
}

// judge judges an answer.
func (w *World) judge(url, method string, req *wire.Head, a Served, before []*Exchange, oldest int, now int64, tally *Tally) error {
	if a.Head == nil || !a.Head.Has("x-serial") {
		return nil // it is nothing that the origin has said
	}
	var serial int
	fmt.Sscan(string(a.Head.Get("x-serial")), &serial)
	got := w.pages[serial]
	if err := sameContent(method, req, a, got, w.said[serial].Status); err != nil || serial >= len(before) {
		return err
	}
	return w.check(url, req, a, got, before, oldest, now, tally)
}

// sameContent compares what a client got with what was said: the whole, a part that it has asked for, or that it has it.
func sameContent(method string, req *wire.Head, a Served, want page, status int) error {
	whole := want.String()
	switch {
	case method == "HEAD":
		if a.Status != status && a.Status != 304 || a.Body != "" {
			return fmt.Errorf("%d with %q to HEAD", a.Status, a.Body)
		}
	case a.Status == status:
		if a.Body != whole {
			return fmt.Errorf("the body %q in place of %q", a.Body, whole)
		}
	case a.Status == 304:
		if !strings.HasSuffix(string(req.Get("if-none-match")), " "+tagOf(want)) || a.Body != "" {
			return fmt.Errorf("304 of %s", tagOf(want))
		}
	case a.Status == 206:
		var from, to, size int
		fmt.Sscanf(string(a.Head.Get("content-range")), "bytes %d-%d/%d", &from, &to, &size)
		asked := map[string][2]int{"bytes=3-5": {3, 5}, "bytes=-4": {len(whole) - 4, len(whole) - 1}, "bytes=2-": {2, len(whole) - 1}}
		if asked[string(req.Get("range"))] != [2]int{from, to} || size != len(whole) || a.Body != whole[from:to+1] {
			return fmt.Errorf("206 with %q as %d-%d/%d of %q", a.Body, from, to, size, whole)
		}
	case a.Status == 416:
		if string(req.Get("range")) != "bytes=500-" {
			return fmt.Errorf("416")
		}
	default:
		return fmt.Errorf("%d in place of %d", a.Status, status)
	}
	return nil
}

// check judges an answer that the origin has not sent just now.
func (w *World) check(url string, req *wire.Head, a Served, got page, before []*Exchange, oldest int, now int64, tally *Tally) error {
	want := w.wanted(url, req)
	want.serial, want.version, want.credentials = got.serial, got.version, got.credentials
	switch {
	case got != want:
		return fmt.Errorf("%q for what asks for %q", got, want)
	case got.credentials != "-" && got.credentials != string(req.Get("authorization")):
		return fmt.Errorf("what is for %s alone", got.credentials)
	case got.serial < oldest:
		return fmt.Errorf("what was changed since")
	case a.Asked && !a.Failed:
		if w.held != got.serial {
			return fmt.Errorf("what the origin has not said to hold")
		}
		tally.Validated++
		return nil
	case a.Head.Has("set-cookie"):
		return fmt.Errorf("a cookie of another's")
	}
	x := before[got.serial] // and not what was learnt in the background
	if why := x.MayStore(w.Policy); why != "" {
		return fmt.Errorf("what is stored against %s", why)
	}
	switch u := x.MayUse(w.request, x.CurrentAge(now, false), w.Policy); {
	case u.Fresh:
		tally.Fresh++
	case u.Stale:
		tally.Stale++
	case u.OnError && a.Failed:
		tally.OnError++
	default:
		return fmt.Errorf("used against RFC 9111 section 4: %+v of %+v", u, x)
	}
	return nil
}

// Lines is a head in one line.
func Lines(h *wire.Head) string {
	var all []string
	for name, value := range h.All() {
		all = append(all, string(name)+": "+string(value))
	}
	return strings.Join(all, "|")
}
