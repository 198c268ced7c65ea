package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repo is a small repository with a module of its own.
type repo struct {
	t       *testing.T
	dir     string
	scratch string // where the gate puts what has to be gone in the end
}

const (
	work = `package work

var sink []byte

var sum, calls uint64

func Work() {
	for i := range uint64(300) {
		sum = sum*6364136223846793005 + i
	}
}
`
	// It tells processor time, as those of the gateway do: what else runs on the core would make one slice of two milliseconds as slow as three,
	// and with six of them on a side one that is out of place says that nothing is certain.
	workBench = `package work

import (
	"syscall"
	"testing"
	"unsafe"
)

func cpuTime() int64 {
	var t syscall.Timespec
	const processTime = 2 // CLOCK_PROCESS_CPUTIME_ID
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, processTime, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

func BenchmarkWork(b *testing.B) {
	before := cpuTime()
	for b.Loop() {
		Work()
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}
`
)

func newRepo(t *testing.T) *repo {
	t.Helper()
	r := &repo{t: t, dir: t.TempDir(), scratch: t.TempDir()}
	t.Setenv("TMPDIR", r.scratch)
	r.git("init", "-q")
	r.write("go.mod", "module mini\n\ngo 1.26\n")
	r.write(".gitignore", "/bin/\n")
	r.write("work/work.go", work)
	r.write("work/work_test.go", workBench)
	r.commit()
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	c := exec.Command("git", append([]string{"-c", "user.name=Test", "-c", "user.email=test@example.test"}, args...)...)
	c.Dir = r.dir
	out, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) write(file, text string) {
	r.t.Helper()
	file = filepath.Join(r.dir, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) read(file string) string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, file))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func (r *repo) commit() string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", "x")
	return r.git("rev-parse", "HEAD")
}

// gate runs the gate, wants this exit code, and these texts in what it prints. It has to leave nothing behind.
func (r *repo) gate(code int, args string, wants ...string) {
	r.t.Helper()
	r.gateUntil(context.Background(), code, args, wants...)
}

func (r *repo) gateUntil(ctx context.Context, code int, args string, wants ...string) {
	r.t.Helper()
	var out bytes.Buffer
	got := run(ctx, append([]string{"-C", r.dir, "-rounds", "6", "-repeat", "2", "-slice", "2ms"}, strings.Fields(args)...), &out, &out)
	if got != code {
		r.t.Fatalf("got exit code %d, want %d:\n%s", got, code, &out)
	}
	for _, want := range wants {
		if !strings.Contains(out.String(), want) {
			r.t.Errorf("there is no %q in:\n%s", want, &out)
		}
	}
	if n := strings.Count(r.git("worktree", "list"), "\n"); n != 0 {
		r.t.Errorf("worktrees are left:\n%s", r.git("worktree", "list"))
	}
	left, err := os.ReadDir(r.scratch)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "bench-gate-") {
			r.t.Errorf("%s is left", e.Name())
		}
	}
}

// change replaces a piece of the package.
func (r *repo) change(old, new string) {
	r.t.Helper()
	if !strings.Contains(work, old) {
		r.t.Fatalf("there is no %q to replace", old)
	}
	r.write("work/work.go", strings.Replace(work, old, new, 1))
}

func TestGateBroken(t *testing.T) {
	r := newRepo(t)
	good := r.git("rev-parse", "HEAD")
	r.gate(codeBroken, "-base HEAD -rounds 3", "-rounds must be at least 6")
	r.gate(codeBroken, "-base HEAD more", `there is no argument "more"`)
	r.gate(codeBroken, "-selftest fast", `there is no self test "fast"`)
	r.gate(codeBroken, "-base HEAD -budget 1ms", "not done within 1ms")

	r.write("work/work.go", "package work\n\nfunc Work() { nonsense }\n")
	r.gate(codeBroken, "-base HEAD", "cannot build the benchmarks of the working tree", "undefined: nonsense")
	bad := r.commit()
	r.write("work/work.go", work)
	r.gate(codeNoBase, "-base "+bad, "cannot build the benchmarks of the base", "undefined: nonsense")

	fails := strings.Replace(workBench, "	for b", "	b.Fatal(\"no way\")\n	for b", 1)
	r.write("work/work_test.go", fails)
	r.gate(codeBroken, "-base "+good, "the benchmarks of mini/work failed in the working tree", "no way")
	bad = r.commit()
	r.write("work/work_test.go", workBench)
	r.gate(codeNoBase, "-base "+bad, "failed in the base", "no way")

	r.git("rm", "-q", "-f", "work/work_test.go")
	bad = r.commit()
	r.gate(codeNoBase, "-base "+bad, "has no benchmarks")
	r.write("work/work_test.go", strings.ReplaceAll(workBench, "BenchmarkWork", "BenchmarkOther"))
	r.gate(codeNoBase, "-base "+good, "there is no benchmark that both sides have")
}

func TestGateNoBase(t *testing.T) {
	r := newRepo(t)
	r.gate(codeNoBase, "", "cannot tell what to compare with")
	r.write(baseFile, "\n")
	r.gate(codeNoBase, "", "bench/BASE is empty")
	first := r.git("rev-parse", "HEAD")
	r.write(baseFile, first+"\n")
	r.gate(0, "", "the same binary on both sides")
	r.write(baseFile, "0123456789abcdef0123456789abcdef01234567\n")
	r.gate(codeNoBase, "", "there is no commit 0123456789abcdef0123456789abcdef01234567")

	// A clone without the history that reaches back to the base.
	r.write(baseFile, first+"\n")
	r.commit()
	shallow := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", "--depth", "1", "file://"+r.dir, shallow)
	r.dir = shallow
	r.gate(codeNoBase, "", "shallow clone", "git fetch --unshallow")
	r.git("fetch", "-q", "--unshallow")
	r.gate(0, "", "the same binary on both sides")
}

// TestGateInterrupted ends a gate at several moments: nothing of it may be left.
func TestGateInterrupted(t *testing.T) {
	r := newRepo(t)
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond, time.Second} {
		ctx, cancel := context.WithTimeout(context.Background(), after)
		r.gateUntil(ctx, codeInterrupted, "-base HEAD -identical -rounds 1000 -slice 20ms", "interrupted")
		cancel()
	}
}
