package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// scanTwice scans the same bytes with what a recall remembers and without, given at once and, to the first, in two parts. It
// fails the test if there is any difference.
func scanTwice(t *testing.T, r *Recall, in []byte, cut int, lim *Limits) {
	t.Helper()
	var with, without Message
	var h, plain Head
	with.UseRecall(r)
	with.Reset()
	without.Reset()
	done, err := ScanRequest(in[:cut], lim, &with, &h)
	if !done && err == nil {
		done, err = ScanRequest(in, lim, &with, &h)
	}
	wantDone, wantErr := ScanRequest(in, lim, &without, &plain)
	if cut < len(in) && err != nil && wantErr != nil {
		return // a part may be refused for another of its faults than the whole
	}
	if done != wantDone || !errors.Is(err, wantErr) {
		t.Fatalf("%q cut at %d: %v, %v, want %v, %v", in, cut, done, err, wantDone, wantErr)
	}
	if err != nil || !done {
		return
	}
	with.recall = nil
	if !reflect.DeepEqual(with, without) {
		t.Fatalf("%q: %+v, want %+v", in, with, without)
	}
	if !reflect.DeepEqual(h.fields, plain.fields) || h.seen != plain.seen || !bytes.Equal(h.block, plain.block) {
		t.Fatalf("%q: %v, want %v", in, h.fields, plain.fields)
	}
}

func TestRecall(t *testing.T) {
	var r Recall
	lim := Limits{HeadBytes: 4096, TargetBytes: 64, Fields: 8}
	f := func(in string) {
		t.Helper()
		scanTwice(t, &r, []byte(in), len(in), &lim)
	}
	const front = "Host: a\r\nUser-Agent: b\r\nAccept: c\r\n"
	f("GET / HTTP/1.1\r\n" + front + "\r\n")
	f("GET / HTTP/1.1\r\n" + front + "\r\n")
	if string(r.block) != front {
		t.Fatalf("remembered %q", r.block)
	}
	f("GET / HTTP/1.1\r\n" + front + "\r\n")
	f("DELETE /longer HTTP/1.1\r\n" + front + "\r\n")
	f("GET / HTTP/1.1\r\n" + front + "X-More: d\r\n\r\n")
	f("GET / HTTP/1.1\r\n" + front + "X-More: e\r\n\r\n")
	f("GET / HTTP/1.1\r\n" + front + "\r\n")
	f("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f("GET / HTTP/1.1\r\nHost: ab\r\nUser-Agent: b\r\n\r\n")

	// What decides about the message is asked anew.
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33\r\n\r\nabc")
	f("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc")
	f("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\r\n")
	f("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\r\n")
	f("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\r\n")
	f("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")

	// Limits may have changed.
	many := "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 7) + "\r\n"
	f(many)
	f(many)
	lim.Fields = 5
	f(many)
	lim.Fields, lim.HeadBytes = 8, 60
	f(many)

	// A head that is too large to be remembered leaves what was there.
	lim.HeadBytes = 8 << 10
	f("GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("z", recallMax) + "\r\n\r\n")
	f(many)
}

// TestRecallOnce lets a connection with a single message cost nothing.
func TestRecallOnce(t *testing.T) {
	var r Recall
	in := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	scanTwice(t, &r, in, len(in), &testLimits)
	if r.block != nil || r.fields != nil {
		t.Error("the first head was remembered")
	}
}

func FuzzRecall(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n"), []byte("GET /x HTTP/1.1\r\nHost: a\r\nAccept: bc\r\n\r\n"), uint8(9))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"), []byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), uint8(50))
	f.Fuzz(func(t *testing.T, first, second []byte, cut uint8) {
		var r Recall
		scanTwice(t, &r, first, len(first), &testLimits)
		scanTwice(t, &r, first, len(first), &testLimits)
		scanTwice(t, &r, second, min(int(cut), len(second)), &testLimits)
		scanTwice(t, &r, first, len(first), &testLimits)
	})
}

func BenchmarkRecall(b *testing.B) {
	b.ReportAllocs()
	var r Recall
	var m Message
	var h Head
	m.UseRecall(&r)
	lim := Limits{HeadBytes: 32 << 10, TargetBytes: 8 << 10, Fields: 100}
	for b.Loop() {
		m.Reset()
		h.Reset()
		if done, err := ScanRequest(browserHead, &lim, &m, &h); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}
