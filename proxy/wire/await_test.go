package wire

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestAwait: what is waited for is still to be read, and a peer that ends, or is silent, is not waited for.
func TestAwait(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	const size = 8
	f := func(want error, wantLooks int, pieces ...string) {
		t.Helper()
		client, err := net.Dial("tcp", nl.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		c, err := nl.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		looked := make(chan struct{}, 10)
		sent := ""
		for _, p := range pieces {
			sent += p
		}
		go func() {
			for i, p := range pieces {
				if i > 0 {
					<-looked
				}
				_, _ = io.WriteString(client, p) // the reader notices
			}
			if len(pieces) > 0 || want == nil {
				<-looked
			}
			if want == nil {
				_ = client.Close()
			} else {
				_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond)) // when all that comes was looked at
			}
		}()
		looks, had := 0, 0
		err = Await(c, size, func(first []byte) bool {
			if len(first) > had { // one arrival may wake twice: when the first look comes between it and what the poller says of it
				had = len(first)
				looks++
				looked <- struct{}{}
			}
			return bytes.HasSuffix(first, []byte("."))
		})
		looked <- struct{}{}
		if te, ok := err.(net.Error); want != nil && (!ok || !te.Timeout()) || want == nil && err != nil {
			t.Errorf("%q: got %v, want %v", pieces, err, want)
		}
		if looks != wantLooks {
			t.Errorf("%q: looked %d times, want %d", pieces, looks, wantLooks)
		}
		if want == nil {
			if got, err := io.ReadAll(c); string(got) != sent || err != nil {
				t.Errorf("%q: read %q, %v", pieces, got, err)
			}
		}
	}
	f(nil, 1, "one.")
	f(nil, 2, "o", "ne.")
	f(nil, 3, "o", "n", "e.")
	f(nil, 0, "12345678") // as many as are looked at
	f(nil, 0, "12345678 and more")
	f(os.ErrDeadlineExceeded, 0)
	f(os.ErrDeadlineExceeded, 1, "half")

	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	if err := Await(here, size, func([]byte) bool { t.Error("a pipe was looked into"); return true }); err != nil {
		t.Error(err)
	}
}
