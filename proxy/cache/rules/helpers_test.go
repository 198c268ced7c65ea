package rules

import (
	"strings"
	"testing"
	"time"

	"sluice/proxy/wire"
)

// head makes a head of lines such as "Vary: accept", with "|" between them.
func head(t testing.TB, text string) *wire.Head {
	t.Helper()
	h := new(wire.Head)
	if text == "" {
		return h
	}
	for line := range strings.SplitSeq(text, "|") {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !wire.IsToken(strings.TrimSpace(name)) {
			t.Fatalf("%q is no field", line)
		}
		h.AddString(strings.TrimSpace(name), strings.Trim(value, " \t"))
	}
	return h
}

// lines is the head as head wants it.
func lines(h *wire.Head) string {
	var all []string
	for name, value := range h.All() {
		all = append(all, string(name)+": "+string(value))
	}
	return strings.Join(all, "|")
}

// epoch is an arbitrary moment, 06 Nov 1994 08:49:37.
const epoch = 784111777

// date writes a moment seconds after the epoch.
func date(seconds int64) string {
	return time.Unix(epoch+seconds, 0).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
}
