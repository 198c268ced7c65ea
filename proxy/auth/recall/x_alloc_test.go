//go:build !race && !invariants

package recall

import "testing"

// TestAllocations holds that looking up what is remembered costs no allocation.
func TestAllocations(t *testing.T) {
	sums := NewSums()
	a := NewAnswers[*int](100, 100)
	secret := make([]byte, 4096)
	a.Add(sums.Of(secret), new(int), 0, 10, 10)
	if n := testing.AllocsPerRun(1000, func() {
		if v, ok := a.Find(sums.Of(secret), 5); !ok || v == nil {
			t.Fatal("it is forgotten")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
