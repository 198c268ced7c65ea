package rules_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"sluice/proxy/cache/rules/model"
)

// TestHistory plays histories with the plainest cache that follows the rules.
func TestHistory(t *testing.T) { playHistories(t, 0, 120) }

func TestSoakHistory(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	playHistories(t, rand.Uint64(), 20_000)
}

func playHistories(t *testing.T, first, count uint64) {
	t.Helper()
	var tally model.Tally
	for seed := first; seed != first+count; seed++ {
		if err := model.Play(seed, 200, epoch, newShelf, &tally); err != nil {
			t.Fatal(err)
		}
	}
	if min(tally.Fresh, tally.Stale, tally.OnError, tally.Validated) < 20 {
		t.Fatalf("%+v: not enough of each to say anything", tally)
	}
}
