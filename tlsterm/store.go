package tlsterm

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sluice/tlsterm/ocsp"
)

// store holds the certificates of one set. look is for one goroutine at a time; the table is for all of them.
type store struct {
	set     string
	now     func() time.Time
	sources []*source
	table   atomic.Pointer[table]
	stapler *ocsp.Stapler // nil: nothing is stapled
}

// source is a Source with what was read from it.
type source struct {
	Source
	entries []*entry // in the order of their names
	trouble string   // with the folder, which was told
}

// entry is a pair that is kept up to date. Its value is nil until it was good once.
type entry struct {
	watched[*pair]
	from   pairFiles
	missed int // looks at which its certificate was not there
}

// missedMax is how many looks a certificate may be missing in its folder before it is dropped: there are tools that remove
// a file before they write the new one.
const missedMax = 2

// openStore reads everything, and fails with the first error.
func openStore(o Options, counts *Counts, now func() time.Time) (*store, error) {
	s := &store{set: o.Name, now: now}
	if o.Staple {
		s.stapler = ocsp.New(o.Name, o.StapleFolder, &counts.OCSP, now)
	}
	for i := range o.Certificates {
		from := &source{Source: o.Certificates[i]}
		s.sources = append(s.sources, from)
		switch {
		case len(from.SelfSigned) > 0:
			made, err := makeSelfSigned(from.SelfSigned, now())
			if err != nil {
				return nil, err
			}
			from.entries = []*entry{{watched: watched[*pair]{value: made}}}
		case from.CertFile != "":
			from.entries = []*entry{newEntry(pairFiles{cert: from.CertFile, key: from.KeyFile})}
		case from.ACME != nil:
			for _, host := range from.ACME.Hosts {
				from.entries = append(from.entries, newEntry(pairFiles{cert: from.ACME.File(host)}))
			}
		}
		var first error
		s.lookAt(from, func(err error) {
			if first == nil {
				first = err
			}
		})
		switch {
		case first == nil:
		case from.ACME != nil: // it is going to be ordered again
			s.failed(first)
		default:
			return nil, first
		}
	}
	s.publish()
	return s, nil
}

func newEntry(f pairFiles) *entry {
	e := &entry{}
	e.setFiles(f)
	return e
}

func (e *entry) setFiles(f pairFiles) {
	e.from, e.files, e.stamps = f, []string{f.cert}, nil
	if f.key != "" {
		e.files = append(e.files, f.key)
	}
}

// look publishes a new table if there are other certificates than at the last look.
func (s *store) look() {
	changed := false
	for _, from := range s.sources {
		if s.lookAt(from, s.failed) {
			changed = true
		}
	}
	if changed {
		s.publish()
	}
}

func (s *store) failed(err error) {
	slog.Error("a TLS certificate cannot be used, what was in force stays", "tls", s.set, "error", err)
}

func (s *store) publish() {
	if s.stapler != nil {
		s.stapler.Know(s.subjects())
	}
	var pairs []*pair
	for _, from := range s.sources {
		for _, e := range from.entries {
			if e.inForce() {
				pairs = append(pairs, s.stapled(e.value))
			}
		}
	}
	s.table.Store(newTable(pairs, s.awaited()...))
}

// awaited are the hosts whose certificate is ordered and not there yet.
func (s *store) awaited() []string {
	var hosts []string
	for _, from := range s.sources {
		for i, e := range from.entries {
			if from.ACME != nil && !e.inForce() {
				hosts = append(hosts, from.ACME.Hosts[i])
			}
		}
	}
	return hosts
}

// lookAt brings one source up to date and says whether another certificate is in force than before.
func (s *store) lookAt(from *source, failed func(error)) (changed bool) {
	if from.Dir != "" {
		listed, err := listFolder(from.Dir)
		if err != nil {
			from.tell(err, failed)
			return false
		}
		changed = s.follow(from, listed, failed)
	}
	for _, e := range from.entries {
		if len(from.SelfSigned) > 0 || e.missed > 0 {
			continue
		}
		known := e.inForce()
		is, err := e.look(func() (*pair, error) { return readPair(e.from.cert, e.from.key) })
		if err != nil && (known || !from.awaits(e, err)) {
			failed(err)
		}
		if is {
			changed = true
			s.announce(e.value)
		}
	}
	if from.ACME == nil && !slices.ContainsFunc(from.entries, (*entry).inForce) { // at start: later the last ones stay
		from.tell(&fault{from.Dir, errors.New("it holds no certificate with its key")}, failed)
	}
	return changed
}

// awaits tells that the reason why there is no pair is none to worry about: it is not ordered yet, or the file was never meant to be one.
func (from *source) awaits(e *entry, err error) bool {
	switch {
	case from.ACME != nil:
		return errors.Is(err, fs.ErrNotExist)
	case from.Dir != "":
		return e.from.isNoPair(err)
	}
	return false
}

// follow makes the entries of a source those that its folder has, and says whether one is dropped.
func (s *store) follow(from *source, listed *folder, failed func(error)) (dropped bool) {
	known := map[string]*entry{}
	for _, e := range from.entries {
		known[e.from.cert] = e
	}
	var entries []*entry
	for _, f := range listed.pairs {
		e := known[f.cert]
		delete(known, f.cert)
		switch {
		case e == nil:
			e = newEntry(f)
		case e.from != f:
			e.setFiles(f)
		}
		e.missed = 0
		entries = append(entries, e)
	}
	var gone []*entry
	for _, e := range known {
		switch {
		case e.value == nil: // it never was one
		case listed.has(e.from.cert): // its key is gone, which the next reading tells
			e.missed = 0
			entries = append(entries, e)
		case e.missed+1 < missedMax:
			e.missed++
			entries = append(entries, e)
		default:
			gone = append(gone, e)
		}
	}
	if len(gone) > 0 && !slices.ContainsFunc(entries, (*entry).inForce) {
		// Without any, no handshake could be made.
		from.tell(&fault{from.Dir, errors.New("it holds no certificate with its key any more")}, failed)
		entries = append(entries, gone...)
	} else {
		from.trouble = ""
		dropped = len(gone) > 0
		for _, e := range gone {
			slog.Info("a TLS certificate is no longer in its folder", "tls", s.set, "file", e.from.cert, "names", e.value.info.Names)
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int { return strings.Compare(a.from.cert, b.from.cert) })
	from.entries = entries
	return dropped
}

func (e *entry) inForce() bool { return e.value != nil }

// tell tells what is wrong with the folder, once.
func (from *source) tell(err error, failed func(error)) {
	if from.trouble != err.Error() {
		from.trouble = err.Error()
		failed(err)
	}
}

// announce tells of a certificate that is in force from now on. At start only what is wrong with one is told.
func (s *store) announce(p *pair) {
	if doubts := p.doubts(s.now()); len(doubts) > 0 {
		slog.Warn("a TLS certificate is in force that clients will refuse", "tls", s.set, "file", p.info.Source,
			"names", p.info.Names, "error", errors.Join(doubts...))
	} else if s.table.Load() != nil {
		slog.Info("a TLS certificate is in force", "tls", s.set, "file", p.info.Source, "names", p.info.Names,
			"not_after", p.info.NotAfter)
	}
}
