package wire

import (
	"bytes"
	"testing"
)

// TestLoad: a head that was written out and loaded is the same head, and can be edited like one.
func TestLoad(t *testing.T) {
	f := func(build func(h *Head)) {
		t.Helper()
		var h, loaded Head
		build(&h)
		block := h.AppendTo(nil)
		loaded.Add("X-Former", []byte("gone"))
		loaded.Load(block)
		if got := loaded.AppendTo(nil); !bytes.Equal(got, block) || loaded.Len() != h.Len() || loaded.seen&^(1<<Other) != h.seen&^(1<<Other) {
			t.Errorf("loaded %q (%d fields, %b), want %q (%d, %b)", got, loaded.Len(), loaded.seen, block, h.Len(), h.seen)
		}
		for name, value := range h.All() {
			if got := loaded.Get(string(name)); !bytes.Equal(got, h.Get(string(name))) {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
		}
	}
	f(func(*Head) {})
	f(func(h *Head) { h.AddString("A", "") })
	f(func(h *Head) { h.AddString("Set-Cookie", "a=b; c"); h.AddString("Set-Cookie", "d:e") })
	f(func(h *Head) {
		var m Message
		m.Reset()
		lim := Limits{HeadBytes: 1000, TargetBytes: 100, Fields: 10}
		if done, err := ScanResponse([]byte("HTTP/1.1 200 OK\r\nDate:x\r\nX-Y: \t a b \t\r\nETag:\r\n\r\n"), &lim, &m, h); !done || err != nil {
			t.Fatal(done, err)
		}
		h.AddString("Vary", "Accept")
		h.Del("X-None")
	})

	var h Head
	h.Load([]byte("A: 1\r\nB: 2\r\nA: 3\r\n"))
	h.Del("A")
	h.AddString("C", "4")
	if got := string(h.AppendTo(nil)); got != "B: 2\r\nC: 4\r\n" {
		t.Errorf("edited: %q", got)
	}
}
