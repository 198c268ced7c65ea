package recall

import (
	"encoding/binary"
	"fmt"
	"testing"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	sums := NewSums()
	a := NewAnswers[string](100, 1000)
	of := func(s string) Sum { return sums.Of([]byte(s)) }
	f := func(secret string, now int64, want string) {
		t.Helper()
		got, ok := a.Find(of(secret), now)
		if got != want || ok != (want != "") {
			t.Errorf("%s at %d: got %q, %t; want %q", secret, now, got, ok, want)
		}
	}
	f("a", 0, "")
	a.Add(of("a"), "1", 0, 10, 1)
	a.Add(of("b"), "2", 0, 20, 1)
	f("a", 0, "1")
	f("a", 9, "1")
	f("a", 10, "")
	f("b", 10, "2")
	a.Add(of("b"), "3", 10, 20, 1)
	f("b", 10, "3")
	a.Add(of("c"), "4", 10, 10, 1) // it has ended already
	f("c", 10, "")
	a.Forget(of("b"))
	f("b", 10, "")
	if of("ab") != sums.Of([]byte("a"), []byte("b")) || of("a") == of("b") || of("a") == NewSums().Of([]byte("a")) {
		t.Error("sums are not what they should be")
	}

	for i := range 10000 { // no flood makes it larger
		var sum Sum
		binary.LittleEndian.PutUint64(sum[:], uint64(i)*0x9E3779B97F4A7C15)
		a.Add(sum, "x", 0, 100, 100)
	}
	if n := a.Len(); n > 200 || n < 50 {
		t.Errorf("there are %d", n)
	}
	for i := range 1000 { // nor do large ones
		a.Add(of(fmt.Sprint(i)), "x", 0, 100, 5000)
	}
	if a.table.bytes.Load() > a.table.bytesMax {
		t.Errorf("%d bytes, more than %d", a.table.bytes.Load(), a.table.bytesMax)
	}
	for i := range 1000 {
		a.Forget(of(fmt.Sprint(i)))
	}

	none := NewAnswers[string](0, 1000)
	none.Add(of("a"), "1", 0, 10, 1)
	none.Forget(of("a"))
	if _, ok := none.Find(of("a"), 0); ok || none.Len() != 0 {
		t.Error("a memory of nothing remembers")
	}
}
