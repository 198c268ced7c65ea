package store

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/wire"
)

func TestPutAndGet(t *testing.T) {
	f := func(bytesOfStore int64, size int) {
		t.Helper()
		s := newStore(t, bytesOfStore)
		body := bodyOf("a", size)
		must(t, s.Put(itemOf(s, "example.com/a"), body))
		found, meta, got := get(t, s, "example.com/a")
		if found != Usable || meta != "head of example.com/a" || !bytes.Equal(got, body) {
			t.Errorf("store of %d, body of %d: found %d, meta %q, %d bytes", bytesOfStore, size, found, meta, len(got))
		}
		wantFound(t, s, "example.com/b", Missing)

		// The same in pieces of odd sizes.
		w := s.Create(itemOf(s, "example.com/b"))
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 777)
			if m, err := w.Write(rest[:n]); m != n || err != nil {
				t.Fatalf("wrote %d of %d: %v", m, n, err)
			}
			rest = rest[n:]
			wantFound(t, s, "example.com/b", Missing)
		}
		must(t, w.Commit())
		if found, _, got := get(t, s, "example.com/b"); found != Usable || !bytes.Equal(got, body) {
			t.Errorf("store of %d, body of %d in pieces: found %d, %d bytes", bytesOfStore, size, found, len(got))
		}
	}
	f(MinBytes, 0)
	f(MinBytes, 1)
	f(MinBytes, 900)
	f(MinBytes, 1000)
	f(MinBytes, 4000)
	f(64<<20, 0)
	f(64<<20, 1000)
	f(64<<20, 65_000)
	f(64<<20, 66_000)
	f(64<<20, 1<<20)
	f(64<<20, 4<<20)
	f(300<<20, 100<<10)
	f(300<<20, 3<<20)
}

func TestTooLarge(t *testing.T) {
	f := func(change func(it *Item), size int, want error) {
		t.Helper()
		s := newStore(t, 64<<20)
		it := itemOf(s, "example.com/a")
		change(it)
		wantErr(t, s.Put(it, make([]byte, size)), want)
		w := s.Create(it)
		_, err := w.Write(make([]byte, size))
		if err == nil {
			err = w.Commit()
		}
		wantErr(t, err, want)
		w.Abort()
		var e Entry
		if found := s.Get(it.Key, &e); (found != Missing) != (want == nil) {
			t.Errorf("found %d after %v", found, want)
		}
		e.Free()
	}
	f(func(*Item) {}, 4<<20, nil)
	f(func(*Item) {}, 4<<20+1, ErrTooLarge)
	f(func(it *Item) { it.Key = make([]byte, KeyMax) }, 1, nil)
	f(func(it *Item) { it.Key = make([]byte, KeyMax+1) }, 1, ErrTooLarge)
	f(func(it *Item) { it.Meta = make([]byte, 40_000) }, 1, nil)
	f(func(it *Item) { it.Meta = make([]byte, 40_000) }, 1<<20, nil)
	f(func(it *Item) { it.Meta = make([]byte, MetaMax) }, 1, ErrTooLarge) // of this store
	f(func(it *Item) { it.Tags = make([][]byte, TagsMax) }, 1, nil)
	f(func(it *Item) { it.Tags = make([][]byte, TagsMax+1) }, 1, ErrTooLarge)
	f(func(it *Item) { it.KeepFor = 0 }, 1, ErrExpired)
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(MinBytes, wire.Now)
		it := itemOf(s, "example.com/a")
		it.KeepFor = 1500 * time.Millisecond
		must(t, s.Put(it, []byte("a")))
		time.Sleep(1499 * time.Millisecond)
		wantFound(t, s, "example.com/a", Usable)
		time.Sleep(time.Millisecond)
		wantFound(t, s, "example.com/a", Missing)
	})
}

func TestAbort(t *testing.T) {
	s := newStore(t, MinBytes)
	w := s.Create(itemOf(s, "example.com/a"))
	if _, err := w.Write(make([]byte, 20_000)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	wantFound(t, s, "example.com/a", Missing)
	if n := s.Stats().Entries; n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestDelete(t *testing.T) {
	s := newStore(t, MinBytes)
	must(t, s.Put(itemOf(s, "example.com/a"), []byte("a")))
	s.Delete(itemOf(s, "example.com/a").Key)
	wantFound(t, s, "example.com/a", Missing)
}

func TestTorn(t *testing.T) {
	s := newStore(t, MinBytes)
	must(t, s.Put(itemOf(s, "example.com/a"), make([]byte, 20_000)))
	var e Entry
	if s.Get(itemOf(s, "example.com/a").Key, &e) != Usable {
		t.Fatal("not found")
	}
	k := chunkKeyOf(e.head.id, 3)
	s.del(k[:])
	p := make([]byte, e.Size)
	n, err := e.ReadAt(p, 0)
	wantErr(t, err, ErrTorn)
	if want := e.first + 3*e.head.chunk; n != want {
		t.Errorf("read %d bytes before the missing chunk, want %d", n, want)
	}
	wantErr(t, s.Refresh(&e, itemOf(s, "example.com/a")), ErrTorn)
	e.Free()
	wantFound(t, s, "example.com/a", Missing)
	if torn := s.Stats().Torn; torn != 3 {
		t.Errorf("%d are counted as torn, want 3", torn)
	}
}

func TestRefresh(t *testing.T) {
	f := func(bytesOfStore int64, size int) {
		t.Helper()
		s := newStore(t, bytesOfStore)
		body := bodyOf("a", size)
		must(t, s.Put(itemOf(s, "example.com/a", "old"), body))
		var e Entry
		if s.Get(itemOf(s, "example.com/a").Key, &e) != Usable {
			t.Fatal("not found")
		}
		it := itemOf(s, "example.com/a", "new")
		it.Meta = []byte("longer head, by some words")
		must(t, s.Refresh(&e, it))
		e.Free()
		if found, meta, got := get(t, s, "example.com/a"); found != Usable || meta != string(it.Meta) || !bytes.Equal(got, body) {
			t.Errorf("found %d, %q, %d bytes", found, meta, len(got))
		}
		s.PurgeTag("old", false)
		wantFound(t, s, "example.com/a", Usable)

		// Without tags those that it has stay.
		if s.Get(it.Key, &e) != Usable {
			t.Fatal("not found")
		}
		it.Tags, it.Began = nil, s.Now()
		must(t, s.Refresh(&e, it))
		e.Free()
		wantFound(t, s, "example.com/a", Usable)
		s.PurgeTag("new", false)
		wantFound(t, s, "example.com/a", Missing)
	}
	f(MinBytes, 0)
	f(MinBytes, 500)
	f(MinBytes, 900)
	f(MinBytes, 20_000)
	f(256<<20, 150_000) // too large to be held, and not cut
}

// TestReadOfLarge: what is not copied with the head is read where it lies, and is torn when another object has taken its place.
func TestReadOfLarge(t *testing.T) {
	s := newStore(t, 256<<20)
	body := bodyOf("a", 150_000)
	must(t, s.Put(itemOf(s, "example.com/a"), body))
	var e Entry
	if s.Get(itemOf(s, "example.com/a").Key, &e) != Usable || len(e.First) != 0 || e.Size != int64(len(body)) {
		t.Fatalf("%d bytes of %d are copied", len(e.First), e.Size)
	}
	got := make([]byte, 1000)
	if n, err := e.ReadAt(got, 149_000); n != 1000 || err != nil || !bytes.Equal(got, body[149_000:]) {
		t.Error(n, err)
	}
	must(t, s.Put(itemOf(s, "example.com/a"), bodyOf("b", 150_000)))
	if n, err := e.ReadAt(got, 0); n != 0 || err != ErrTorn {
		t.Errorf("read %d bytes of another object: %v", n, err)
	}
	e.Free()
}

func TestRefreshOfWhatHasGone(t *testing.T) {
	s := newStore(t, MinBytes)
	get := func() *Entry {
		must(t, s.Put(itemOf(s, "example.com/a"), []byte(strings.Repeat("a", 20))))
		e := new(Entry)
		if s.Get(itemOf(s, "example.com/a").Key, e) != Usable {
			t.Fatal("not found")
		}
		return e
	}

	e := get()
	s.PurgeURL("example.com/a", false)
	wantErr(t, s.Refresh(e, itemOf(s, "example.com/a")), ErrPurged)
	e.Free()

	e = get()
	must(t, s.Put(itemOf(s, "example.com/a"), []byte("b")))
	wantErr(t, s.Refresh(e, itemOf(s, "example.com/a")), ErrReplaced)
	e.Free()

	e = get()
	s.Delete(itemOf(s, "example.com/a").Key)
	must(t, s.Refresh(e, itemOf(s, "example.com/a")))
	e.Free()
	wantFound(t, s, "example.com/a", Usable)

	// Softly purged, and then the origin says that it is still good.
	e = get()
	s.PurgeURL("example.com/a", true)
	wantFound(t, s, "example.com/a", Stale)
	must(t, s.Refresh(e, itemOf(s, "example.com/a")))
	e.Free()
	wantFound(t, s, "example.com/a", Usable)

	// The origin was asked before.
	e = get()
	it := itemOf(s, "example.com/a")
	s.PurgeURL("example.com/a", true)
	must(t, s.Refresh(e, it))
	e.Free()
	wantFound(t, s, "example.com/a", Stale)
}

func TestClose(t *testing.T) {
	s := New(MinBytes, wire.Now)
	s.Start()
	must(t, s.Put(itemOf(s, "example.com/a"), bodyOf("a", 20_000)))
	var e Entry
	if s.Get(itemOf(s, "example.com/a").Key, &e) != Usable {
		t.Fatal("not found")
	}
	s.Close()
	s.Close()
	wantFound(t, s, "example.com/a", Missing)
	wantErr(t, s.Put(itemOf(s, "example.com/a"), nil), ErrPurged)
	s.PurgeAll(false)
	wantErr(t, s.Put(itemOf(s, "example.com/a"), nil), ErrPurged)
	body := make([]byte, e.Size)
	if _, err := e.ReadAt(body, 0); err != nil || !bytes.Equal(body, bodyOf("a", 20_000)) {
		t.Errorf("what was found before cannot be read any more: %v", err)
	}
	e.Free()
}
