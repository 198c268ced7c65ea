package rules_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/rules/model"
	"sluice/proxy/wire"
)

// epoch is an arbitrary moment.
const epoch = 784111777

// TestModel compares one response and one request at a time.
func TestModel(t *testing.T) { compareModel(t, 1, 25_000) }

func TestSoakModel(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	compareModel(t, rand.Uint64(), 5_000_000)
}

func compareModel(t *testing.T, seed uint64, rounds int) {
	t.Helper()
	var stored, fresh, stale, onError int
	for round := range rounds {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		x, p := model.AnyExchange(r), model.AnyPolicy(r)
		h := x.Head(r, epoch)
		resp := rules.ParseResponse(h)
		first := new(wire.Head)
		x.Request.Write(first, "cache-control", r)
		if x.Credentials {
			first.AddString("Authorization", "x")
		}
		firstReq := rules.ParseRequest(first)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d, round %d: %s\n%+v\n%s\nasked for with %s\npolicy %+v", seed, round, fmt.Sprintf(format, args...), x, model.Lines(h), model.Lines(first), p)
		}

		reason := rules.Storable(x.Status, &firstReq, &resp, p)
		why := x.MayStore(p)
		if reason == rules.Stored && why != "" {
			fail("stored against %s", why)
		}
		life := rules.Lifetime(x.Status, &resp, p)
		plain := x.Status == 200 && x.Lifetime(p) > 0 && !x.Control().Has("no-cache")
		if reason != rules.Stored && why == "" && plain {
			fail("not stored for %v", reason)
		}
		if reason != rules.Stored {
			continue
		}
		stored++

		request := model.AnyRequest(r)
		second := new(wire.Head)
		request.Write(second, "cache-control", r)
		req := rules.ParseRequest(second)
		now := x.ReceivedAt + int64(r.IntN(16))
		age := rules.InitialAge(&resp, epoch+x.RequestedAt, epoch+x.ReceivedAt) + now - x.ReceivedAt
		least, most := x.CurrentAge(now, false), x.CurrentAge(now, true)
		if age < least || age > most {
			fail("age %d at %d, want %d to %d", age, now, least, most)
		}
		want := x.MayUse(request, age, p)
		verdict := rules.Judge(age, &life, &req, p)
		got := model.Use{Fresh: verdict == rules.Fresh, Stale: verdict == rules.StaleUsable, OnError: rules.MayUseOnError(age, &life, &req, p)}
		if got != want {
			fail("at age %d for %s: %v %+v, want %+v", age, model.Lines(second), verdict, got, want)
		}
		if missing := !want.Fresh && !want.Stale && request.Has("only-if-cached") && !p.IgnoreRequest; missing != (verdict == rules.Missing) {
			fail("at age %d for %s: %v", age, model.Lines(second), verdict)
		}
		if got.Fresh {
			fresh++
		}
		if got.Stale {
			stale++
		}
		if got.OnError {
			onError++
		}
	}
	// The rounds reach what they are for.
	if stored < rounds/10 || fresh < rounds/50 || stale < rounds/200 || onError < rounds/50 {
		t.Fatalf("of %d responses %d were stored; %d were used fresh, %d stale, %d on error", rounds, stored, fresh, stale, onError)
	}
}
