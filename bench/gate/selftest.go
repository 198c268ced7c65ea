package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// planted is where the self test puts its changes: what every request runs through once.
const (
	plantedFolder   = "proxy/server"
	plantedReceiver = "Server"
	plantedMethod   = "serve"
)

// plantedPath is the benchmark that has to notice, and by whose time the slow-down is measured out.
var plantedPath = name{"bench", "Serve/get-0-policies"}

const plantedSlow = 0.10

// selftest compares the working tree with itself, with or without a change, and fails if the gate does not find what is
// there, or finds what is not.
func selftest(ctx context.Context, o *options, root, scratch string, out io.Writer) error {
	here, err := workingTree(ctx, root)
	if err != nil {
		return err
	}
	base := *here
	base.name = "base"
	switch o.selftest {
	case "same":
		o.identical = true
		for i := range o.runs {
			if err := identicalRun(ctx, o, root, scratch, out); err != nil {
				return fmt.Errorf("run %d of %d with the same code on both sides: %w", i+1, o.runs, err)
			}
			o.say("run %d of %d: nothing found, as it should be", i+1, o.runs)
		}
		return nil
	case "alloc":
		if here.overlay, err = plant(root, scratch, `
var planted *[16]byte

func plantedWork() { planted = new([16]byte) }
`); err != nil {
			return err
		}
		return noticed(ctx, o, &base, here, scratch, allocates, out)
	case "pgo":
		return gains(ctx, o, &base, here, scratch, out)
	case "slow":
		n, err := measureOut(ctx, o, here, scratch)
		if err != nil {
			return err
		}
		if here.overlay, err = plant(root, scratch, loop(n)); err != nil {
			return err
		}
		return noticed(ctx, o, &base, here, scratch, slower, out)
	}
	return fmt.Errorf("there is no self test %q: slow, alloc, same or pgo", o.selftest)
}

// identicalRun compares HEAD, in another folder, with the working tree, which has to be as HEAD is.
func identicalRun(ctx context.Context, o *options, root, scratch string, out io.Writer) error {
	if err := clean(ctx, root); err != nil {
		return err
	}
	r, err := compareWith(ctx, o, root, "HEAD", scratch)
	if err != nil {
		return err
	}
	r.table(out)
	for _, e := range r.Benchmarks {
		if !slices.Contains(r.Identical, e.pkg) {
			return fmt.Errorf("the same code of %s has not become the same binary", e.Package)
		}
	}
	return r.err()
}

// gains shows what the profile gains, which is what the code without it lacks, and wants it to be something.
func gains(ctx context.Context, o *options, base, here *tree, scratch string, out io.Writer) error {
	if !exists(filepath.Join(here.dir, profile)) {
		return fmt.Errorf("there is no %s", profile)
	}
	base.plain = true
	r, err := compare(ctx, o, base, here, scratch)
	if err != nil {
		return err
	}
	r.table(out)
	ratio := r.geomean(wholePath)
	if !(ratio < 1) {
		return fmt.Errorf("%s gains nothing: with it the whole path takes %.3f of the time without", profile, ratio)
	}
	o.say("with %s the whole path takes %.3f of the time without, leaving the kernel out where it can be", profile, ratio)
	return nil
}

// noticed wants the gate to find the planted change.
func noticed(ctx context.Context, o *options, base, here *tree, scratch string, want verdict, out io.Writer) error {
	r, err := compare(ctx, o, base, here, scratch)
	if err != nil {
		return err
	}
	r.table(out)
	var failed *failure
	if err := r.err(); !errors.As(err, &failed) || failed.code != codeWorse {
		return fmt.Errorf("the gate has not noticed what was planted: %v", err)
	}
	for _, e := range r.having(want) {
		if e.name() == plantedPath {
			o.say("noticed, as it should be: %s", e)
			return nil
		}
	}
	return fmt.Errorf("the gate does not find %s %s, of which that is planted: %w", plantedPath, want, r.err())
}

// plant writes an overlay in which every request does planted work, and returns its file.
func plant(root, scratch, work string) (string, error) {
	folder := filepath.Join(root, plantedFolder)
	file, at, err := bodyOf(folder, plantedReceiver, plantedMethod)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(scratch, "changed.go")
	added := filepath.Join(scratch, "added.go")
	overlay := filepath.Join(scratch, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed, filepath.Join(folder, "planted.go"): added}})
	if err != nil {
		return "", err
	}
	return overlay, errors.Join(
		os.WriteFile(changed, fmt.Appendf(nil, "%s plantedWork(); %s", text[:at], text[at:]), 0o600),
		os.WriteFile(added, []byte("package "+filepath.Base(folder)+"\n"+work), 0o600),
		os.WriteFile(overlay, list, 0o600))
}

// bodyOf finds a method and returns its file and the offset at which its body begins.
func bodyOf(folder, receiver, method string) (string, int, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return "", 0, err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return "", 0, err
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != method || f.Recv == nil || f.Body == nil {
				continue
			}
			star, ok := f.Recv.List[0].Type.(*ast.StarExpr)
			if !ok {
				continue
			}
			if id, ok := star.X.(*ast.Ident); ok && id.Name == receiver {
				return file, set.Position(f.Body.Lbrace).Offset + 1, nil
			}
		}
	}
	return "", 0, fmt.Errorf("there is no method %s of %s in %s any more: tell the self test (bench/gate/selftest.go) what every request runs through", method, receiver, folder)
}

// loop is work of n rounds, each of which waits for the one before.
func loop(n int) string {
	return fmt.Sprintf(`
var planted uint64 = 1

func plantedWork() {
	x := planted
	for range %d {
		x = x*6364136223846793005 + 1442695040888963407
	}
	planted = x
}
`, n)
}

// measureOut returns how many rounds of the loop make a request slower by plantedSlow. A first guess is put right by what it
// makes of a request: the processor does part of a short loop beside other work, and of a long one not.
func measureOut(ctx context.Context, o *options, here *tree, scratch string) (int, error) {
	without, err := quickest(ctx, o, *here, scratch)
	if err != nil {
		return 0, err
	}
	n := 2000
	for range 3 {
		slowed := *here
		if slowed.overlay, err = plant(here.dir, scratch, loop(n)); err != nil {
			return 0, err
		}
		with, err := quickest(ctx, o, slowed, scratch)
		if err != nil {
			return 0, err
		}
		o.say("%d rounds of the planted loop make a request take %.3f times as long", n, with/without)
		if with <= without {
			return 0, errors.New("the planted loop takes no time")
		}
		if share := with/without - 1; share < plantedSlow*0.95 || share > plantedSlow*1.05 {
			n = max(1, int(float64(n)*plantedSlow/share+0.5))
		}
	}
	return n, nil
}

// quickest returns the time that a request takes.
func quickest(ctx context.Context, o *options, t tree, scratch string) (float64, error) {
	cpu := newPinned()
	defer cpu.close()
	s := &side{tree: &t, results: make(map[name]*series)}
	var err error
	if s.folders, err = t.packages(ctx); err != nil {
		return 0, err
	}
	for pkg := range s.folders {
		if short(pkg) != plantedPath.Package {
			continue
		}
		for layout := range roundsMin {
			if s.binaries, err = t.build(ctx, []string{pkg}, layout+1, filepath.Join(scratch, t.name)); err != nil {
				return 0, err
			}
			if err := s.run(ctx, o, cpu, pkg, exactly([]name{plantedPath}), o.repeat); err != nil {
				return 0, err
			}
		}
		if r := s.results[plantedPath]; r != nil {
			return medianOf(r.seconds), nil
		}
	}
	return 0, fmt.Errorf("there is no benchmark %s", plantedPath)
}
