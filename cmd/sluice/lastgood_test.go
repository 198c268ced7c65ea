package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Each file is included by the one before it, and holds what nothing else does.
func TestLastGoodHoldsEveryFile(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	files := map[string]string{
		"main.yaml": "version: 1\nstate: " + state + "\nadmin: off\ninclude: a.yaml\nlisten: { web: { address: \"127.0.0.1:0\" } }\n" +
			"policies: { known: { api_key: { consumers: partners } } }\n" +
			"routes: { r: { match: /r, use: [known], respond: { text: \"${file:secret.txt}\" } } }\n",
		"a.yaml":        "include: [conf.d/*.yaml]\n",
		"conf.d/b.yaml": "include: [../c.yaml, ../d.yaml, \"../${NAME}.yaml\"]\n",
		"c.yaml":        "consumers: { partners: { acme: { keys: [ { hash: \"sha256:0000000000000000000000000000000000000000000000000000000000000000\" } ] } } }\n",
		"d.yaml":        "stores: { fleet: { url: \"redis://127.0.0.1:1\" } }\n",
		"e.yaml":        "cache: { memory: 64MiB }\n",
		"conf.d/f.yaml": "tls: { edge: { certificates: [ { dir: certs } ] } }\n",
		"conf.d/g.yaml": "# nothing yet\n",
	}
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	writeFile(t, filepath.Join(dir, "secret.txt"), "hunter2")
	s := &source{name: filepath.Join(dir, "main.yaml"), lookup: func(string) (string, bool) { return "e", true }}
	c, problems, seen := s.load()
	if c == nil {
		t.Fatal(problems)
	}
	if err := saveLastGood(s, c, seen); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		broken := files[name] + "nonsense: { }\n"
		writeFile(t, filepath.Join(dir, name), broken)
		if c, _, _ := s.load(); c != nil {
			t.Fatalf("%s is not broken", name)
		}
		if _, _, _, err := loadLastGood(s, state); err != nil {
			t.Errorf("%s is broken: %v", name, err)
		}
		writeFile(t, filepath.Join(dir, name), files[name])
	}
	// What else was read is not kept.
	if err := os.Remove(filepath.Join(dir, "secret.txt")); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := loadLastGood(s, state); err == nil {
		t.Error("a secret was kept")
	}
}
