package compress

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/molecule-man/go-brrr"

	"sluice/proxy"
)

// origin answers what it is told to.
type origin struct {
	status   int
	fields   string // "Name: value", split by |
	trailers string
	body     string
	flow     *flow // in the place of body
	size     int64 // of flow
	absent   bool
}

func (o *origin) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	r := &x.Response
	r.Status = o.status
	for field := range strings.SplitSeq(o.fields, "|") {
		if name, value, ok := strings.Cut(field, ": "); ok {
			r.Head.AddString(name, value)
		}
	}
	switch {
	case o.absent:
		r.Body.SetAbsent(o.size)
	case o.flow != nil:
		o.flow.ends = func() {
			for field := range strings.SplitSeq(o.trailers, "|") {
				if name, value, ok := strings.Cut(field, ": "); ok {
					r.Trailers.AddString(name, value)
				}
			}
		}
		r.Body.SetFlow(nil, o.flow, o.size)
	default:
		r.Body.SetWhole([]byte(o.body))
	}
	return nil
}

// flow is a body that comes in pieces. An empty piece is a pause: what comes after it has to be waited for.
type flow struct {
	pieces []string
	err    error // what it ends in; nil: io.EOF
	ends   func()
	waited int
	closed int
}

func (f *flow) Read(p []byte) (int, error) {
	for len(f.pieces) > 0 && f.pieces[0] == "" {
		f.pieces = f.pieces[1:]
		f.waited++
	}
	if len(f.pieces) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		f.ends()
		return 0, io.EOF
	}
	n := copy(p, f.pieces[0])
	f.pieces[0] = f.pieces[0][n:]
	if f.pieces[0] == "" {
		f.pieces = f.pieces[1:]
	}
	return n, nil
}

func (f *flow) Buffered() int {
	if len(f.pieces) == 0 {
		return 1 // the end
	}
	return len(f.pieces[0])
}

func (f *flow) Close() error {
	f.closed++
	return nil
}

// newPolicy fails the test if it cannot be made.
func newPolicy(t testing.TB, o Options) *Policy {
	t.Helper()
	if o.Encoders == nil {
		o.Encoders = NewEncoders(1 << 30)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newRequest returns an exchange with a request that has these fields ("Name: value", split by |).
func newRequest(t testing.TB, method, fields string) *proxy.Exchange {
	t.Helper()
	x := proxy.Acquire()
	t.Cleanup(x.Release)
	x.Request.Method, x.Request.Scheme, x.Request.Host = method, "https", []byte("shop.example")
	for field := range strings.SplitSeq(fields, "|") {
		if name, value, ok := strings.Cut(field, ": "); ok {
			x.Request.Head.AddString(name, value)
		}
	}
	return x
}

func serve(t testing.TB, p *Policy, x *proxy.Exchange, o *origin) {
	t.Helper()
	if o.status == 0 {
		o.status = 200
	}
	if err := proxy.NewChain(proxy.Link{Name: "compress", Policy: p}, proxy.Link{Name: "origin", Policy: o}).Serve(x); err != nil {
		t.Fatal(err)
	}
}

// readBody reads a body as an edge does: what is buffered together with what comes before it.
func readBody(b *proxy.Body) ([]byte, error) {
	var all []byte
	buf := make([]byte, 20_000)
	for {
		n, err := b.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

var errCoding = errors.New("there is no such coding")

// decode undoes a coding. gzip is the standard library's, which is independent of what compresses.
func decode(coding string, b []byte) ([]byte, error) {
	r, err := decoder(coding, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func decoder(coding string, r io.Reader) (io.Reader, error) {
	switch coding {
	case "gzip":
		return gzip.NewReader(r)
	case "zstd":
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	case "br":
		return brrr.NewReader(r), nil
	}
	return nil, errCoding
}

// text is n bytes that compress about as well as pages do.
func text(n int) string {
	const words = "the a shop order item price of 42 and 7 sold new blue shirt in size for 9.99 with cart user name none "
	var b strings.Builder
	x := uint32(1)
	for b.Len() < n {
		x = x*1664525 + 1013904223
		at := int(x>>16) % (len(words) - 12)
		b.WriteString(words[at : at+3+int(x>>28)%8])
	}
	return b.String()[:n]
}

// noise is n bytes that do not compress.
func noise(n int) string {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return string(b)
}
