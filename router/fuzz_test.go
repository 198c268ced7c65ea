package router

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{
		"/", "GET /a/{id}", "GET|POST *.x.example/**", "/{x:a{2}}/b{y}c", "a.test/%7e/é", "/{x:[}]}", "/{a:\\Qx}", "[::1]/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil {
			t.Fatalf("%q: canonical form %q is refused: %v", s, p, err)
		}
		if again.String() != p.String() || again.Path != p.Path || again.Host != p.Host || !slices.Equal(again.Methods, p.Methods) {
			t.Fatalf("%q: %q reads as %q", s, p, again)
		}
		for i, name := range p.Params() {
			if index, ok := p.Param(name); !ok || index != i {
				t.Fatalf("%q: parameter %q is %d, %v", s, name, index, ok)
			}
		}
		if table, problems := New([]Route[int]{{Pattern: p}}); table == nil {
			t.Fatalf("%q: New refuses it: %+v", s, problems)
		}
	})
}

// FuzzLookup compares tables with a matcher that tries every route and picks the most
// specific one, as doc.go defines it. The bytes choose the routes and the requests.
func FuzzLookup(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		choices := make([]byte, 100+random.IntN(900))
		for i := range choices {
			choices[i] = byte(random.Uint32())
		}
		f.Add(choices)
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		c := &choices{bytes: bytes}
		var routes []Route[int]
		for i := range 2 + c.pick(30) {
			routes = append(routes, Route[int]{Name: fmt.Sprint(i), Pattern: c.pattern(), Value: i})
		}
		table, problems := New(routes)
		for table == nil {
			// Leave out what conflicts; what stays must be decided.
			for _, p := range problems {
				if p.Kind != Conflict {
					t.Fatalf("unexpected problem %+v", p)
				}
			}
			routes = slices.Delete(routes, problems[0].Index, problems[0].Index+1)
			table, problems = New(routes)
		}
		shadowed := map[int]bool{}
		for _, p := range problems {
			shadowed[p.Index] = true
		}
		shuffled := slices.Clone(routes)
		slices.Reverse(shuffled)
		reversed, _ := New(shuffled)
		for range 20 {
			r := c.request(routes)
			compareWithNaive(t, table, routes, r, shadowed)
			one, a := table.Lookup(r, &Match{})
			other, b := reversed.Lookup(r, &Match{})
			if one != other || a != b {
				t.Fatalf("%s: %d (%v), but %d (%v) in the other order", r.Path, one, a, other, b)
			}
		}
	})
}

func compareWithNaive(t *testing.T, table *Table[int], routes []Route[int], r *Request, shadowed map[int]bool) {
	t.Helper()
	describe := func() string {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s%s with %v\n", r.Method, r.Host, r.Path, r.Values.(*testValues).values)
		for i, route := range routes {
			fmt.Fprintf(&b, "%d: %s\n", i, route.Pattern)
		}
		return b.String()
	}
	want, outcome := naiveLookup(t, routes, r, describe)
	var m Match
	value, got := table.Lookup(r, &m)
	if got != outcome || m.Index != want {
		t.Fatalf("got %d (%v), want %d (%v)\n%s", m.Index, got, want, outcome, describe())
	}
	if got == Found {
		if value != routes[want].Value {
			t.Fatalf("value %d of route %d\n%s", value, want, describe())
		}
		if shadowed[want] {
			t.Fatalf("route %d was called shadowed\n%s", want, describe())
		}
		captures, _ := naivePath(routes[want].Pattern.Path, string(r.Path))
		for i, capture := range captures {
			if got := string(m.Value(r.Path, i)); got != capture {
				t.Fatalf("capture %d is %q, want %q\n%s", i, got, capture, describe())
			}
		}
		if m.Value(r.Path, len(captures)) != nil {
			t.Fatalf("more than %d captures\n%s", len(captures), describe())
		}
	}
	if got, want := string(table.AppendAllow(nil, r)), naiveAllow(routes, r); got != want {
		t.Fatalf("Allow is %q, want %q\n%s", got, want, describe())
	}
	taken := -1
	for _, c := range table.Explain(r) {
		if c.Taken {
			taken = c.Index
		}
	}
	if taken != want {
		t.Fatalf("Explain takes %d, want %d\n%s", taken, want, describe())
	}
}

// naiveLookup returns the index of the most specific route that matches. It fails the
// test if that is not decided: New should have reported a Conflict.
func naiveLookup(t *testing.T, routes []Route[int], r *Request, describe func() string) (int, Outcome) {
	t.Helper()
	best, exists := -1, false
	for i, route := range routes {
		if !naiveMatchesButMethod(route.Pattern, r) {
			continue
		}
		exists = true
		if !naiveMethod(route.Pattern, string(r.Method)) {
			continue
		}
		if best < 0 {
			best = i
			continue
		}
		switch order := naiveCompare(route.Pattern, routes[best].Pattern, string(r.Method)); {
		case order == 0:
			t.Fatalf("routes %d and %d tie\n%s", best, i, describe())
		case order > 0:
			best = i
		}
	}
	switch {
	case best >= 0:
		return best, Found
	case !exists:
		return -1, NotFound
	case string(r.Method) == "OPTIONS":
		return -1, Options
	}
	return -1, MethodNotAllowed
}

func naiveAllow(routes []Route[int], r *Request) string {
	set := map[string]bool{"OPTIONS": true}
	for _, route := range routes {
		if !naiveMatchesButMethod(route.Pattern, r) {
			continue
		}
		for _, m := range slices.Concat(usualMethods, naiveMethods) {
			if naiveMethod(route.Pattern, m) && (slices.Contains(usualMethods, m) || naiveNames(routes, m)) {
				set[m] = true
			}
		}
	}
	var out []string
	for m := range set {
		out = append(out, m)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func naiveNames(routes []Route[int], method string) bool {
	return slices.ContainsFunc(routes, func(r Route[int]) bool { return slices.Contains(r.Pattern.Methods, method) })
}

func naiveMethod(p Pattern, method string) bool {
	return len(p.Methods) == 0 || slices.Contains(p.Methods, method) ||
		method == "HEAD" && slices.Contains(p.Methods, "GET")
}

func naiveMatchesButMethod(p Pattern, r *Request) bool {
	if suffix, wild := strings.CutPrefix(p.Host, "*"); wild {
		if len(r.Host) <= len(suffix) || !strings.HasSuffix(string(r.Host), suffix) {
			return false
		}
	} else if p.Host != "" && p.Host != string(r.Host) {
		return false
	}
	if _, ok := naivePath(p.Path, string(r.Path)); !ok {
		return false
	}
	values := r.Values.(*testValues).values
	for from, list := range map[string][]Predicate{"header": p.Headers, "query": p.Query, "cookie": p.Cookies, "json": p.JSON} {
		for _, predicate := range list {
			value, ok := values[from+" "+predicate.Name]
			holds := false
			switch predicate.Op {
			case OpEquals:
				holds = ok && value == predicate.Value
			case OpPresent:
				holds = ok
			case OpAbsent:
				holds = !ok
			case OpPrefix:
				holds = ok && strings.HasPrefix(value, predicate.Value)
			case OpRegex:
				holds = ok && regexp.MustCompile(predicate.Value).MatchString(value)
			}
			if !holds {
				return false
			}
		}
	}
	return true
}

var naiveParameter = regexp.MustCompile(`^([^{]*)\{([^:}]*):?(.*)\}([^}]*)$`)

// naivePath matches by splitting; its patterns have no slash in a regex.
func naivePath(pattern, path string) (captures []string, ok bool) {
	want, have := strings.Split(pattern, "/")[1:], strings.Split(path, "/")[1:]
	for i, w := range want {
		if w == "**" {
			return append(captures, strings.Join(have[min(i, len(have)):], "/")), true
		}
		if i >= len(have) {
			return nil, false
		}
		parts := naiveParameter.FindStringSubmatch(w)
		if parts == nil {
			if w != have[i] {
				return nil, false
			}
			continue
		}
		value, hasPrefix := strings.CutPrefix(have[i], parts[1])
		value, hasSuffix := strings.CutSuffix(value, parts[4])
		if !hasPrefix || !hasSuffix || value == "" {
			return nil, false
		}
		if parts[3] != "" && !regexp.MustCompile(`\A(?:`+parts[3]+`)\z`).MatchString(value) {
			return nil, false
		}
		captures = append(captures, value)
	}
	return captures, len(want) == len(have)
}

// naiveCompare is positive if p is more specific than q; both match the same request.
func naiveCompare(p, q Pattern, method string) int {
	if c := cmp.Compare(naiveHostRank(p.Host), naiveHostRank(q.Host)); c != 0 {
		return c
	}
	ps, qs := strings.Split(p.Path, "/")[1:], strings.Split(q.Path, "/")[1:]
	for i := range max(len(ps), len(qs)) {
		// A path that ends is more specific than "**" in its place.
		a, b := [4]int{4}, [4]int{4}
		x, y := "", ""
		if i < len(ps) {
			a, x = naiveSegmentRank(ps[i])
		}
		if i < len(qs) {
			b, y = naiveSegmentRank(qs[i])
		}
		if c := slices.Compare(a[:], b[:]); c != 0 {
			return c
		}
		if x != y {
			return 0 // two regexes
		}
	}
	count := func(p Pattern) int {
		return min(1, len(p.Methods)) + len(p.Headers) + len(p.Query) + len(p.Cookies) + len(p.JSON)
	}
	if c := cmp.Compare(count(p), count(q)); c != 0 || method != "HEAD" {
		return c
	}
	explicit := func(p Pattern) int {
		if len(p.Methods) == 0 || slices.Contains(p.Methods, "HEAD") {
			return 1
		}
		return 0
	}
	return explicit(p) - explicit(q)
}

func naiveHostRank(host string) int {
	switch {
	case host == "":
		return 0
	case host[0] == '*':
		return len(host)
	}
	return 1000
}

// naiveSegmentRank returns kind, length of prefix, length of suffix and whether there
// is a regex, and the regex.
func naiveSegmentRank(s string) ([4]int, string) {
	if s == "**" {
		return [4]int{0}, ""
	}
	parts := naiveParameter.FindStringSubmatch(s)
	if parts == nil {
		return [4]int{4}, ""
	}
	return [4]int{1, len(parts[1]), len(parts[4]), min(1, len(parts[3]))}, parts[3]
}

// choices turns fuzz bytes into routes and requests over a small vocabulary, so that
// much of it overlaps. When the bytes are used up it always chooses the first.
type choices struct{ bytes []byte }

func (c *choices) pick(n int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	b := c.bytes[0]
	c.bytes = c.bytes[1:]
	return int(b) % n
}

func (c *choices) of(words ...string) string { return words[c.pick(len(words))] }

var naiveMethods = []string{"GET", "HEAD", "POST", "OPTIONS", "PURGE"}

func (c *choices) pattern() Pattern {
	p := Pattern{Host: c.of("", "", "", "", "", "", "a.test", "*.test", "*.b.test", "x.b.test")}
	for range c.pick(3) {
		p.Methods = append(p.Methods, naiveMethods[c.pick(len(naiveMethods))])
	}
	slices.Sort(p.Methods)
	p.Methods = slices.Compact(p.Methods)
	for i := range []int{1, 1, 1, 2, 2, 0, 3}[c.pick(7)] {
		segment := c.of("a", "a", "b", "ab", "", "{p}", "{p}", "{p:[ab]+}", "{p:[bc]}", "{p:.+}", "a{p}", "ab{p}",
			"{p}b", "{p}cb", "a{p}b", "a{p:b+}", "{p:c*}b", "1")
		p.Path += "/" + strings.Replace(segment, "{p", fmt.Sprintf("{p%d", i), 1)
	}
	p.Path += c.of("/**", "", "", "/")
	if p.Path == "" {
		p.Path = "/"
	}
	c.addPredicate(&p.Headers, "X")
	c.addPredicate(&p.Headers, "Y")
	c.addPredicate(&p.Query, "q")
	c.addPredicate(&p.JSON, "j.k")
	return p
}

func (c *choices) addPredicate(list *[]Predicate, name string) {
	p := Predicate{Name: name}
	switch c.pick(14) {
	case 1:
		p.Value = c.of("1", "12", "2")
	case 2:
		p.Op = OpPresent
	case 3:
		p.Op = OpAbsent
	case 4:
		p.Op, p.Value = OpPrefix, c.of("1", "12", "2")
	case 5:
		p.Op, p.Value = OpRegex, c.of("^1", "2$", "^[12]$")
	default:
		return
	}
	*list = append(*list, p)
}

// request returns a request that often matches one of the routes, or nearly does.
func (c *choices) request(routes []Route[int]) *Request {
	p := routes[c.pick(len(routes))].Pattern
	host := strings.Replace(p.Host, "*", c.of("x", "y.x"), 1)
	if c.pick(4) == 1 {
		host = c.of("", "a.test", "x.b.test", "y.b.test", "b.test", "z.y.b.test", ".test")
	}
	path := ""
	for segment := range strings.SplitSeq(p.Path[1:], "/") {
		parts := naiveParameter.FindStringSubmatch(segment)
		switch {
		case segment == "**":
			segment = c.of("a", "", "a/b", "ab/c/")
		case parts != nil:
			segment = parts[1] + c.of("a", "b", "c", "ab", "cc", "bb", "1", "") + parts[4]
		case c.pick(8) == 1:
			segment = c.of("a", "b", "ab", "", "abb", "acb")
		}
		path += "/" + segment
	}
	path += c.of("", "", "", "/", "/a")
	values := map[string]string{}
	for from, list := range map[string][]Predicate{"header ": p.Headers, "query ": p.Query, "json ": p.JSON} {
		for _, predicate := range list {
			values[from+predicate.Name] = predicate.Value
		}
	}
	for _, name := range []string{"header X", "header Y", "query q", "json j.k"} {
		switch v := c.of("keep", "keep", "absent", "", "1", "2", "12", "21"); v {
		case "keep":
		case "absent":
			delete(values, name)
		default:
			values[name] = v
		}
	}
	return &Request{
		Method: []byte(c.of("GET", "HEAD", "HEAD", "POST", "OPTIONS", "PURGE", "BREW")),
		Host:   []byte(host),
		Path:   []byte(path),
		Values: &testValues{values: values},
	}
}
