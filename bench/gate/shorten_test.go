package main

import (
	"io"
	"testing"
	"time"
)

func TestShorten(t *testing.T) {
	f := func(allowed time.Duration, slow, quick int) {
		t.Helper()
		g := &gate{options: &options{repeat: 5, log: io.Discard}, repeats: make(map[string]int)}
		g.shorten(map[string]time.Duration{"slow": 40 * time.Second, "quick": 5 * time.Second}, allowed)
		if g.repeat("slow") != slow || g.repeat("quick") != quick {
			t.Errorf("with %s a round: slow %d times and quick %d times, want %d and %d", allowed, g.repeat("slow"), g.repeat("quick"), slow, quick)
		}
	}
	f(45*time.Second, 5, 5) // as it is
	f(44*time.Second, 3, 5) // 40 s become 24 s
	f(21*time.Second, 2, 5) // and 16 s
	f(20*time.Second, 1, 5) // and 8 s
	f(12*time.Second, 1, 3)
	f(-time.Second, 1, 1) // nothing is left to spare
}
