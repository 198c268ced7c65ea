package observe

import (
	"context"
	"io"
	"testing"

	"sluice/proxy"
	"sluice/proxy/wire"
)

func BenchmarkObserver(b *testing.B) {
	f := func(name string, o *AccessLogOptions) {
		b.Run(name, func(b *testing.B) {
			observer, end := benchObserver(b, o)
			defer end()
			b.ReportAllocs()
			x := get()
			for i := 0; b.Loop(); i++ {
				fresh(x, i)
				observer.Begin(x)
				observer.Finish(x)
			}
		})
		b.Run(name+"-parallel", func(b *testing.B) {
			observer, end := benchObserver(b, o)
			defer end()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				x := get()
				for i := 0; pb.Next(); i++ {
					fresh(x, i)
					observer.Begin(x)
					observer.Finish(x)
				}
			})
		})
	}
	f("metrics", nil)
	f("metrics-json", &AccessLogOptions{Sample: 1})
	f("metrics-format", &AccessLogOptions{Sample: 1, Format: `$time $client $method "$path" $status $bytes_out $duration_ms`})
	f("metrics-json-1-percent", &AccessLogOptions{Sample: 0.01})
}

// BenchmarkLine renders a line of the access log and does not write it.
func BenchmarkLine(b *testing.B) {
	f := func(name string, o AccessLogOptions) {
		b.Run(name, func(b *testing.B) {
			o.Sample, o.Open = 1, to(discard{io.Discard})
			s, err := newLogSettings(o)
			if err != nil {
				b.Fatal(err)
			}
			x := get()
			n := line{log: &AccessLog{}, x: x, end: x.Started + 3_250_499, status: 200}
			b.ReportAllocs()
			for b.Loop() {
				if s.format == nil {
					n.text = n.appendJSON(n.text[:0], s.headers)
				} else {
					n.text = n.appendFormat(n.text[:0], s.format)
				}
			}
		})
	}
	f("json", AccessLogOptions{})
	f("json-3-headers", AccessLogOptions{Headers: []string{"Accept", "Authorization", "X-Missing"}})
	f("format", AccessLogOptions{Format: `$time $client $method "$path" $status $bytes_out $duration_ms`})
}

// fresh keeps the duration of x that of a fast request, seldom enough not to be measured.
func fresh(x *proxy.Exchange, i int) {
	if i%4096 == 0 {
		x.Started = wire.Now()
		x.UpstreamAt, x.HeadAt = x.Started+150_000, x.Started+2_150_000
	}
}

func benchObserver(b *testing.B, o *AccessLogOptions) (*Observer, func()) {
	m := New()
	services := map[string]*ServiceMetrics{"orders": m.Service("orders"), "users": m.Service("users")}
	if o == nil {
		return NewObserver(m.Route("a"), services, nil), func() {}
	}
	o.Open = to(discard{io.Discard})
	log, err := NewAccessLog(*o)
	if err != nil {
		b.Fatal(err)
	}
	return NewObserver(m.Route("a"), services, log), func() {
		if err := log.Close(context.Background()); err != nil {
			b.Error(err)
		}
		b.ReportMetric(float64(log.Dropped())/float64(b.N), "dropped/op")
	}
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

func BenchmarkScrape(b *testing.B) {
	f := func(name string, routes int) {
		b.Run(name, func(b *testing.B) {
			m := New()
			x := get()
			for i := range routes {
				r := m.Route("route-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)))
				r.begin()
				r.finish(x, x.Started+1e6, 200)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := m.WritePrometheus(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("10-routes", 10)
	f("1000-routes", 1000)
}
