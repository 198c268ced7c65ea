package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlanted sees that there still is a place through which every request comes, where the self test plants its work.
func TestPlanted(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	if _, err := plant(root, scratch, loop(7)); err != nil {
		t.Fatal(err)
	}
	changed, err := os.ReadFile(filepath.Join(scratch, "changed.go"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(changed); strings.Count(got, "{ plantedWork(); ") != 1 {
		t.Errorf("nothing is planted in\n%s", got)
	}
	if _, _, err := bodyOf(filepath.Join(root, plantedFolder), plantedReceiver, "nothing"); err == nil {
		t.Error("there is a method nothing")
	}
}
