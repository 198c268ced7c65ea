package oauth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestProbe: a provider that goes and comes back is in the log once each way, whoever has noticed, and one that answers is not asked.
func TestProbe(t *testing.T) { // not beside others: it has the log to itself
	f := func(atStart, byRequest bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
			defer slog.SetDefault(before)
			var broken atomic.Bool
			var asked atomic.Int64
			down := errors.New("out of reach")
			p := NewProbe(ProbeOptions{
				Provider: NewProvider(ProviderOptions{Known: Metadata{Introspection: "https://id.example"}}), AtStart: atStart, Policy: "asked", Down: "it is down", Up: "it is up",
				Ask: func(context.Context, string) error {
					asked.Add(1)
					if broken.Load() {
						return down
					}
					return nil
				},
			})
			broken.Store(true)
			p.Start()
			p.Start()
			if !atStart {
				p.Learn(down)
			}
			time.Sleep(10 * time.Minute)
			if n := asked.Load(); p.Why() != "out of reach" || n < 20 || n > 30 {
				t.Errorf("it fails with %q, asked %d times", p.Why(), n)
			}
			broken.Store(false)
			if byRequest {
				p.Learn(nil)
			}
			time.Sleep(probeMax)
			n := asked.Load()
			time.Sleep(time.Hour)
			if p.Why() != "" || asked.Load() != n {
				t.Errorf("it fails with %q, asked %d times more", p.Why(), asked.Load()-n)
			}
			p.Stop()
			if text := log.String(); strings.Count(text, `msg="it is down" policy=asked from=https://id.example error="out of reach"`) != 1 || strings.Count(text, `msg="it is up" policy=asked from=https://id.example`) != 1 {
				t.Errorf("the log has %s", text)
			}
		})
	}
	f(true, false)
	f(true, true)
	f(false, false)
	f(false, true)
}
