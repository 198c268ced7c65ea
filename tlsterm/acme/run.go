package acme

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// lookEvery is how often it is looked which host needs something.
const lookEvery = time.Minute

// manager keeps the certificates of one account fresh. It is for one goroutine.
type manager struct {
	*Options
	counts    *Counts
	now       func() time.Time
	client    *acmez.Client
	account   *acme.Account     // nil until it is known to exist
	windows   map[string]window // by the certificate's serial number
	askAgain  time.Time         // not before: the authority did not answer
	lookEvery time.Duration
	asked     int           // in this look
	askMin    time.Duration // the three are other ones in tests
	rest      time.Duration
	pause     func(failures int) time.Duration
}

func newManager(o *Options, counts *Counts) (*manager, error) {
	client, err := o.newClient()
	if err != nil {
		return nil, err
	}
	return &manager{
		Options: o, counts: counts, now: time.Now, client: client, windows: map[string]window{},
		lookEvery: lookEvery, askMin: askMin, rest: rest, pause: pauseAfter,
	}, nil
}

// Run orders what is missing and renews what is due, until ctx ends. It returns when the order that is under way then has ended, which
// takes five minutes at most: whoever runs next would only order again.
func Run(ctx context.Context, o *Options, counts *Counts) {
	m, err := newManager(o, counts)
	if err != nil {
		slog.Error("certificates cannot be ordered", "directory", o.Directory, "error", err)
		return
	}
	m.run(ctx)
}

func (m *manager) run(ctx context.Context) {
	for {
		m.look(ctx)
		m.client.HTTPClient.CloseIdleConnections()
		select {
		case <-ctx.Done():
			return
		case <-time.After(m.lookEvery):
		}
	}
}

// look goes through all hosts.
func (m *manager) look(ctx context.Context) {
	m.asked = 0
	for _, host := range m.Hosts {
		if ctx.Err() != nil {
			return
		}
		m.ask(ctx, host)
		if m.now().Before(m.readRetry(host).Next) || m.needs(host).why == "" {
			continue
		}
		if reached := m.renew(ctx, host); !reached {
			return // the other hosts would not reach the authority either
		}
	}
}

// renew gets a certificate for a host that needs one. It reports whether the next host is to be tried now.
func (m *manager) renew(ctx context.Context, host string) (goOn bool) {
	unlock, err := lock(ctx, m.Folder)
	if err != nil {
		if ctx.Err() == nil {
			m.counts.Failed[becauseStorage].Add(1)
			slog.Error("a certificate cannot be ordered", "host", host, "error", err)
		}
		return false
	}
	defer unlock()
	// Another process may have been faster: with the certificate, or with failing.
	need, failed := m.needs(host), m.readRetry(host)
	if need.why == "" || m.now().Before(failed.Next) {
		return true
	}
	// Noted before it is tried: a process that dies of it again and again, or a disk that is full, must not order again and again.
	attempt := retry{Failures: failed.Failures + 1, Reason: "interrupted"}
	attempt.Next = m.now().Add(m.pauseOf(attempt.Failures, need))
	if err := m.writeRetry(host, attempt); err != nil {
		m.counts.Failed[becauseStorage].Add(1)
		slog.Error("a certificate cannot be ordered: it could not be stored", "host", host, "folder", m.Folder, "error", err)
		return false
	}
	began := m.now()
	slog.Info("ordering a certificate", "host", host, "because", need.why, "directory", m.Directory)
	// A reload does not end an order: its successor would begin another one.
	ordering, cancel := context.WithTimeout(context.WithoutCancel(ctx), orderMax)
	defer cancel()
	if err := m.issue(ordering, host, need); err != nil {
		return m.failed(host, need, attempt, err)
	}
	counter, message := &m.counts.Issued, "a certificate was issued"
	if need.replaces != nil {
		counter, message = &m.counts.Renewed, "a certificate was renewed"
	}
	counter.Add(1)
	slog.Info(message, "host", host, "took", m.now().Sub(began).Round(time.Millisecond).String())
	return true
}

// pauseOf is shorter for a certificate that ends before the next few tries, as those do that hold for hours.
func (m *manager) pauseOf(failures int, need need) time.Duration {
	pause := m.pause(failures)
	if need.replaces != nil {
		if left := need.replaces.NotAfter.Sub(m.now()); left > 0 {
			pause = min(pause, max(left/4, m.pause(1)))
		}
	}
	return pause
}

// issue orders a certificate and stores it.
func (m *manager) issue(ctx context.Context, host string, need need) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = caught("a certificate was ordered", p)
		}
	}()
	if err := (Challenges{m.Folder}).sweep(); err != nil {
		return storageError{err}
	}
	data, err := m.obtain(ctx, host, need.replaces)
	if err != nil {
		return err
	}
	if err := writeFile(m.File(host), data); err != nil {
		return storageError{fmt.Errorf("cannot store the certificate: %w", err)}
	}
	if err := m.clearRetry(host); err != nil {
		return storageError{err}
	}
	return nil
}

// caught tells of a panic, of a library that reads what somebody else has written: it must not take the traffic with it.
func caught(during string, p any) error {
	slog.Error("BUG: a panic while "+during, "panic", p, "stack", string(debug.Stack()))
	return fmt.Errorf("panic: %v", p)
}

// unreachedMax is after how many failures in a row the pause does not grow any more if the authority was not reached: an hour.
const unreachedMax = 3

// failed notes why. Without an authority, or a folder, there is nothing to do for other hosts either.
func (m *manager) failed(host string, need need, attempt retry, err error) (goOn bool) {
	reason := because(err)
	m.counts.Failed[reason].Add(1)
	if reason == becauseServer { // which no limit of an authority counts, and which may be over soon
		attempt.Next = m.now().Add(m.pauseOf(min(attempt.Failures, unreachedMax), need))
	}
	attributes := []any{"host", host, "reason", Reasons[reason], "failures", attempt.Failures, "next", attempt.Next.Format(time.RFC3339), "error", err}
	if need.replaces != nil {
		attributes = append(attributes, "expires", need.replaces.NotAfter.Format(time.RFC3339))
	}
	slog.Error("a certificate could not be ordered", attributes...)
	attempt.Reason, attempt.Error = Reasons[reason], err.Error()
	if err := m.writeRetry(host, attempt); err != nil {
		slog.Error("the folder of certificates cannot be written to", "folder", m.Folder, "error", err)
		return false
	}
	return reason != becauseServer && reason != becauseStorage
}
