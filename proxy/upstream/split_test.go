package upstream

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sluice/proxy"
)

// side is a service that says who it is.
type side string

func (s side) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	x.Service = string(s)
	return nil
}

func ask(t testing.TB, s *Split, edit func(x *proxy.Exchange)) (service, setCookie string) {
	t.Helper()
	x := newExchange("GET", "/", "")
	defer end(x)
	if edit != nil {
		edit(x)
	}
	if err := s.Serve(x, nil); err != nil {
		t.Fatal(err)
	}
	x.EditHead()
	return x.Service, string(x.Response.Head.Get("Set-Cookie"))
}

func TestSplitShares(t *testing.T) {
	const n = 20_000
	f := func(sticky Sticky, weights ...int) {
		t.Helper()
		var shares []Share
		total := 0
		for i, w := range weights {
			shares = append(shares, Share{To: side(fmt.Sprint(i)), Weight: w})
			total += w
		}
		s := NewSplit(shares, sticky)
		got := make(map[string]int)
		for i := range n {
			service, _ := ask(t, s, func(x *proxy.Exchange) { x.Client.Text = fmt.Append(nil, "client ", i) })
			got[service]++
		}
		for i, w := range weights {
			want := n * w / total
			// Seven standard deviations, and more where the shares are uneven: chance exceeds that once in 10^11 times.
			if g := got[fmt.Sprint(i)]; g < want-n/40 || g > want+n/40 || w == 0 && g > 0 {
				t.Fatalf("%+v: share %d of %v got %d of %d", sticky, i, weights, g, n)
			}
		}
	}
	for _, sticky := range []Sticky{{}, {Kind: StickyClient}, {Kind: StickyHeader, Name: "X-Absent"}, {Kind: StickyCookie, Name: "absent"}} {
		f(sticky, 90, 10)
		f(sticky, 1, 0, 1, 2)
		f(sticky, 0, 1)
		f(sticky, 1<<30, 1<<30)
	}
}

// TestSplitSticks keeps a client on its side, and moves as few as possible when the weights shift.
func TestSplitSticks(t *testing.T) {
	f := func(sticky Sticky, set func(x *proxy.Exchange, i int)) {
		t.Helper()
		split := func(a, b int) *Split { return NewSplit([]Share{{side("a"), a}, {side("b"), b}}, sticky) }
		before, same, shifted := split(90, 10), split(90, 10), split(80, 20)
		moved := 0
		for i := range 5000 {
			edit := func(x *proxy.Exchange) { set(x, i) }
			first, cookie := ask(t, before, edit)
			if again, _ := ask(t, same, edit); again != first || cookie != "" {
				t.Fatalf("%d: %s, then %s; cookie %q", i, first, again, cookie)
			}
			switch later, _ := ask(t, shifted, edit); {
			case later == first:
			case first == "a":
				moved++
			default:
				t.Fatalf("%d moved back from %s to %s although b has grown", i, first, later)
			}
		}
		if moved < 350 || moved > 650 {
			t.Fatalf("%d of 5000 moved, want about a tenth", moved)
		}
	}
	f(Sticky{Kind: StickyClient}, func(x *proxy.Exchange, i int) { x.Client.Text = fmt.Append(nil, i) })
	f(Sticky{Kind: StickyHeader, Name: "X-User"}, func(x *proxy.Exchange, i int) { x.Request.Head.AddString("X-User", fmt.Sprint(i)) })
	f(Sticky{Kind: StickyCookie, Name: "session"}, func(x *proxy.Exchange, i int) {
		x.Request.Head.AddString("Cookie", fmt.Sprintf("other=1; session=%d", i))
	})
	f(Sticky{Kind: StickyCookie, Name: "side"}, func(x *proxy.Exchange, i int) {
		x.Request.Head.AddString("Cookie", fmt.Sprintf("side=b%06d", i*(buckets/5000)))
	})
}

// TestSplitCookie sets a cookie that brings its client back to the same side, whatever the side's share becomes.
func TestSplitCookie(t *testing.T) {
	s := NewSplit([]Share{{side("a"), 1}, {side("b"), 1}}, Sticky{Kind: StickyCookie, Name: "side"})
	for i := range 200 {
		scheme := []string{"http", "https"}[i%2]
		service, cookie := ask(t, s, func(x *proxy.Exchange) { x.Request.Scheme = scheme })
		parsed, err := http.ParseSetCookie(cookie)
		if err != nil || parsed.Name != "side" || parsed.Path != "/" || parsed.MaxAge != stickyFor || !parsed.HttpOnly ||
			parsed.Secure != (scheme == "https") || parsed.SameSite != http.SameSiteLaxMode {
			t.Fatalf("%q: %+v %v", cookie, parsed, err)
		}
		again, second := ask(t, s, func(x *proxy.Exchange) { x.Request.Head.AddString("Cookie", "side="+parsed.Value) })
		if again != service || second != "" {
			t.Fatalf("%s came back as %s, cookie %q", service, again, second)
		}
	}
}

func TestParseBucket(t *testing.T) {
	f := func(in string, want uint32, ok bool) {
		t.Helper()
		if got, gotOK := parseBucket([]byte(in)); got != want || gotOK != ok {
			t.Fatalf("%q: got %d %v", in, got, gotOK)
		}
	}
	f("b000000", 0, true)
	f("b000123", 123, true)
	f("b999999", 999_999, true)
	f("", 0, false)
	f("b", 0, false)
	f("b12345", 0, false)
	f("b1234567", 0, false)
	f("a123456", 0, false)
	f("b12345x", 0, false)
	f("b-12345", 0, false)
	f(strings.Repeat("b", 7), 0, false)
}
