package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"sluice/proxy"
)

// pieces cuts s.
func pieces(s string, size int, pauses bool) []string {
	var all []string
	for len(s) > 0 {
		n := min(size, len(s))
		all = append(all, s[:n])
		if pauses {
			all = append(all, "")
		}
		s = s[n:]
	}
	return all
}

// TestWholeBodies: what comes out is what went in, in every coding and level, however it comes.
func TestWholeBodies(t *testing.T) {
	es := NewEncoders(1 << 30)
	counts := new(Counts)
	for _, coding := range Codings {
		for level := range levelCount {
			p := newPolicy(t, Options{Codings: []string{coding}, Level: level, Encoders: es, Counts: counts})
			f := func(o *origin, want string) {
				t.Helper()
				x := newRequest(t, "GET", "Accept-Encoding: "+coding)
				o.fields = "Content-Type: text/plain"
				serve(t, p, x, o)
				r := &x.Response
				got, err := readBody(&r.Body)
				if err == nil && r.Head.Has("content-encoding") {
					if size := r.Body.Size(); size >= 0 && size != int64(len(got)) {
						t.Errorf("%s: %d bytes are announced and %d come", coding, size, len(got))
					}
					got, err = decode(coding, got)
				}
				if err != nil || string(got) != want {
					t.Errorf("%s at level %d: %d bytes instead of %d, %v", coding, level, len(got), len(want), err)
				}
				if err := r.Body.Close(); err != nil {
					t.Error(err)
				}
				if o.flow != nil && o.flow.closed != 1 {
					t.Errorf("%s: the origin's body was closed %d times", coding, o.flow.closed)
				}
			}
			bodies, sizes := []string{"a", text(500), text(wholeMax + 1)}, []int{9000}
			if level == Default {
				bodies = append(bodies, "", noise(1<<10), text(wholeMax-1), text(wholeMax), text(200_000), noise(150_000))
				sizes = []int{100, 9000, 100_000}
			}
			for _, body := range bodies {
				f(&origin{body: body}, body)
				for _, size := range sizes {
					if len(body)/size > 50 {
						continue
					}
					for _, pauses := range []bool{false, true} {
						f(&origin{flow: &flow{pieces: pieces(body, size, pauses)}, size: -1}, body)
						f(&origin{flow: &flow{pieces: pieces(body, size, pauses)}, size: int64(len(body))}, body)
					}
				}
			}
		}
	}
	if got := es.Bytes(); got != 0 {
		t.Errorf("encoders of %d bytes were not given back", got)
	}
	if in, out := counts.In.Load(), counts.Out.Load(); in == 0 || out == 0 || out > in {
		t.Errorf("%d bytes have become %d", in, out)
	}
}

// TestSameEncoderTwice: nothing of a stream that was given up is in the next one.
func TestSameEncoderTwice(t *testing.T) {
	secret := strings.Repeat("somebody else's secret ", 1000)
	for _, coding := range Codings {
		p := newPolicy(t, Options{Codings: []string{coding}})
		x := newRequest(t, "GET", "Accept-Encoding: "+coding)
		serve(t, p, x, &origin{fields: "Content-Type: text/plain", flow: &flow{pieces: []string{secret, "", secret}}, size: -1})
		if _, err := x.Response.Body.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if err := x.Response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{2000, 200_000} {
			want := text(size)
			x = newRequest(t, "GET", "Accept-Encoding: "+coding)
			serve(t, p, x, &origin{fields: "Content-Type: text/plain", body: want})
			got, err := readBody(&x.Response.Body)
			if err == nil {
				got, err = decode(coding, got)
			}
			if err != nil || string(got) != want {
				t.Errorf("%s: %d bytes of %d, %v", coding, len(got), size, err)
			}
			if err := x.Response.Body.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// stepped is a body that a test gives piece by piece.
type stepped struct {
	next chan string
	now  string
}

func (s *stepped) Read(p []byte) (int, error) {
	for s.now == "" {
		more, ok := <-s.next
		if !ok {
			return 0, io.EOF
		}
		s.now = more
	}
	n := copy(p, s.now)
	s.now = s.now[n:]
	return n, nil
}

func (s *stepped) Buffered() int { return len(s.now) }
func (s *stepped) Close() error  { return nil }

// TestNothingIsHeldBack: what an event says can be decoded before the next one is sent, however small they are.
func TestNothingIsHeldBack(t *testing.T) {
	for _, contentType := range []string{"text/event-stream", "application/x-ndjson"} {
		for _, coding := range Codings {
			for level := range levelCount {
				p := newPolicy(t, Options{Codings: []string{coding}, Level: level})
				x := newRequest(t, "GET", "Accept-Encoding: "+coding)
				from := &stepped{next: make(chan string)}
				answer := policyFunc(func(x *proxy.Exchange) {
					x.Response.Status = 200
					x.Response.Head.AddString("Content-Type", contentType)
					x.Response.Body.SetFlow(nil, from, -1)
				})
				if err := proxy.NewChain(proxy.Link{Policy: p}, proxy.Link{Policy: answer}).Serve(x); err != nil {
					t.Fatal(err)
				}
				// The edge reads in a goroutine of its own and passes on what it has when nothing is buffered.
				sent, edge := io.Pipe()
				var reading sync.WaitGroup
				reading.Go(func() {
					buf := make([]byte, 4096)
					for {
						n, err := x.Response.Body.Read(buf)
						if _, werr := edge.Write(buf[:n]); err != nil || werr != nil {
							edge.CloseWithError(err)
							return
						}
					}
				})
				var client io.Reader
				for i := range 20 {
					event := fmt.Sprintf("data: event %d %s\n\n", i, text(i*i*20))
					from.next <- event
					if client == nil {
						var err error
						if client, err = decoder(coding, sent); err != nil {
							t.Fatal(err)
						}
					}
					got := make([]byte, len(event))
					if _, err := io.ReadFull(client, got); err != nil || string(got) != event {
						t.Fatalf("%s, %s: got %q, %v; want %q", contentType, coding, got, err, event)
					}
				}
				close(from.next)
				if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
					t.Errorf("%s: %d bytes at the end, %v", coding, len(rest), err)
				}
				if _, err := io.Copy(io.Discard, sent); err != nil { // what a decoder does not ask for any more
					t.Error(err)
				}
				reading.Wait()
				if err := x.Response.Body.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

type policyFunc func(x *proxy.Exchange)

func (f policyFunc) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	f(x)
	return nil
}

// TestBufferedIsTrue: an edge that reads on for as long as something is buffered never waits while it holds something back.
func TestBufferedIsTrue(t *testing.T) {
	body := text(300_000)
	for _, coding := range Codings {
		for _, size := range []int64{-1, int64(len(body))} {
			p := newPolicy(t, Options{Codings: []string{coding}})
			x := newRequest(t, "GET", "Accept-Encoding: "+coding)
			from := &flow{pieces: pieces(body, 7000, true)}
			serve(t, p, x, &origin{fields: "Content-Type: text/plain", flow: from, size: size})
			buf := make([]byte, 1000)
			for {
				waited, promised := from.waited, x.Response.Body.Buffered() > 0
				_, err := x.Response.Body.Read(buf)
				if promised && from.waited != waited {
					t.Fatalf("%s: a read had to wait that was not to", coding)
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := x.Response.Body.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestBreaksOff: a body that breaks off never looks whole, neither by its end nor to a decoder; what had come is there.
func TestBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	body := text(100_000)
	f := func(coding string, from *flow, size int64, want int) {
		t.Helper()
		p := newPolicy(t, Options{Codings: []string{coding}})
		x := newRequest(t, "GET", "Accept-Encoding: "+coding)
		from.err = broken
		serve(t, p, x, &origin{fields: "Content-Type: text/plain", flow: from, size: size})
		got, err := readBody(&x.Response.Body)
		if !errors.Is(err, broken) {
			t.Errorf("%s: it ends in %v", coding, err)
		}
		plain, err := decode(coding, got)
		if want > 0 && (err == nil || string(plain) != body[:want]) {
			t.Errorf("%s: %d bytes are decoded of %d, %v", coding, len(plain), want, err)
		}
		if err := x.Response.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, coding := range Codings {
		for _, size := range []int64{-1, 200_000, 50_000} {
			f(coding, &flow{pieces: []string{body[:40_000]}}, size, 40_000)
			f(coding, &flow{pieces: []string{body[:40_000], ""}}, size, 40_000)
			f(coding, &flow{pieces: []string{""}}, size, 0)
			f(coding, &flow{}, size, 0)
		}
		f(coding, &flow{pieces: pieces(body, 10_000, true)}, 200_000, 100_000)
	}
}

// TestTrailers go on, but for digests that are no longer true.
func TestTrailers(t *testing.T) {
	f := func(from *flow, body string) {
		t.Helper()
		p := newPolicy(t, Options{Codings: []string{"gzip"}, MinSize: 100})
		x := newRequest(t, "GET", "Accept-Encoding: gzip")
		serve(t, p, x, &origin{fields: "Content-Type: text/plain", trailers: "X-Sum: 42|Content-Digest: sha-256=:x:", flow: from, size: -1})
		r := &x.Response
		if r.Body.Size() >= 0 {
			t.Error("a body with trailers announces its length, so that HTTP/1.1 has no place for them")
		}
		got, err := readBody(&r.Body)
		compressed := r.Head.Has("content-encoding")
		if err == nil && compressed {
			got, err = decode("gzip", got)
		}
		if err != nil || string(got) != body {
			t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
		}
		trailers := proxy.FinalTrailers(&r.Trailers, r.Decided)
		if !trailers.Has("x-sum") || trailers.Has("content-digest") == compressed {
			t.Errorf("the trailers are %q", trailers.AppendTo(nil))
		}
		if err := r.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	body := text(3000)
	f(&flow{pieces: []string{body}}, body)
	f(&flow{pieces: []string{body, ""}}, body)
	f(&flow{pieces: []string{body[:50]}}, body[:50])
}

// TestEncodersAreBounded: what there is no memory for stays as it is, and counts.
func TestEncodersAreBounded(t *testing.T) {
	es := NewEncoders(2 * kinds[2][Default].bytes)
	counts := new(Counts)
	p := newPolicy(t, Options{Codings: []string{"gzip"}, Encoders: es, Counts: counts})
	ask := func() (*proxy.Exchange, bool) {
		x := newRequest(t, "GET", "Accept-Encoding: gzip")
		serve(t, p, x, &origin{fields: "Content-Type: text/plain", flow: &flow{pieces: []string{"some", "", "thing"}}, size: -1})
		return x, x.Response.Head.Has("content-encoding")
	}
	var held []*proxy.Exchange
	for i := range 4 {
		x, compressed := ask()
		if compressed != (i < 2) {
			t.Errorf("stream %d is compressed: %v", i, compressed)
		}
		if !x.Response.Head.Has("vary") {
			t.Errorf("stream %d does not vary", i)
		}
		held = append(held, x)
	}
	if counts.Refused.Load() != 2 {
		t.Errorf("%d are counted as refused", counts.Refused.Load())
	}
	if got, err := readBody(&held[3].Response.Body); err != nil || string(got) != "something" {
		t.Errorf("a response that is left as it is has %q, %v", got, err)
	}
	// A stream that has ended makes room, also before it is closed; one that is given up does when it is closed.
	if _, err := readBody(&held[0].Response.Body); err != nil {
		t.Error(err)
	}
	if _, compressed := ask(); !compressed {
		t.Error("a stream that has ended makes no room")
	}
	if err := held[1].Response.Body.Close(); err != nil {
		t.Error(err)
	}
	if _, compressed := ask(); !compressed {
		t.Error("a stream that was given up makes no room")
	}
	es.SetMax(1)
	if _, compressed := ask(); compressed {
		t.Error("the bound is not what was set")
	}
}

// TestManyAtOnce shares encoders between goroutines: a body is never made of two.
func TestManyAtOnce(t *testing.T) {
	es := NewEncoders(1 << 30)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 30 {
				coding := Codings[(g+i)%len(Codings)]
				p := newPolicy(t, Options{Codings: []string{coding}, Encoders: es})
				body := bytes.Repeat([]byte(fmt.Sprintf("goroutine %d, body %d; ", g, i)), 100*(1+i*g))
				x := proxy.Acquire()
				x.Request.Method = "GET"
				x.Request.Head.AddString("Accept-Encoding", coding)
				o := &origin{fields: "Content-Type: text/plain", flow: &flow{pieces: pieces(string(body), 9000, i%2 == 0)}, size: -1}
				serve(t, p, x, o)
				got, err := readBody(&x.Response.Body)
				if err == nil && i%5 != 0 {
					got, err = decode(coding, got)
				} else if err == nil {
					got = body // some are closed without a look
				}
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s: %d bytes of %d, %v", coding, len(got), len(body), err)
				}
				if err := x.Response.Body.Close(); err != nil {
					t.Error(err)
				}
				x.Release()
			}
		})
	}
	all.Wait()
	if es.Bytes() != 0 {
		t.Errorf("encoders of %d bytes were not given back", es.Bytes())
	}
}
