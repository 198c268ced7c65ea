package transform

import (
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/proxy/wire"
	"sluice/router"
)

// newExchange returns an exchange as an edge would hand it to the route with this pattern.
func newExchange(t testing.TB, pattern, target string) *proxy.Exchange {
	t.Helper()
	x := proxy.Acquire()
	path, query, hasQuery := strings.Cut(target, "?")
	x.Request.Method = "GET"
	x.Request.Scheme = "http"
	x.Request.Host = []byte("shop.example")
	x.Request.Query, x.Request.HasQuery = []byte(query), hasQuery
	x.Client.Text = []byte("192.0.2.7")
	x.Received.Target = []byte(target)
	x.ID = []byte("id-1")
	var err error
	if x.Request.Path, err = router.NormalizePath(nil, []byte(path)); err != nil {
		t.Fatalf("cannot normalise %q: %s", path, err)
	}
	x.MatchedPath = x.Request.Path
	match(t, x, parsePattern(t, pattern))
	return x
}

func match(t testing.TB, x *proxy.Exchange, p *router.Pattern) {
	t.Helper()
	table, problems := router.New([]router.Route[bool]{{Name: "route", Pattern: *p, Value: true}})
	if table == nil {
		t.Fatalf("cannot build a table of %s: %v", p, problems)
	}
	r := &router.Request{Method: []byte(x.Request.Method), Host: x.Request.Host, Path: x.MatchedPath, Values: x}
	if _, outcome := table.Lookup(r, &x.Match); outcome != router.Found {
		t.Fatalf("%s does not match %s: %s", p, x.MatchedPath, outcome)
	}
}

func parsePattern(t testing.TB, pattern string) *router.Pattern {
	t.Helper()
	p, err := router.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func parseTemplate(t testing.TB, text string, p *router.Pattern) *proxy.Template {
	t.Helper()
	value, err := proxy.ParseTemplate(text, p, false)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// answer is the end of a chain: an origin that returns err and counts how often it was asked.
type answer struct {
	err   error
	asked int
}

func (a *answer) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	a.asked++
	x.Response.Status = 200
	return a.err
}

// serve runs the policy in front of an origin. It returns the policy's error, and fails the test if the origin
// was asked in spite of one or was not asked without one.
func serve(t testing.TB, p proxy.Policy, x *proxy.Exchange) error {
	t.Helper()
	end := new(answer)
	err := proxy.NewChain(proxy.Link{Name: "policy", Policy: p}, proxy.Link{Name: "end", Policy: end}).Serve(x)
	if asked := end.asked == 1; asked != (err == nil) {
		t.Fatalf("the origin was asked %d times, error: %v", end.asked, err)
	}
	return err
}

// fields returns a head as text, "; " between its lines.
func fields(h *wire.Head) string {
	text := strings.TrimSuffix(string(h.AppendTo(nil)), "\r\n")
	return strings.ReplaceAll(text, "\r\n", "; ")
}

// uri returns path and query as they would go to the origin.
func uri(x *proxy.Exchange) string { return string(x.AppendURI(nil)) }
