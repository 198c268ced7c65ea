package respond

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/router"
)

// newExchange returns an exchange as an edge would hand it to the route with this pattern.
func newExchange(t testing.TB, pattern, method, target string) *proxy.Exchange {
	t.Helper()
	x := proxy.Acquire()
	path, query, hasQuery := strings.Cut(target, "?")
	x.Request.Method = method
	x.Request.Scheme = "http"
	x.Request.Host = []byte("shop.example")
	x.Request.Query, x.Request.HasQuery = []byte(query), hasQuery
	x.Received.Target, x.Received.Origin = []byte(target), []byte(target)
	x.ID = []byte("id-1")
	var err error
	if x.Request.Path, err = router.NormalizePath(nil, []byte(path)); err != nil {
		t.Fatalf("cannot normalise %q: %s", path, err)
	}
	x.MatchedPath = x.Request.Path
	p := parsePattern(t, pattern)
	table, problems := router.New([]router.Route[bool]{{Name: "route", Pattern: *p, Value: true}})
	if table == nil {
		t.Fatalf("cannot build a table of %s: %v", p, problems)
	}
	r := &router.Request{Method: []byte(method), Host: x.Request.Host, Path: x.MatchedPath, Values: x}
	if _, outcome := table.Lookup(r, &x.Match); outcome != router.Found {
		t.Fatalf("%s does not match %s: %s", p, x.MatchedPath, outcome)
	}
	return x
}

func parsePattern(t testing.TB, pattern string) *router.Pattern {
	t.Helper()
	p, err := router.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func parseTemplate(t testing.TB, text, pattern string) *proxy.Template {
	t.Helper()
	value, err := proxy.ParseTemplate(text, parsePattern(t, pattern), false)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// serve runs the policy with an origin behind it that must not be asked.
func serve(t testing.TB, p proxy.Policy, x *proxy.Exchange) error {
	t.Helper()
	return proxy.NewChain(proxy.Link{Name: "policy", Policy: p}, proxy.Link{Name: "origin", Policy: unasked{t}}).Serve(x)
}

type unasked struct{ t testing.TB }

func (u unasked) Serve(*proxy.Exchange, *proxy.Chain) error {
	u.t.Error("a terminal policy handed on")
	return nil
}

// answer returns the response as text: status, head in one line, size and body. The size is "-" if none is announced.
func answer(x *proxy.Exchange) string {
	r := &x.Response
	head := strings.ReplaceAll(strings.TrimSuffix(string(r.Head.AppendTo(nil)), "\r\n"), "\r\n", "; ")
	size := fmt.Sprint(r.Body.Size())
	if r.Body.Size() < 0 {
		size = "-"
	}
	if r.Body.Absent() {
		size += " absent"
	}
	return fmt.Sprintf("%d [%s] %s %q", r.Status, head, size, r.Body.Prefix())
}

// fuzzTable has the route of FuzzRedirect.
var fuzzTable = func() *router.Table[bool] {
	p, err := router.ParsePattern("/go/{x}/**")
	if err != nil {
		panic(err)
	}
	table, _ := router.New([]router.Route[bool]{{Name: "route", Pattern: p, Value: true}})
	return table
}()

// matchForFuzz fills x with a request for path whose query is "q=" and the escaped q. It returns false for a path
// that no edge lets pass, or no route takes.
func matchForFuzz(x *proxy.Exchange, path, q string) bool {
	normal, err := router.NormalizePath(nil, []byte(path))
	if err != nil {
		return false
	}
	x.Request.Method, x.Request.Scheme, x.Request.Host = "GET", "http", []byte("here.example")
	x.Request.Path, x.MatchedPath = normal, normal
	x.Request.Query, x.Request.HasQuery = []byte("q="+url.QueryEscape(q)), true
	_, outcome := fuzzTable.Lookup(&router.Request{Method: []byte("GET"), Host: x.Request.Host, Path: normal, Values: x}, &x.Match)
	return outcome == router.Found
}
