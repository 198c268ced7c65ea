package limit

import (
	"math"
	"math/big"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// model is a token bucket as the textbook has it, in exact numbers: it holds burst tokens at most, and gains one each interval.
type model struct {
	burst, interval, level *big.Rat
	at                     int64
}

func newModel(burst int, interval int64) *model {
	b := big.NewRat(int64(burst), 1)
	return &model{burst: b, level: new(big.Rat).Set(b), interval: big.NewRat(interval, 1)}
}

// gain lets tokens come until now.
func (m *model) gain(now int64) {
	if now <= m.at {
		return
	}
	if m.at > 0 {
		m.level.Add(m.level, new(big.Rat).Quo(big.NewRat(now-m.at, 1), m.interval))
	}
	if m.level.Cmp(m.burst) > 0 {
		m.level.Set(m.burst)
	}
	m.at = now
}

func (m *model) take(n, now int64) bool {
	m.gain(now)
	want := big.NewRat(n, 1)
	if m.level.Cmp(want) < 0 {
		return false
	}
	m.level.Sub(m.level, want)
	return true
}

// TestTakeLikeModel compares every decision with the model's, over rates, bursts, costs and gaps of all sizes.
func TestTakeLikeModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		w := Window{Text: "w", Count: 1 + random.IntN(1000), Per: time.Duration(1+random.IntN(100_000)) * time.Millisecond, Burst: 1 + random.IntN(50)}
		l := newLocalFor(t, w, 10)
		m := newModel(w.Burst, l.interval)
		now := start
		for step := range 500 {
			// Between nothing and what fills the bucket, and often to the nanosecond when a token comes.
			switch random.IntN(4) {
			case 0:
				now += random.Int64N(l.interval)
			case 1:
				now += l.interval * random.Int64N(int64(w.Burst)+2)
			case 2:
				now += l.interval - 1
			}
			n := 1 + random.Int64N(3)
			got := l.Take(2, n, now)
			if want := m.take(n, now); got.OK != want {
				t.Fatalf("%d of %+v, step %d: got %+v, the model says %v with %v left", n, w, step, got, want, m.level)
			}
			if int64(w.Burst) < n {
				continue
			}
			missing := new(big.Rat).Sub(m.burst, m.level)
			if full := new(big.Rat).Mul(missing, m.interval); full.Cmp(big.NewRat(got.Full, 1)) != 0 {
				t.Fatalf("%+v: full in %d, the model says %v", w, got.Full, full)
			}
			if got.OK {
				continue
			}
			// It is exactly then that it would be let in, and not a nanosecond before.
			if l.Look(2, n, now+got.Wait-1).OK || !l.Look(2, n, now+got.Wait).OK {
				t.Fatalf("%+v: a wait of %d is not what is needed", w, got.Wait)
			}
		}
	}
}

// TestRateIsNeverExceeded holds what a window promises against the rate as it is configured, without the rounding.
func TestRateIsNeverExceeded(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		w := Window{Text: "w", Count: 1 + random.IntN(999_999), Per: time.Second, Burst: 1 + random.IntN(1000)}
		l := newLocalFor(t, w, 10)
		now := start
		admitted := int64(0)
		for range 5000 {
			now += random.Int64N(2 * l.interval)
			if l.Take(2, 1, now).OK {
				admitted++
			}
			come := new(big.Rat).SetFrac64((now-start)*int64(w.Count), int64(w.Per))
			most := come.Add(come, big.NewRat(int64(w.Burst), 1))
			if most.Cmp(big.NewRat(admitted, 1)) < 0 {
				t.Fatalf("%+v: %d admitted after %d ns", w, admitted, now-start)
			}
		}
	}
}

// TestTakeTogether lets many goroutines at few keys, with times that go back and forth, as those of requests do that were held up on
// their way. However they interleave, between any two moments no key gets more than its burst and what has come in between.
func TestTakeTogether(t *testing.T) {
	const goroutines, each, keys = 8, 4000, 5
	w := Window{Text: "w", Count: 1000, Per: time.Second, Burst: 100}
	l := newLocalFor(t, w, 100)
	var clock atomic.Int64
	clock.Store(start)
	var admitted [goroutines][keys][]int64
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 5))
			for range each {
				now := clock.Add(random.Int64N(100_000))
				if random.IntN(4) == 0 {
					runtime.Gosched() // others overtake
				}
				k := random.IntN(keys)
				if l.Take(uint64(2+4*k), 1, now).OK {
					admitted[g][k] = append(admitted[g][k], now)
				}
			}
		})
	}
	all.Wait()
	for k := range keys {
		var times []int64
		for g := range goroutines {
			times = append(times, admitted[g][k]...)
		}
		slices.Sort(times)
		// The j-th to the i-th are at most burst + (t_i - t_j) / interval, for any j and i.
		least := int64(math.MaxInt64)
		for i, at := range times {
			level := int64(i)*l.interval - (at - start)
			least = min(least, level)
			if level-least > int64(w.Burst-1)*l.interval {
				t.Fatalf("key %d: too many were let in until %d", k, at-start)
			}
		}
		if len(times) < w.Burst {
			t.Errorf("key %d: only %d were let in, of a burst of %d", k, len(times), w.Burst)
		}
	}
	// At one moment exactly the burst goes, whoever asks.
	l = newLocalFor(t, w, 100)
	var burst atomic.Int64
	for range goroutines {
		all.Go(func() {
			for range each {
				if l.Take(2, 1, start).OK {
					burst.Add(1)
				}
			}
		})
	}
	all.Wait()
	if burst.Load() != int64(w.Burst) {
		t.Errorf("%d admitted at one moment, want %d", burst.Load(), w.Burst)
	}
}

func TestCharge(t *testing.T) {
	w := Window{Text: "w", Count: 1, Per: time.Second, Burst: 10}
	l := newLocalFor(t, w, 10)
	s := int64(time.Second)
	// f charges n and wants the bucket to be full after so many seconds.
	f := func(n, now, want int64) {
		t.Helper()
		l.Charge(2, n, start+now*s)
		if got := l.Look(2, 0, start+now*s).Full; got != want*s {
			t.Errorf("full in %v, want %ds", time.Duration(got), want)
		}
	}
	f(-3, 0, 0) // of a key that nobody knows
	f(3, 0, 3)
	f(-1, 0, 2)
	f(-9, 0, 0)
	f(1, 100, 1)
	f(1000, 100, 11) // what one response costs is at most a burst
	f(1000, 100, 20) // and nobody waits for longer than two
	f(1000, 100, 20)
	f(math.MaxInt64/s+1, 100, 20) // whatever the response says
	f(math.MaxInt64, 100, 20)
	if v := l.Take(2, 1, start+110*s); v.OK || v.Wait != s {
		t.Errorf("got %+v, want a wait of a second", v)
	}
	if v := l.Take(2, 1, start+111*s); !v.OK {
		t.Errorf("got %+v, want it to be let in", v)
	}
	if !l.Reset(2) || l.Look(2, 0, start+111*s).Full != 0 {
		t.Error("the reset bucket is not full")
	}
	if l.Reset(6) {
		t.Error("a key that nobody knows was reset")
	}
}
