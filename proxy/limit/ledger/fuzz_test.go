package ledger

import (
	"strings"
	"testing"
)

// FuzzRecord wants of every record that is read that it can be, and is the same when it is written again.
func FuzzRecord(f *testing.F) {
	k := key(7)
	for _, r := range []record{
		{period: 20_783, run: 3, used: 100, batch: 10, text: "partners acme by api_key"}, {}, {period: 1<<22 - 2, used: AmountMax, batch: AmountMax},
		{text: strings.Repeat("x", 2*textBytesMax)},
	} {
		f.Add(k[:], r.append(nil, k))
	}
	f.Add([]byte{}, []byte("nonsense"))
	f.Fuzz(func(t *testing.T, key, b []byte) {
		k, r, err := parseRecord(key, b)
		if err != nil {
			return
		}
		if r.used < 0 || r.used > AmountMax || r.batch < 0 || r.batch > AmountMax || len(r.text) > textBytesMax {
			t.Fatalf("%x is %+v", b, r)
		}
		if again := r.append(nil, k); string(again) != string(b) || string(k[:]) != string(key) {
			t.Fatalf("%x is %+v, which is %x", b, r, again)
		}
		a := &Account{}
		a.recall(&r, ^uint64(0))
		if period, used := unpack(a.state.Load()); period != r.period || used < r.used {
			t.Fatalf("%+v is remembered as %d in %d", r, used, period)
		}
	})
}
