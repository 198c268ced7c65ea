package recall

import (
	"sync"
	"testing"
)

// thing is an entry of tests: its id is also its hash.
type thing struct {
	id    uint64
	bytes int
	until int
}

func newThings(n, bytesUsual int) *Table[thing] {
	return NewTable(n, bytesUsual, func(e *thing) int { return e.bytes })
}

func (e *thing) addTo(t *Table[thing], now int) {
	t.Add(e.id, e, func(old *thing) bool { return old.id == e.id }, func(old *thing) bool { return old.until <= now })
}

func find(t *Table[thing], id uint64) *thing {
	bucket := t.Bucket(id)
	for i := range bucket {
		if e := bucket[i].Load(); e != nil && e.id == id {
			return e
		}
	}
	return nil
}

// checkCounts tries that what is counted is what is there.
func checkCounts(t *testing.T, table *Table[thing]) {
	t.Helper()
	count, bytes := 0, 0
	for i := range table.places {
		if e := table.places[i].Load(); e != nil {
			count++
			bytes += e.bytes
		}
	}
	if count != table.Len() || int64(bytes) != table.bytes.Load() {
		t.Errorf("%d entries of %d bytes are there, counted are %d of %d", count, bytes, table.Len(), table.bytes.Load())
	}
}

// TestTablePlaces: there are as many places as asked for, or up to twice as many.
func TestTablePlaces(t *testing.T) {
	f := func(n, want int) {
		t.Helper()
		if got := len(newThings(n, 1).places); got != want {
			t.Errorf("%d places for %d", got, want)
		}
	}
	f(1, 4)
	f(4, 4)
	f(5, 8)
	f(8, 8)
	f(9, 16)
	f(100, 128)
	f(10000, 16384)
}

// TestTableRoom: what is new takes the place of the same, then of what is over, then of any other, and never a second one.
func TestTableRoom(t *testing.T) {
	table := newThings(4, 10)
	f := func(id uint64, until, now int, want ...uint64) {
		t.Helper()
		e := &thing{id: id, bytes: 1, until: until}
		e.addTo(table, now)
		if find(table, id) != e || table.Len() != len(want) {
			t.Errorf("%d was added, and there are %d", id, table.Len())
		}
		for _, id := range want {
			if find(table, id) == nil {
				t.Errorf("%d is not there", id)
			}
		}
		checkCounts(t, table)
	}
	f(1, 10, 0, 1)
	f(2, 10, 0, 1, 2)
	f(2, 20, 0, 1, 2)
	f(3, 20, 0, 1, 2, 3)
	f(4, 20, 0, 1, 2, 3, 4)
	f(5, 20, 10, 2, 3, 4, 5) // 1 is over
	f(3, 30, 20, 2, 3, 4, 5) // the same goes first, also where others are over
	f(6, 30, 20, 2, 3, 4, 6)

	table = newThings(4, 10)
	for id := range uint64(100) {
		e := &thing{id: id, bytes: 1, until: 10}
		if e.addTo(table, 0); find(table, id) != e || table.Len() != min(int(id)+1, 4) {
			t.Fatalf("%d was added, and there are %d", id, table.Len())
		}
	}
}

// TestTableBytes: large entries push out others, until there are no more bytes than there may be.
func TestTableBytes(t *testing.T) {
	table := newThings(64, 100)
	for i := range 1000 {
		(&thing{id: uint64(i), bytes: i % 2000, until: 1}).addTo(table, 0)
		if got := table.bytes.Load(); got > 64*100 {
			t.Fatalf("%d bytes after %d entries", got, i+1)
		}
	}
	if table.Len() == 0 {
		t.Error("nothing is left")
	}
	checkCounts(t, table)
}

func TestTableDrop(t *testing.T) {
	table := newThings(4, 10)
	one, same := &thing{id: 1, bytes: 3, until: 1}, &thing{id: 1, bytes: 5, until: 1}
	one.addTo(table, 0)
	place := &table.Bucket(1)[0]
	for i := range table.Bucket(1) {
		if p := &table.Bucket(1)[i]; p.Load() == one {
			place = p
		}
	}
	same.addTo(table, 0)
	if table.Drop(place, one); find(table, 1) != same {
		t.Error("another one was dropped")
	}
	table.Drop(place, same)
	table.Drop(place, same)
	if find(table, 1) != nil || table.Len() != 0 {
		t.Errorf("it is still there, or %d are", table.Len())
	}
	checkCounts(t, table)
}

// TestTableConcurrently adds, finds and drops from many goroutines, and counts afterwards.
func TestTableConcurrently(t *testing.T) {
	table := newThings(16, 10)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 2000 {
				id := uint64(i*7+worker) % 50
				if e := find(table, id); e == nil {
					(&thing{id: id, bytes: i % 30, until: i}).addTo(table, i-100)
				} else if i%5 == 0 {
					bucket := table.Bucket(id)
					table.Drop(&bucket[i%ways], e)
				}
			}
		})
	}
	group.Wait()
	checkCounts(t, table)
}
