package store

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy/wire"
)

func TestPurge(t *testing.T) {
	f := func(purge func(s *Store, soft bool), a, b, c Found) {
		t.Helper()
		for _, soft := range []bool{false, true} {
			s := newStore(t, MinBytes)
			put := func() {
				must(t, s.Put(itemOf(s, "example.com/a?x=1", "red", "round"), []byte("a")))
				must(t, s.Put(itemOf(s, "example.com/ab", "red"), bodyOf("b", 20_000)))
				must(t, s.Put(itemOf(s, "example.org/c"), []byte("c")))
			}
			want := func(a, b, c Found) {
				t.Helper()
				wantFound(t, s, "example.com/a?x=1", a)
				wantFound(t, s, "example.com/ab", b)
				wantFound(t, s, "example.org/c", c)
			}
			softly := func(f Found) Found {
				if soft && f == Missing {
					return Stale
				}
				return f
			}
			put()
			late := itemOf(s, "example.com/a?x=1", "red", "round")
			w := s.Create(itemOf(s, "example.com/ab", "red"))
			_, err := w.Write(bodyOf("b", 20_000))
			must(t, err)
			purge(s, soft)
			want(softly(a), softly(b), softly(c))
			want(softly(a), softly(b), softly(c))

			// What had begun before.
			if err := s.Put(late, []byte("late")); a == Missing && !soft {
				wantErr(t, err, ErrPurged)
			} else {
				must(t, err)
			}
			if err := w.Commit(); b == Missing && !soft {
				wantErr(t, err, ErrPurged)
			} else {
				must(t, err)
			}
			want(softly(a), softly(b), softly(c))

			put()
			want(Usable, Usable, Usable)
		}
	}
	f(func(s *Store, soft bool) { s.PurgeURL("example.com/a?x=1", soft) }, Missing, Usable, Usable)
	f(func(s *Store, soft bool) { s.PurgeURL("example.com/a", soft) }, Usable, Usable, Usable)
	f(func(s *Store, soft bool) { s.PurgePrefix("example.com/a", soft) }, Missing, Missing, Usable)
	f(func(s *Store, soft bool) { s.PurgePrefix("example.com/a?", soft) }, Missing, Usable, Usable)
	f(func(s *Store, soft bool) { s.PurgeTag("red", soft) }, Missing, Missing, Usable)
	f(func(s *Store, soft bool) { s.PurgeTag("round", soft) }, Missing, Usable, Usable)
	f(func(s *Store, soft bool) { s.PurgeTag("example.com/ab", soft) }, Usable, Usable, Usable)
	f(func(s *Store, soft bool) { s.PurgeAll(soft) }, Missing, Missing, Missing)
}

func TestTooManyPurges(t *testing.T) {
	f := func(purge func(s *Store, i int), limit int) {
		t.Helper()
		s := newStore(t, MinBytes)
		must(t, s.Put(itemOf(s, "example.com/a"), []byte("a")))
		for i := range limit {
			purge(s, i)
		}
		wantFound(t, s, "example.com/a", Usable)
		must(t, s.Put(itemOf(s, "example.com/b"), []byte("b")))
		purge(s, limit)
		wantFound(t, s, "example.com/a", Missing)
		wantFound(t, s, "example.com/b", Missing)
		if st := s.Stats(); st.Overflows != 1 || st.PurgesHeld != 0 || st.Purges != int64(limit)+1 {
			t.Errorf("%+v", st)
		}
	}
	f(func(s *Store, i int) { s.PurgeTag(fmt.Sprint(i), true) }, namesMax)
	f(func(s *Store, i int) { s.PurgePrefix(fmt.Sprint(i), false) }, prefixesMax)
}

// The lurker forgets the purges, and what they said goes on to hold.
func TestLurker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(MinBytes, wire.Now)
		s.Start()
		defer s.Close()
		stored := 0
		for i := range 600 {
			url := fmt.Sprintf("example.com/%d/%d", i%3, i)
			must(t, s.Put(itemOf(s, url), bodyOf(url, 500)))
		}
		slow := itemOf(s, "example.com/slow")
		s.PurgePrefix("example.com/0/", false)
		s.PurgePrefix("example.com/1/", true)
		s.PurgeTag("nothing", false)
		if held := s.Stats().PurgesHeld; held != 3 {
			t.Fatalf("%d purges are held, want 3", held)
		}
		found := map[string]Found{}
		look := func(at func(url string, got Found)) {
			for i := range 600 {
				url := fmt.Sprintf("example.com/%d/%d", i%3, i)
				got, _, _ := get(t, s, url)
				at(url, got)
			}
		}
		time.Sleep(rest / 2)
		s.PurgeTag("late", false)
		time.Sleep(rest + time.Second)
		synctest.Wait()
		// The lurker may have begun to rest when it knew of one of the three.
		if held := s.Stats().PurgesHeld; held < 1 || held > 3 {
			t.Errorf("%d purges are held, want the late one and at most two", held)
		}
		look(func(url string, got Found) {
			found[url] = got
			if want := []Found{Missing, Stale, Usable}[url[len("example.com/")]-'0']; got != want && got != Missing {
				t.Errorf("%s: found %d, want %d", url, got, want)
			} else if got != Missing {
				stored++
			}
		})
		if stored < 300 {
			t.Errorf("only %d of 400 entries are left", stored)
		}
		time.Sleep(3 * rest)
		synctest.Wait()
		if held := s.Stats().PurgesHeld; held != 0 {
			t.Errorf("%d purges are held, want none", held)
		}
		look(func(url string, got Found) {
			if got != found[url] {
				t.Errorf("%s: found %d after it was tidied up, %d before", url, got, found[url])
			}
		})
		wantErr(t, s.Put(slow, nil), ErrPurged) // nobody knows any more
		must(t, s.Put(itemOf(s, "example.com/slow"), nil))
	})
}

// What the lurker deletes must not hide what lies behind it in the same slot.
func TestLurkerDeletesWithCare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(64<<20, wire.Now)
		s.Start()
		defer s.Close()
		const entries = 100_000 // more than one in a slot
		for i := range entries {
			must(t, s.Put(itemOf(s, fmt.Sprintf("example.com/%d/%d", i%2, i)), nil))
		}
		s.PurgePrefix("example.com/0/", false)
		time.Sleep(2 * rest)
		synctest.Wait()
		if st := s.Stats(); st.PurgesHeld != 0 || st.Entries != entries/2 {
			t.Errorf("%+v", st)
		}
		for i := 1; i < entries; i += 2 {
			wantFound(t, s, fmt.Sprintf("example.com/1/%d", i), Usable)
		}
	})
}

// Where a note cannot be made in place, around the end of a segment, the entry is written anew: in a full store of this size that
// is one of five.
func TestLurkerLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(MinBytes, wire.Now)
		s.Start()
		defer s.Close()
		url := func(i int) string { return fmt.Sprint("example.com/", i) }
		var there []string
		for i := range 5000 {
			must(t, s.Put(itemOf(s, url(i)), bodyOf(url(i), 500)))
		}
		for i := range 5000 {
			if found, _, _ := get(t, s, url(i)); found == Usable {
				there = append(there, url(i))
			}
		}
		s.PurgeTag("nothing", false)
		time.Sleep(2 * rest)
		synctest.Wait()
		if held := s.Stats().PurgesHeld; held != 0 {
			t.Fatalf("%d purges are held", held)
		}
		lost := 0
		for _, url := range there {
			if found, _, _ := get(t, s, url); found != Usable {
				lost++
			}
		}
		if len(there) < 1000 || lost > 0 {
			t.Errorf("%d of %d entries were lost", lost, len(there))
		}
	})
}
