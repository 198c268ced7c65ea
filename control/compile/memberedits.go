package compile

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/control/roster"
	"sluice/proxy/auth/consumer"
)

// What an edit of a stored consumer may fail with, beside a *FieldError.
var (
	ErrNoMembers    = errors.New("no such group is stored")
	ErrNoMember     = errors.New("the group has no stored consumer of that name")
	ErrNoCredential = errors.New("the consumer has no key or password of that id")
	ErrConfigured   = errors.New("the configuration has a consumer of that name, which counts instead")
	ErrRevision     = errors.New("the consumer has changed meanwhile")
	ErrMembersBusy  = errors.New("they are closed")
)

// FieldError says what is wrong with one field of what was sent.
type FieldError struct{ Field, Why string }

func (e *FieldError) Error() string { return e.Field + " " + e.Why }

// Wanted is the revision that an edit is for. The zero value is any.
type Wanted struct {
	Revision uint64 // 0: any
	Absent   bool   // there must be none yet
	Present  bool   // there must be one
}

func (w Wanted) check(m *roster.Member) error {
	switch {
	case w.Absent && m != nil, w.Revision != 0 && (m == nil || m.Revision != w.Revision), w.Present && m == nil:
		return ErrRevision
	}
	return nil
}

// ConsumerInfo is what there is to know of a consumer, wherever it stands; never what a secret hashes to.
type ConsumerInfo struct {
	consumer.Status
	Labels   map[string]string `json:"labels,omitempty"`
	Created  *time.Time        `json:"created,omitempty"`
	Changed  *time.Time        `json:"changed,omitempty"`
	Revision uint64            `json:"-"`
}

// MemberFields are what may be said of a consumer.
type MemberFields struct {
	Plan   string
	Scopes []string
	Labels map[string]string
}

// MemberPatch changes some of it (RFC 7396): nil fields stay, and so do labels that are not named; a nil label goes.
type MemberPatch struct {
	Plan   *string
	Scopes *[]string
	Labels map[string]*string
}

// Put makes a consumer, or replaces what is said of it; keys and passwords stay.
func (m *Members) Put(group, name string, w Wanted, f MemberFields, now time.Time) (info ConsumerInfo, created bool, err error) {
	if why := config.CheckConsumerName(name); why != "" {
		return info, false, &FieldError{"name", "cannot be: " + why}
	}
	if field, why := config.CheckConsumer(f.Plan, f.Scopes, f.Labels); why != "" {
		return info, false, &FieldError{field, why}
	}
	if m.isConfigured(group, name) {
		return info, false, ErrConfigured
	}
	info, err = m.edit(group, name, w, now, func(one *roster.Member) (*roster.Member, error) {
		if created = one == nil; created {
			one = &roster.Member{Created: now}
		}
		one.Plan, one.Scopes, one.Labels = f.Plan, f.Scopes, f.Labels
		return one, nil
	})
	return info, created, err
}

// Patch changes some of what is said of a consumer.
func (m *Members) Patch(group, name string, w Wanted, p MemberPatch, now time.Time) (ConsumerInfo, error) {
	return m.edit(group, name, w, now, existing(func(one *roster.Member) error {
		if p.Plan != nil {
			one.Plan = *p.Plan
		}
		if p.Scopes != nil {
			one.Scopes = *p.Scopes
		}
		for label, value := range p.Labels {
			if value == nil {
				delete(one.Labels, label)
				continue
			}
			if one.Labels == nil {
				one.Labels = make(map[string]string)
			}
			one.Labels[label] = *value
		}
		if field, why := config.CheckConsumer(one.Plan, one.Scopes, one.Labels); why != "" {
			return &FieldError{field, why}
		}
		return nil
	}))
}

// Delete removes a consumer with its keys and passwords.
func (m *Members) Delete(group, name string, w Wanted) error {
	_, err := m.edit(group, name, w, time.Time{}, func(one *roster.Member) (*roster.Member, error) {
		if one == nil {
			return nil, ErrNoMember
		}
		return nil, nil
	})
	return err
}

// NewCredential is what a key or a password is to be.
type NewCredential struct {
	Prefix   string // of a key; empty: sk_ and the consumer's name, as far as that fits
	Password string // one that somebody has thought up; empty: the gateway makes one
	Scopes   []string
	Expires  time.Time // zero: never
}

func (n *NewCredential) check(now time.Time) error {
	if field, why := config.CheckScopes(n.Scopes); why != "" {
		return &FieldError{field, why}
	}
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return &FieldError{"expires", "is past"}
	}
	return nil
}

// AddKey makes a key. It is returned here, and kept nowhere.
func (m *Members) AddKey(group, name string, w Wanted, n NewCredential, now time.Time) (info ConsumerInfo, id, key string, err error) {
	if n.Prefix == "" {
		n.Prefix = ("sk_" + name)[:min(32, len("sk_"+name))]
	}
	if why := config.CheckKeyPrefix(n.Prefix); why != "" {
		return info, "", "", &FieldError{"prefix", why}
	}
	if err := n.check(now); err != nil {
		return info, "", "", err
	}
	made, key := newKey(n.Prefix, n.Scopes, n.Expires, now)
	info, err = m.edit(group, name, w, now, existing(func(one *roster.Member) error { return addKey(one, made, now) }))
	return info, made.ID, key, err
}

// RotateKey makes a key in the place of another, with its prefix and scopes. The old one is good for as long as they overlap, if it does not
// expire before.
func (m *Members) RotateKey(group, name, id string, w Wanted, overlap time.Duration, expires, now time.Time) (info ConsumerInfo, made, key string, err error) {
	if err := (&NewCredential{Expires: expires}).check(now); err != nil {
		return info, "", "", err
	}
	info, err = m.edit(group, name, w, now, existing(func(one *roster.Member) error {
		i := slices.IndexFunc(one.Keys, func(k roster.Key) bool { return k.ID == id })
		if i < 0 {
			return ErrNoCredential
		}
		old := &one.Keys[i]
		var fresh roster.Key
		fresh, key = newKey(old.Prefix, slices.Clone(old.Scopes), expires, now)
		if end := now.Add(overlap); old.Expires.IsZero() || end.Before(old.Expires) {
			old.Expires = end
		}
		made = fresh.ID
		return addKey(one, fresh, now)
	}))
	return info, made, key, err
}

func newKey(prefix string, scopes []string, expires, now time.Time) (roster.Key, string) {
	key := consumer.NewKey(prefix)
	sum := sha256.Sum256([]byte(key))
	return roster.Key{ID: newID(), Sum: sum[:], Prefix: prefix, Scopes: scopes, Created: now, Expires: expires}, key
}

// newID names a key or a password within its consumer.
func newID() string {
	var bits [8]byte
	rand.Read(bits[:]) // it never fails: see crypto/rand.Read
	return hex.EncodeToString(bits[:])
}

// addKey adds a key, and drops those that have expired.
func addKey(one *roster.Member, k roster.Key, now time.Time) error {
	one.Keys = slices.DeleteFunc(one.Keys, func(k roster.Key) bool { return !k.Expires.IsZero() && !k.Expires.After(now) })
	if len(one.Keys) == config.ConsumerKeysMax {
		return &FieldError{"keys", fmt.Sprintf("are %d already: revoke one", config.ConsumerKeysMax)}
	}
	one.Keys = append(one.Keys, k)
	return nil
}

// RevokeKey ends a key.
func (m *Members) RevokeKey(group, name, id string, w Wanted, now time.Time) (ConsumerInfo, error) {
	return m.edit(group, name, w, now, existing(func(one *roster.Member) error {
		n := len(one.Keys)
		if one.Keys = slices.DeleteFunc(one.Keys, func(k roster.Key) bool { return k.ID == id }); len(one.Keys) == n {
			return ErrNoCredential
		}
		return nil
	}))
}

// Bounds of passwords: those that can be shown in a request, and of which not all can be tried.
const (
	PasswordBytesMin = 8
	PasswordBytesMax = 512
)

// AddPassword hashes a password; without one it makes one, which is returned here and kept nowhere.
func (m *Members) AddPassword(group, name string, w Wanted, n NewCredential, now time.Time) (info ConsumerInfo, id, password string, err error) {
	if err := n.check(now); err != nil {
		return info, "", "", err
	}
	made := roster.Password{ID: newID(), Scopes: n.Scopes, Created: now, Expires: n.Expires}
	switch given := n.Password; {
	case given == "":
		password = consumer.RandomText()
		sum := sha256.Sum256([]byte(password))
		made.Sum = sum[:]
	case len(given) < PasswordBytesMin || len(given) > PasswordBytesMax:
		return info, "", "", &FieldError{"password", fmt.Sprintf("wants %d to %d bytes", PasswordBytesMin, PasswordBytesMax)}
	case strings.ContainsFunc(given, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return info, "", "", &FieldError{"password", "holds a control character, which no request can"}
	default:
		var salt [16]byte
		rand.Read(salt[:]) // it never fails: see crypto/rand.Read
		a := consumer.NewArgon2([]byte(given), salt[:])
		made.Argon2 = &roster.Argon2{Memory: a.Memory, Time: a.Time, Threads: a.Threads, Salt: a.Salt, Sum: a.Sum}
	}
	info, err = m.edit(group, name, w, now, existing(func(one *roster.Member) error {
		one.Passwords = slices.DeleteFunc(one.Passwords, func(p roster.Password) bool { return !p.Expires.IsZero() && !p.Expires.After(now) })
		if len(one.Passwords) == config.ConsumerPasswordsMax {
			return &FieldError{"passwords", fmt.Sprintf("are %d already: remove one", config.ConsumerPasswordsMax)}
		}
		one.Passwords = append(one.Passwords, made)
		return nil
	}))
	return info, made.ID, password, err
}

// RemovePassword ends a password.
func (m *Members) RemovePassword(group, name, id string, w Wanted, now time.Time) (ConsumerInfo, error) {
	return m.edit(group, name, w, now, existing(func(one *roster.Member) error {
		n := len(one.Passwords)
		if one.Passwords = slices.DeleteFunc(one.Passwords, func(p roster.Password) bool { return p.ID == id }); len(one.Passwords) == n {
			return ErrNoCredential
		}
		return nil
	}))
}

// existing is a change of what is there.
func existing(change func(*roster.Member) error) func(*roster.Member) (*roster.Member, error) {
	return func(one *roster.Member) (*roster.Member, error) {
		if one == nil {
			return nil, ErrNoMember
		}
		return one, change(one)
	}
}

// edit is the way of every edit: to the disk first, and then to the guards. When it returns, both have it.
func (m *Members) edit(group, name string, w Wanted, now time.Time, change func(*roster.Member) (*roster.Member, error)) (ConsumerInfo, error) {
	file, live, err := m.opened(group)
	if err != nil {
		return ConsumerInfo{}, err
	}
	var result *roster.Member
	err = m.checked(file.Edit(group, name, func(one *roster.Member) (*roster.Member, error) {
		if err := w.check(one); err != nil {
			return nil, err
		}
		next, err := change(one)
		if next != nil {
			next.Changed = now
		}
		return next, err
	}, func(before, after *roster.Member) {
		var old, fresh *consumer.Consumer
		if before != nil {
			old = consumerOfMember(before)
		}
		if after != nil {
			fresh = consumerOfMember(after)
		}
		m.replace(group, live, old, fresh)
		m.edits.Add(1)
		result = after
	}))
	if err != nil {
		return ConsumerInfo{}, err
	}
	if result == nil {
		return ConsumerInfo{}, nil
	}
	return infoOf(group, result, live, now), nil
}

func (m *Members) opened(group string) (*roster.File, *consumer.Live, error) {
	if m == nil {
		return nil, nil, ErrNoMembers
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.groups[group]
	switch {
	case g == nil:
		return nil, nil, ErrNoMembers
	case m.why.Load() != nil:
		return nil, nil, fmt.Errorf("%w: %s", ErrMembersBusy, *m.why.Load())
	}
	return m.file, g.Live, nil
}

func (m *Members) isConfigured(group, name string) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.beside[group].Has(name)
}

// Get returns a consumer.
func (m *Members) Get(group, name string, now time.Time) (ConsumerInfo, error) {
	file, live, err := m.opened(group)
	if err != nil {
		return ConsumerInfo{}, err
	}
	one, err := file.Get(group, name)
	switch {
	case err != nil:
		return ConsumerInfo{}, m.checked(err)
	case one == nil:
		return ConsumerInfo{}, ErrNoMember
	}
	return infoOf(group, one, live, now), nil
}

// List returns up to n consumers of a group that follow one of a name, in their order.
func (m *Members) List(group, after string, n int, now time.Time) ([]ConsumerInfo, error) {
	file, live, err := m.opened(group)
	if err != nil {
		return nil, err
	}
	members, err := file.List(group, after, n)
	if err != nil {
		return nil, m.checked(err)
	}
	list := make([]ConsumerInfo, len(members))
	for i, one := range members {
		list[i] = infoOf(group, one, live, now)
	}
	return list, nil
}

func infoOf(group string, m *roster.Member, live *consumer.Live, now time.Time) ConsumerInfo {
	info := ConsumerInfo{
		Status: consumer.Status{Group: group, Name: m.Name, Stored: true, Plan: m.Plan, Scopes: m.Scopes},
		Labels: m.Labels, Created: &m.Created, Changed: &m.Changed, Revision: m.Revision,
	}
	one := func(id, prefix string, expires time.Time, scopes []string, used int64) consumer.Credential {
		c := consumer.Credential{ID: id, Prefix: prefix, Scopes: scopes}
		if !expires.IsZero() {
			c.Expires, c.Expired = &expires, !now.Before(expires)
		}
		if used != 0 {
			at := time.Unix(used, 0).UTC()
			c.LastUsed = &at
		}
		return c
	}
	for i := range m.Keys {
		k := &m.Keys[i]
		info.Keys = append(info.Keys, one(k.ID, k.Prefix, k.Expires, k.Scopes, max(k.LastUsed, live.LastUsed(m.Name, k.ID, [32]byte(k.Sum)))))
	}
	for i := range m.Passwords {
		p := &m.Passwords[i]
		info.Passwords = append(info.Passwords, one(p.ID, "", p.Expires, p.Scopes, max(p.LastUsed, live.LastUsed(m.Name, p.ID, [32]byte{}))))
	}
	return info
}

func sortedLabels(labels map[string]string) []consumer.Label {
	var list []consumer.Label
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, consumer.Label{Name: name, Value: labels[name]})
	}
	return list
}
