package proxy

import "testing"

// BenchmarkExchange is what every request pays for its exchange: taken from the pool, filled with a scratch text, ended and
// given back.
func BenchmarkExchange(b *testing.B) {
	end := new(nothing)
	b.ReportAllocs()
	for b.Loop() {
		x := Acquire()
		x.ID = x.KeepScratch(append(x.Scratch(), "0123456789abcdef0123456789abcdef"...))
		x.OnFinish(end)
		x.Finish()
		x.Release()
	}
}

// BenchmarkChain is a chain whose policies do nothing.
func BenchmarkChain(b *testing.B) {
	f := func(name string, policies int) {
		b.Run(name, func(b *testing.B) {
			var links []Link
			for range policies {
				links = append(links, Link{"guard", Guarded("guard", new(nothing), Enforce, nil)})
			}
			chain := NewChain(append(links, Link{"end", new(nothing)})...)
			x := Acquire()
			defer x.Release()
			b.ReportAllocs()
			for b.Loop() {
				if err := chain.Serve(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("0-guards", 0)
	f("5-guards", 5)
}

// BenchmarkBeginCall is what every request pays because some are calls of gRPC, and what these pay.
func BenchmarkBeginCall(b *testing.B) {
	f := func(name, method, contentType, timeout string) {
		b.Run(name, func(b *testing.B) {
			x := Acquire()
			defer x.Release()
			x.Request.Method = method
			h := &x.Request.Head
			for _, field := range []string{"User-Agent", "Accept", "Accept-Encoding", "Authorization", "X-Forwarded-For"} {
				h.AddString(field, "something as long as it may be")
			}
			if contentType != "" {
				h.AddString("Content-Type", contentType)
			}
			if timeout != "" {
				h.AddString("grpc-timeout", timeout)
			}
			b.ReportAllocs()
			for b.Loop() {
				x.BeginCall()
			}
		})
	}
	f("get", "GET", "", "")
	f("post", "POST", "application/json", "")
	f("call", "POST", "application/grpc", "")
	f("call-with-time", "POST", "application/grpc", "5S")
}

func BenchmarkTemplate(b *testing.B) {
	p := pattern(b, "/items/{id}/**")
	x := sample(b, p, "/items/7/a/b")
	defer x.Release()
	f := func(name, text string, e Escape) {
		b.Run(name, func(b *testing.B) {
			t, err := ParseTemplate(text, p, false)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, 1<<10)
			b.ReportAllocs()
			for b.Loop() {
				dst = t.Append(dst[:0], x, e)
			}
		})
	}
	f("text", "max-age=31536000", Raw)
	f("3-variables", "$client.ip via $request.scheme as $path.id", Raw)
	f("json", `{"id":"$path.id","q":"$query.q","kind":"$header.X-Kind"}`, JSON)
}

type nothing struct{}

func (*nothing) Finish(*Exchange)                  {}
func (*nothing) Check(*Exchange) error             { return nil }
func (*nothing) Serve(_ *Exchange, _ *Chain) error { return nil }
