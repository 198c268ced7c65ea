package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/control/config"
)

// TestReadmeTour runs the commands of the README's console blocks in one shell, in order, in an empty folder, and
// compares what they print. "..." stands for anything. Ports are replaced by free ones.
func TestReadmeTour(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	// The gateway of the tour watches its file: where the next command is slow to come, the change is loaded once more than the README says.
	const generation = "\nsluice_config_generation "
	if !strings.Contains(string(text), generation+"2\n") {
		t.Error("the README does not look at the generation any more")
	}
	steps := tour(freePorts(t, strings.Replace(string(text), generation+"2\n", generation+"...\n", 1)))
	if len(steps) < 10 {
		t.Fatalf("the README has only %d commands to run", len(steps))
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, "bin", "sluice")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	var script strings.Builder
	script.WriteString("make() { echo built; }\ntrap 'kill $(jobs -p); wait' EXIT\n")
	for i, s := range steps {
		if first, _, _ := strings.Cut(s.want, "\n"); strings.Contains(s.command, "/metrics") {
			// A request counts when it is over, which is a moment after its client has the answer.
			fmt.Fprintf(&script, "for _ in {1..200}; do { %s; } | grep -qxF '%s' && break; sleep 0.1; done\n", s.command, first)
		}
		fmt.Fprintf(&script, "%s\necho '=== %d'\n", s.command, i)
	}
	shell := exec.CommandContext(ctx, "bash", "-c", script.String())
	shell.Dir = dir
	shell.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &out
	if err := shell.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	rest := out.String()
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(dir, "sluice.log")); t.Failed() && err == nil {
			t.Logf("sluice.log:\n%s", log)
		}
	})
	for i, s := range steps {
		got, after, ok := strings.Cut(rest, fmt.Sprintf("=== %d\n", i))
		if !ok {
			t.Fatalf("the tour ended before %q:\n%s", s.command, rest)
		}
		rest = after
		if s.want != "" && !like(s.want).MatchString(got) {
			t.Errorf("$ %s\ngot:\n%s\nthe README says:\n%s", s.command, got, s.want)
		}
	}
}

type step struct{ command, want string }

// TestReadmeKinds: every kind of policy stands in the list of them, and has a section that says more.
func TestReadmeKinds(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	_, list, _ := strings.Cut(readme, "Kinds in this build:")
	list, _, _ = strings.Cut(list, "\n- ")
	for f := range reflect.TypeFor[config.Policy]().Fields() {
		kind := f.Tag.Get("cfg")
		if kind != "" && (!strings.Contains(list, "`"+kind+"`") || strings.Count(readme, kind) < 2) {
			t.Errorf("README says nothing of the policy %s", kind)
		}
	}
}

// tour reads the console blocks: "$ " begins a command, which goes on while a here-document is open; what follows is
// what it prints.
func tour(readme string) []step {
	var steps []step
	inside, document := false, false
	for line := range strings.Lines(readme) {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = strings.HasPrefix(line, "```console")
		case !inside:
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{command: strings.TrimSpace(line[2:])})
			document = strings.Contains(line, "<<'EOF'")
		case document:
			steps[len(steps)-1].command += "\n" + strings.TrimSuffix(line, "\n")
			document = strings.TrimSpace(line) != "EOF"
		default:
			steps[len(steps)-1].want += line
		}
	}
	return steps
}

func like(want string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(strings.TrimSpace(want))
	return regexp.MustCompile(`(?s)^\s*` + strings.ReplaceAll(quoted, `\.\.\.`, ".*") + `\s*$`)
}

// freePorts gives the tour ports that nobody uses.
func freePorts(t *testing.T, text string) string {
	for _, port := range []string{"8080", "8081", "8085", "9180", "9181", "9185"} {
		l := listenBelow(t)
		defer l.Close()
		text = strings.ReplaceAll(text, "127.0.0.1:"+port, l.Addr().String())
	}
	return text
}
