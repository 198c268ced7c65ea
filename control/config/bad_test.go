package config

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

var rewrite = flag.Bool("rewrite", false, "write what the tests in testdata/bad produce into them")

// TestBad holds bad files and the exact problems that they make. In each archive, NAME.yaml is a case and NAME.want its
// problems, one per line; files in folders are there to be included.
func TestBad(t *testing.T) {
	archives, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("there are no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := runBad(t, archive)
			if *rewrite {
				if err := os.WriteFile(name, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// runBad checks every case and returns the archive as it should be.
func runBad(t *testing.T, archive *txtar.Archive) *txtar.Archive {
	t.Helper()
	files := map[string][]byte{}
	for _, f := range archive.Files {
		files[f.Name] = f.Data
	}
	o := Options{
		Now: func() time.Time { return time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC) },
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"PORT": "8080", "SECRET": "hunter2", "EMPTY": ""}[name]
			return value, ok
		},
		ReadFile: func(name string) ([]byte, error) {
			if data, ok := files[name]; ok {
				return data, nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		Glob: func(pattern string) ([]string, error) {
			var found []string
			for name := range files {
				if ok, err := path.Match(pattern, name); err != nil || ok {
					found = append(found, name)
					if err != nil {
						return nil, err
					}
				}
			}
			return found, nil
		},
	}
	out := &txtar.Archive{Comment: archive.Comment}
	for _, f := range archive.Files {
		if strings.HasSuffix(f.Name, ".want") {
			continue
		}
		out.Files = append(out.Files, f)
		if path.Ext(f.Name) != ".yaml" || strings.Contains(f.Name, "/") {
			continue
		}
		c, problems := Parse(f.Name, f.Data, o)
		if (c == nil) != problems.HasErrors() {
			t.Errorf("%s: the configuration is there (%v) and so are errors (%v)", f.Name, c != nil, problems.HasErrors())
		}
		if len(problems) == 0 {
			t.Errorf("%s: nothing is wrong with it", f.Name)
		}
		got := []byte(problems.Error() + "\n")
		wantName := strings.TrimSuffix(f.Name, ".yaml") + ".want"
		out.Files = append(out.Files, txtar.File{Name: wantName, Data: got})
		if !*rewrite && !bytes.Equal(got, files[wantName]) {
			t.Errorf("%s:\n got\n%s\nwant\n%s", f.Name, got, files[wantName])
		}
	}
	return out
}
