package roster

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// MembersMax is how many there may be in a group.
const MembersMax = 4 << 20

// ErrFull is returned when a group has as many members as it may have.
var ErrFull = fmt.Errorf("the group has %d consumers already", MembersMax)

// Edit changes a member: change gets what there is, nil if there is none, and returns what is to be instead, nil for none; an error changes
// nothing, and is returned. So is one of the disk: if that leaves open what is on it, the file is broken. done is called when the change is on the disk, before the next one begins. What change gets is its own.
func (f *File) Edit(group, name string, change func(*Member) (*Member, error), done func(before, after *Member)) error {
	f.edits.Lock()
	defer f.edits.Unlock()
	var before, after *Member
	err := f.change(func(tx *bolt.Tx) error {
		var err error
		if before, err = f.member(tx, group, name); err != nil {
			return err
		}
		own, err := f.member(tx, group, name)
		if err != nil {
			return err
		}
		if after, err = change(own); err != nil || before == nil && after == nil {
			return err
		}
		return f.put(tx, group, name, before, after)
	})
	if err != nil {
		return err
	}
	done(before, after)
	return nil
}

// change runs a transaction. One that fails before its root is written has changed nothing: a full disk costs an edit, and no more. If it
// fails afterwards, because the disk does not take the root, whoever reads the file finds the edit in it, and it may be gone after the next
// loss of power. Then the file is not what anybody was told, so that nobody uses it until it is opened again, which writes the root once more.
func (f *File) change(do func(*bolt.Tx) error) error {
	return f.guarded(func() error {
		before, err := f.root()
		if err != nil {
			return err
		}
		failed := f.updates(f.db, do)
		if failed == nil || f.broken.Load() != nil {
			return failed
		}
		switch after, err := f.root(); {
		case err != nil:
			return f.breaks(errors.Join(failed, err))
		case after != before:
			return f.breaks(fmt.Errorf("nobody knows whether the last change is on the disk: %w", failed))
		}
		return failed
	})
}

// root is the number of the root that the file is read from: it is another one after every change.
func (f *File) root() (n int, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		n = tx.ID()
		return nil
	})
	return n, err
}

func (f *File) put(tx *bolt.Tx, group, name string, before, after *Member) error {
	all := tx.Bucket(membersBucket)
	bucket, err := all.CreateBucketIfNotExists([]byte(group))
	if err == nil {
		err = tx.Bucket(aboutBucket).Put(groupKey(group), []byte{1})
	}
	if err != nil {
		return err
	}
	count := bucket.Sequence()
	switch {
	case after == nil:
		count--
	case before == nil:
		if count++; count > MembersMax {
			return ErrFull
		}
	}
	if err := bucket.SetSequence(count); err != nil {
		return err
	}
	if err := f.forgetUses(tx, group, name, before, after); err != nil {
		return err
	}
	if after == nil {
		return bucket.Delete([]byte(name))
	}
	if after.Revision, err = all.NextSequence(); err != nil {
		return err
	}
	after.Name, after.First = name, after.Revision
	if before != nil {
		after.First = before.First
	}
	record, err := encode(after)
	if err != nil {
		return err
	}
	return bucket.Put([]byte(name), record)
}

// forgetUses removes the times of what is no longer there.
func (f *File) forgetUses(tx *bolt.Tx, group, name string, before, after *Member) error {
	bucket := tx.Bucket(usesBucket).Bucket([]byte(group))
	if bucket == nil || before == nil {
		return nil
	}
	kept := map[string]bool{}
	for id := range after.ids() {
		kept[id] = true
	}
	for id := range before.ids() {
		if !kept[id] {
			if err := bucket.Delete(useKey(name, id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ids yields those of keys and passwords.
func (m *Member) ids() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if m == nil {
			return
		}
		for i := range m.Keys {
			if !yield(m.Keys[i].ID) {
				return
			}
		}
		for i := range m.Passwords {
			if !yield(m.Passwords[i].ID) {
				return
			}
		}
	}
}

func useKey(name, id string) []byte { return []byte(name + "\x00" + id) }

// SaveUses writes when keys and passwords were used. Those that are gone meanwhile are passed over.
func (f *File) SaveUses(uses []Use) error {
	f.edits.Lock()
	defer f.edits.Unlock()
	return f.change(func(tx *bolt.Tx) error {
		for _, u := range uses {
			m, err := f.member(tx, u.Group, u.Name)
			if err != nil {
				return err
			}
			if !m.has(u.ID) {
				continue
			}
			bucket, err := tx.Bucket(usesBucket).CreateBucketIfNotExists([]byte(u.Group))
			if err != nil {
				return err
			}
			if err := bucket.Put(useKey(u.Name, u.ID), binary.BigEndian.AppendUint64(nil, uint64(u.At))); err != nil {
				return err
			}
		}
		return nil
	})
}

func (m *Member) has(id string) bool {
	for known := range m.ids() {
		if known == id {
			return true
		}
	}
	return false
}

// member reads one, nil if there is none. An error is that of a broken file.
func (f *File) member(tx *bolt.Tx, group, name string) (*Member, error) {
	bucket := tx.Bucket(membersBucket).Bucket([]byte(group))
	if bucket == nil {
		return nil, nil
	}
	data := bucket.Get([]byte(name))
	if data == nil {
		return nil, nil
	}
	m, err := decode(name, data)
	if err != nil {
		return nil, f.breaks(err)
	}
	return m, f.addUses(tx, group, m)
}

func (f *File) addUses(tx *bolt.Tx, group string, m *Member) error {
	bucket := tx.Bucket(usesBucket).Bucket([]byte(group))
	if bucket == nil {
		return nil
	}
	at := func(id string) (int64, error) {
		data := bucket.Get(useKey(m.Name, id))
		switch len(data) {
		case 0:
			return 0, nil
		case 8:
			return int64(binary.BigEndian.Uint64(data)), nil
		}
		return 0, f.breaks(errors.New("a time of last use is no time"))
	}
	var err error
	for i := range m.Keys {
		if m.Keys[i].LastUsed, err = at(m.Keys[i].ID); err != nil {
			return err
		}
	}
	for i := range m.Passwords {
		if m.Passwords[i].LastUsed, err = at(m.Passwords[i].ID); err != nil {
			return err
		}
	}
	return nil
}
