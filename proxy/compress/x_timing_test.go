package compress

import (
	"io"
	"testing"

	"sluice/proxy"
)

// BenchmarkServe is a response from the origin's answer to the last byte that the client gets.
func BenchmarkServe(b *testing.B) {
	page, large := text(10<<10), text(1<<20)
	f := func(name, coding string, level Level, fields, body string) {
		b.Run(name, func(b *testing.B) {
			p := newPolicy(b, Options{Codings: []string{coding}, Level: level, MinSize: 1 << 10})
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			b.RunParallel(func(pb *testing.PB) {
				chain := proxy.NewChain(proxy.Link{Policy: p}, proxy.Link{Policy: &allAtOnce{contentType: fields, body: []byte(body)}})
				buf := make([]byte, 64<<10)
				for pb.Next() {
					x := proxy.Acquire()
					x.Request.Method = "GET"
					x.Request.Head.AddString("Accept-Encoding", "gzip, deflate, br, zstd")
					if err := chain.Serve(x); err != nil {
						b.Error(err)
					}
					for err := error(nil); err == nil; {
						_, err = x.Response.Body.Read(buf)
						if err != nil && err != io.EOF {
							b.Error(err)
						}
					}
					if err := x.Response.Body.Close(); err != nil {
						b.Error(err)
					}
					x.Release()
				}
			})
		})
	}
	for _, coding := range Codings {
		f(coding+"-10KiB", coding, Default, "text/html", page)
		f(coding+"-10KiB-fast", coding, Fast, "text/html", page)
		f(coding+"-1MiB", coding, Default, "text/html", large)
	}
	f("another-type", "gzip", Default, "image/png", page)
	f("too-small", "gzip", Default, "text/html", page[:1000])
}

// allAtOnce answers with a whole body.
type allAtOnce struct {
	contentType string
	body        []byte
}

func (a *allAtOnce) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	x.Response.Status = 200
	x.Response.Head.AddString("Content-Type", a.contentType)
	x.Response.Head.AddString("ETag", `"0123456789abcdef"`)
	x.Response.Body.SetWhole(a.body)
	return nil
}
