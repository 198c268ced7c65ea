package config

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// profiled is the contract's file with a line for profiling.
func profiled(profiling string) string {
	return strings.Replace(contract, `"127.0.0.1:9180" }`, `"127.0.0.1:9180", profiling: `+profiling+` }`, 1)
}

func TestProfiling(t *testing.T) {
	f := func(src, to, other string) {
		t.Helper()
		p := mustParse(t, src, Options{}).Admin.Continuous()
		switch {
		case p == nil:
			if to != "" || other != "" {
				t.Errorf("%s\nprofiling is off", src)
			}
		case string(p.To) != to:
			t.Errorf("%s\nthe folder is %q, want %q", src, p.To, to)
		default:
			c := p.CaptureIf
			if got := strings.Join(strings.Fields(describe(p, c)), " "); got != other {
				t.Errorf("%s\ngot  %s\nwant %s", src, got, other)
			}
		}
	}
	const defaults = "keep 48 bytes 268435456 every 5m0s for 10s"
	const state = "state: /var/lib/sluice\n"
	f(contract, "", "")
	f(profiled("off"), "", "")
	f(profiled("on")+state, "/var/lib/sluice/profiles", defaults)
	f(profiled("{}")+state, "/var/lib/sluice/profiles", defaults)
	f(profiled("{ to: /p }")+state, "/p", defaults)
	f(profiled("{ to: /p }"), "/p", defaults)
	f(profiled("{ to: /p, keep: 3, bytes: 1GiB, every: 1h, for: 250ms }"), "/p", "keep 3 bytes 1073741824 every 1h0m0s for 250ms")
	f(profiled("{ to: /p, capture_if: { p99: 250ms } }"), "/p", defaults+" p99 250ms over 10s at most 1 in 10m0s except []")
	f(profiled("{ to: /p, capture_if: { cpu: 90%, over: 30s, at_most: 3/h } }"), "/p", defaults+" cpu 0.9 over 30s at most 3 in 1h0m0s except []")
	f(profiled("{ to: /p, capture_if: { p99: 1s, cpu: 85.5%, at_most: 2/1h30m, except: [rest, item] } }"), "/p", defaults+" p99 1s cpu 0.855 over 10s at most 2 in 1h30m0s except [rest item]")
	f(strings.Replace(profiled("on"), `{ address: "127.0.0.1:9180", profiling: on }`, "off", 1), "", "")

	// A relative folder is beside the file, as every path is.
	c, problems := Parse("/etc/sluice/sluice.yaml", []byte(profiled("{ to: profiles }")), Options{})
	if c == nil || c.Admin.Continuous().To != "/etc/sluice/profiles" {
		t.Errorf("the folder is %v (%v)", c, problems)
	}
}

// describe writes everything that is set.
func describe(p *Profiling, c *Capture) string {
	words := []string{"keep", strconv.Itoa(p.Keep), "bytes", strconv.Itoa(int(p.Bytes)), "every", time.Duration(p.Every).String(), "for", time.Duration(p.For).String()}
	if c == nil {
		return strings.Join(words, " ")
	}
	if c.P99 != nil {
		words = append(words, "p99", time.Duration(*c.P99).String())
	}
	if c.CPU != nil {
		words = append(words, "cpu", strconv.FormatFloat(c.CPU.Fraction(), 'g', -1, 64))
	}
	words = append(words, "over", time.Duration(c.Over).String(), "at most", strconv.Itoa(c.AtMost.Count), "in", c.AtMost.Per.String(), "except")
	var names []string
	for _, name := range c.Except {
		names = append(names, name.Text)
	}
	return strings.Join(append(words, "["+strings.Join(names, " ")+"]"), " ")
}

func TestParseTimes(t *testing.T) {
	f := func(s string, count int, per time.Duration) {
		t.Helper()
		got, ok := parseTimes(s)
		if ok != (count > 0) || got != (Times{count, per}) {
			t.Errorf("parseTimes(%q) is %v, %v; want %d in %v", s, got, ok, count, per)
		}
	}
	f("1/10m", 1, 10*time.Minute)
	f("3/h", 3, time.Hour)
	f("20/s", 20, time.Second)
	f("007/1h30m", 7, 90*time.Minute)
	f("1000000/1d", 1_000_000, 24*time.Hour)

	f("", 0, 0)
	f("1", 0, 0)
	f("1/", 0, 0)
	f("/s", 0, 0)
	f("0/s", 0, 0)
	f("-1/s", 0, 0)
	f("1/0s", 0, 0)
	f("1/10", 0, 0)
	f("1/10m/2", 0, 0)
	f("1 / 10m", 0, 0)
	f("1.5/s", 0, 0)
	f("1/400d", 0, 0)
	f("1000001/s", 0, 0)
	f("99999999999999999999999/s", 0, 0)
}
