package rules

import (
	"testing"

	"sluice/proxy/wire"
)

func TestMerge(t *testing.T) {
	f := func(stored, fresh, want string) {
		t.Helper()
		var dst wire.Head
		Merge(&dst, head(t, stored), head(t, fresh))
		if got := lines(&dst); got != want {
			t.Errorf("%q with %q: %q, want %q", stored, fresh, got, want)
		}
	}
	f("", "", "")
	f("A: 1|B: 2", "", "A: 1|B: 2")
	f("A: 1|B: 2|C: 3", "B: x|D: y", "A: 1|C: 3|B: x|D: y")
	f("A: 1|A: 2|B: 3", "a: x|A: y", "B: 3|a: x|A: y")
	f("A: 1", "A: ", "A: ")
	// What describes the stored body stays, and none of it comes from a response without one.
	f("Content-Type: a|Content-Encoding: b|Content-Length: 5", "Content-Type: x|Content-Encoding: y|Content-Length: 0|Content-Range: z",
		"Content-Type: a|Content-Encoding: b|Content-Length: 5")
	f("X: 1", "Content-Type: x", "X: 1")
	f(`ETag: "a"|Last-Modified: b`, "Date: c", `ETag: "a"|Last-Modified: b|Date: c`)
	f(`ETag: "a"`, `ETag: W/"a"`, `ETag: W/"a"`)
	// The age of old is over.
	f("Age: 50|A: 1", "", "A: 1")
	f("Age: 50|A: 1", "Age: 3", "A: 1|Age: 3")
	f("Cache-Control: max-age=5|Cache-Control: public", "Cache-Control: no-cache", "Cache-Control: no-cache")
}
