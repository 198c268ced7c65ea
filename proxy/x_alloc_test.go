//go:build !race && !invariants

package proxy

import "testing"

// TestBeginCallAllocates: to know how long a client waits allocates nothing, nor does it for requests that are no calls.
func TestBeginCallAllocates(t *testing.T) {
	f := func(contentType string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		x.Request.Method = "POST"
		x.Request.Head.AddString("Content-Type", contentType)
		x.Request.Head.AddString("grpc-timeout", "5S")
		if n := testing.AllocsPerRun(100, x.BeginCall); n != 0 {
			t.Errorf("%s: %v allocations", contentType, n)
		}
	}
	f("application/json")
	f("application/grpc+proto")
}
