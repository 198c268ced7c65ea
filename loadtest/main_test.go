package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// The program starts itself for its origin and its generators; in a test that is the test's program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"origin", "hold", "echo"}, os.Args[1]) {
		main()
		return
	}
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

var built struct {
	once sync.Once
	dir  string
	err  error
}

// build builds Sluice, once for all tests.
func build(t *testing.T) peer {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "loadtest-test-"); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", built.dir, "sluice/cmd/sluice")
		cmd.Stderr = os.Stderr
		built.err = cmd.Run()
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return sluice("sluice", filepath.Join(built.dir, "sluice"))
}
