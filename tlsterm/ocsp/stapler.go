package ocsp

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Counts are what responders have said. The zero value is ready to use.
type Counts struct {
	Good    atomic.Uint64
	Revoked atomic.Uint64
	Failed  atomic.Uint64 // nothing, or nothing that is to be believed
}

// Stapler has the answers for a set of certificates. Follow is for one goroutine at a time; the rest is safe for concurrent use.
type Stapler struct {
	set    string // of certificates, for the log
	folder folder
	counts *Counts
	now    func() time.Time
	client *http.Client

	mu      sync.Mutex
	states  map[string]*state // by the certificate's ID
	asking  int
	changed bool // since Follow was called last
}

// state is what is known about a certificate.
type state struct {
	Subject
	answer   answer // raw is nil if there is no good one
	revoked  bool
	next     time.Time // when to ask
	failures int
	asking   bool
}

// askingAtOnce bounds how many responders are waited for, so that a slow one keeps only some of the others waiting, and a folder of
// thousands of certificates does not open thousands of connections.
const askingAtOnce = 4

// New returns a stapler that has nothing yet. Answers are kept in a folder as well, unless that is "".
func New(set, keep string, counts *Counts, now func() time.Time) *Stapler {
	folder(keep).sweep(now())
	return &Stapler{set: set, folder: folder(keep), counts: counts, now: now, client: newClient(), states: map[string]*state{}}
}

// Know takes certificates that it is going to be asked about, and what the folder has for them.
func (s *Stapler) Know(list []Subject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, subject := range list {
		if s.states[subject.ID] != nil {
			continue
		}
		st := &state{Subject: subject}
		if raw := s.folder.read(subject.ID); raw != nil {
			if a, err := verify(raw, subject, s.now()); err == nil && a.revokedAt.IsZero() {
				st.answer, st.next = a, refresh(a)
			}
		}
		s.states[subject.ID] = st
	}
}

// Follow is told, all the time, which certificates there are. It begins to ask for what is due, and returns whether there is something
// else to staple than at the last call.
func (s *Stapler) Follow(ctx context.Context, list []Subject) (changed bool) {
	s.Know(list)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	wanted := make(map[string]bool, len(list))
	for _, subject := range list {
		wanted[subject.ID] = true
		st := s.states[subject.ID]
		if st.answer.raw != nil && !now.Before(st.answer.nextUpdate) {
			slog.Error("the OCSP answer of a certificate has ended, and there is no newer one", s.about(st)...)
			st.answer, s.changed = answer{}, true
		}
		if !st.asking && s.asking < askingAtOnce && !now.Before(st.next) {
			st.asking = true
			s.asking++
			go s.ask(ctx, st)
		}
	}
	for id := range s.states {
		if !wanted[id] {
			delete(s.states, id)
			s.folder.remove(id)
		}
	}
	changed, s.changed = s.changed, false
	return changed
}

// Staple returns what is to be sent with a certificate, and until when; nil if there is nothing.
func (s *Stapler) Staple(id string) (raw []byte, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.states[id]
	if st == nil || st.answer.raw == nil || !s.now().Before(st.answer.nextUpdate) {
		return nil, time.Time{}
	}
	return st.answer.raw, st.answer.nextUpdate
}

func (s *Stapler) ask(ctx context.Context, st *state) {
	a, err := s.fetch(ctx, st.Subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	st.asking = false
	s.asking--
	switch {
	case err != nil && ctx.Err() != nil: // nobody wants to know any more
	case err != nil:
		s.failed(st, err)
	case !a.revokedAt.IsZero():
		s.counts.Revoked.Add(1)
		if !st.revoked {
			slog.Error("A CERTIFICATE IN USE IS REVOKED: replace it", append(s.about(st), "revoked", a.revokedAt.Format(time.RFC3339))...)
		}
		st.answer, st.revoked, st.failures, st.next = answer{}, true, 0, s.now().Add(pause(failuresMax))
		s.folder.remove(st.ID)
		s.changed = true
	default:
		s.counts.Good.Add(1)
		if st.failures > 0 || st.revoked {
			slog.Info("the OCSP responder says again that a certificate is good", s.about(st)...)
		}
		st.answer, st.revoked, st.failures, st.next = a, false, 0, refresh(a)
		if soonest := s.now().Add(soon(a.nextUpdate.Sub(s.now()))); st.next.Before(soonest) {
			st.next = soonest
		}
		s.changed = true
	}
}

// fetch asks, verifies, and keeps what is good.
func (s *Stapler) fetch(ctx context.Context, subject Subject) (a answer, err error) {
	defer func() {
		if p := recover(); p != nil { // of a parser that reads what anybody may have written: it must not take the traffic with it
			slog.Error("BUG: a panic while an OCSP answer was read", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	raw, err := ask(ctx, s.client, subject)
	if err != nil {
		return answer{}, err
	}
	if a, err = verify(raw, subject, s.now()); err != nil || !a.revokedAt.IsZero() {
		return a, err
	}
	if err := s.folder.write(subject.ID, raw); err != nil {
		slog.Warn("an OCSP answer cannot be kept, the next start begins without", "tls", s.set, "error", err)
	}
	return a, nil
}

// failed keeps what there is, and tells: at once if clients insist on an answer and there is none, else when it begins.
func (s *Stapler) failed(st *state, err error) {
	s.counts.Failed.Add(1)
	st.failures = min(st.failures+1, failuresMax)
	st.next = s.now().Add(pause(st.failures))
	about := append(s.about(st), "responder", Responder(st.Leaf), "next", st.next.Format(time.RFC3339), "error", err)
	switch {
	case MustStaple(st.Leaf) && st.answer.raw == nil:
		slog.Error("CLIENTS REFUSE A CERTIFICATE: it must be shown with an OCSP answer, and there is none", about...)
	case MustStaple(st.Leaf):
		slog.Error("a certificate that must be shown with an OCSP answer gets no newer one", append(about, "until", st.answer.nextUpdate.Format(time.RFC3339))...)
	case st.failures == 1:
		slog.Warn("there is no newer OCSP answer for a certificate", about...)
	}
}

func (s *Stapler) about(st *state) []any {
	return []any{"tls", s.set, "names", st.Leaf.DNSNames, "serial", st.Leaf.SerialNumber.Text(16)}
}

// refresh is when half of an answer's time is over, up to a twentieth later: those that were signed together are not asked for together.
func refresh(a answer) time.Time {
	life := a.nextUpdate.Sub(a.thisUpdate)
	return a.thisUpdate.Add(life/2 + time.Duration(rand.Float64()*float64(life/20)))
}

// soon is how long to wait at least, with so much time left, for a responder that goes on handing out an answer in the second half of its time.
func soon(left time.Duration) time.Duration { return max(time.Minute, min(left/4, time.Hour)) }

// failuresMax is after how many failures in a row the pause does not grow any more: 64 minutes.
const failuresMax = 7

func pause(failures int) time.Duration {
	p := time.Minute << (failures - 1)
	return p + time.Duration((rand.Float64()-0.5)*0.2*float64(p))
}
