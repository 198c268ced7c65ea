package limit

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/limit/ledger"
	"sluice/proxy/wire"
)

// byConsumer is what quotas count by.
func byConsumer() Key { return Key{{Source: "consumer"}} }

// newQuotas makes a policy with these plans, each of which has amounts for a day and, if there are two, for a month. Its ledger is open.
func newQuotas(t testing.TB, change func(o *QuotaOptions), plans map[string][]int64) *Quotas {
	t.Helper()
	book := ledger.New(filepath.Join(t.TempDir(), "quotas"))
	o := QuotaOptions{
		Name: "plan", Ledger: book, PlanClaim: "plan", Fields: true, Cost: Cost{Request: 1},
		Allowed: new(counter), Refused: new(counter), Closed: new(counter),
	}
	for _, u := range []ledger.Unit{ledger.Day, ledger.Month} {
		o.Meters = append(o.Meters, QuotaMeter{book.Meter("a "+u.String(), ledger.Calendar{Unit: u, Zone: time.UTC}, 100), byConsumer()})
	}
	for _, name := range []string{"default", "gold"} {
		p := Plan{Name: name}
		for i, most := range plans[name] {
			p.Limits = append(p.Limits, PlanLimit{ledger.Limit{Text: name + " " + o.Meters[i].Meter.Calendar().Unit.String(), Most: most, Batch: min(most, 10)}, i})
		}
		if len(p.Limits) > 0 {
			o.Plans = append(o.Plans, p)
		}
	}
	if change != nil {
		change(&o)
	}
	q, err := NewQuotas(o)
	if err != nil {
		t.Fatal(err)
	}
	book.Start()
	t.Cleanup(book.Stop)
	<-o.Meters[0].Meter.Ready()
	<-o.Meters[1].Meter.Ready()
	return q
}

func mustQuota(t testing.TB, q *Quotas, cost int) *Quota {
	t.Helper()
	g, err := q.Guard(cost)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// identified is a request of a consumer with a plan.
func identified(name, plan string) *proxy.Exchange {
	x := request(wire.Now(), "192.0.2.1")
	x.Identity = proxy.NewIdentity("api_key", "partners", name, []proxy.Claim{{Path: "plan", Value: []byte(plan)}})
	return x
}

// askQuota sends a request past the guard, waiting while the file is not there yet, and returns the field RateLimit without times.
func askQuota(t testing.TB, g *Quota, name, plan string, status int, lines ...[2]string) (error, string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		x := identified(name, plan)
		err := g.Check(x)
		if err == ErrQuotaUnavailable && time.Now().Before(deadline) {
			x.Release()
			continue
		}
		x.Response.Status = status
		if err != nil {
			x.Err = proxy.AsError(err)
			x.Response.Status = x.Err.Status
		}
		for _, l := range lines {
			x.Response.Head.AddString(l[0], l[1])
		}
		x.EditHead()
		var left []string
		for item := range strings.SplitSeq(string(x.Response.Head.Get("RateLimit")), ", ") {
			item, _, _ = strings.Cut(item, ";t=")
			left = append(left, item)
		}
		x.Finish()
		x.Release()
		return err, strings.Join(left, ", ")
	}
}

// Most tests of quotas are in a bubble: however long the disk takes no time passes there meanwhile, so that no request has waited too long
// for it, and no day ends.

func TestQuota(t *testing.T) { synctest.Test(t, testQuota) }

func testQuota(t *testing.T) {
	q := newQuotas(t, nil, map[string][]int64{"default": {3}, "gold": {5, 8}})
	g := mustQuota(t, q, 1)
	f := func(name, plan string, want error, left string) {
		t.Helper()
		if err, got := askQuota(t, g, name, plan, 200); err != want || got != left {
			t.Errorf("%s, %s: got %v and %q, want %v and %q", name, plan, err, got, want, left)
		}
	}
	f("acme", "gold", nil, `"plan-1";r=4, "plan-2";r=7`)
	f("zeta", "", nil, `"plan";r=2`)
	f("zeta", "silver", nil, `"plan";r=1`)
	f("zeta", "", nil, `"plan";r=0`)
	f("zeta", "", ErrQuotaExceeded, `"plan";r=0`)
	f("zeta", "gold", nil, `"plan-1";r=1, "plan-2";r=7`) // a better plan, with what was used
	for range 4 {
		_, _ = askQuota(t, g, "acme", "gold", 200)
	}
	// What one quota refuses is not taken from the other.
	for range 3 {
		f("acme", "gold", ErrQuotaExceeded, `"plan-1";r=0, "plan-2";r=3`)
	}
	if err := q.ResetValues("partners acme by api_key"); err != nil {
		t.Fatal(err)
	}
	f("acme", "gold", nil, `"plan-1";r=4, "plan-2";r=7`)

	s := q.Status()
	if len(s.Keys) != 4 || s.Live != 4 || s.Kind != "quota" || strings.Join(s.Limits, ",") != "default: default day,gold: gold day,gold: gold month" {
		t.Fatalf("got %+v", s)
	}
	zeta := s.Keys[0]
	if zeta.Key != "partners zeta by api_key" || zeta.Used != 4 || zeta.Left != 1 || zeta.Limit != "gold day" {
		t.Fatalf("got %+v", zeta)
	}
	if err := q.Reset(zeta.ID); err != nil {
		t.Fatal(err)
	}
	f("zeta", "", nil, `"plan";r=2`)
	for _, id := range []string{"", "0", "7-" + zeta.ID[2:], "0-00", "-1-" + zeta.ID[2:], "0-zz"} {
		if err := q.Reset(id); err == nil || err == ErrUnknownKey {
			t.Errorf("%q: got %v", id, err)
		}
	}
	if err := q.ResetValues("nobody"); err != ErrUnknownKey {
		t.Errorf("got %v", err)
	}
	if err := q.ResetValues("a", "b"); err == nil || err == ErrUnknownKey {
		t.Errorf("got %v", err)
	}
}

func TestQuotaCost(t *testing.T) { synctest.Test(t, testQuotaCost) }

func testQuotaCost(t *testing.T) {
	q := newQuotas(t, func(o *QuotaOptions) {
		o.Cost = Cost{Request: 2, Header: "X-Cost", Status: []StatusCost{{500, 599, 0}}, Unit: 100}
	}, map[string][]int64{"default": {100}})
	g := mustQuota(t, q, 2)
	f := func(status int, field, left string) {
		t.Helper()
		var lines [][2]string
		if field != "" {
			lines = append(lines, [2]string{"X-Cost", field})
		}
		if err, got := askQuota(t, g, "acme", "", status, lines...); err != nil || got != `"plan";r=`+left {
			t.Errorf("got %v, %q, want %s", err, got, left)
		}
	}
	f(200, "", "98")
	f(503, "", "98")
	f(200, "30", "68")
	f(503, "1", "67")
	x := identified("acme", "")
	if err := g.Check(x); err != nil {
		t.Fatal(err)
	}
	x.Response.Status = 200
	x.Response.Body.SetWhole(make([]byte, 250))
	x.Response.Body.SkipPrefix()
	x.EditHead()
	x.BytesOut = 400
	x.Finish()
	x.Release()
	f(200, "0", "62")
	f(200, "1000", "0") // it owes
	if err, _ := askQuota(t, g, "acme", "", 200); err != ErrQuotaExceeded {
		t.Errorf("got %v", err)
	}
}

// TestQuotaTogether: concurrent requests get exactly what there is.
func TestQuotaTogether(t *testing.T) {
	g := mustQuota(t, newQuotas(t, nil, map[string][]int64{"default": {500, 300}}), 1)
	var wg sync.WaitGroup
	allowed := new(counter)
	for range 8 {
		wg.Go(func() {
			for {
				if err, _ := askQuota(t, g, "acme", "", 200); err != nil {
					return
				}
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n > 300 || n < 292 { // who finds one quota full gives the other back, which others may have missed meanwhile
		t.Errorf("%d were allowed of 300", n)
	}
	if used := g.Status().Keys[0].Used; used > 300 {
		t.Errorf("%d were used", used)
	}
}

// TestQuotaNew: a quota that a reload brings in refuses nobody while the file is written for the first time.
func TestQuotaNew(t *testing.T) { synctest.Test(t, testQuotaNew) }

func testQuotaNew(t *testing.T) {
	q := newQuotas(t, nil, map[string][]int64{"default": {1}})
	for i := range 10 {
		o := q.options
		meter := o.Ledger.Meter(fmt.Sprint("another ", i), ledger.Calendar{Unit: ledger.Month, Zone: time.UTC}, 100)
		o.Meters = []QuotaMeter{{meter, byConsumer()}}
		another, err := NewQuotas(o)
		if err != nil {
			t.Fatal(err)
		}
		x := identified("acme", "")
		if err := mustQuota(t, another, 1).Check(x); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		x.Release()
	}
}

// TestQuotaWaits: a client that is faster than the file waits for it, and gets all of its quota.
func TestQuotaWaits(t *testing.T) { synctest.Test(t, testQuotaWaits) }

func testQuotaWaits(t *testing.T) {
	q := newQuotas(t, func(o *QuotaOptions) { o.Plans[0].Limits[0].Batch = 1 }, map[string][]int64{"default": {40}})
	g := mustQuota(t, q, 1)
	for i := range 41 {
		x := identified("acme", "")
		if err := g.Check(x); err != nil && i < 40 || i == 40 && err != ErrQuotaExceeded {
			t.Errorf("%d: %v", i, err)
		}
		x.Release()
	}
}

// TestQuotaModes: what is not enforced tells nobody, what is dry counts nothing, and what has no file refuses with 503.
func TestQuotaModes(t *testing.T) {
	g := mustQuota(t, newQuotas(t, func(o *QuotaOptions) { o.Report = true }, map[string][]int64{"default": {1}}), 1)
	if err, fields := askQuota(t, g, "acme", "", 200); err != nil || fields != "" {
		t.Errorf("got %v, %q", err, fields)
	}
	if err, fields := askQuota(t, g, "acme", "", 200); err != ErrQuotaExceeded || fields != "" {
		t.Errorf("got %v, %q", err, fields)
	}
	g = mustQuota(t, newQuotas(t, func(o *QuotaOptions) { o.Dry = true }, map[string][]int64{"default": {1}}), 1)
	for range 3 {
		if err, _ := askQuota(t, g, "acme", "", 200); err != nil {
			t.Error(err)
		}
	}
	q := newQuotas(t, nil, map[string][]int64{"default": {1}})
	g = mustQuota(t, q, 1)
	q.options.Ledger.Stop()
	if err := g.Check(identified("acme", "")); err != ErrQuotaUnavailable {
		t.Errorf("got %v", err)
	}
	if n := q.options.Closed.(*counter).Load(); n != 1 {
		t.Errorf("%d are counted as closed", n)
	}
}

func TestNewQuotasRefuses(t *testing.T) {
	book := ledger.New(filepath.Join(t.TempDir(), "quotas"))
	meter := book.Meter("m", ledger.Calendar{Unit: ledger.Day, Zone: time.UTC}, 10)
	f := func(want string, change func(o *QuotaOptions)) {
		t.Helper()
		o := QuotaOptions{Name: "plan", Ledger: book, Meters: []QuotaMeter{{meter, byConsumer()}}, Plans: []Plan{{"default", []PlanLimit{{ledger.Limit{Text: "a", Most: 5, Batch: 1}, 0}}}}}
		change(&o)
		q, err := NewQuotas(o)
		if err == nil {
			_, err = q.Guard(6)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f("has a plan", func(o *QuotaOptions) { o.Plans = nil })
	f("consumer or claim", func(o *QuotaOptions) { o.Meters[0].By = byIP() })
	f("between 1 and 8", func(o *QuotaOptions) { o.Plans[0].Limits = nil })
	f("cannot be", func(o *QuotaOptions) { o.Plans[0].Limits[0].Most = 0 })
	f("cannot be", func(o *QuotaOptions) { o.Plans[0].Limits[0].Batch = 0 })
	f("cannot be", func(o *QuotaOptions) { o.Plans[0].Limits[0].Meter = 1 })
	f("a request costs 6", func(*QuotaOptions) {})
}
