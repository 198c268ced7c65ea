package proxytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"sluice/proxy"
)

// FuzzRequestPath sends arbitrary bytes, in two parts, through the whole path from a client's connection to an origin's.
// Whatever reaches the origin is unambiguous by the letter; net/http finds as many whole requests in it as the gateway
// has passed answers back; and nothing panics.
func FuzzRequestPath(f *testing.F) {
	for _, c := range hostileCases() {
		f.Add([]byte(c.raw), uint16(len(c.raw)/2))
	}
	origin := newRecorder(f)
	gw := Start(f, fmt.Sprintf(hostileYAML, origin.path, 0))
	memory := newPipes()
	gw.Server.Listen("memory", memory, proxy.Listening{})
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		if len(in) > 16<<10 {
			return // far beyond every limit
		}
		panics := proxy.Panics.Load()
		conn, err := memory.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		at := int(cut) % (len(in) + 1)
		go func() {
			for _, part := range [][]byte{in[:at], in[at:]} {
				if len(part) == 0 {
					continue // to a pipe even nothing is something to be read
				}
				if _, err := conn.Write(part); err != nil {
					return // refused before it was sent to the end
				}
			}
			_ = conn.CloseWrite() // it may have been quicker
		}()
		answers, err := io.ReadAll(conn)
		if err != nil {
			t.Fatalf("after %q: %v", answers, err)
		}
		whole := 0
		for _, rec := range origin.flush(t) {
			if err := unambiguous(rec); err != nil {
				t.Fatalf("arrived %q: %v", rec, err)
			}
			seen, rest, err := readAll(rec)
			switch {
			case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Fatalf("arrived %q, which net/http cannot read: %v", rec, err)
			case len(seen) > 1 || len(seen) == 1 && err != nil:
				t.Fatalf("arrived %q on one connection: %q, then %q", rec, seen, rest)
			}
			whole += len(seen)
		}
		if answered := bytes.Count(answers, []byte(originMark)); answered != whole {
			t.Fatalf("%d whole requests arrived, %d answers came back: %q", whole, answered, answers)
		}
		if proxy.Panics.Load() != panics {
			t.Fatal("a panic was caught")
		}
	})
}
