package forward

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"sluice/proxy/wire"
)

func decided(admits bool, number uint64, bytes int) *decision {
	d := &decision{admits: admits, until: wire.Now() + 1e12, body: make([]byte, bytes)}
	random := rand.NewPCG(number, 1) // keys are hashes
	for i := range 4 {
		binary.LittleEndian.PutUint64(d.key[8*i:], random.Uint64())
	}
	return d
}

// TestBounded: memory is bounded in number and in bytes, and refusals do not push out what is admitted.
func TestBounded(t *testing.T) {
	m := NewMemory(100, "asked", "auth")
	good := decided(true, 1, 0)
	m.add(good)
	for i := range uint64(10_000) {
		m.add(decided(false, i+2, int(i%decisionBytesMax)))
	}
	if m.find(&good.key, wire.Now()) != good {
		t.Error("what is admitted was pushed out by what is refused")
	}
	if n := m.refused.count.Load(); n > int64(len(m.refused.all)) || n == 0 {
		t.Errorf("%d refusals are remembered", n)
	}
	if n := m.refused.bytes.Load(); n > m.refused.bytesMax+decisionBytesMax {
		t.Errorf("they take %d bytes, of %d", n, m.refused.bytesMax)
	}
	for i := range uint64(10_000) {
		d := decided(true, i+20_000, 0)
		m.add(d)
		if m.find(&d.key, wire.Now()) != d {
			t.Fatal("what was just added is not there")
		}
		if m.find(&d.key, d.until) != nil {
			t.Fatal("it holds for too long")
		}
	}
	var count, bytes int64
	for i := range m.admitted.all {
		if d := m.admitted.all[i].Load(); d != nil {
			count++
			bytes += int64(d.size())
		}
	}
	if count != m.admitted.count.Load() || bytes != m.admitted.bytes.Load() {
		t.Errorf("%d of %d bytes are there, and %d of %d are counted", count, bytes, m.admitted.count.Load(), m.admitted.bytes.Load())
	}
}
