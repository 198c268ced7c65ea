package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseAllowance(t *testing.T) {
	f := func(text string, count int, per time.Duration, burst int, by ...KeyPart) {
		t.Helper()
		got, wrong := parseAllowance(text)
		if wrong != nil {
			t.Errorf("%q: %+v", text, *wrong)
			return
		}
		if want := (Allowance{Text: text, Count: count, Per: per, Burst: burst, By: by}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	ip := KeyPart{Source: "ip", V4: 32, V6: 64}
	f("20/s", 20, time.Second, 20)
	f("100/min", 100, time.Minute, 100)
	f("100/m", 100, time.Minute, 100)
	f("5/10s", 5, 10*time.Second, 5)
	f("5/hour", 5, time.Hour, 5)
	f("7/d burst 1", 7, 24*time.Hour, 1)
	f("1000000/s", 1_000_000, time.Second, 1_000_000)
	f("20/s burst 40 per ip", 20, time.Second, 40, ip)
	f("20/s per ip/24", 20, time.Second, 20, KeyPart{Source: "ip", V4: 24, V6: 64})
	f("20/s per ip/56", 20, time.Second, 20, KeyPart{Source: "ip", V4: 32, V6: 56})
	f("20/s per ip/24/48", 20, time.Second, 20, KeyPart{Source: "ip", V4: 24, V6: 48})
	f("20/s per header X-Api-Key", 20, time.Second, 20, KeyPart{Source: "header", Name: "X-Api-Key"})
	f("20/s per cookie session and ip", 20, time.Second, 20, KeyPart{Source: "cookie", Name: "session"}, ip)
	f("20/s per query key", 20, time.Second, 20, KeyPart{Source: "query", Name: "key"})
	f("20/s per ip and path.tenant and host and route", 20, time.Second, 20, ip, KeyPart{Source: "path", Name: "tenant"}, KeyPart{Source: "host"}, KeyPart{Source: "route"})

	// Spaces are not looked at.
	if got, wrong := parseAllowance("  20/s   per  ip "); wrong != nil || got.Text != "20/s per ip" {
		t.Errorf("got %+v, %v", got, wrong)
	}
}

func TestParseCeiling(t *testing.T) {
	f := func(text string, most int, by ...KeyPart) {
		t.Helper()
		got, wrong := parseCeiling(text)
		if want := (Ceiling{Text: text, Max: most, By: by}); wrong != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v", text, got, wrong)
		}
	}
	f("500", 500)
	f("10 per ip", 10, KeyPart{Source: "ip", V4: 32, V6: 64})
	f("2 per header X-Api-Key and path.tenant", 2, KeyPart{Source: "header", Name: "X-Api-Key"}, KeyPart{Source: "path", Name: "tenant"})
}

// FuzzAllowance wants an answer for every text: a rate that can be kept, or a sentence; and the same for the text that people are shown.
func FuzzAllowance(f *testing.F) {
	for _, s := range []string{
		"20/s", "100/min per ip/24/56", "5/10s burst 40 per header X-Api-Key and path.tenant", "1/s per consumer", "0/s", "-1/s",
		"1000000/s burst 1000000000 per query q and cookie c", "1/365d burst 10", "10 per ip", "1/s per ip and", "/", "1/s burst per", "1/s per path.",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, wrong := parseAllowance(text)
		if c, wrongCeiling := parseCeiling(text); wrongCeiling == nil && (c.Max < 1 || c.Max > concurrentMax || len(c.By) > keyPartsMax) {
			t.Fatalf("%q is %+v", text, c)
		}
		if wrong != nil {
			if strings.ContainsAny(wrong.message+wrong.hint, "\n\r\x1b\x00") {
				t.Fatalf("%q: more than a line: %+v", text, wrong)
			}
			return
		}
		interval := (a.Per + time.Duration(a.Count) - 1) / time.Duration(a.Count)
		if a.Count < 1 || a.Burst < 1 || interval < rateIntervalMin || time.Duration(a.Burst) > rateBurstMax/interval || len(a.By) > keyPartsMax {
			t.Fatalf("%q is %+v", text, a)
		}
		for _, p := range a.By {
			if p.Source == "ip" && (p.V4 < v4BitsMin || p.V4 > v4Bits || p.V6 < v6BitsMin || p.V6 > v6Bits) {
				t.Fatalf("%q counts by %+v", text, p)
			}
		}
		again, wrong := parseAllowance(a.Text)
		if wrong != nil || !reflect.DeepEqual(again, a) {
			t.Fatalf("%q is %+v, and %q is %+v", text, a, a.Text, again)
		}
	})
}
