package wire

import "testing"

func parseFields(t testing.TB, lines string) *Head {
	t.Helper()
	var m Message
	h := new(Head)
	m.Reset()
	done, err := ScanRequest([]byte("GET / HTTP/1.0\r\n"+lines+"\r\n"), &Limits{1 << 16, 1 << 10, 100}, &m, h)
	if err != nil || !done {
		t.Fatal(done, err)
	}
	return h
}

func TestHeadEdits(t *testing.T) {
	f := func(edit func(h *Head), want string) {
		t.Helper()
		h := parseFields(t, "A: 1\r\nb:2  \r\nA:\t3\r\nCookie: x=y\r\n")
		edit(h)
		if got := string(h.AppendTo(nil)); got != want {
			t.Fatalf("got\n%q, want\n%q", got, want)
		}
	}
	f(func(h *Head) {}, "A: 1\r\nb:2  \r\nA:\t3\r\nCookie: x=y\r\n")
	f(func(h *Head) { h.Del("a") }, "b:2  \r\nCookie: x=y\r\n")
	f(func(h *Head) { h.AddString("C", "4") }, "A: 1\r\nb:2  \r\nA:\t3\r\nCookie: x=y\r\nC: 4\r\n")
	f(func(h *Head) { h.SetString("a", "9") }, "a: 9\r\nb:2  \r\nCookie: x=y\r\n")
	f(func(h *Head) { h.SetString("B", "9") }, "A: 1\r\nB: 9\r\nA:\t3\r\nCookie: x=y\r\n")
	f(func(h *Head) { h.SetString("new", "9"); h.Del("NEW") }, "A: 1\r\nb:2  \r\nA:\t3\r\nCookie: x=y\r\n")
	f(func(h *Head) { h.Add("X", []byte("a\r\nEvil: 1\x00")) }, "A: 1\r\nb:2  \r\nA:\t3\r\nCookie: x=y\r\nX: a  Evil: 1 \r\n")
	f(func(h *Head) { h.DelKnown(Cookie.Bit()); h.AddString("cookie", "z") }, "A: 1\r\nb:2  \r\nA:\t3\r\ncookie: z\r\n")
	f(func(h *Head) { h.AddString("C", "1"); h.AddString("D", "2"); h.Del("c") }, "A: 1\r\nb:2  \r\nA:\t3\r\nCookie: x=y\r\nD: 2\r\n")
}

func TestHeadGet(t *testing.T) {
	h := parseFields(t, "A: 1\r\nb:2  \r\nE:\r\nA:\t3\r\nCookie: x=y\r\n")
	f := func(name, want string, has bool) {
		t.Helper()
		if got := h.Get(name); string(got) != want || h.Has(name) != has || (got != nil) != has {
			t.Fatalf("%s: got %q %v", name, got, h.Has(name))
		}
	}
	f("a", "1", true)
	f("B", "2", true)
	f("E", "", true)
	f("x", "", false)
	f("cookie", "x=y", true)
	if !h.HasKnown(Cookie) || h.HasKnown(Host) || h.Len() != 5 {
		t.Fatal(h.HasKnown(Cookie), h.HasKnown(Host), h.Len())
	}
}

func TestItems(t *testing.T) {
	f := func(in string, want ...string) {
		t.Helper()
		var got []string
		for item := range Items([]byte(in)) {
			got = append(got, string(item))
		}
		if len(got) != len(want) {
			t.Fatalf("%q: %q", in, got)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%q: %q", in, got)
			}
		}
	}
	f("")
	f(" , ,")
	f("a", "a")
	f("a,b ,\tc ", "a", "b", "c")
}

// TestHeadAddOwn: a line that was put together elsewhere is a field as any other.
func TestHeadAddOwn(t *testing.T) {
	var h Head
	h.AddString("Server", "s")
	h.AddOwn([]byte("RateLimit: \"a\";r=1"), len("RateLimit"))
	h.AddOwn([]byte("Empty: "), len("Empty"))
	if got := string(h.Get("ratelimit")); got != `"a";r=1` {
		t.Errorf("got %q", got)
	}
	if got := string(h.AppendTo(nil)); got != "Server: s\r\nRateLimit: \"a\";r=1\r\nEmpty: \r\n" {
		t.Errorf("got %q", got)
	}
	h.Set("RateLimit", []byte("b"))
	h.Del("empty")
	h.Del("Server")
	if got := string(h.AppendTo(nil)); got != "RateLimit: b\r\n" {
		t.Errorf("got %q", got)
	}
}
