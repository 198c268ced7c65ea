//go:build !race && !invariants

// What is tested are files of the toolchain, which are the same under the race detector.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTurn: a poller that is not as expected is left alone.
func TestTurn(t *testing.T) {
	good := "{\n" + ascending + "\t\t" + pushes + "\n\t}\n}"
	got, err := turn(good)
	if err != nil || !strings.Contains(got, descending) || strings.Contains(got, ascending) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"", ascending, pushes, good + good, strings.Replace(good, pushes, "toRun.pushBack(pd)", 1)} {
		if got, err := turn(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// TestShorten: and so is a handshake.
func TestShorten(t *testing.T) {
	got, err := shorten("a\n" + week + "\nb")
	if err != nil || got != "a\n"+day+"\nb" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"", week + week, strings.ToUpper(week)} {
		if got, err := shorten(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// TestOverlayLeavesOut: what cannot be changed is left as it is, with a reason, and the rest is changed.
func TestOverlayLeavesOut(t *testing.T) {
	saved := changes
	defer func() { changes = saved }()
	changes = append([]change{{"runtime/proc.go", "nothing happens", turn}, {"runtime/nosuch.go", "nothing is there", turn}}, saved...)
	dir := t.TempDir()
	flag, problems := overlay(dir)
	if flag != "-overlay="+filepath.Join(dir, "overlay.json") || len(problems) != 2 || !strings.Contains(fmt.Sprint(problems), "nothing happens: runtime/proc.go: it does not") {
		t.Errorf("got %s, %v", flag, problems)
	}
	list, err := os.ReadFile(filepath.Join(dir, "overlay.json"))
	if err != nil || strings.Count(string(list), ".go\":") != len(saved) || strings.Contains(string(list), "proc.go") {
		t.Errorf("got %s, %v", list, err)
	}
}

// TestOrder builds a program whose connections become ready one after the other, and wants that order.
func TestOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the runtime anew, once")
	}
	flag, problems := overlay(t.TempDir())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := "["
	for i := range 32 {
		want += fmt.Sprintf("%d ", i)
	}
	want = strings.TrimSpace(want) + "]"
	program := filepath.Join(t.TempDir(), "order")
	if out, err := exec.Command("go", "build", flag, "-o", program, "./testdata/order").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := ""
	for range 10 { // a moment that divides the batch is possible on a busy machine
		out, err := exec.Command(program).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got = strings.TrimSpace(string(out)); got == want {
			return
		}
	}
	t.Errorf("got %s, want them in order", got)
}

// TestOverlayFails where it cannot write, and says so instead of naming a flag.
func TestOverlayFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if flag, problems := overlay(filepath.Join(file, "below")); len(problems) != 1 || flag != "" {
		t.Errorf("got %s, %v", flag, problems)
	}
}
