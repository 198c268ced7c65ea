package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// AccessLogOptions say what is logged and where.
type AccessLogOptions struct {
	// Open opens what is written to, at once and on every Reopen; Output is the usual one.
	Open func() (io.WriteCloser, error)
	// Format is a template such as "$client $method $path $status"; empty: JSON. See fields for what it may hold.
	Format string
	// Sample is the share of exchanges that are logged: above 0, up to 1. It is the same for all of them, failures
	// too, so that counting lines estimates what happened; the metrics count every failure anyway.
	Sample float64
	// Headers are request fields to log in addition, in JSON only. Of several fields of one name the first is logged.
	Headers []string
	// Secrets are further names of parameters and fields whose values are not logged.
	Secrets Secrets
}

// headersMax bounds AccessLogOptions.Headers, formatMax AccessLogOptions.Format in bytes: with lineMax they make sure
// that a line fits in a block.
const (
	headersMax = 32
	formatMax  = 16 << 10
)

// AccessLog writes one line per exchange. A line is rendered in memory of its own goroutine, copied into a block under
// a short lock and written by another goroutine within flushEvery. Whoever reads the log slowly, or not at all,
// never delays a request: lines are dropped and counted. All methods are safe for concurrent use.
type AccessLog struct {
	settings atomic.Pointer[logSettings]
	changing sync.Mutex // orders Change and Reopen
	blocks   *blocks
	clock    clock
	lines    sync.Pool // of *line
}

// logSettings is what Change swaps.
type logSettings struct {
	open      func() (io.WriteCloser, error)
	format    []segment // nil: JSON
	threshold uint64    // of 1<<32
	headers   []loggedHeader
	secrets   Secrets
}

// NewAccessLog opens the log and starts its writer. Close ends it.
func NewAccessLog(o AccessLogOptions) (*AccessLog, error) {
	s, err := newLogSettings(o)
	if err != nil {
		return nil, err
	}
	out, err := s.open()
	if err != nil {
		return nil, fmt.Errorf("cannot open the access log: %w", err)
	}
	l := &AccessLog{blocks: newBlocks(out)}
	l.lines.New = func() any { return &line{log: l} }
	l.settings.Store(s)
	return l, nil
}

// Finish logs x.
func (l *AccessLog) Finish(x *proxy.Exchange) { l.record(x, wire.Now(), finalStatus(x)) }

// record logs x, which ended at end (wire.Now) with this status.
func (l *AccessLog) record(x *proxy.Exchange, end int64, status int) {
	s := l.settings.Load()
	if !s.sampled() {
		return
	}
	n := l.lines.Get().(*line)
	n.x, n.end, n.status, n.also = x, end, status, s.secrets
	if s.format == nil {
		n.text = n.appendJSON(n.text[:0], s.headers)
	} else {
		n.text = n.appendFormat(n.text[:0], s.format)
	}
	l.blocks.put(n.text)
	n.x = nil
	if cap(n.text) > lineKeepMax {
		n.text = nil
	}
	l.lines.Put(n)
}

// sampled reports whether a line is to be written.
func (s *logSettings) sampled() bool {
	return s.threshold >= everything || uint64(rand.Uint32()) < s.threshold
}

// lineKeepMax caps what a pooled line keeps, so that one large request does not stay for ever.
const lineKeepMax = 64 << 10

// everything is the threshold that every 32-bit number is below.
const everything = 1 << 32

// Dropped is how many lines were lost: the writer could not keep up, writing failed, or the log was closed.
func (l *AccessLog) Dropped() uint64 { return l.blocks.dropped.Load() }

// Change puts new options in place, for exchanges of earlier configurations too. On an error nothing has changed.
func (l *AccessLog) Change(o AccessLogOptions) error {
	s, err := newLogSettings(o)
	if err != nil {
		return err
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	if err := l.reopen(s); err != nil {
		return err
	}
	l.settings.Store(s)
	return nil
}

// Reopen opens the log anew, for a rotation that has renamed its file. What was logged before goes to the former file,
// which is then closed, all without waiting: it is done as soon as the write in progress ends.
func (l *AccessLog) Reopen() error {
	l.changing.Lock()
	defer l.changing.Unlock()
	return l.reopen(l.settings.Load())
}

func (l *AccessLog) reopen(s *logSettings) error {
	out, err := s.open()
	if err != nil {
		return fmt.Errorf("cannot open the access log: %w", err)
	}
	return l.blocks.replace(out)
}

// Close writes what is left and closes the log. It gives up when ctx ends: the reader may be stuck for ever. What
// finishes later is counted as dropped.
func (l *AccessLog) Close(ctx context.Context) error { return l.blocks.close(ctx) }

func newLogSettings(o AccessLogOptions) (*logSettings, error) {
	if o.Open == nil {
		return nil, errors.New("the access log has nowhere to go")
	}
	if !(o.Sample > 0 && o.Sample <= 1) {
		return nil, fmt.Errorf("the access log cannot sample %v of the exchanges: the share must be above 0 and at most 1", o.Sample)
	}
	if len(o.Headers) > headersMax {
		return nil, fmt.Errorf("the access log cannot hold %d header fields: at most %d", len(o.Headers), headersMax)
	}
	s := &logSettings{open: o.Open, threshold: max(1, uint64(o.Sample*everything)), secrets: o.Secrets}
	for _, name := range o.Headers {
		if !wire.IsToken(name) {
			return nil, fmt.Errorf("the access log cannot hold the field %q: that is no name of a header field", name)
		}
		s.headers = append(s.headers, newLoggedHeader(name, o.Secrets))
	}
	if o.Format != "" {
		var err error
		if s.format, err = parseFormat(o.Format, o.Secrets); err != nil {
			return nil, fmt.Errorf("cannot use the access log format: %w", err)
		}
	}
	return s, nil
}

// loggedHeader is a field of AccessLogOptions.Headers.
type loggedHeader struct {
	name   string
	key    string // "name": as JSON, name in lower case
	secret bool
}

func newLoggedHeader(name string, also Secrets) loggedHeader {
	name = strings.ToLower(name)
	return loggedHeader{name: name, key: `"` + name + `":`, secret: SecretHeader(name) || also.holds([]byte(name))}
}
