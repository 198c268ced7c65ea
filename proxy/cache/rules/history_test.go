package rules

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"sluice/proxy/wire"
)

// world is an origin whose every response is remembered as what it meant, so that whatever comes out of a cache later can be held against it.
type world struct {
	r       *rand.Rand
	policy  *Policy
	said    []*exchange // by serial number, as last validated
	tags    map[string]page
	version map[string]int
	log     []string

	request facts // of the client that is being served; what the cache asks for in the background has none
	down    bool
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

func parsePage(body string) (p page) {
	fmt.Sscan(body, &p.serial, &p.version, &p.url, &p.language, &p.encoding, &p.cookie, &p.credentials)
	return p
}

// wanted is what a request asks for, whatever was stored. An origin that shares with everybody does not look at who asks.
func (w *world) wanted(url string, req *wire.Head) page {
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

// answer is the origin. It varies by everything that it looks at but who asks, which caches have to know of themselves.
func (w *world) answer(url, method string, req *wire.Head, now int64) (int, *wire.Head, string, bool) {
	if w.down {
		w.log = append(w.log, "  the origin is down")
		return 0, nil, "", true
	}
	if method != "GET" {
		w.version[url]++
		w.log = append(w.log, fmt.Sprintf("  %s is version %d", url, w.version[url]))
		return pick(w.r, 200, 204, 303), new(wire.Head), "", false
	}
	p := w.wanted(url, req)
	x := anyExchange(w.r)
	if w.r.IntN(2) == 0 {
		x.response, x.targeted = facts{{"max-age", "3"}, {"stale-while-revalidate", "3"}, {"stale-if-error", "9"}}, nil
	}
	x.request, x.credentials = nil, p.credentials != "-"
	if req.Has("cache-control") {
		x.request = w.request
	}
	x.requestedAt, x.receivedAt, x.varyStar = now, now, false
	x.dated = now - pick(w.r, int64(0), 0, 0, 5)
	x.lastModified = -1
	x.status = pick(w.r, 200, 200, 200, 200, 200, 404, 503, 302)
	if c := x.control(); c.has("public") || c.has("s-maxage") || c.has("must-revalidate") || c.has("proxy-revalidate") {
		p.credentials = "-" // the same for everybody, then
	}
	asked := strings.TrimPrefix(string(req.Get("if-none-match")), "W/")
	if held, ok := w.tags[asked]; ok && x.status == 200 {
		p.serial = held.serial
		if p == held {
			return w.notModified(p.serial, x, string(req.Get("if-none-match")))
		}
	}
	p.serial = len(w.said)
	w.said = append(w.said, x)
	x.etag = x.etag && x.status == 200
	h := w.head(x)
	if x.etag {
		tag := fmt.Sprintf(`"%s-%d"`, url, p.serial)
		w.tags[tag] = p
		h.AddString("ETag", pick(w.r, "", "W/")+tag)
	}
	for _, line := range pick(w.r, []string{"Accept-Language, accept-encoding, Cookie"}, []string{"cookie", "ACCEPT-ENCODING,Accept-Language"}) {
		h.AddString("Vary", line)
	}
	w.log = append(w.log, fmt.Sprintf("  %d %q %s", x.status, p, lines(h)))
	return x.status, h, p.String(), false
}

// notModified answers that a response still holds. What it does not say again stays as it was said (RFC 9111 section 3.2).
func (w *world) notModified(serial int, x *exchange, tag string) (int, *wire.Head, string, bool) {
	w.said[serial] = w.said[serial].update(x)
	h := w.head(x)
	if w.r.IntN(4) > 0 {
		h.AddString("ETag", tag)
	}
	w.log = append(w.log, fmt.Sprintf("  304 of %d %s", serial, lines(h)))
	return 304, h, "", false
}

// head is the exchange's, but for what the world says itself.
func (w *world) head(x *exchange) *wire.Head {
	h := x.head(w.r)
	h.Del("vary")
	h.Del("etag")
	return h
}

// update is what an older response means after a 304.
func (x *exchange) update(by *exchange) *exchange {
	y := *by
	y.status, y.cookie, y.etag = x.status, false, x.etag
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
func (w *world) anyClient() (req *wire.Head) {
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
	w.request = nil
	if w.r.IntN(3) == 0 {
		w.request = anyRequest(w.r)
		w.request.write(req, "cache-control", w.r)
	}
	return req
}

// TestHistory lets clients, time and the origin go on at random, and holds every answer that did not come from the origin against what the origin has meant.
func TestHistory(t *testing.T) { playHistories(t, 0, 300) }

func TestSoakHistory(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	playHistories(t, rand.Uint64(), 20_000)
}

func playHistories(t *testing.T, first, count uint64) {
	t.Helper()
	var served [4]int // from the shelf: fresh, stale, on error, validated
	for seed := first; seed != first+count; seed++ {
		r := rand.New(rand.NewPCG(2, seed))
		w := &world{r: r, policy: anyPolicy(r), version: map[string]int{}, tags: map[string]page{}}
		s := &shelf{policy: w.policy, entries: map[string]*entry{}, names: map[string]string{}, origin: w.answer}
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d: %s\npolicy %+v\n%s", seed, fmt.Sprintf(format, args...), w.policy, strings.Join(w.log, "\n"))
		}
		oldest := map[string]int{} // by URL: the first response since it was changed
		now := int64(0)
		for range 200 {
			now += pick(r, int64(0), 0, 0, 1, 1, 1, 2, 6)
			url := pick(r, "/a", "/b")
			req := w.anyClient()
			method := "GET"
			if r.IntN(20) == 0 {
				method = "POST"
			}
			w.down = r.IntN(6) == 0
			w.log = append(w.log, fmt.Sprintf("%d: %s %s %s", now, method, url, lines(req)))
			before := slices.Clone(w.said)
			a := s.serve(url, method, req, now)
			w.log = append(w.log, fmt.Sprintf("  got %d %q, from the shelf %t, asked %t", a.status, a.body, a.fromShelf, a.asked))
			if method == "POST" && !a.failed {
				oldest[url] = len(w.said)
			}
			got := parsePage(a.body)
			if !a.fromShelf {
				continue
			}

			// What is on the shelf is what this request asks for, of no one else, and not from before a change.
			want := w.wanted(url, req)
			want.serial, want.version, want.credentials = got.serial, got.version, got.credentials
			if got != want {
				fail("%q for what asks for %q", got, want)
			}
			if got.credentials != "-" && got.credentials != string(req.Get("authorization")) {
				fail("what is for %s", got.credentials)
			}
			if got.serial < oldest[url] {
				fail("changed since")
			}
			if a.head.Has("set-cookie") {
				fail("with a cookie")
			}
			x := before[got.serial] // and not what was learnt in the background
			if a.asked && !a.failed {
				served[3]++
				continue // the origin has just said that it holds
			}
			if why := x.mayStore(w.policy); why != "" {
				fail("stored against %s", why)
			}
			u := x.mayUse(w.request, x.currentAge(now, false), w.policy)
			switch {
			case u.fresh:
				served[0]++
			case u.stale:
				served[1]++
			case u.onError && a.failed:
				served[2]++
			default:
				fail("used against RFC 9111 section 4: %+v of %+v", u, x)
			}
		}
	}
	if slices.Min(served[:]) < 100 {
		t.Fatalf("served %v: not enough of each to say anything", served)
	}
}
