package proxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// testFlow gives out its text in pieces, then fails with end.
type testFlow struct {
	text        string
	piece       int
	end         error
	closed      int
	interrupted int
}

func flowing(text string) *testFlow { return &testFlow{text: text, piece: 7, end: io.EOF} }

func (f *testFlow) Read(p []byte) (int, error) {
	if f.text == "" {
		return 0, f.end
	}
	n := copy(p[:min(len(p), f.piece)], f.text)
	f.text = f.text[n:]
	return n, nil
}

func (f *testFlow) Buffered() int { return min(len(f.text), f.piece) }
func (f *testFlow) Close() error  { f.closed++; return nil }
func (f *testFlow) Interrupt()    { f.interrupted++ }

func read(t testing.TB, b *Body, want string, wantErr error) {
	t.Helper()
	got, err := io.ReadAll(b)
	if string(got) != want || !errors.Is(err, wantErr) {
		t.Fatalf("got %q %v, want %q %v", got, err, want, wantErr)
	}
}

func TestBodyZero(t *testing.T) {
	var b Body
	if b.Size() != 0 || b.Flowing() || b.Absent() || b.Buffered() != 0 || !b.Rewind() || b.Close() != nil {
		t.Fatalf("%+v", b)
	}
	b.Interrupt()
	read(t, &b, "", nil)
}

func TestBodyWhole(t *testing.T) {
	var b Body
	b.SetWhole([]byte("hello"))
	for range 3 { // reading consumes nothing
		if b.Buffered() != 5 || b.Size() != 5 {
			t.Fatal(b.Buffered(), b.Size())
		}
		read(t, &b, "hello", nil)
		if b.Buffered() != 0 || string(b.Prefix()) != "hello" || !b.Rewind() {
			t.Fatal("the prefix was consumed")
		}
	}
}

func TestBodyRewind(t *testing.T) {
	f := func(take int, want bool) {
		t.Helper()
		var b Body
		b.SetFlow([]byte("prefix "), flowing("flow"), 11)
		if _, err := io.ReadFull(&b, make([]byte, take)); err != nil {
			t.Fatal(err)
		}
		if got := b.Rewind(); got != want {
			t.Fatalf("after %d bytes: %v", take, got)
		}
		if want {
			read(t, &b, "prefix flow", nil)
			if b.Rewind() {
				t.Fatal("rewound over a flow that is gone")
			}
		}
	}
	f(0, true)
	f(3, true)
	f(7, true)
	f(8, false)
	f(11, false)

	var b Body
	b.SetFlow([]byte("prefix"), flowing(" flow"), -1)
	b.SkipPrefix()
	read(t, &b, " flow", nil)
	b.SetWhole([]byte("prefix"))
	b.SkipPrefix()
	read(t, &b, "", nil)
	if !b.Rewind() {
		t.Fatal("a whole body cannot be sent again")
	}
	read(t, &b, "prefix", nil)
}

func TestBodyBuffered(t *testing.T) {
	var b Body
	b.SetFlow([]byte("abc"), &testFlow{text: "defghijklmno", piece: 7, end: io.EOF}, -1)
	for _, want := range []int{10, 9, 8, 7} {
		if got := b.Buffered(); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
		if _, err := b.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	f := func(prefix, flow string, limit int64, want error) {
		t.Helper()
		var b Body
		b.SetLimit(limit)
		b.SetFlow([]byte(prefix), flowing(flow), -1) // a limit outlives the body it was set for
		got, err := io.ReadAll(&b)
		if !errors.Is(err, want) || want == nil && string(got) != prefix+flow || limit > 0 && int64(len(got)) > limit {
			t.Fatalf("%q %q with %d: got %q %v", prefix, flow, limit, got, err)
		}
	}
	f("", "", 1, nil)
	f("ab", "cd", 0, nil)
	f("ab", "cd", 4, nil)
	f("ab", "cd", 3, ErrBodyTooLarge)
	f("abc", "", 2, ErrBodyTooLarge)
	f("", strings.Repeat("x", 100), 99, ErrBodyTooLarge)
	f("", strings.Repeat("x", 100), 100, nil)

	// What is read twice counts once.
	var b Body
	b.SetLimit(5)
	b.SetWhole([]byte("hello"))
	read(t, &b, "hello", nil)
	b.Rewind()
	read(t, &b, "hello", nil)
}

func TestBodyClose(t *testing.T) {
	flow := flowing("abc")
	var b Body
	b.SetFlow(nil, flow, 3)
	b.Interrupt()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil || flow.closed != 1 || flow.interrupted != 1 {
		t.Fatal(err, flow)
	}
	flow = flowing("")
	b.SetAbsentFlow(flow, 99)
	if !b.Absent() || b.Size() != 99 {
		t.Fatal(b)
	}
	b.Close()
	if flow.closed != 1 {
		t.Fatal("not closed")
	}
	b.SetAbsent(-1)
	if !b.Absent() || b.Size() != -1 || b.Flowing() {
		t.Fatal(b)
	}
}

func TestPeek(t *testing.T) {
	f := func(prefix, flow string, limit int, want string, whole bool) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		text := flowing(flow)
		var b Body
		b.SetFlow([]byte(prefix), text, -1)
		for range 2 { // looking twice sees the same
			got, err := x.Peek(&b, limit)
			if string(got) != want || err != nil {
				t.Fatalf("%q %q up to %d: got %q %v, want %q", prefix, flow, limit, got, err, want)
			}
		}
		if b.Flowing() == whole || whole && (b.Size() != int64(len(want)) || text.closed != 1) {
			t.Fatalf("%q %q up to %d: whole %v, size %d, closed %d", prefix, flow, limit, !b.Flowing(), b.Size(), text.closed)
		}
		if !b.Rewind() {
			t.Fatal("looking consumed something")
		}
		read(t, &b, prefix+flow, nil) // everything is still there
	}
	f("", "", 5, "", true)
	f("abc", "", 5, "abc", true)
	f("", "abc", 5, "abc", true)
	f("abc", "defgh", 2, "ab", false)
	f("abc", "defgh", 3, "abc", false)
	f("abc", "defgh", 5, "abcde", false)
	f("abc", "defgh", 8, "abcdefgh", false) // the end was not asked for
	f("abc", "defgh", 9, "abcdefgh", true)
	long := strings.Repeat("0123456789", 5000)
	f(long[:10], long[10:], 49_999, long[:49_999], false)
	f(long[:10], long[10:], 100_000, long, true)

	// An error comes with what was there before it, and again to whoever reads on.
	x := Acquire()
	defer x.Release()
	broken := errors.New("broken")
	var b Body
	b.SetFlow([]byte("ab"), &testFlow{text: "cd", piece: 1, end: broken}, -1)
	if got, err := x.Peek(&b, 10); string(got) != "abcd" || err != broken {
		t.Fatalf("%q %v", got, err)
	}
	read(t, &b, "abcd", broken)
}

func TestGather(t *testing.T) {
	f := func(prefix, flow string, size int64, most int, limit int64, want error) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		var b Body
		b.SetLimit(limit)
		if flow == "-" {
			flow = ""
			b.SetWhole([]byte(prefix))
		} else {
			b.SetFlow([]byte(prefix), flowing(flow), size)
		}
		got, err := x.Gather(&b, most)
		if !errors.Is(err, want) {
			t.Fatalf("%q %q: %v, want %v", prefix, flow, err, want)
		}
		if err != nil {
			if got != nil {
				t.Fatalf("%q with %v", got, err)
			}
			return
		}
		if string(got) != prefix+flow || b.Flowing() || b.Size() != int64(len(got)) {
			t.Fatalf("got %q, size %d", got, b.Size())
		}
		for range 2 { // it is whole now, and can be sent again
			read(t, &b, prefix+flow, nil)
			b.Rewind()
		}
	}
	f("abc", "-", 0, 3, 0, nil)
	f("abc", "-", 0, 2, 0, ErrBodyTooLarge)
	f("abc", "-", 0, 3, 2, ErrBodyTooLarge)
	f("", "", -1, 0, 0, nil)
	f("ab", "cd", -1, 4, 0, nil)
	f("ab", "cd", 4, 4, 0, nil)
	f("ab", "cd", -1, 3, 0, ErrBodyTooLarge)
	f("ab", "cd", 4, 3, 0, ErrBodyTooLarge)
	f("ab", "cd", -1, 10, 4, nil)
	f("ab", "cd", -1, 10, 3, ErrBodyTooLarge)
	f("", strings.Repeat("x", 100_000), -1, 100_000, 0, nil)
	f("", strings.Repeat("x", 100_000), -1, 99_999, 0, ErrBodyTooLarge)

	x := Acquire()
	defer x.Release()
	broken := errors.New("broken")
	var b Body
	b.SetFlow(nil, &testFlow{text: "cd", piece: 1, end: broken}, -1)
	if got, err := x.Gather(&b, 10); got != nil || err != broken {
		t.Fatalf("%q %v", got, err)
	}
}

// TestScratch appends to the exchange's memory, keeps some of it and forgets the rest: what is kept never changes, and
// appending to it never reaches anybody else.
func TestScratch(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		x := Acquire()
		type kept struct{ got, want []byte }
		var all []kept
		for range random.IntN(40) {
			size := random.IntN(200)
			if random.IntN(6) == 0 {
				size = random.IntN(10 * scratchRoom)
			}
			text := bytes.Repeat([]byte{byte(random.Uint32())}, size)
			b := x.Scratch()
			if len(b) != 0 || cap(b) < scratchRoom {
				t.Fatalf("scratch of %d bytes with room for %d", len(b), cap(b))
			}
			for rest := text; len(rest) > 0; {
				n := random.IntN(len(rest)) + 1
				b = append(b, rest[:n]...)
				rest = rest[n:]
			}
			if random.IntN(3) > 0 {
				k := kept{x.KeepScratch(b), text}
				all = append(all, k)
				if random.IntN(2) == 0 {
					_ = append(k.got, 'X')
				}
			}
			for i, k := range all {
				if !bytes.Equal(k.got, k.want) {
					t.Fatalf("what was kept as number %d has changed", i)
				}
			}
		}
		x.Release()
	}
}

// TestScratchPeek has several bodies and values share the scratch, as policies make them.
func TestScratchPeek(t *testing.T) {
	x := Acquire()
	defer x.Release()
	x.Request.Query = []byte("a=%41%42&b=1+2")
	first, second := strings.Repeat("first ", 3000), strings.Repeat("second ", 3000)
	var b, c Body
	b.SetFlow(nil, flowing(first), -1)
	c.SetFlow(nil, flowing(second), -1)
	a1, _ := x.Query("a")
	p1, err := x.Peek(&b, 100)
	if err != nil {
		t.Fatal(err)
	}
	b1, _ := x.Query("b")
	p2, err := x.Gather(&c, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if p3, err := x.Gather(&b, 1<<20); err != nil || string(p3) != first {
		t.Fatal(err, len(p3))
	}
	if string(a1) != "AB" || string(b1) != "1 2" || string(p1) != first[:100] || string(p2) != second {
		t.Fatalf("%q %q %q %d", a1, b1, p1, len(p2))
	}
}
