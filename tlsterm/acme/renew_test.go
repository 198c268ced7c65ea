package acme

import (
	"context"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// TestThirdOf: certificates are renewed in the last third of their life or up to a thirtieth earlier, not all at the same time, and by
// every process at the same.
func TestThirdOf(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	seen := map[time.Time]bool{}
	for serial := range int64(100) {
		c := &x509.Certificate{SerialNumber: big.NewInt(serial << 40), NotBefore: from, NotAfter: from.Add(90 * 24 * time.Hour)}
		at := thirdOf(c)
		if at.After(from.Add(60*24*time.Hour)) || at.Before(from.Add(57*24*time.Hour)) || !at.Equal(thirdOf(c)) {
			t.Errorf("serial %d: %s", serial, at)
		}
		seen[at] = true
	}
	if len(seen) < 90 {
		t.Errorf("only %d different times", len(seen))
	}
}

func TestPauses(t *testing.T) {
	m := &manager{now: func() time.Time { return time.Unix(0, 0) }, pause: pauseAfter}
	f := func(failures int, left, least, most time.Duration) {
		t.Helper()
		n := need{}
		if left != 0 {
			n.replaces = &x509.Certificate{NotAfter: time.Unix(0, 0).Add(left)}
		}
		for range 100 {
			if got := m.pauseOf(failures, n); got < least || got > most {
				t.Fatalf("%d failures with %s left: %s", failures, left, got)
			}
		}
	}
	f(1, 0, 54*time.Second, 66*time.Second)
	f(2, 0, 9*time.Minute, 11*time.Minute)
	f(3, 0, 54*time.Minute, 66*time.Minute)
	f(6, 0, 648*time.Minute, 792*time.Minute)
	f(1000, 0, 648*time.Minute, 792*time.Minute)
	f(6, 30*24*time.Hour, 648*time.Minute, 792*time.Minute)
	f(6, 20*time.Minute, 5*time.Minute, 5*time.Minute)
	f(6, time.Second, 54*time.Second, 66*time.Second)
	f(6, -time.Second, 648*time.Minute, 792*time.Minute) // it has ended: there is nothing to be in time for
}

// TestUnreached: an authority that was down for long is asked again within an hour or so; what it has refused for long is not.
func TestUnreached(t *testing.T) {
	at := time.Unix(0, 0).UTC()
	m := &manager{
		Options: &Options{Directory: LetsEncrypt, Folder: t.TempDir()}, counts: &Counts{}, now: func() time.Time { return at }, pause: pauseAfter,
	}
	f := func(err error, reason string, least, most time.Duration) {
		t.Helper()
		m.failed("a.test", need{}, retry{Failures: 100, Next: at.Add(pauseAfter(100))}, err)
		if r := m.readRetry("a.test"); r.Reason != reason || r.Next.Before(at.Add(least)) || r.Next.After(at.Add(most)) || r.Failures != 100 {
			t.Errorf("%v: noted: %+v", err, r)
		}
	}
	f(context.DeadlineExceeded, "server", 54*time.Minute, 66*time.Minute)
	f(acme.Problem{Type: acme.ProblemTypeCAA}, "caa", 648*time.Minute, 792*time.Minute)
}
