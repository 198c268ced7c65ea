package forward

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"sluice/proxy/wire"
)

func decided(admits bool, number uint64, bytes int) *decision {
	d := &decision{admits: admits, body: make([]byte, bytes)}
	random := rand.NewPCG(number, 1) // keys are hashes
	for i := range 4 {
		binary.LittleEndian.PutUint64(d.key[8*i:], random.Uint64())
	}
	return d
}

// TestBounded: memory is bounded in number and in bytes, and refusals do not push out what is admitted.
func TestBounded(t *testing.T) {
	m := NewMemory(100, "asked", "auth")
	now := wire.Now()
	until := now + 1e12
	good := decided(true, 1, 0)
	m.add(good, until)
	for i := range uint64(10_000) {
		m.add(decided(false, i+2, int(i%decisionBytesMax)), until)
	}
	if m.find(good.key, now) != good {
		t.Error("what is admitted was pushed out by what is refused")
	}
	count, bytes := 0, 0
	for i := range uint64(10_000) {
		if d := m.find(decided(false, i+2, 0).key, now); d != nil {
			count++
			bytes += d.size()
		}
	}
	if count == 0 || count > 50 || bytes > 25*decisionBytesUsual || count != m.refused.Len() {
		t.Errorf("%d refusals of %d bytes are remembered, counted are %d", count, bytes, m.refused.Len())
	}
	for i := range uint64(10_000) {
		d := decided(true, i+20_000, 0)
		m.add(d, until)
		if m.find(d.key, now) != d {
			t.Fatal("what was just added is not there")
		}
		if m.find(d.key, until) != nil {
			t.Fatal("it holds for too long")
		}
	}
	if n := m.admitted.Len(); n < 100 || n > 200 || m.Status().Remembered != n+m.refused.Len() {
		t.Errorf("%d decisions that admit are remembered, and %+v", n, m.Status())
	}
}
