package config

import (
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	f := func(s string, want time.Duration) {
		t.Helper()
		got, ok := parseDuration(s)
		if !ok || got != want {
			t.Errorf("parseDuration(%q) is %v, %v; want %v", s, got, ok, want)
		}
	}
	f("250ms", 250*time.Millisecond)
	f("2s", 2*time.Second)
	f("75s", 75*time.Second)
	f("1h", time.Hour)
	f("7d", 7*24*time.Hour)
	f("1h30m", 90*time.Minute)
	f("1.5s", 1500*time.Millisecond)
	f("0s", 0)

	bad := func(s string) {
		t.Helper()
		if got, ok := parseDuration(s); ok {
			t.Errorf("parseDuration(%q) is %v, want a refusal", s, got)
		}
	}
	bad("")
	bad("5")
	bad("s")
	bad("-1s")
	bad("+1s")
	bad("1 s")
	bad("1S")
	bad("1w")
	bad("1s ")
	bad("1.s")
	bad(".5s")
	bad("1..5s")
	bad("1µs")
	bad("1s٣")
	bad("0.0001us")
	bad("99999999999d")
	bad("100000d100000d")
}

func TestParseSize(t *testing.T) {
	f := func(s string, want int64) {
		t.Helper()
		got, ok := parseSize(s)
		if !ok || got != want {
			t.Errorf("parseSize(%q) is %v, %v; want %v", s, got, ok, want)
		}
	}
	f("512", 512)
	f("1B", 1)
	f("10KB", 10_000)
	f("32KiB", 32<<10)
	f("1MiB", 1<<20)
	f("1.5KiB", 1536)
	f("10GiB", 10<<30)
	f("1 TB", 1e12)

	bad := func(s string) {
		t.Helper()
		if got, ok := parseSize(s); ok {
			t.Errorf("parseSize(%q) is %v, want a refusal", s, got)
		}
	}
	bad("")
	bad("KiB")
	bad("1K")
	bad("1kib")
	bad("-1")
	bad("1.2.3KB")
	bad("0.5B")
	bad("9999999TiB")
	bad("1e3")
	bad(strings.Repeat("1", 1000))
}

func TestParsePercent(t *testing.T) {
	f := func(s string, want Percent, wantOK bool) {
		t.Helper()
		if got, ok := parsePercent(s); got != want || ok != wantOK {
			t.Errorf("parsePercent(%q) is %v, %v; want %v, %v", s, got, ok, want, wantOK)
		}
	}
	f("5%", 50_000, true)
	f("0.1%", 1_000, true)
	f("0.0001%", 1, true)
	f("0%", 0, true)
	f("100%", 1_000_000, true)

	f("100.1%", 0, false)
	f("0.00001%", 0, false)
	f("5", 0, false)
	f("%", 0, false)
	f("-5%", 0, false)
	f("5%%", 0, false)

	if got := Percent(1_000).Fraction(); got != 0.001 {
		t.Errorf("0.1%% is the fraction %v", got)
	}
}

// TestOff checks what off makes of each limit that may be lifted.
func TestOff(t *testing.T) {
	c := mustParse(t, contract+`limits: { connections: off, per_client: 0, body_bytes: off, requests_per_connection: off, min_rate: 0 }
defaults: { timeout: off, body_limit: 1GiB }
`, Options{})
	l := c.Limits
	if l.Connections != 0 || l.PerClient != 0 || l.BodyBytes != Unlimited || l.RequestsPerConnection != 0 || l.MinRate != 0 {
		t.Errorf("limits are %+v", l)
	}
	if r := c.Routes[0].Value; *r.Timeout != 0 || *r.BodyLimit != 1<<30 {
		t.Errorf("the route has timeout %v and body limit %v", *r.Timeout, *r.BodyLimit)
	}
}
