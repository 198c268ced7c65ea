package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/proxy/proxytest"
)

// waiting is a client's connection that waits most of its time.
type waiting struct {
	net.Conn
	sock *pieces
	in   *bufio.Reader

	// Of HTTP/2.
	framer *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
	dec    *hpack.Decoder
	id     uint32
}

// pieces writes in pieces of so many bytes, if it is told to.
type pieces struct {
	net.Conn
	size int
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.size == 0 {
		return p.Conn.Write(b)
	}
	for n := 0; n < len(b); n += p.size {
		if n > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if _, err := p.Conn.Write(b[n:min(n+p.size, len(b))]); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

func startWaiting(t *testing.T, addr string, secure, h2 bool) *waiting {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	w := &waiting{sock: &pieces{Conn: c}}
	w.Conn = w.sock
	if secure {
		config := secured.Clone()
		config.NextProtos = []string{"http/1.1"}
		if h2 {
			config.NextProtos = []string{"h2"}
		}
		tc := tls.Client(w.sock, config)
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		w.Conn = tc
	}
	w.in = bufio.NewReader(w.Conn)
	if h2 {
		w.framer = http2.NewFramer(w.Conn, w.in)
		w.enc, w.dec = hpack.NewEncoder(&w.block), hpack.NewDecoder(4096, nil)
		if _, err := io.WriteString(w.Conn, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		if err := w.framer.WriteSettings(); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// use makes a request.
func (w *waiting) use() error {
	if err := w.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if w.framer != nil {
		return w.use2()
	}
	if _, err := io.WriteString(w.Conn, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "hello" || err != nil {
		return fmt.Errorf("got %q, %w", b, err)
	}
	return nil
}

func (w *waiting) use2() error {
	w.block.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a.example"}, {"x", "again"}} {
		if err := w.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return err
		}
	}
	w.id = max(w.id+2, 1) | 1
	err := w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: w.id, BlockFragment: w.block.Bytes(), EndHeaders: true, EndStream: true})
	if err != nil {
		return err
	}
	fields := map[string]string{}
	for {
		f, err := w.framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			list, err := w.dec.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				return err
			}
			for _, f := range list {
				fields[f.Name] = f.Value
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				if fields[":status"] != "200" || fields["x-kind"] != "greeting" || string(f.Data()) != "hello" {
					return fmt.Errorf("got %v %q", fields, f.Data())
				}
				return nil
			}
		case *http2.GoAwayFrame:
			return fmt.Errorf("the gateway goes: %v", f.ErrCode)
		}
	}
}

// ended waits for the end of the connection, in which nothing may be wrong.
func (w *waiting) ended() error {
	if err := w.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if w.framer == nil {
		if _, err := w.in.ReadByte(); err != io.EOF {
			return fmt.Errorf("got %v for the end", err)
		}
		return nil
	}
	for told := false; ; {
		f, err := w.framer.ReadFrame()
		switch f := f.(type) {
		case nil:
			if !told || !errors.Is(err, io.EOF) {
				return fmt.Errorf("the client was told: %t; %w", told, err)
			}
			return nil
		case *http2.GoAwayFrame:
			if told = true; f.ErrCode != http2.ErrCodeNo {
				return fmt.Errorf("the gateway goes: %v", f.ErrCode)
			}
		case *http2.PingFrame:
			if err := w.framer.WritePing(true, f.Data); err != nil {
				return err
			}
		}
	}
}

// TestParkedOthers is TestParked for TLS and HTTP/2: unused connections have no goroutine any more, and are as good as before.
func TestParkedOthers(t *testing.T) {
	t.Parallel() // it waits most of the time
	goroutines := ownGoroutines(t)
	const rest = `
policies: { kind: { headers: { response: { set: { X-Kind: greeting } } } } }
routes: { all: { match: "/**", use: [kind], respond: { text: hello } } }
`
	const onPlain = `listen: { web: { address: "127.0.0.1:0", http: [h1, h2] } }` + rest
	const onSecure = `
listen: { web: { address: "127.0.0.1:0", tls: edge, http: [h1, h2] } }
tls: { edge: { certificates: self-signed } }` + rest
	// Connections of the first two may idle for longer than the test takes, however busy the machine is.
	const short = "limits: { idle: 9s }\n"
	plain, secure, briefPlain, briefSecure := proxytest.Start(t, onPlain), proxytest.Start(t, onSecure), proxytest.Start(t, onPlain+short), proxytest.Start(t, onSecure+short)
	before := goroutines()
	const each = 12
	kinds := map[string][]*waiting{}
	n := 0
	start := func(secure, plain *proxytest.Gateway, at func(n int) int) {
		for kind, w := range map[string]*waiting{
			"h1+TLS": startWaiting(t, secure.Addr, true, false), "h2": startWaiting(t, plain.Addr, false, true), "h2+TLS": startWaiting(t, secure.Addr, true, true),
		} {
			kinds[kind] = slices.Insert(kinds[kind], at(len(kinds[kind])), w)
		}
		n += 3
	}
	for range each - 1 {
		start(secure, plain, func(n int) int { return n })
	}
	start(briefSecure, briefPlain, func(int) int { return 2 }) // last: their time runs
	all := func(name string, f func(i int, w *waiting) error) {
		t.Helper()
		for kind, list := range kinds {
			for i, w := range list {
				if err := f(i, w); err != nil {
					t.Fatalf("%s, %s %d: %v", name, kind, i, err)
				}
			}
		}
	}
	parked := func() {
		t.Helper()
		for end := time.Now().Add(2 * patience); goroutines() > before+4; time.Sleep(20 * time.Millisecond) { // a parking has one
			if time.Now().After(end) {
				buf := make([]byte, 1<<20)
				t.Fatalf("%d idle connections have %d goroutines:\n%s", n, goroutines()-before, buf[:runtime.Stack(buf, true)])
			}
		}
	}
	all("at first", func(i int, w *waiting) error {
		if i == 0 && w.framer == nil {
			return nil // the first one of TLS has made its handshake, and nothing else
		}
		return errors.Join(w.use(), w.use())
	})
	if got := goroutines() - before; got < n/2 {
		t.Fatalf("%d connections have %d goroutines: the test counts wrongly", n, got)
	}
	parked()
	all("again", func(i int, w *waiting) error {
		switch i {
		case 1:
			w.sock.size = 7 // neither records nor frames come whole
			defer func() { w.sock.size = 0 }()
		case 2:
			return nil // it is not used again
		case 3:
			return w.Close()
		}
		return errors.Join(w.use(), w.use())
	})
	all("the one that was not used", func(i int, w *waiting) error {
		if i == 2 {
			return w.ended()
		}
		return nil
	})
	for kind, list := range kinds {
		kinds[kind] = append(list[:2:2], list[4:]...)
		n -= 2
	}
	all("after that", func(_ int, w *waiting) error { return w.use() })
	parked()
	if got := plain.Server.Counts().Open + secure.Server.Counts().Open + briefPlain.Server.Counts().Open + briefSecure.Server.Counts().Open; got != n {
		t.Errorf("%d connections are open, want %d", got, n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 2)
	go func() { done <- plain.Server.Shutdown(ctx) }()
	go func() { done <- secure.Server.Shutdown(ctx) }()
	all("the drain", func(_ int, w *waiting) error { return errors.Join(w.ended(), w.Close()) })
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
}
