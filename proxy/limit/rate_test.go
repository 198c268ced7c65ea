package limit

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

const second = int64(time.Second)

var one = big.NewRat(1, 1)

// ask sends a request past the guard and returns the fields that it leaves in an answer with this status.
func ask(g *Rate, x *proxy.Exchange, status int, lines ...[2]string) (bool, string) {
	err := g.Check(x)
	if err != nil {
		x.Err = proxy.AsError(err)
		status = x.Err.Status
	}
	x.Response.Status = status
	for _, l := range lines {
		x.Response.Head.AddString(l[0], l[1])
	}
	x.EditHead()
	var fields []string
	for name, value := range x.Response.Head.All() {
		fields = append(fields, string(name)+": "+string(value))
	}
	x.Release()
	return err == nil, strings.Join(fields, "\n")
}

func TestCheck(t *testing.T) {
	g := mustGuard(t, mustRates(t, options(window(20, time.Second, 40, byIP()), window(2, time.Hour, 3, Key{{Source: "header", Name: "X-A"}}))), 1)
	const policy = "RateLimit-Policy: \"fair-1\";q=40;w=2, \"fair-2\";q=3;w=5400\n"
	// f asks at a time in milliseconds, from an address, with a value.
	f := func(at int64, from, value string, ok bool, want string) {
		t.Helper()
		got, fields := ask(g, request(start+at*int64(time.Millisecond), from, [2]string{"X-A", value}), 200)
		if got != ok || fields != want {
			t.Errorf("let in: %v\n%s\nwant %v\n%s", got, fields, ok, want)
		}
	}
	f(0, "192.0.2.1", "a", true, policy+`RateLimit: "fair-1";r=39;t=1, "fair-2";r=2;t=1800`)
	f(0, "192.0.2.1", "a", true, policy+`RateLimit: "fair-1";r=38;t=1, "fair-2";r=1;t=3600`)
	f(0, "192.0.2.1", "a", true, policy+`RateLimit: "fair-1";r=37;t=1, "fair-2";r=0;t=5400`)
	// A refusal takes nothing, from neither: not from the first, which would have let it in.
	for range 3 {
		f(0, "192.0.2.1", "a", false, "Retry-After: 1800\n"+policy+`RateLimit: "fair-1";r=37;t=1, "fair-2";r=0;t=5400`)
	}
	f(0, "192.0.2.1", "b", true, policy+`RateLimit: "fair-1";r=36;t=1, "fair-2";r=2;t=1800`)
	// Time brings tokens, up to a full bucket.
	f(1799_999, "192.0.2.1", "a", false, "Retry-After: 1\n"+policy+`RateLimit: "fair-1";r=40;t=0, "fair-2";r=0;t=3601`)
	f(1800_000, "192.0.2.1", "a", true, policy+`RateLimit: "fair-1";r=39;t=1, "fair-2";r=0;t=5400`)
	f(100*3600_000, "192.0.2.1", "a", true, policy+`RateLimit: "fair-1";r=39;t=1, "fair-2";r=2;t=1800`)
	if o := g.options; o.Allowed.(*counter).Load() != 6 || o.Refused.(*counter).Load() != 4 {
		t.Errorf("%d allowed and %d refused are counted", o.Allowed.(*counter).Load(), o.Refused.(*counter).Load())
	}
}

// TestCheckForms is about what else the options say.
func TestCheckForms(t *testing.T) {
	f := func(edit func(o *Options), cost int, asks ...string) {
		t.Helper()
		o := options(window(10, time.Second, 10, nil))
		edit(&o)
		g := mustGuard(t, mustRates(t, o), cost)
		for i, want := range asks {
			ok, fields := ask(g, request(start, ""), 200)
			if got := fmt.Sprintf("%v %s", ok, fields); strings.TrimSpace(got) != want {
				t.Errorf("request %d: got %q, want %q", i, got, want)
			}
		}
	}
	const policy = "RateLimit-Policy: \"fair\";q=10;w=1\n"
	f(func(o *Options) {}, 4, "true "+policy+`RateLimit: "fair";r=6;t=1`, "true "+policy+`RateLimit: "fair";r=2;t=1`, "false Retry-After: 1\n"+policy+`RateLimit: "fair";r=2;t=1`)
	f(func(o *Options) { o.Fields = false }, 6, "true", "false Retry-After: 1")
	// In report mode the guard still says no, and package proxy lets the request pass: its answer says nothing.
	f(func(o *Options) { o.Report = true }, 6, "true", "false")
}

func TestCost(t *testing.T) {
	o := options(window(100, time.Second, 100, nil))
	o.Cost = Cost{Request: 2, Header: "X-Cost", Status: []StatusCost{{404, 404, 20}, {400, 499, 10}, {500, 599, 0}}}
	g := mustGuard(t, mustRates(t, o), 2)
	left := 100
	f := func(status int, field string, cost int) {
		t.Helper()
		left -= cost
		var lines [][2]string
		if field != "" {
			lines = append(lines, [2]string{"x-cost", field})
		}
		_, fields := ask(g, request(start, ""), status, lines...)
		if want := fmt.Sprintf("r=%d;", left); !strings.Contains(fields, want) {
			t.Errorf("status %d, field %q: got %q, want %q", status, field, fields, want)
		}
	}
	f(200, "", 2)
	f(404, "", 20)
	f(401, "", 10)
	f(503, "", 0)
	f(503, "7", 7)
	f(200, "0", 0)
	f(200, "1", 1)
	f(200, "-1", 2)
	f(200, "1.5", 2)
	f(200, "9999999999", 2)
	f(200, "", 2)

	// An answer that comes ten seconds later costs what it costs then: nothing of it has come back in between.
	x := request(start+second, "")
	x.HeadAt = start + 11*second
	if _, fields := ask(g, x, 404); !strings.Contains(fields, "r=82;") {
		t.Errorf("got %q, want a full bucket without the 18 that the answer costs beyond the request", fields)
	}
}

// TestRefusedTakesNothing compares a policy of several windows with a model of each: what one refuses, the others never see.
func TestRefusedTakesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var windows []Window
		for range 1 + random.IntN(4) {
			windows = append(windows, window(1+random.IntN(20), time.Duration(1+random.IntN(3000))*time.Millisecond, 1+random.IntN(20), Key{{Source: "header", Name: "X-A"}}))
		}
		r := mustRates(t, options(windows...))
		g := mustGuard(t, r, 1)
		models := map[string][]*model{}
		now := start
		for range 500 {
			now += random.Int64N(second / 5)
			value := fmt.Sprint(random.IntN(3))
			if models[value] == nil {
				for _, w := range r.options.Windows {
					models[value] = append(models[value], newModel(w.Burst, w.interval))
				}
			}
			want := true
			for _, m := range models[value] {
				m.gain(now)
				want = want && m.level.Cmp(one) >= 0
			}
			for _, m := range models[value] {
				if want && !m.take(1, now) {
					t.Fatal("BUG of the test")
				}
			}
			if got, _ := ask(g, request(now, "", [2]string{"X-A", value}), 200); got != want {
				t.Fatalf("%+v: let in %v, want %v", windows, got, want)
			}
		}
	}
}

// TestCheckTogether: with several windows and many goroutines none is exceeded, and what is taken and given back in a race
// leaves each of them as if it had never been.
func TestCheckTogether(t *testing.T) {
	o := options(window(1000, time.Second, 50, nil), window(10, time.Second, 200, byIP()), window(10, time.Hour, 300, Key{{Source: "host"}}))
	g := mustGuard(t, mustRates(t, o), 1)
	var clock, admitted atomic.Int64
	clock.Store(start)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 3000 {
				x := request(clock.Add(20_000), "192.0.2.1")
				if g.Check(x) == nil {
					admitted.Add(1)
				}
				x.EditHead()
				x.Release()
			}
		})
	}
	all.Wait()
	passed := clock.Load() - start
	for i, w := range g.options.Windows {
		if most := int64(w.Burst) + passed/w.interval; admitted.Load() > most {
			t.Errorf("%q: %d admitted, at most %d could be", w.Text, admitted.Load(), most)
		}
		// What is left is what was there, less what was let in. The bucket by host fills so slowly that nothing has come.
		if i == 2 {
			if left := w.tokens(g.tokens[i].Look(g.keys[i].hash(request(start, "192.0.2.1"), &g.table.seed), 0, clock.Load()).Full); int64(left) != int64(w.Burst)-admitted.Load() {
				t.Errorf("%d left of %d, and %d were let in", left, w.Burst, admitted.Load())
			}
		}
	}
}

// TestClock: a request that took its time to arrive is judged by the time at which it is judged.
func TestClock(t *testing.T) {
	x := request(start, "")
	if clock(x) != start {
		t.Error("a request that nobody waited for came when it began")
	}
	x.Waited = true
	if now := clock(x); now > wire.Now() || now < wire.Now()-60*second {
		t.Error("a request that was waited for came now")
	}
}

func TestRates_bad(t *testing.T) {
	f := func(want string, edit func(o *Options)) {
		t.Helper()
		o := options(window(1, time.Second, 1, nil))
		edit(&o)
		r, err := NewRates(o)
		if err == nil {
			_, err = r.Guard(route(t, "/a"), 2)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("between 1 and 8 rates", func(o *Options) { o.Windows = nil })
	f("at least 1", func(o *Options) { o.Cost.Request = 0 })
	f("not above 0", func(o *Options) { o.Windows[0].Count = 0 })
	f("not above 0", func(o *Options) { o.Windows[0].Burst = -1 })
	f("not above 0", func(o *Options) { o.Windows[0].Per = 0 })
	f("faster than 1,000,000", func(o *Options) { o.Windows[0].Count = 1_002_000 })
	f("10 years", func(o *Options) { o.Windows[0].Per, o.Windows[0].Burst = 365*24*time.Hour, 11 })
	f("a request costs 2", func(o *Options) {})
	f("no parameter", func(o *Options) { o.Windows[0].By, o.Windows[0].Burst = Key{{Source: "path", Name: "x"}}, 2 })
}

func TestStatus(t *testing.T) {
	r := mustRates(t, options(window(1, time.Hour, 1, Key{{Source: "header", Name: "X-Api-Key"}}), window(5, time.Second, 5, byIP())))
	g := mustGuard(t, r, 1)
	now := wire.Now()
	for range 4 {
		ask(g, request(now, "192.0.2.1", [2]string{"X-Api-Key", "hunter2"}), 200)
	}
	s := r.Status()
	if len(s.Keys) == 0 || s.Keys[0].Key != "header X-Api-Key=sha256:f52fbd32b2b3b86f" || s.Keys[0].Refused != 3 || s.Keys[0].Left != 0 || s.Live < 1 {
		t.Fatalf("got %+v", s)
	}
	if strings.Contains(fmt.Sprintf("%+v", s), "hunter2") {
		t.Error("a secret is shown")
	}
	again := func(want bool) {
		t.Helper()
		if ok, _ := ask(g, request(now, "192.0.2.9", [2]string{"X-Api-Key", "hunter2"}), 200); ok != want {
			t.Errorf("let in: %v, want %v", ok, want)
		}
	}
	again(false)
	if err := r.Reset(s.Keys[0].ID); err != nil {
		t.Fatal(err)
	}
	again(true)
	again(false)
	if err := r.ResetValues("hunter2"); err != nil {
		t.Fatal(err)
	}
	again(true)

	bad := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, id := range []string{"", "0", "0-", "9-c62007f62ccb36ee", "-1-c62007f62ccb36ee", "0-x", "0-1", "a-2"} {
		bad("is no id", r.Reset(id))
	}
	bad("no such key", r.Reset("0-c62007f62ccb36ee"))
	bad("no such key", r.ResetValues("192.0.2.200"))
	bad("2 values", r.ResetValues("a", "b"))
}

// TestHeavy: those who are refused most are in the list whatever the crowd, and it stays as short as it is.
func TestHeavy(t *testing.T) {
	r := mustRates(t, options(window(1, time.Hour, 1, byIP())))
	g := mustGuard(t, r, 1)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60_000 {
		from := fmt.Sprintf("10.%d.%d.%d", random.IntN(256), random.IntN(256), random.IntN(256))
		if i%10 == 0 {
			from = "192.0.2.1"
		}
		x := request(start, from)
		_ = g.Check(x)
		x.Release()
	}
	s := r.Status()
	if len(s.Keys) > heavyMax || len(s.Keys) == 0 || s.Keys[0].Key != "192.0.2.1" {
		t.Fatalf("%d keys, the first of them %+v", len(s.Keys), s.Keys[0])
	}
	if n := s.Keys[0].Refused; n < 5000 || n > 6000*newcomers/10 {
		t.Errorf("%d refused, want about 6000", n)
	}
	// A minute later all of it counts half.
	x := request(start+2*heavyHalfLife, "192.0.2.1")
	before := s.Keys[0].Requests
	_ = g.Check(x)
	_ = g.Check(x)
	if after := r.Status().Keys[0].Requests; after > before/2+sampleEvery+2 {
		t.Errorf("%d requests, and %d a minute later", before, after)
	}
}

func TestExplain(t *testing.T) {
	r := mustRates(t, options(window(5, time.Second, 5, byIP()), window(9, time.Hour, 9, nil)))
	got := mustGuard(t, r, 2).Explain(request(start, "192.0.2.1"))
	want := []string{"5/1s burst 5, of which it takes 2, counted as 192.0.2.1", "9/1h0m0s burst 9, of which it takes 2, counted with all others"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCostOfSize: the body of a response costs by what of it went to the client, begun units included, unless its status or field has
// said what all of it costs.
func TestCostOfSize(t *testing.T) {
	o := options(window(1000, 1000*time.Hour, 1000, nil)) // nothing comes back while the process of the tests grows old
	o.Cost = Cost{Request: 1, Header: "X-Cost", Status: []StatusCost{{500, 599, 0}}, Unit: 100}
	g := mustGuard(t, mustRates(t, o), 1)
	left := 1000
	f := func(status, body, read, sent int, field string, cost int) {
		t.Helper()
		x := request(start, "")
		if err := g.Check(x); err != nil {
			t.Fatal(err)
		}
		x.Response.Status = status
		if field != "" {
			x.Response.Head.AddString("X-Cost", field)
		}
		x.Response.Body.SetWhole(make([]byte, body))
		x.EditHead()
		if n, err := x.Response.Body.Read(make([]byte, read)); n != min(body, read) {
			t.Fatal(n, err)
		}
		x.BytesOut = int64(sent)
		x.Finish()
		x.Release()
		left -= cost
		full := g.tokens[0].Look(clean(g.keys[0].hash(request(start, ""), &g.table.seed)), 0, start).Full
		if got := g.options.Windows[0].tokens(full); got != left {
			t.Errorf("status %d, body of %d, of which %d was read and %d sent: %d are left, want %d", status, body, read, sent, got, left)
			left = got
		}
	}
	f(200, 0, 0, 150, "", 1)
	f(200, 1, 1, 150, "", 2)
	f(200, 100, 100, 250, "", 2)
	f(200, 101, 101, 251, "", 3)
	f(200, 1000, 0, 150, "", 1)     // an answer to HEAD
	f(200, 1000, 500, 650, "", 6)   // the origin broke off
	f(200, 1000, 1000, 300, "", 4)  // the client has left
	f(503, 1000, 1000, 1150, "", 0) // its status says it all
	f(200, 1000, 1000, 1150, "7", 7)
	f(503, 1000, 1000, 1150, "5", 5)
	f(200, 1000, 1000, 1150, "many", 11)
}
