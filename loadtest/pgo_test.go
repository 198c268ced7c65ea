package main

import (
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// sampled is a profile in which the functions called each other, the first innermost, so many times.
func sampled(times int64, at uint64, names ...string) *profile.Profile {
	m := &profile.Mapping{ID: 1, Start: 0x400000, Limit: 0x800000, File: "/home/someone/sluice"}
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"}, Period: 10_000_000, DurationNanos: 1e9, TimeNanos: 1e18,
		Mapping: []*profile.Mapping{m}, Comments: []string{"made by someone"},
	}
	s := &profile.Sample{Value: []int64{times, times * 10_000_000}, Label: map[string][]string{"secret": {"x"}}}
	for i, name := range names {
		f := &profile.Function{ID: uint64(i + 1), Name: name, SystemName: name, Filename: "/home/someone/x.go", StartLine: 10}
		l := &profile.Location{ID: uint64(i + 1), Mapping: m, Address: at + uint64(i), Line: []profile.Line{{Function: f, Line: 12}}}
		p.Function, p.Location, s.Location = append(p.Function, f), append(p.Location, l), append(s.Location, l)
	}
	p.Sample = []*profile.Sample{s}
	return p
}

func TestDistill(t *testing.T) {
	text, err := distill([]*profile.Profile{
		sampled(3, 0x400100, "sluice/proxy.a", "sluice/proxy.b"),
		sampled(4, 0x400200, "sluice/proxy.a", "sluice/proxy.b"), // elsewhere in another build
		sampled(5, 0x400300, "sluice/proxy.c"),
		sampled(100, 0x400400, "runtime.memmove", "runtime/pprof.profileWriter"),
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.ParseData(text)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, s := range p.Sample {
		var stack []string
		for _, l := range s.Location {
			// A compiler needs the line, and where its function begins.
			if l.Line[0].Line != 12 || l.Line[0].Function.StartLine != 10 {
				t.Errorf("%s at line %d of a function at %d", l.Line[0].Function.Name, l.Line[0].Line, l.Line[0].Function.StartLine)
			}
			stack = append(stack, l.Line[0].Function.Name)
		}
		got[strings.Join(stack, "<")] += s.Value[0]
	}
	if len(p.Sample) != 2 || got["sluice/proxy.a<sluice/proxy.b"] != 7 || got["sluice/proxy.c"] != 5 {
		t.Errorf("%v in %d samples", got, len(p.Sample))
	}
	for _, private := range []string{"someone", "secret"} {
		if strings.Contains(p.String(), private) {
			t.Errorf("%s is still in it:\n%s", private, p)
		}
	}
	if p.TimeNanos != 0 {
		t.Error("it says when it was made: the file would change without its contents")
	}
	if _, err := distill([]*profile.Profile{sampled(1, 1, "runtime/pprof.x")}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("a profile of nothing was taken: %v", err)
	}
}

// TestMix: each part is a scenario that there is.
func TestMix(t *testing.T) {
	proxied, all := 0, 0
	for _, part := range mix {
		if _, err := pick([]string{part.scenario}, true); err != nil {
			t.Error(err)
		}
		all += part.seconds
		if part.scenario == "proxy-1k" {
			proxied = part.seconds
		}
	}
	if proxied*3 < all {
		t.Errorf("small proxied requests are %d of %d s: they should weigh most", proxied, all)
	}
}
