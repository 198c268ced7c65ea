package compile

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/control/config"
	"sluice/control/roster"
	"sluice/proxy/auth/consumer"
)

// membersFile is the name of the file of stored consumers in the state folder.
const membersFile = "consumers.db"

// Times of last use are written this often, and this many at a time: what is on the disk is as old at most. Between two batches edits go on.
const (
	usesEvery = time.Minute
	usesBatch = 4096
)

// retryEvery is how often a file that could not be opened is tried again: the gateway that has it may be one that is ending.
const retryEvery = 2 * time.Second

// Members are the consumers that the admin listener edits: their file, and what guards look for them in. They outlive configurations, since
// the file is locked. Until the file is open, and when it is found broken, every group is closed.
type Members struct {
	path string

	opening sync.Mutex // of those who open, read and close the file, however long that takes; it is taken before mu
	ended   bool       // under opening

	mu      sync.Mutex // of what follows: nobody waits for the disk with it
	file    *roster.File
	groups  map[string]*liveGroup      // those that are served
	beside  map[string]*consumer.Group // what is served of the configuration
	missed  map[string]bool            // groups that were not served when an edit of them was done, which had begun when they were
	why     atomic.Pointer[string]     // the groups are closed; nil: they are not
	edits   atomic.Uint64
	stop    chan struct{} // not nil while times of use are written
	stopped chan struct{}
}

// liveGroup is a group, and the file that it was read from; nil: none. That is under opening of its Members.
type liveGroup struct {
	*consumer.Live
	from *roster.File
}

// asksStored reports whether a policy asks for consumers that are stored.
func (p *Plan) asksStored(d *config.Policy) bool {
	var group string
	switch {
	case d.APIKey != nil:
		group = d.APIKey.Consumers.Text
	case d.BasicAuth != nil:
		group = d.BasicAuth.Consumers.Text
	case d.Signature != nil:
		group = d.Signature.Consumers.Text
	}
	return p.stored[group] != nil
}

// members finds what the plan needs for its groups, and opens nothing yet. A group that is not served is the plan's until that is committed.
func (b *builder) members() {
	b.plan.stored = make(map[string]*liveGroup)
	b.runtime.mu.Lock()
	running := b.runtime.members
	b.runtime.mu.Unlock()
	for _, g := range b.config.Consumers {
		if !g.Value.Stored {
			continue
		}
		path := stateFile(b.config, membersFile)
		switch {
		case b.plan.members != nil:
		case running != nil && running.path == path:
			b.plan.members = running
		default:
			closed := "the stored consumers were not read yet"
			b.plan.members = &Members{path: path}
			b.plan.members.why.Store(&closed)
		}
		group := b.plan.members.group(g.Name)
		if group == nil {
			group = &liveGroup{Live: consumer.NewLive(g.Name)}
		}
		b.plan.stored[g.Name] = group
	}
}

// live is what a group is looked up in, beside the configuration. A dry runtime reads no file: nobody is in it.
func (b *builder) live(group string) *consumer.Live {
	l := b.plan.stored[group]
	if b.runtime.options.Dry {
		l.Open(func(func(*consumer.Consumer) bool) {})
	}
	return l.Live
}

// group returns a group that is served, or nil.
func (m *Members) group(name string) *liveGroup {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.groups[name]
}

// openMembers opens the file if it is not open, and reads the groups that were not read. If that fails the routes of the groups are closed
// until it works.
func (b *builder) openMembers() {
	m := b.plan.members
	if m == nil || b.runtime.options.Dry {
		return
	}
	file, err := m.open(b.plan.stored)
	if err != nil {
		slog.Error("the stored consumers cannot be read: the routes that ask for them are closed", "error", err)
		for _, group := range slices.Sorted(maps.Keys(b.plan.stored)) {
			b.warn(config.JoinPath("consumers", group, "stored"), "the routes of the group are closed: "+err.Error(), "end the other gateway, or put a copy in the place of a broken file")
		}
		return
	}
	for _, group := range b.config.Consumers {
		if !group.Value.Stored {
			continue
		}
		for _, c := range group.Value.List {
			if known, err := file.Get(group.Name, c.Name); err == nil && known != nil {
				b.warn(config.JoinPath("consumers", group.Name, c.Name), "a stored consumer has the same name: only the one here counts",
					"remove one of them; DELETE /v1/consumers/"+group.Name+"/"+c.Name+" the stored one")
			}
		}
	}
}

// open opens the file if it is not open, or is found broken, and reads the groups that were not read from it: those that are served, and those of
// a plan, if any. On an error all that are served are closed.
func (m *Members) open(plan map[string]*liveGroup) (*roster.File, error) {
	m.opening.Lock()
	defer m.opening.Unlock()
	if m.ended {
		return nil, errors.New(endedText)
	}
	m.mu.Lock()
	file, served := m.file, m.groups // a map does not change
	m.mu.Unlock()
	if file != nil && file.Broken() != nil {
		_ = file.Close() // it gives up the lock; what it says of a broken file is known
		file = nil       // whoever asks gets ErrBroken until there is another one
	}
	if file == nil {
		var err error
		if file, err = roster.Open(m.path); err != nil {
			return nil, m.closes(nil, err)
		}
		m.mu.Lock()
		m.file = file
		m.mu.Unlock()
	}
	for _, groups := range []map[string]*liveGroup{served, plan} {
		if err := read(file, groups); err != nil {
			closeGroups(plan)
			return nil, m.closes(file, err)
		}
	}
	m.why.Store(nil)
	return file, nil
}

// read reads the groups that were not read from the file. The caller holds opening.
func read(file *roster.File, groups map[string]*liveGroup) error {
	for name, g := range groups {
		if g.from == file {
			continue
		}
		var err error
		g.Open(all(file, name, &err))
		if err != nil {
			g.Close()
			return err
		}
		g.from = file
	}
	return nil
}

// all yields the consumers of a group in the file.
func all(file *roster.File, group string, err *error) iter.Seq[*consumer.Consumer] {
	return func(yield func(*consumer.Consumer) bool) {
		*err = file.All(group, func(one *roster.Member) { yield(consumerOfMember(one)) })
	}
}

// closes closes every group that is served, with the file that there is from now on. The caller holds opening.
func (m *Members) closes(file *roster.File, why error) error {
	text := why.Error()
	m.mu.Lock()
	m.file = file
	m.why.Store(&text)
	groups := m.groups
	m.mu.Unlock()
	closeGroups(groups)
	return why
}

func closeGroups(groups map[string]*liveGroup) {
	for _, g := range groups {
		g.Close()
		g.from = nil
	}
}

// start says that these groups are served, and begins to write times of use.
func (m *Members) start(groups map[string]*liveGroup, beside map[string]*consumer.Group) {
	m.opening.Lock()
	defer m.opening.Unlock()
	m.mu.Lock()
	m.groups, m.beside = groups, beside
	missed := m.missed
	m.missed = nil
	file, closed := m.file, m.why.Load() != nil
	if m.stop == nil {
		m.stop, m.stopped = make(chan struct{}), make(chan struct{})
		go m.keep(m.stop, m.stopped)
	}
	m.mu.Unlock()
	for name := range missed {
		if g := groups[name]; g != nil {
			g.from = nil // the plan may have read it before the edit
		}
	}
	// The file may not be the one any more that the plan has read, or was found broken since.
	if closed {
		closeGroups(groups)
	} else if err := read(file, groups); err != nil {
		slog.Error("the stored consumers cannot be read: the routes that ask for them are closed", "error", m.closes(file, err))
	}
}

// replace puts a consumer in the place of what it was before, for requests of every configuration: live is where it was when the edit began, and
// the group may have been dropped and have come back since, or be about to.
func (m *Members) replace(group string, live *consumer.Live, before, after *consumer.Consumer) {
	live.Replace(before, after)
	m.mu.Lock()
	served := m.groups[group]
	if served == nil {
		if m.missed == nil {
			m.missed = make(map[string]bool)
		}
		m.missed[group] = true
	}
	m.mu.Unlock()
	if served != nil && served.Live != live {
		served.Replace(before, after)
	}
}

// retire is end for those who have nobody to tell: an error is in the log.
func (m *Members) retire() {
	if err := m.end(); err != nil {
		slog.Error("stored consumers did not end as they should", "error", err)
	}
}

// end writes what is to be written, and closes the file.
func (m *Members) end() error {
	m.mu.Lock()
	stop, stopped := m.stop, m.stopped
	m.stop = nil
	m.mu.Unlock()
	if stop != nil {
		close(stop)
		<-stopped
	}
	m.opening.Lock()
	defer m.opening.Unlock()
	m.ended = true
	m.mu.Lock()
	file := m.file
	m.file = nil
	text := endedText
	m.why.Store(&text)
	m.mu.Unlock()
	if file == nil {
		return nil
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("cannot close the file of consumers: %w", err)
	}
	// Exchanges of the old configuration are judged by what was known last.
	return nil
}

// endedText is why those are closed that no configuration needs.
const endedText = "the stored consumers are closed"

// keep writes when consumers were seen, and tries again to open what could not be.
func (m *Members) keep(stop, stopped chan struct{}) {
	defer close(stopped)
	save, retry := time.NewTicker(usesEvery), time.NewTicker(retryEvery)
	defer save.Stop()
	defer retry.Stop()
	for done := false; !done; {
		select {
		case <-retry.C:
			m.retry()
			continue
		case <-save.C:
		case <-stop:
			done = true
		}
		if err := m.saveUses(); err != nil {
			slog.Error("when consumers were seen last was not written", "error", err)
		}
	}
}

// retry opens the file if it is not open. One that was found broken waits for a reload: somebody has to look after it.
func (m *Members) retry() {
	m.mu.Lock()
	absent := m.file == nil && m.why.Load() != nil
	m.mu.Unlock()
	if !absent {
		return
	}
	if _, err := m.open(nil); err == nil {
		slog.Info("the stored consumers are there: the routes that ask for them are open")
	}
}

// saveUses writes what was used since it was done last.
func (m *Members) saveUses() error {
	m.mu.Lock()
	file, groups := m.file, make(map[string]*consumer.Live, len(m.groups))
	for name, g := range m.groups {
		groups[name] = g.Live
	}
	m.mu.Unlock()
	if file == nil || file.Broken() != nil {
		return nil
	}
	var uses []roster.Use
	var marks []consumer.Use
	save := func() error {
		if len(uses) == 0 {
			return nil
		}
		if err := m.checked(file.SaveUses(uses)); err != nil {
			return err
		}
		for i := range marks {
			marks[i].Saved()
		}
		uses, marks = uses[:0], marks[:0]
		return nil
	}
	var errs error
	for name, live := range groups {
		live.Unsaved(func(u consumer.Use) {
			uses, marks = append(uses, roster.Use{Group: name, Name: u.Consumer, ID: u.ID, At: u.At}), append(marks, u)
			if len(uses) == usesBatch && errs == nil {
				errs = save()
			}
			if errs != nil {
				uses, marks = uses[:0], marks[:0] // they are tried again next time
			}
		})
	}
	return errors.Join(errs, save())
}

// checked closes the groups if an error says that the file is broken. It may be about a former file: then nothing is wrong any more.
func (m *Members) checked(err error) error {
	if !errors.Is(err, roster.ErrBroken) {
		return err
	}
	m.opening.Lock()
	defer m.opening.Unlock()
	m.mu.Lock()
	file, known := m.file, m.why.Load() != nil
	m.mu.Unlock()
	if file == nil || file.Broken() == nil {
		return err
	}
	if !known {
		slog.Error("the stored consumers cannot be read any more: the routes that ask for them are closed", "error", err)
	}
	return m.closes(file, err)
}

// Unready says why the groups are closed, or is empty.
func (m *Members) Unready() string {
	if m == nil {
		return ""
	}
	if why := m.why.Load(); why != nil {
		return "consumers: " + *why
	}
	return ""
}

// MembersCounts are for metrics.
type MembersCounts struct {
	Open  bool
	Keys  map[string]int // by group
	Edits uint64         // that were acknowledged
}

// Counts returns the state of the groups.
func (m *Members) Counts() MembersCounts {
	c := MembersCounts{Open: m.why.Load() == nil, Keys: make(map[string]int), Edits: m.edits.Load()}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, g := range m.groups {
		c.Keys[name] = g.Len()
	}
	return c
}

// consumerOfMember makes of what is kept what guards look for. Nothing of it is shared.
func consumerOfMember(m *roster.Member) *consumer.Consumer {
	c := &consumer.Consumer{Name: m.Name, Plan: m.Plan, Scopes: m.Scopes, Labels: sortedLabels(m.Labels)}
	c.Record = fmt.Sprintf("%d of %d", m.First, m.Created.Unix()) // the time is for a file that has begun to count anew
	for i := range m.Keys {
		k := &m.Keys[i]
		c.Keys = append(c.Keys, consumer.Key{
			Sum: [32]byte(k.Sum), Prefix: k.Prefix, Expires: k.Expires, Scopes: k.Scopes, ID: k.ID, LastUsed: k.LastUsed,
		})
	}
	for i := range m.Passwords {
		p := &m.Passwords[i]
		made := consumer.Password{Expires: p.Expires, Scopes: p.Scopes, ID: p.ID, LastUsed: p.LastUsed}
		if a := p.Argon2; a != nil {
			made.Argon2 = &consumer.Argon2{Memory: a.Memory, Time: a.Time, Threads: a.Threads, Salt: a.Salt, Sum: a.Sum}
		} else {
			made.Sum = [32]byte(p.Sum)
		}
		c.Passwords = append(c.Passwords, made)
	}
	return c
}

// Members returns the stored consumers, or nil if no group has any.
func (r *Runtime) Members() *Members {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members
}

// useMembers puts what a plan needs in the place of what ran. The old one is ended by the caller, without the lock.
func (r *Runtime) useMembers(p *Plan) (old *Members) {
	if r.members != p.members {
		old = r.members
	}
	r.members = p.members
	return old
}

// String names the file in messages.
func (m *Members) String() string { return fmt.Sprintf("the consumers in %s", m.path) }
