package wire

import (
	"bytes"
	"testing"
)

// TestIntake: bytes come out as they went in, memory follows what is there, and crumbs share buffers.
func TestIntake(t *testing.T) {
	var i Intake
	var want []byte
	for n := range 3000 {
		piece := bytes.Repeat([]byte{byte(n)}, n%50)
		i.Put(piece)
		want = append(want, piece...)
	}
	if most := len(want)/Medium + 1; len(i.bufs) != most {
		t.Errorf("%d bytes take %d buffers, want %d", len(want), len(i.bufs), most)
	}
	var got []byte
	p := make([]byte, 777)
	for i.n > 0 {
		n := i.Take(p)
		if n == 0 {
			t.Fatal("nothing comes out")
		}
		got = append(got, p[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes come out than went in")
	}
	if len(i.bufs) != 0 || i.r != 0 {
		t.Errorf("an empty one holds %d buffers", len(i.bufs))
	}
	i.Put(want)
	if n := i.Clear(); n != int64(len(want)) || i.n != 0 || len(i.bufs) != 0 {
		t.Errorf("cleared %d, left %+v", n, i)
	}
}
