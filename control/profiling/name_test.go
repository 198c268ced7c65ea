package profiling

import (
	"testing"
	"time"
)

func TestParseName(t *testing.T) {
	at := time.Date(2026, 1, 31, 23, 59, 59, 999e6, time.UTC)
	f := func(name, kind string, capture bool) {
		t.Helper()
		got, ok := ParseName(name)
		if !ok || got != (File{Name: name, Kind: kind, Capture: capture, Taken: at}) {
			t.Errorf("%s is %+v, %v", name, got, ok)
		}
		if again := nameOf(got); again != name {
			t.Errorf("%s is written %s", name, again)
		}
	}
	f("20260131T235959.999Z.cpu.pprof", "cpu", false)
	f("20260131T235959.999Z.heap.pprof", "heap", false)
	f("20260131T235959.999Z.capture.cpu.pprof", "cpu", true)
	f("20260131T235959.999Z.capture.goroutine.pprof", "goroutine", true)
	f("20260131T235959.999Z.capture.trace", "trace", true)
	f("20260131T235959.999Z.capture.reason.txt", "reason", true)

	bad := func(name string) {
		t.Helper()
		if got, ok := ParseName(name); ok {
			t.Errorf("%q is %+v", name, got)
		}
	}
	bad("")
	bad(".")
	bad("..")
	bad("cpu.pprof")
	bad("20260131T235959.999Z")
	bad("20260131T235959.999Z.")
	bad("20260131T235959.999Z.cpu")
	bad("20260131T235959.999Z.trace.pprof")
	bad("20260131T235959.999Z.cpu.pprof\n")
	bad("20260131T235959.999Z.cpu.pprof\x00")
	bad("20260131T235959.999Z.cpu.pprof/")
	bad("/20260131T235959.999Z.cpu.pprof")
	bad("../20260131T235959.999Z.cpu.pprof")
	bad("..%2f20260131T235959.999Z.cpu.pprof")
	bad("20260131T235959.999Z/../cpu.pprof")
	bad("20260131T235959.999Z.capture.capture.trace")
	bad("20260131T235959.999Z.captures.trace")
	bad("20260132T235959.999Z.cpu.pprof")
	bad("20260131T245959.999Z.cpu.pprof")
	bad("20260131T235959.999.cpu.pprof")
	bad("20260131T235959Z.cpu.pprof")
	bad("20260131T235959.999Z.CPU.pprof")
	bad(".20260131T235959.999Z.cpu.pprof.partial")
	bad("٢0260131T235959.999Z.cpu.pprof")
}
