package store

import "testing"

// FuzzHead decodes what never comes from freecache, unless memory is broken: no view leaves the value, and what is encoded
// again is the same.
func FuzzHead(f *testing.F) {
	h := head{tags: 1, keyLen: 3, urlFrom: 1, urlTo: 2, metaLen: 4, stamp: 7, expires: 8, size: 2, id: 9}
	whole := make([]byte, h.overhead()+2)
	h.encode(whole)
	f.Add(whole)
	h.chunk, h.size, h.stale = 1000, 5000, true
	cut := make([]byte, h.overhead()+2)
	h.encode(cut)
	f.Add(cut)
	f.Add(cut[:headLen-1])
	f.Fuzz(func(t *testing.T, value []byte) {
		var h head
		if !h.decode(value) {
			return
		}
		if n := headLen + len(h.key(value)) + len(h.tagsOf(value)) + len(h.meta(value)) + len(h.body(value)); n != len(value) {
			t.Errorf("the parts have %d bytes of %d", n, len(value))
		}
		if len(h.url(value)) > len(h.key(value)) || len(h.tagsOf(value))%tagLen != 0 {
			t.Errorf("a URL of %d bytes in a key of %d", len(h.url(value)), len(h.key(value)))
		}
		if chunksOf(h.size-int64(len(h.body(value))), h.chunk) < 0 {
			t.Error("a negative number of chunks")
		}
		again := append([]byte(nil), value...)
		h.encode(again)
		var h2 head
		if !h2.decode(again) || h2 != h {
			t.Errorf("%+v became %+v", h, h2)
		}
	})
}
