package limit

import "testing"

// TestSiphash holds what hosts have to agree on against other implementations: that of CPython, which has a key of zeros with
// PYTHONHASHSEED=0, and the test vectors of Rust.
func TestSiphash(t *testing.T) {
	f := func(k0, k1 uint64, n int, want uint64) {
		t.Helper()
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		if got := siphash(k0, k1, b); got != want {
			t.Errorf("%d bytes: got %#x, want %#x", n, got, want)
		}
	}
	f(0, 0, 1, 0x68a914128e01e473)
	f(0, 0, 7, 0x2f098ab0c751325a)
	f(0, 0, 8, 0xead411e67ebe2eea)
	f(0, 0, 15, 0xf30eb725bb91c9ea)
	f(0, 0, 16, 0x8972188433a5c5b7)
	f(0, 0, 63, 0x385d3e39e5f37359)
	f(0x0706050403020100, 0x0f0e0d0c0b0a0908, 0, 0xabac0158050fc4dc)
	f(0x0706050403020100, 0x0f0e0d0c0b0a0908, 1, 0xc9f49bf37d57ca93)
}

func TestSeed(t *testing.T) {
	s := seed{shared: &[2]uint64{1, 2}}
	if s.bytes([]byte("abc")) != s.string("abc") || s.string("abc") == s.string("abd") {
		t.Error("text is hashed like the bytes that it is made of")
	}
	if Seed(nil, "a") == Seed([]byte("k"), "a") || Seed(nil, "a") == Seed(nil, "b") {
		t.Error("the secret changes nothing")
	}
}

func TestBitmap(t *testing.T) {
	b := newBitmap(10_000)
	take := func(from, most int) (got []int, next int, all bool) {
		next, all = b.take(from, func(n int) bool {
			got = append(got, n)
			return len(got) < most
		})
		return got, next, all
	}
	if got, _, all := take(0, 10); len(got) != 0 || !all {
		t.Errorf("an empty one holds %v", got)
	}
	for _, n := range []int{9999, 0, 63, 64, 4095, 4096, 5000, 63} {
		b.set(n)
	}
	if b.set(5000) {
		t.Error("a number is put in twice")
	}
	seen := map[int]int{}
	for from, all := 4096, false; !all; {
		var got []int
		got, from, all = take(from, 2)
		for _, n := range got {
			seen[n]++
		}
	}
	if len(seen) != 7 {
		t.Errorf("got %v", seen)
	}
	for n, times := range seen {
		if times != 1 {
			t.Errorf("%d came %d times", n, times)
		}
	}
	if !b.set(5000) {
		t.Error("a number that was taken out is still there")
	}
}
