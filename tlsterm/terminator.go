package tlsterm

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/tlsterm/acme"
)

// pollEvery is how late a changed file may be noticed. Polling works on every file system, for links that are exchanged as
// well as for files that are; what it costs is a stat per file.
const pollEvery = time.Second

// Terminator ends TLS connections by one set of options. Its methods are safe for concurrent use.
type Terminator struct {
	config  *tls.Config
	store   *store
	tickets *tickets
	clients *clientRules // nil: no certificates are asked for
	ech     *echKeys     // nil: off
	mu      sync.Mutex   // held while looking
	orders  []*acme.Options
	counts  *Counts // never nil
}

// Open reads everything that the options name. An error says which file is to blame and why. What can be served and will not
// be liked, such as an expired certificate, is logged only: a host must be able to start. Check tells of it before.
func Open(o Options) (*Terminator, error) { return open(o, time.Now) }

func open(o Options, now func() time.Time) (*Terminator, error) {
	t, err := newTerminator(o, now)
	if err != nil {
		return nil, fmt.Errorf("cannot use the TLS settings %q: %w", o.Name, err)
	}
	return t, nil
}

func newTerminator(o Options, now func() time.Time) (*Terminator, error) {
	for _, p := range o.problems() {
		switch {
		case p.Warning:
			slog.Warn("a TLS setting works and should be another", "tls", o.Name, "error", p.Err)
		case p.Source != noSource:
			return nil, fmt.Errorf("certificate source %d: %w", p.Source+1, p.Err)
		default:
			return nil, p.Err
		}
	}
	t := &Terminator{counts: o.Counts}
	if t.counts == nil {
		t.counts = &Counts{}
	}
	var err error
	if t.store, err = openStore(o, t.counts, now); err != nil {
		return nil, err
	}
	if t.tickets, err = newTickets(o.Tickets, now); err != nil {
		return nil, err
	}
	t.config = o.Preset.config(o.MinVersion)
	t.config.Time = now
	t.config.NextProtos = slices.Clone(o.ALPN)
	t.config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return t.store.table.Load().certificate(hello)
	}
	t.config.WrapSession, t.config.UnwrapSession = t.tickets.wrap, t.tickets.unwrap
	if o.ECH != nil {
		if t.ech, err = newECH(o.Name, *o.ECH, now); err != nil {
			return nil, err
		}
		t.ech.tellBare(t.store.table.Load())
		t.config.GetEncryptedClientHelloKeys = t.ech.keys // which clones have as well
	}
	if len(o.ClientCerts) > 0 {
		if t.clients, err = newClientRules(o.Name, o.ClientCerts, t.config, now); err != nil {
			return nil, err
		}
		t.config = t.clients.config()
	}
	if list := o.challenges(); len(list) > 0 {
		t.config.GetConfigForClient = answering(list, now, t.config.GetConfigForClient)
	}
	t.orders = o.orders()
	return t, nil
}

// Config is for tls.Server, and the same as long as the Terminator lives: what changes is looked up in every handshake. It must
// not be changed. It may be cloned, which many servers do; a clone follows every change as well.
func (t *Terminator) Config() *tls.Config { return t.config }

// NameRules says by which of ClientCerts a connection has to be made for a name; nil: by the same for all names.
func (t *Terminator) NameRules() *NameRules {
	if t.clients == nil || !t.clients.names.named {
		return nil
	}
	return t.clients.names
}

// Run looks for changed files once a second, rotates the keys of tickets, forgets those of ECH and keeps ordered certificates and
// OCSP answers fresh, until ctx ends. An order that is under way then goes on for some minutes without it.
func (t *Terminator) Run(ctx context.Context) {
	for _, o := range t.orders {
		go acme.Run(ctx, o, &t.counts.ACME)
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.look()
			t.staple(ctx)
		}
	}
}

func (t *Terminator) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store.look()
	if t.clients != nil {
		t.clients.look()
	}
	if t.ech != nil {
		t.ech.look(t.store.table.Load())
	}
	t.tickets.turn() // so that a key is forgotten in time although nobody comes
}

func (t *Terminator) staple(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store.staple(ctx)
}

// Awaited are the hosts whose certificate is ordered and not there yet.
func (t *Terminator) Awaited() []string { return slices.Clone(t.store.table.Load().awaited) }

// Certificates are those in force, the default one first.
func (t *Terminator) Certificates() []Info {
	infos := slices.Clone(t.store.table.Load().infos)
	for i := range infos {
		infos[i].Names = slices.Clone(infos[i].Names)
	}
	return infos
}
