package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConsumersCommand edits the consumers of a running gateway from the command line.
func TestConsumersCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := launch(t, "run", "-c", writeFile(t, filepath.Join(dir, "sluice.yaml"), storing(filepath.Join(dir, "state"))))
	web, admin := "http://"+p.address("web"), p.address("admin")
	eventually(t, "the gateway is ready", func() bool { status, _ := get("http://" + admin + "/readyz"); return status == 200 })
	run := func(want int, wantErr string, args ...string) string {
		t.Helper()
		out, errs, code := sluice(t, dir, append(append([]string{"consumers"}, args...), "--admin", admin)...)
		if code != want || !strings.Contains(errs, wantErr) {
			t.Errorf("%v: %d %s, want %d %s", args, code, errs, want, wantErr)
		}
		return strings.TrimSpace(out)
	}
	key := func(key string, want int) {
		t.Helper()
		if got := statusWith(t, web+"/a", "X-Api-Key", key); got != want {
			t.Errorf("%s gets %d, want %d", key, got, want)
		}
	}
	run(0, "", "put", "partners/bolt", "--plan", "gold", "--scope", "read", "--label", "region=eu")
	first := run(0, "shown only here", "key", "partners/bolt", "--prefix", "sk_live", "--expires", "1h")
	key(first, 200)
	list := run(0, "", "list")
	line := regexp.MustCompile(`partners/bolt +gold +read +sk_live +([0-9a-f]{16}) +20\d\d-\S+ \S+ +20\d\d-`).FindStringSubmatch(list)
	if line == nil || !strings.Contains(list, "partners/acme  gold") || strings.Contains(list, first) {
		t.Fatalf("the list is\n%s", list)
	}
	second := run(0, "", "rotate", "partners/bolt", line[1], "--overlap", "1h", "--expires", "2099-01-31")
	if list := run(0, "", "list"); !strings.Contains(list, " 2099-02-01 00:00:00 ") {
		t.Errorf("the list is\n%s", list)
	}
	run(1, "expires is past", "key", "partners/bolt", "--expires", "2001-01-31T12:00:00Z")
	run(2, `"soon" is neither a day, such as 2027-01-31, nor a time`, "key", "partners/bolt", "--expires", "soon")
	key(first, 200)
	key(second, 200)
	run(0, "", "revoke", "partners/bolt", line[1])
	key(first, 401)
	run(0, "", "remove", "partners/bolt")
	key(second, 401)
	run(1, "no stored consumer of that name", "remove", "partners/bolt")
	run(1, "the configuration has a consumer of that name", "put", "partners/acme")
	run(1, "write GROUP/NAME", "key", "partners")
	run(1, "scopes[0]", "put", "partners/bolt", "--scope", "a b")
}
