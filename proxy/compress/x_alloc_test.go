//go:build !race && !invariants

package compress

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"sluice/proxy"
)

// TestAllocates: what a response costs when encoders and buffers are there. Bodies that are whole allocate nothing. Of streams, those in
// zstd allocate the few bytes of their frame's head, and those in brotli something for each flush, in the libraries; gzip nothing.
func TestAllocates(t *testing.T) {
	page, large := []byte(text(20_000)), []byte(text(300_000))
	x := proxy.Acquire()
	defer x.Release()
	x.Request.Method = "GET"
	answer := new(allocOrigin)
	buf := make([]byte, 64<<10)
	f := func(coding string, body []byte, flowing, etag bool, max float64) {
		t.Helper()
		p := newPolicy(t, Options{Codings: []string{coding}})
		chain := proxy.NewChain(proxy.Link{Policy: p}, proxy.Link{Policy: answer})
		*answer = allocOrigin{body: body, flowing: flowing, etag: etag}
		x.Request.Head.Reset()
		x.Request.Head.AddString("Accept-Encoding", coding)
		once := func() {
			x.Response.Head.Reset()
			x.Response.Decided = x.Response.Decided[:0]
			if err := chain.Serve(x); err != nil {
				t.Fatal(err)
			}
			if !x.Response.Head.Has("content-encoding") {
				t.Fatal("the response was not compressed")
			}
			for {
				if _, err := x.Response.Body.Read(buf); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if err := x.Response.Body.Close(); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		for range 10 {
			once()
		}
		// A collection meanwhile empties the pools; what every response allocates is in all the rounds.
		got := testing.AllocsPerRun(100, once)
		for round := 1; round < 4 && got > max; round++ {
			got = testing.AllocsPerRun(100, once)
		}
		if got > max {
			t.Errorf("%s of %d bytes: %v allocations, want %v", coding, len(body), got, max)
		}
	}
	for _, coding := range Codings {
		f(coding, page, false, true, 0)
		f(coding, page[:2000], false, false, 0)
		f(coding, page, true, false, 0) // all of it is there
	}
	f("gzip", large, true, true, 0)
	f("gzip", large, false, true, 0)
	f("zstd", large, true, true, 1)
	f("zstd", large, false, true, 1)
	f("br", large, false, true, 4)
}

// allocOrigin answers without allocating.
type allocOrigin struct {
	body          []byte
	flowing, etag bool
	at            int
}

func (o *allocOrigin) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	x.Response.Status = 200
	x.Response.Head.AddString("Content-Type", "application/json; charset=utf-8")
	x.Response.Head.AddString("Vary", "Origin")
	if o.etag {
		x.Response.Head.AddString("ETag", `"0123456789abcdef"`)
	}
	if o.at = 0; o.flowing {
		x.Response.Body.SetFlow(nil, o, -1)
	} else {
		x.Response.Body.SetWhole(o.body)
	}
	return nil
}

func (o *allocOrigin) Read(p []byte) (int, error) {
	if o.at == len(o.body) {
		return 0, io.EOF
	}
	n := copy(p, o.body[o.at:])
	o.at += n
	return n, nil
}

func (o *allocOrigin) Buffered() int { return max(len(o.body)-o.at, 1) }
func (o *allocOrigin) Close() error  { return nil }

// TestEncoderBytes: an encoder takes no more memory than its kind says, whatever it is given.
func TestEncoderBytes(t *testing.T) {
	const count = 2
	bodies := []string{text(2 << 20), noise(2 << 20)}
	for c, coding := range Codings {
		for level := range levelCount {
			k := &kinds[c][level]
			before := heap()
			var all [count]encoder
			for i := range all {
				all[i] = k.make()
				all[i].Reset(io.Discard)
				for _, body := range bodies {
					if _, err := io.Copy(writerOnly{all[i]}, strings.NewReader(body)); err != nil {
						t.Fatal(err)
					}
				}
			}
			each := (heap() - before) / count
			runtime.KeepAlive(all)
			// Beside it a stream has a buffer of the origin's, and what did not fit into the client's.
			if each += 64<<10 + 128<<10; level == light {
				each += 4<<10 - 64<<10
			}
			if each > k.bytes || each < k.bytes/3 {
				t.Errorf("%s at level %d takes %d KiB, and %d KiB are counted", coding, level, each>>10, k.bytes>>10)
			}
		}
	}
}

type writerOnly struct{ io.Writer }

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
