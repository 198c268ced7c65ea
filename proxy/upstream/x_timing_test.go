package upstream

import (
	"fmt"
	"testing"
)

// BenchmarkAppendRequest writes the head that goes to the origin.
func BenchmarkAppendRequest(b *testing.B) {
	x := newExchange("GET", "/v1/orders/7", "")
	defer end(x)
	x.Request.Query, x.Request.HasQuery = []byte("page=2&sort=name"), true
	for i := range 12 {
		x.Request.Head.AddString(fmt.Sprintf("X-Field-%d", i), "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	}
	s := &Service{}
	e := newEndpoint("10.0.0.1:8080", &Target{Network: "tcp", Host: "10.0.0.1", Port: "8080", Base: "/base"}, &s.options)
	dst := make([]byte, 0, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		dst = appendRequest(dst[:0], x, e)
	}
}

// BenchmarkPick chooses an endpoint.
func BenchmarkPick(b *testing.B) {
	f := func(name string, balance Balance, endpoints int) {
		b.Run(name, func(b *testing.B) {
			x := newExchange("GET", "/", "")
			defer end(x)
			weights := make([]int, endpoints)
			for i := range weights {
				weights[i] = 1 + i%3
			}
			s := bareService(balance, weights...)
			b.ReportAllocs()
			for b.Loop() {
				if s.pick(x, nil) == nil {
					b.Fatal("there is no endpoint")
				}
			}
		})
	}
	f("one", RoundRobin, 1)
	f("round-robin-10", RoundRobin, 10)
	f("least-request-10", LeastRequest, 10)
	f("hash-10", Hash, 10)
	f("hash-100", Hash, 100)
}

// BenchmarkSplit divides requests among services that answer at once.
func BenchmarkSplit(b *testing.B) {
	f := func(name string, sticky Sticky) {
		b.Run(name, func(b *testing.B) {
			x := newExchange("GET", "/", "")
			defer end(x)
			x.Request.Head.AddString("Cookie", "theme=dark; sluice=b123456; session=0123456789abcdef")
			s := NewSplit([]Share{{side("a"), 90}, {side("b"), 10}}, sticky)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Serve(x, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("random", Sticky{})
	f("client", Sticky{Kind: StickyClient})
	f("cookie", Sticky{Kind: StickyCookie, Name: "sluice"})
}
