package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// seeds adds every file of testdata.
func seeds(f *testing.F) {
	f.Add([]byte(contract))
	f.Add(Starter())
	for _, pattern := range []string{"testdata/*.yaml", "testdata/include/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, name := range names {
			src, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	archives, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if filepath.Ext(file.Name) == ".yaml" {
				f.Add(file.Data)
			}
		}
	}
}

// watch panics when an input takes so long that something must be wrong: the fuzzer itself would wait for ever.
func watch(src []byte) (stop func()) {
	timer := time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("takes for ever: %q", src)) })
	return func() { timer.Stop() }
}

// FuzzParse wants an answer for every text: a configuration or errors with a place, and no secret in them.
func FuzzParse(f *testing.F) {
	seeds(f)
	const secret = "zq7kw"
	o := Options{
		LookupEnv: func(name string) (string, bool) { return secret, name != "UNSET" },
		ReadFile:  func(name string) ([]byte, error) { return nil, errors.New("no files here") },
		Glob:      func(string) ([]string, error) { return nil, nil },
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		defer watch(src)()
		c, problems := Parse("f", src, o)
		if (c == nil) != problems.HasErrors() {
			t.Fatalf("configuration %v, problems %q", c != nil, problems)
		}
		last := Pos{}
		for _, p := range problems {
			if p.Pos.File != "f" || p.Message == "" || p.Pos.Line < last.Line {
				t.Fatalf("not a good problem: %q after %v", p, last)
			}
			if p.Pos.Line < 1 && !strings.HasPrefix(p.Message, "the file has") && !strings.HasPrefix(p.Message, "this is not YAML") {
				t.Fatalf("without a line: %q", p)
			}
			if strings.ContainsAny(p.String(), "\n\r\x1b") {
				t.Fatalf("more than a line: %q", p)
			}
			if strings.Contains(p.String(), secret) && !bytes.Contains(src, []byte(secret)) {
				t.Fatalf("shows a secret: %q", p)
			}
			last = p.Pos
		}
		if c != nil && len(c.Listen) == 0 {
			t.Fatal("a configuration without listeners")
		}
	})
}

// FuzzFormat wants a result that stays as it is and means the same, or an error.
func FuzzFormat(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		defer watch(src)()
		once, err := Format(src)
		if err != nil {
			return
		}
		twice, err := Format(once)
		if err != nil {
			t.Fatalf("%q becomes %q, which fails: %v", src, once, err)
		}
		if !bytes.Equal(once, twice) {
			t.Fatalf("%q becomes %q, then %q", src, once, twice)
		}
		before, after := parseYAML("f", src, newReport()), parseYAML("f", once, newReport())
		if !sameValue(before, after, true) {
			t.Fatalf("%q means something else as %q", src, once)
		}
	})
}

// FuzzTemplate wants the pieces of a template to be the template again.
func FuzzTemplate(f *testing.F) {
	f.Add("/x/$path.id/$$/$header.X-A.", false)
	f.Add("/x/{id}", true)
	f.Fuzz(func(t *testing.T, text string, braces bool) {
		parts, err := SplitTemplate(text, braces)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, p := range parts {
			switch {
			case p.Variable == "":
				again.WriteString(strings.ReplaceAll(p.Literal, "$", "$$"))
			default:
				again.WriteString("$" + p.Variable)
			}
		}
		if !braces && again.String() != text {
			t.Fatalf("%q comes back as %q", text, again.String())
		}
	})
}
