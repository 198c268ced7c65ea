package consumer

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Live are consumers that are edited while requests look for them: a request finds either what was before an edit or what is after it, and
// waits for nothing. It is closed until it is opened, and whoever needs it then is refused. Safe for concurrent use.
type Live struct {
	group   string
	edits   sync.Mutex // of the content, and of what was saved
	content atomic.Pointer[content]
}

// NewLive returns what is closed.
func NewLive(group string) *Live { return &Live{group: group} }

// Open makes these the consumers.
func (l *Live) Open(consumers iter.Seq[*Consumer]) {
	l.edits.Lock()
	defer l.edits.Unlock()
	c := &content{seed: maphash.MakeSeed()}
	var pad padding
	for one := range consumers {
		for _, made := range credentialsOf(l.group, one, nil) {
			c.keys.fill(shardOf(made.key.Sum), made.key.Sum, made.credential)
		}
		if u := userOf(l.group, one, nil); u != nil {
			c.users.fill(c.shardOf(one.Name), one.Name, u)
			pad = pad.over(u)
		}
	}
	c.pad.Store(&pad)
	l.content.Store(c)
}

// Close refuses everybody until it is opened again.
func (l *Live) Close() {
	l.edits.Lock()
	defer l.edits.Unlock()
	l.content.Store(nil)
}

// Replace puts a consumer in the place of what it was before; nil is none. When it returns, requests that begin find what is after, and no
// longer what was before. It copies the parts of the tables in which the keys and the name lie, each a 4,096th of the whole.
func (l *Live) Replace(before, after *Consumer) {
	l.edits.Lock()
	defer l.edits.Unlock()
	c := l.content.Load()
	if c == nil {
		return // it will be opened with what is after
	}
	var user *user
	kept := make(map[[sha256.Size]byte]bool)
	if after != nil {
		for _, made := range credentialsOf(l.group, after, c) {
			kept[made.key.Sum] = true
			c.keys.set(shardOf(made.key.Sum), made.key.Sum, made.credential)
		}
		user = userOf(l.group, after, c)
	}
	if before != nil {
		for _, k := range before.Keys {
			if !kept[k.Sum] {
				c.keys.remove(shardOf(k.Sum), k.Sum)
			}
		}
		if user == nil || after.Name != before.Name {
			c.users.remove(c.shardOf(before.Name), before.Name)
		}
	}
	if user != nil {
		pad := c.pad.Load().over(user)
		c.pad.Store(&pad) // before anybody finds the user, who must not stand out
		c.users.set(c.shardOf(after.Name), after.Name, user)
	}
}

// Use is when a key or a password was used last.
type Use struct {
	Consumer, ID string
	At           int64 // Unix time
	of           *usage
}

// Unsaved calls yield with what was used since that was saved. It looks at everything that there is.
func (l *Live) Unsaved(yield func(Use)) {
	c := l.content.Load()
	if c == nil {
		return
	}
	one := func(name string, made *credential) {
		if at := made.used.at.Load(); at > made.used.saved.Load() {
			yield(Use{Consumer: name, ID: made.id, At: at, of: made.used})
		}
	}
	for made := range c.keys.all() {
		one(made.identity.Subject(), made)
	}
	for u := range c.users.all() {
		for _, made := range u.passwords {
			one(made.identity.Subject(), made)
		}
	}
}

// Saved says that a use was saved.
func (u *Use) Saved() { u.of.saved.Store(u.At) }

// LastUsed returns when a key of this sum, or a password of this consumer and id, was used last, in Unix time; 0: never.
func (l *Live) LastUsed(name, id string, sum [sha256.Size]byte) int64 {
	c := l.content.Load()
	if c == nil {
		return 0
	}
	if made := c.key(sum); made != nil {
		return made.used.at.Load()
	}
	if u := c.users.shard(c.shardOf(name))[name]; u != nil {
		for _, made := range u.passwords {
			if made.id == id {
				return made.used.at.Load()
			}
		}
	}
	return 0
}

// Len is how many keys there are, for metrics.
func (l *Live) Len() int {
	n := 0
	if c := l.content.Load(); c != nil {
		for i := range c.keys {
			n += len(c.keys.shard(uint32(i)))
		}
	}
	return n
}

// content is what an opened Live holds.
type content struct {
	keys  sharded[[sha256.Size]byte, *credential]
	users sharded[string, *user]
	seed  maphash.Seed            // nobody can choose names that share a shard
	pad   atomic.Pointer[padding] // it only grows: a password that is gone still costs what it did
}

func (c *content) shardOf(name string) uint32 { return uint32(maphash.String(c.seed, name)) % shards }

// shardOf takes the sum of a key as the random number that it is: the gateway has made the key.
func shardOf(sum [sha256.Size]byte) uint32 { return binary.LittleEndian.Uint32(sum[:]) % shards }

// key returns what a sum stands for, or nil. See APIKey.find on the time that it takes.
func (c *content) key(sum [sha256.Size]byte) *credential {
	if made := c.keys.shard(shardOf(sum))[sum]; made != nil && subtle.ConstantTimeCompare(made.sum[:], sum[:]) == 1 {
		return made
	}
	return nil
}

func (c *content) user(name []byte) *user {
	return c.users.shard(uint32(maphash.Bytes(c.seed, name)) % shards)[string(name)]
}

// made is a key with what it became.
type made struct {
	key        *Key
	credential *credential
}

// credentialsOf makes the keys of a consumer; those that were there know when they were used last.
func credentialsOf(group string, c *Consumer, before *content) []made {
	list := make([]made, len(c.Keys))
	for i := range c.Keys {
		k := &c.Keys[i]
		one := c.credential(KindKey, group, k.Sum, nil, k.Expires, k.Scopes)
		one.id, one.used = k.ID, usedSince(k.LastUsed)
		if before != nil {
			if old := before.key(k.Sum); old != nil {
				one.used = old.used
			}
		}
		list[i] = made{k, one}
	}
	return list
}

// userOf makes the passwords of a consumer, nil if it has none.
func userOf(group string, c *Consumer, before *content) *user {
	if len(c.Passwords) == 0 {
		return nil
	}
	var old *user
	if before != nil {
		old = before.users.shard(before.shardOf(c.Name))[c.Name]
	}
	u := &user{}
	for _, p := range c.Passwords {
		one := c.credential(KindBasic, group, p.Sum, p.Argon2, p.Expires, p.Scopes)
		one.id, one.used = p.ID, usedSince(p.LastUsed)
		if old != nil {
			if i := slices.IndexFunc(old.passwords, func(o *credential) bool { return o.id == p.ID }); i >= 0 {
				one.used = old.passwords[i].used
			}
		}
		u.passwords = append(u.passwords, one)
	}
	u.sort()
	return u
}

// shards is how many parts a table has. An edit copies one: with a million keys, some 250 of them.
const shards = 1 << 12

// sharded is a table of maps that never change once they can be seen: an edit puts another in their place.
type sharded[K comparable, V any] [shards]atomic.Pointer[map[K]V]

func (s *sharded[K, V]) shard(i uint32) map[K]V {
	if m := s[i].Load(); m != nil {
		return *m
	}
	return nil
}

// fill is set for a table that nobody sees yet.
func (s *sharded[K, V]) fill(i uint32, key K, value V) {
	m := s.shard(i)
	if m == nil {
		m = make(map[K]V)
		s[i].Store(&m)
	}
	m[key] = value
}

func (s *sharded[K, V]) set(i uint32, key K, value V) {
	m := maps.Clone(s.shard(i))
	if m == nil {
		m = make(map[K]V)
	}
	m[key] = value
	s[i].Store(&m)
}

func (s *sharded[K, V]) remove(i uint32, key K) {
	m := maps.Clone(s.shard(i))
	delete(m, key)
	s[i].Store(&m)
}

func (s *sharded[K, V]) all() iter.Seq[V] {
	return func(yield func(V) bool) {
		for i := range s {
			for _, v := range s.shard(uint32(i)) {
				if !yield(v) {
					return
				}
			}
		}
	}
}
