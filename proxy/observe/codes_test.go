package observe

import (
	"fmt"
	"sync"
	"testing"
)

func TestCodes(t *testing.T) {
	var s codes
	s.each(func(string, uint64) { t.Error("an empty set holds a name") })
	s.get("b").Add(2)
	s.get("a").Add(1)
	s.get("b").Add(1)
	got := ""
	s.each(func(name string, n uint64) { got += fmt.Sprint(name, n, " ") })
	if want := "a1 b3 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCodesBounded: beyond the limit names are counted together, and nothing is lost.
func TestCodesBounded(t *testing.T) {
	var s codes
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 10 * codesMax {
				s.get(fmt.Sprint("code-", i)).Add(1)
			}
		})
	}
	wg.Wait()
	names, sum, other := 0, uint64(0), uint64(0)
	s.each(func(name string, n uint64) {
		names++
		sum += n
		if name == otherCode {
			other = n
		}
	})
	if names != codesMax+1 || sum != 4*10*codesMax || other != 4*9*codesMax {
		t.Errorf("%d names count %d, %d of them together", names, sum, other)
	}
}
