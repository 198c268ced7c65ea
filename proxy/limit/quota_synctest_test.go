package limit

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/limit/ledger"
	"sluice/proxy/wire"
)

// TestQuotaTurn: a quota begins anew at midnight of its time zone, to the nanosecond, all of it, and says so before.
func TestQuotaTurn(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		book := ledger.New(filepath.Join(folder, "quotas"))
		east := time.FixedZone("east", 2*60*60)
		o := QuotaOptions{
			Name: "plan", Ledger: book, PlanClaim: "plan", Fields: true, Cost: Cost{Request: 1},
			Allowed: new(counter), Refused: new(counter), Closed: new(counter),
			Meters: []QuotaMeter{
				{book.Meter("day", ledger.Calendar{Unit: ledger.Day, Zone: east}, 100), byConsumer()},
				{book.Meter("month", ledger.Calendar{Unit: ledger.Month, Zone: east}, 100), byConsumer()},
			},
			Plans: []Plan{{"default", []PlanLimit{{ledger.Limit{Text: "3/day", Most: 3, Batch: 3}, 0}, {ledger.Limit{Text: "8/month", Most: 8, Batch: 8}, 1}}}},
		}
		q, err := NewQuotas(o)
		if err != nil {
			t.Fatal(err)
		}
		g := mustQuota(t, q, 1)
		time.Sleep(28 * 24 * time.Hour)
		book.Start()
		defer book.Stop()
		<-o.Meters[0].Meter.Ready()
		<-o.Meters[1].Meter.Ready()

		client := identified("acme", "").Identity
		ask := func() (bool, string) {
			for {
				x := request(wire.Now(), "192.0.2.1")
				x.Identity = client
				err := g.Check(x)
				if err == ErrQuotaUnavailable {
					x.Release()
					synctest.Wait() // until the file says more
					continue
				}
				if err != nil {
					x.Err = proxy.AsError(err)
				}
				x.EditHead()
				fields := fmt.Sprintf("%s %s", x.Response.Head.Get("Retry-After"), x.Response.Head.Get("RateLimit"))
				x.Finish()
				x.Release()
				return err == nil, fields
			}
		}
		f := func(ok bool, fields string) {
			t.Helper()
			if got, told := ask(); got != ok || told != fields {
				t.Errorf("%s: let in: %v, %s; want %v, %s", time.Now().UTC().Format(time.RFC3339Nano), got, told, ok, fields)
			}
		}
		until := func(moment string) {
			t.Helper()
			at, err := time.Parse(time.RFC3339Nano, moment)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(at))
		}
		until("2000-01-29T21:59:00Z")
		f(true, ` "plan-1";r=2;t=60, "plan-2";r=7;t=172860`)
		f(true, ` "plan-1";r=1;t=60, "plan-2";r=6;t=172860`)
		f(true, ` "plan-1";r=0;t=60, "plan-2";r=5;t=172860`)
		f(false, `60 "plan-1";r=0;t=60, "plan-2";r=5;t=172860`)
		until("2000-01-29T21:59:59.999999999Z")
		f(false, `1 "plan-1";r=0;t=1, "plan-2";r=5;t=172801`)
		time.Sleep(1)
		for i := range 3 {
			f(true, fmt.Sprintf(` "plan-1";r=%d;t=86400, "plan-2";r=%d;t=172800`, 2-i, 4-i))
		}
		until("2000-01-30T22:00:00Z")
		f(true, ` "plan-1";r=2;t=86400, "plan-2";r=1;t=86400`)
		f(true, ` "plan-1";r=1;t=86400, "plan-2";r=0;t=86400`)
		f(false, `86400 "plan-1";r=1;t=86400, "plan-2";r=0;t=86400`)
		until("2000-01-31T21:59:59.999999999Z")
		f(false, `1 "plan-1";r=1;t=1, "plan-2";r=0;t=1`)
		time.Sleep(1)
		f(true, ` "plan-1";r=2;t=86400, "plan-2";r=7;t=2505600`)
	})
}

// TestQuotaGone: a request that has found its client's account in the moment in which that was given up, to make room, goes on with a new one.
func TestQuotaGone(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		book := ledger.New(filepath.Join(folder, "quotas"))
		meter := book.Meter("day", ledger.Calendar{Unit: ledger.Day, Zone: time.UTC}, 1)
		q, err := NewQuotas(QuotaOptions{
			Name: "plan", Ledger: book, PlanClaim: "plan", Cost: Cost{Request: 1}, Allowed: new(counter), Refused: new(counter), Closed: new(counter),
			Meters: []QuotaMeter{{meter, byConsumer()}},
			Plans:  []Plan{{"default", []PlanLimit{{ledger.Limit{Text: "3/day", Most: 3, Batch: 3}, 0}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		g := mustQuota(t, q, 1)
		book.Prepare()
		defer book.Stop()
		of := func(name string) (*proxy.Exchange, *usage) {
			x := request(wire.Now(), "192.0.2.1")
			x.Identity = identified(name, "").Identity
			return x, &usage{guard: g, plan: g.planOf(x), now: book.Wall(x.Started)}
		}
		ask := func(x *proxy.Exchange, v *usage) ledger.Verdict {
			verdict := g.ask(v, x, 0, true)
			for verdict.Closed {
				synctest.Wait() // until the file says more
				verdict = g.ask(v, x, 0, true)
			}
			return verdict
		}
		x, v := of("acme")
		v.accounts[0] = g.account(x, 0, v.now)
		ask(x, v)
		time.Sleep(25 * time.Hour)
		x, v = of("acme")
		v.accounts[0] = g.account(x, 0, v.now)
		before := v.accounts[0]
		other, w := of("other")
		if w.accounts[0] = g.account(other, 0, w.now); !before.Look(1, &v.plan.Limits[0].Limit, v.now).Gone {
			t.Fatal("the account was not given up")
		}
		if got := ask(x, v); !got.OK || got.Used != 1 || v.accounts[0] == before {
			t.Errorf("got %+v", got)
		}
	})
}
