package config

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestFormat holds untidy files and what becomes of them: NAME.in and NAME.out in testdata/format.txtar.
func TestFormat(t *testing.T) {
	const name = "testdata/format.txtar"
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var in []byte
	cases := 0
	for i, f := range archive.Files {
		if filepath.Ext(f.Name) == ".in" {
			in = f.Data
			continue
		}
		cases++
		got, err := Format(in)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		if *rewrite {
			archive.Files[i].Data = got
		} else if !bytes.Equal(got, f.Data) {
			t.Errorf("%s: got\n%s\nwant\n%s", f.Name, got, f.Data)
		}
		again, err := Format(got)
		if err != nil || !bytes.Equal(got, again) {
			t.Errorf("%s: formatting twice changes it again (%v):\n%s\n----\n%s", f.Name, err, got, again)
		}
	}
	if cases == 0 {
		t.Error("there are no cases")
	}
	if *rewrite {
		if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFormatKeeps wants tidy files to stay as they are.
func TestFormatKeeps(t *testing.T) {
	f := func(src []byte) {
		t.Helper()
		got, err := Format(src)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, src) {
			t.Errorf("a tidy file becomes\n%s", got)
		}
	}
	f(Starter())
	f([]byte("version: 1\n"))
	f([]byte("# only a comment\n"))
}

// TestFormatForms covers what a line can be, without fixing the result: it must mean the same and be stable.
func TestFormatForms(t *testing.T) {
	f := func(src string) {
		t.Helper()
		got, err := Format([]byte(src))
		if err != nil {
			t.Errorf("%q: %v", src, err)
			return
		}
		if again, err := Format(got); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%q becomes %q, and then %q (%v)", src, got, again, err)
		}
	}
	f("a: |\n    x\n      y\n\n    z  \nb: 1\n")
	f("a:\n      b: >-\n         x\n         y\n\n\n      c: 1\n")
	f("a: |+\n  x\n\n\nb: 1\n")
	f("a: \"x\n   y\n\n   z\"\nb: 'a\n  b'\n")
	f("a: x\n     y\n     z\nb: 1\n")
	f("a:\n- b\n-   c: 1\n    d: 2\n-\n  e: 3\n- - f\n  - g\n- [h,\ni]\n")
	f("a: { b: 1,\nc: [\n2,\n3 ],\n  # comment\n  d: \"x\n y\" }\n")
	f("a:\r\n    b: 1\r\n    c: |\r\n        x\r\n")
	f("\ufeffa: 1\n")
	f("a:\n    # first\n    b: 1\n    # last\n# next\nc: 1\n# end\n")
	f("a:\n  b:\n    c: 1\n    # after c\n  # after b\n# after a\n")
	f("{ b: 1,\n a: 2 }\n")
	f("- a\n- b\n")
	f("a:\n    - b: 1\n      c:\n          - d\n          # e\n    # f\n")
	f("a:\n   \"b\"\nc:\n   |\n    x\n")
}

func TestFormatRefuses(t *testing.T) {
	f := func(src string) {
		t.Helper()
		if out, err := Format([]byte(src)); err == nil {
			t.Errorf("%q becomes %q, want an error", src, out)
		}
	}
	f("a: [")
	f("a: &x 1\n")
	f("a: 1\n---\nb: 1\n")
	f("\ta: 1\n")
}
