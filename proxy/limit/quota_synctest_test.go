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
