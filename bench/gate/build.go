package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// packages returns the packages of the tree that have benchmarks, with their folders.
func (t *tree) packages(ctx context.Context) (map[string]string, error) {
	const format = `{{.ImportPath}}|{{.Dir}}|{{range .TestGoFiles}}{{.}}|{{end}}{{range .XTestGoFiles}}{{.}}|{{end}}`
	out, err := t.goTool(ctx, "list", "-f", format, "./...")
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	for line := range strings.Lines(out) {
		parts := strings.Split(strings.TrimSpace(line), "|")
		if len(parts) < 3 {
			continue
		}
		for _, file := range parts[2:] {
			if file == "" {
				continue
			}
			has, err := hasBenchmark(filepath.Join(parts[1], file))
			if err != nil {
				return nil, &failure{t.lack, err}
			}
			if has {
				found[parts[0]] = parts[1]
				break
			}
		}
	}
	return found, nil
}

func hasBenchmark(file string) (bool, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return false, err
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Benchmark") {
			return true, nil
		}
	}
	return false, nil
}

// goTool runs the go command in the tree. A tree that it complains about cannot be compared.
func (t *tree) goTool(ctx context.Context, args ...string) (string, error) {
	c := command(ctx, t.dir, "go", args...)
	// As shipped: without cgo. A go.work around the working tree is not around the base.
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	out, err := output(c)
	if err != nil {
		return "", &failure{t.lack, fmt.Errorf("cannot build the benchmarks of the %s (%s): %w", t.side(), t.dir, err)}
	}
	return out, nil
}

// profile is what the compiler optimises by where the tree has it, as `make build` does.
const profile = "profiles/default.pgo"

// build makes the test binaries of packages in dir, in the place of those before, with their functions in the order of this
// layout. -trimpath makes binaries of the same code the same, wherever they are built. It returns their files.
func (t *tree) build(ctx context.Context, packages []string, layout int, dir string) (map[string]string, error) {
	pgo := "off"
	if file := filepath.Join(t.dir, profile); exists(file) && !t.plain {
		pgo = file
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	binaries := make(map[string]string)
	for i, batch := range batches(packages) {
		to := filepath.Join(dir, fmt.Sprint(i)) + "/"
		if err := os.MkdirAll(to, 0o700); err != nil {
			return nil, err
		}
		args := []string{"test", "-c", "-trimpath", "-buildvcs=false", "-pgo=" + pgo, "-o", to,
			fmt.Sprintf("-ldflags=-s -w -randlayout=%d", layout)}
		if t.overlay != "" {
			args = append(args, "-overlay", t.overlay)
		}
		if _, err := t.goTool(ctx, append(args, batch...)...); err != nil {
			return nil, err
		}
		for _, p := range batch {
			binaries[p] = filepath.Join(to, path.Base(p)+".test")
		}
	}
	return binaries, nil
}

// batches divides packages so that no two of one batch have the same name: that of their binary.
func batches(packages []string) [][]string {
	var list [][]string
	for _, p := range packages {
		same := func(q string) bool { return path.Base(p) == path.Base(q) }
		i := slices.IndexFunc(list, func(batch []string) bool { return !slices.ContainsFunc(batch, same) })
		if i < 0 {
			i, list = len(list), append(list, nil)
		}
		list[i] = append(list[i], p)
	}
	return list
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// sameFile compares two files byte by byte, as far as SHA-256 can tell.
func sameFile(a, b string) (bool, error) {
	x, err := digest(a)
	if err != nil {
		return false, err
	}
	y, err := digest(b)
	return x == y, err
}

func digest(file string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// both returns the keys of a that b has and those that it has not, each sorted.
func both[V any](a, b map[string]V) (common, onlyA []string) {
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[k]; ok {
			common = append(common, k)
		} else {
			onlyA = append(onlyA, k)
		}
	}
	return common, onlyA
}
