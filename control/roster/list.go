package roster

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Get returns a member, nil if there is none.
func (f *File) Get(group, name string) (*Member, error) {
	var m *Member
	err := f.guarded(func() error {
		return f.db.View(func(tx *bolt.Tx) (err error) {
			m, err = f.member(tx, group, name)
			return err
		})
	})
	return m, err
}

// List returns up to n members of a group, in the order of names, that follow one of a name.
func (f *File) List(group, after string, n int) ([]*Member, error) {
	var list []*Member
	err := f.guarded(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			bucket := tx.Bucket(membersBucket).Bucket([]byte(group))
			if bucket == nil {
				return nil
			}
			c := bucket.Cursor()
			name, data := c.Seek([]byte(after))
			if name != nil && after != "" && string(name) == after {
				name, data = c.Next()
			}
			for ; name != nil && len(list) < n; name, data = c.Next() {
				m, err := decode(string(name), data)
				if err != nil {
					return f.breaks(err)
				}
				if err := f.addUses(tx, group, m); err != nil {
					return err
				}
				list = append(list, m)
			}
			return nil
		})
	})
	return list, err
}

// All calls yield with every member of a group. It reads all that lies in the file of them, and finds out if something is missing.
func (f *File) All(group string, yield func(*Member)) error {
	return f.guarded(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			bucket := tx.Bucket(membersBucket).Bucket([]byte(group))
			switch known := tx.Bucket(aboutBucket).Get(groupKey(group)) != nil; {
			case known != (bucket != nil):
				return f.breaks(fmt.Sprintf("the group %s is lost", group))
			case !known:
				return nil
			}
			var n uint64
			var last []byte
			for c, name, data := cursor(bucket); name != nil; name, data = c.Next() {
				m, err := decode(string(name), data)
				if err == nil && n > 0 && bytes.Compare(last, name) >= 0 {
					err = fmt.Errorf("the consumers of the group %s are out of order", group)
				}
				if err != nil {
					return f.breaks(err)
				}
				if err := f.addUses(tx, group, m); err != nil {
					return err
				}
				yield(m)
				last = append(last[:0], name...)
				n++
			}
			if want := bucket.Sequence(); n != want {
				return f.breaks(fmt.Sprintf("the group %s has %d consumers, and %d are there", group, want, n))
			}
			return nil
		})
	})
}

func cursor(b *bolt.Bucket) (c *bolt.Cursor, name, data []byte) {
	c = b.Cursor()
	name, data = c.First()
	return c, name, data
}
