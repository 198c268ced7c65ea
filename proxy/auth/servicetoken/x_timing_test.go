package servicetoken

import (
	"bytes"
	"testing"
	"time"

	"sluice/proxy"
)

type answering struct{}

func (answering) Serve(*proxy.Exchange, *proxy.Chain) error { return nil }

// BenchmarkShow is what showing a token costs that is there: the gateway's own, and one that was got for a client's token of 800 bytes.
func BenchmarkShow(b *testing.B) {
	p := &provider{life: time.Hour}
	o := NewOwn(Options{Client: client()})
	o.ask = p.ask
	o.Start()
	defer o.Stop()
	e := NewExchanged(Options{Client: client()}, 100, 100)
	e.ask = p.ask
	for _, one := range []struct {
		name   string
		policy proxy.Policy
	}{{"own", o}, {"exchanged", e}} {
		b.Run(one.name, func(b *testing.B) {
			chain := proxy.NewChain(proxy.Link{Name: "p", Policy: one.policy}, proxy.Link{Name: "s", Policy: answering{}})
			x := proxy.Acquire()
			defer x.Release()
			x.Token = bytes.Repeat([]byte("a"), 800)
			b.ReportAllocs()
			for b.Loop() {
				x.Request.Head.Reset()
				x.Request.Decided = x.Request.Decided[:0]
				x.Request.Head.AddString("Authorization", "Bearer x")
				if err := chain.Serve(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
