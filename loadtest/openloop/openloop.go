// Package openloop sends requests at a constant rate, whatever becomes of them, and measures each from the moment at
// which it was due.
//
// A closed loop (wrk, h2load, ab) sends a connection's next request when the last was answered. If the server stalls for
// a second, such a client stops sending: it reports one slow request per connection, where users would have sent a
// thousand. Gil Tene named that coordinated omission. Here requests become due by the clock alone, and one that is
// sent late, because everything before it hangs, has been waiting all the while.
package openloop

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// Options say what is sent, and what the generator may use.
type Options struct {
	Rate     float64       // requests that become due per second
	Duration time.Duration // of what is measured
	Warmup   time.Duration // before that, at the same rate
	Workers  int           // requests at the same time at most
	Timeout  time.Duration // after which nobody waits for an answer, counted from when it was due

	// Do makes a request and waits for its answer, until the deadline at most. Several are made at the same time; worker
	// counts from 0, and one worker makes one request at a time.
	Do func(worker int, deadline time.Time) Outcome

	// Sleep waits; if it is nil, in the kernel. Go's own timers are late by up to a millisecond in a process that has
	// nothing else to do, because they end with epoll_wait, which counts milliseconds.
	Sleep func(time.Duration)
}

// Outcome is what became of a request.
type Outcome struct {
	Failure    string // the kind of error; empty if it was answered well
	Unanswered bool   // nobody knows how long it would have taken: it counts as having taken as long as was waited
	Own        bool   // the generator's fault: it had no port left, say
	Err        error  // an example of what this kind of failure is
}

// What requests that were never sent have failed of: the server, which answered none of those before them, or the
// generator, which had no time for them.
const (
	NotSent = "not sent: no connection was free"
	TooLate = "not sent: the generator was late"
)

// queueMax bounds the requests that are due and wait for a worker. Beyond it they fail at once as NotSent. It is
// only reached if the rate times the timeout is above it, with 24 bytes for each.
const queueMax = 1 << 20

// Report is what was measured, without the warm-up. Histograms hold microseconds.
type Report struct {
	Due      int64            // requests that should have been sent
	Answered int64            // without a failure
	Failures map[string]int64 // by kind; together with Answered they are Due
	Examples map[string]error // of each kind, the first
	Own      int64            // failures of the generator itself
	Waited   int64            // requests for which there was no free connection when they were due
	Busiest  int64            // requests that were on their way or waited, at most
	Elapsed  time.Duration    // until the last answer

	Latency *hdrhistogram.Histogram // from when a request was due; what was not answered is in it, what failed at once is not
	Service *hdrhistogram.Histogram // from when it was sent: what a closed loop would have told
	Lag     *hdrhistogram.Histogram // by how much the generator itself was late
}

// item is a request that has become due.
type item struct {
	due   time.Time
	begun time.Time // when the generator got round to it
	free  bool      // there was a worker for it
	count bool      // it is no part of the warm-up
}

type generator struct {
	Options
	start    time.Time // of what is measured
	inFlight atomic.Int64

	mu     sync.Mutex // guards report
	report Report
}

// Run sends requests until the duration is over or ctx is done, and waits for their answers.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Rate <= 0 || o.Duration <= 0 || o.Workers <= 0 || o.Timeout <= 0 || o.Warmup < 0 || o.Do == nil {
		panic("BUG: the options of a load make no sense")
	}
	g := &generator{Options: o, start: time.Now().Add(o.Warmup)}
	// An hour is more than anybody waits. Two digits would be 1 % of error, three are 0.1 %.
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Hour.Microseconds(), 3) }
	g.report = Report{Failures: map[string]int64{}, Examples: map[string]error{}, Latency: histogram(), Service: histogram(), Lag: histogram()}

	queue := make(chan item, int(min(queueMax, o.Rate*o.Timeout.Seconds()+1000)))
	var workers sync.WaitGroup
	for worker := range o.Workers {
		workers.Go(func() {
			for it := range queue {
				g.send(worker, it)
			}
		})
	}
	if g.Sleep == nil {
		runtime.LockOSThread() // the thread sleeps in the kernel, and has no other goroutine to wake
		defer runtime.UnlockOSThread()
		g.Sleep = nanosleep
	}
	err := g.dispatch(ctx, queue)
	close(queue)
	workers.Wait()
	g.report.Elapsed = time.Since(g.start)
	return &g.report, err
}

// dispatch hands out requests as they become due. It never waits for anything but the clock.
func (g *generator) dispatch(ctx context.Context, queue chan<- item) error {
	begin := g.start.Add(-g.Warmup)
	for n := int64(0); ; n++ {
		due := begin.Add(time.Duration(float64(n) / g.Rate * float64(time.Second)))
		if due.Sub(g.start) >= g.Duration {
			return nil
		}
		for wait := time.Until(due); wait > 0 && ctx.Err() == nil; wait = time.Until(due) {
			g.Sleep(min(wait, 100*time.Millisecond))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %s", time.Since(begin).Round(time.Millisecond))
		}
		busy := g.inFlight.Add(1)
		it := item{due: due, begun: time.Now(), free: busy <= int64(g.Workers), count: !due.Before(g.start)}
		select {
		case queue <- it:
		default:
			g.inFlight.Add(-1)
			g.record(it, it.begun, it.due.Add(g.Timeout), g.notSent(it))
		}
		if it.count {
			g.mu.Lock()
			g.report.Busiest = max(g.report.Busiest, busy)
			g.mu.Unlock()
		}
	}
}

func nanosleep(d time.Duration) {
	pause := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&pause, nil) // a signal ends it early, and then it is called again
}

// send makes a request, unless it has become too late for it.
func (g *generator) send(worker int, it item) {
	sent, deadline := time.Now(), it.due.Add(g.Timeout)
	outcome := g.notSent(it)
	if sent.Before(deadline) {
		outcome = g.Do(worker, deadline)
	}
	g.inFlight.Add(-1)
	g.record(it, sent, time.Now(), outcome)
}

// notSent tells whose fault it is that a request was not sent.
func (g *generator) notSent(it item) Outcome {
	if it.begun.Sub(it.due) > g.Timeout/2 {
		return Outcome{Failure: TooLate, Unanswered: true, Own: true}
	}
	return Outcome{Failure: NotSent, Unanswered: true}
}

func (g *generator) record(it item, sent, done time.Time, o Outcome) {
	if !it.count {
		return
	}
	// Waiting for a worker is the server's doing if all of them waited for the server, and else the generator's.
	lag := it.begun.Sub(it.due)
	if it.free {
		lag = sent.Sub(it.due)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	r := &g.report
	r.Due++
	if !it.free {
		r.Waited++
	}
	put(r.Lag, lag)
	if o.Failure == "" || o.Unanswered {
		put(r.Latency, done.Sub(it.due))
	}
	if o.Failure == "" {
		r.Answered++
		put(r.Service, done.Sub(sent))
		return
	}
	if o.Own {
		r.Own++
	}
	r.Failures[o.Failure]++
	if _, known := r.Examples[o.Failure]; !known && o.Err != nil {
		r.Examples[o.Failure] = o.Err
	}
}

// put records a time; what is beyond the histogram counts as its end.
func put(h *hdrhistogram.Histogram, d time.Duration) {
	if err := h.RecordValue(min(max(1, d.Microseconds()), h.HighestTrackableValue())); err != nil {
		panic("BUG: a histogram refuses what is within it: " + err.Error())
	}
}

// Quantile is the time within which a share of the requests were answered, such as 0.99.
func Quantile(h *hdrhistogram.Histogram, share float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(share*100)) * time.Microsecond
}
