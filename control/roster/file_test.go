package roster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // a test may have done it
	return f
}

func member(plan string, ids ...string) *Member {
	m := &Member{Plan: plan, Scopes: []string{"a"}, Labels: map[string]string{"x": "y"}, Created: time.Unix(1e9, 0).UTC(), Changed: time.Unix(2e9, 0).UTC()}
	for _, id := range ids {
		sum := sha256.Sum256([]byte(id))
		m.Keys = append(m.Keys, Key{ID: id, Sum: sum[:], Prefix: "sk", Created: time.Unix(1e9, 0).UTC()})
	}
	return m
}

func put(t *testing.T, f *File, group, name string, m *Member) {
	t.Helper()
	called := false
	err := f.Edit(group, name, func(*Member) (*Member, error) { return m, nil }, func(_, after *Member) { called = after == m })
	if err != nil || !called {
		t.Fatalf("%s: %v, done %v", name, err, called)
	}
}

func all(t *testing.T, f *File, group string) string {
	t.Helper()
	var names []string
	if err := f.All(group, func(m *Member) { names = append(names, m.Name+":"+m.Plan) }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestEdits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "consumers.db")
	f := open(t, path)
	want := func(group, names string) {
		t.Helper()
		if got := all(t, f, group); got != names {
			t.Errorf("%s has %q, want %q", group, got, names)
		}
	}
	put(t, f, "g", "b", member("1", "k1", "k2"))
	put(t, f, "g", "a", member("2"))
	put(t, f, "h", "a", member("3"))
	want("g", "a:2 b:1")
	want("h", "a:3")
	want("i", "")
	put(t, f, "g", "a", member("4"))
	put(t, f, "h", "c", member("5"))

	// An error changes nothing, and what it gets is no part of what is kept.
	wrong := errors.New("no")
	err := f.Edit("g", "a", func(m *Member) (*Member, error) { m.Plan = "x"; return m, wrong }, func(_, _ *Member) { t.Error("it was done") })
	if !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
	want("g", "a:4 b:1")
	if err := f.Edit("h", "a", func(*Member) (*Member, error) { return nil, nil }, func(before, after *Member) {
		if before == nil || before.Plan != "3" || after != nil {
			t.Errorf("%v became %v", before, after)
		}
	}); err != nil {
		t.Error(err)
	}
	want("h", "c:5")

	// Uses are kept beside, and go with their key.
	if err := f.SaveUses([]Use{{"g", "b", "k1", 7}, {"g", "b", "gone", 8}, {"g", "nobody", "k1", 9}}); err != nil {
		t.Fatal(err)
	}
	used := func(wants ...int64) {
		t.Helper()
		m, err := f.Get("g", "b")
		if err != nil || len(m.Keys) != len(wants) {
			t.Fatalf("%v, %v", m, err)
		}
		for i, want := range wants {
			if got := m.Keys[i].LastUsed; got != want {
				t.Errorf("key %d was used at %d, want %d", i, got, want)
			}
		}
	}
	used(7, 0)
	put(t, f, "g", "b", member("1", "k2"))
	put(t, f, "g", "b", member("1", "k1", "k2"))
	used(0, 0)

	// All of it is there after the next opening, and revisions go on.
	before, err := f.Get("g", "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, path)
	after, err := f.Get("g", "b")
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("%+v became %+v: %v", before, after, err)
	}
	put(t, f, "g", "b", after)
	if after.Revision <= before.Revision {
		t.Errorf("revision %d follows %d", after.Revision, before.Revision)
	}

	page := func(after string, n int, want string) {
		t.Helper()
		list, err := f.List("g", after, n)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range list {
			names = append(names, m.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("after %q: %q, want %q", after, got, want)
		}
	}
	page("", 1, "a")
	page("a", 5, "b")
	page("aa", 5, "b")
	page("b", 5, "")
}

// TestFormatted keeps hashes out of whatever prints a member.
func TestFormatted(t *testing.T) {
	m := member("p", "k")
	m.Passwords = []Password{{ID: "x", Argon2: &Argon2{Salt: Bytes("salt-salt"), Sum: Bytes("sum-sum-sum-sum-sum")}}}
	for _, text := range []string{fmt.Sprint(*m), fmt.Sprintf("%+v", *m), fmt.Sprint(m.Keys[0]), fmt.Sprintf("%#v", m.Keys[0]), fmt.Sprintf("%v %s", m.Passwords[0].Argon2, m.Passwords[0].Argon2.Sum)} {
		if strings.Contains(text, "salt-salt") || strings.Contains(text, "sum-sum") || strings.Contains(text, fmt.Sprint([]byte(m.Keys[0].Sum))) ||
			strings.Contains(text, fmt.Sprintf("%#v", []byte(m.Keys[0].Sum))) {
			t.Error(text)
		}
	}
}

// TestTwice: of two gateways with one folder the second is told so, soon.
func TestTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "consumers.db")
	f := open(t, path)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func TestForeignFiles(t *testing.T) {
	t.Parallel()
	f := func(content, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "consumers.db")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the lock was given up
			if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("it was changed: %v", err)
		}
	}
	f("hello", "cannot open the file of consumers")
	f(strings.Repeat("hello", 1<<14), "cannot open the file of consumers")
	f(strings.Repeat("\x00", 1<<14), "cannot open the file of consumers")
}

// TestBroken damages a file in many places: it is either read as it was, or found broken, and nothing panics, hangs, or gives out a member
// that nobody has put there.
func TestBroken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "consumers.db")
	f := open(t, path)
	good := map[string]bool{}
	// The file has two roots, of which the library writes one at a time, and with one of them damaged takes the other: it cannot know
	// that from a write that was interrupted before it was acknowledged. Then all is there but for the last edit.
	var before, want string
	for i := range 40 {
		name := fmt.Sprintf("name-%02d", i)
		before = want
		put(t, f, "g", name, member(strings.Repeat("p", 200), fmt.Sprint("k", i)))
		want = all(t, f, "g")
		good[name] = true
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	found := 0
	try := func(what string, damaged []byte) {
		t.Helper()
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			found++
			return
		}
		var names []string
		err = f.All("g", func(m *Member) {
			if !good[m.Name] {
				t.Errorf("%s: there is a %q", what, m.Name)
			}
			names = append(names, m.Name+":"+m.Plan)
		})
		switch {
		case err == nil && strings.Join(names, " ") != want && strings.Join(names, " ") != before:
			t.Errorf("%s: nothing is found, and %d are there", what, len(names))
		case err == nil:
			// It hit what is not in use. An edit may find it.
			_ = f.Edit("g", "name-07", func(m *Member) (*Member, error) { return m, nil }, func(_, _ *Member) {})
		case !errors.Is(err, ErrBroken):
			t.Errorf("%s: got %v", what, err)
		default:
			found++
			if _, again := f.Get("g", "name-07"); !errors.Is(again, ErrBroken) || f.Broken() == nil {
				t.Errorf("%s: got %v afterwards", what, again)
			}
		}
		if err := f.Close(); err != nil && !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range 300 {
		damaged := []byte(string(whole))
		at := random.IntN(len(damaged))
		switch i % 3 {
		case 0:
			damaged[at] ^= 1 << random.IntN(8)
		case 1:
			page := at &^ 4095
			clear(damaged[page : page+4096])
		default:
			n := min(64, len(damaged)-at)
			for k := range n {
				damaged[at+k] = byte(random.Uint32())
			}
		}
		try(fmt.Sprintf("case %d at %d", i, at), damaged)
	}
	for _, size := range []int{1, 100, 4096, 8192, 12288, len(whole) / 2, len(whole) - 4096} {
		try(fmt.Sprintf("%d bytes", size), whole[:size])
	}
	if found < 50 {
		t.Errorf("only %d damages were found", found)
	}
}

// TestTruncatedMeanwhile takes the file away under a process that has it open.
func TestTruncatedMeanwhile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "consumers.db")
	f := open(t, path)
	for i := range 200 {
		put(t, f, "g", fmt.Sprint("name-", i), member(strings.Repeat("p", 200)))
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Get("g", "name-7"); !errors.Is(err, ErrBroken) {
		t.Errorf("got %v", err)
	}
	if err := f.Edit("g", "name-7", func(m *Member) (*Member, error) { return m, nil }, func(_, _ *Member) {}); !errors.Is(err, ErrBroken) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	record, err := encode(member("p", "k"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record[4:])
	f.Add([]byte(`{"keys":[{"sum":"AA=="}]}`))
	f.Add([]byte(`{"passwords":[{"argon2":{"m":8,"t":1,"p":1}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		// With the right checksum, as what is wrong is found by that otherwise.
		m, err := decode("a", append(checksummed("a", text), text...))
		if err != nil {
			return
		}
		for i := range m.Keys {
			if len(m.Keys[i].Sum) != sha256.Size {
				t.Errorf("a key of %d bytes", len(m.Keys[i].Sum))
			}
		}
		for i := range m.Passwords {
			if !m.Passwords[i].isHashed() {
				t.Error("a password that nothing can be compared with")
			}
		}
	})
}

// TestUnsynced: a change whose root was written and not synced is neither made nor not made, for all that anybody knows. The file is not used
// any more, whatever the change was, until it is opened again; then what is in it counts.
func TestUnsynced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "consumers.db")
	f := func(change func(*File) error) {
		t.Helper()
		file := open(t, path)
		put(t, file, "g", "a", member("1", "k1"))
		file.updates = func(db *bolt.DB, do func(*bolt.Tx) error) error {
			if err := db.Update(do); err != nil {
				t.Error(err)
			}
			return syscall.EIO
		}
		if err := change(file); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), syscall.EIO.Error()) {
			t.Errorf("got %v", err)
		}
		if _, err := file.Get("g", "a"); !errors.Is(err, ErrBroken) || file.Broken() == nil {
			t.Errorf("it is used all the same: %v", err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	revoke := func(m *Member) (*Member, error) {
		m.Keys = nil
		return m, nil
	}
	never := func(_, _ *Member) { t.Error("it was done") }
	f(func(f *File) error { return f.Edit("g", "a", revoke, never) })
	f(func(f *File) error {
		return f.Edit("g", "a", func(*Member) (*Member, error) { return nil, nil }, never)
	})
	f(func(f *File) error {
		return f.Edit("h", "new", func(*Member) (*Member, error) { return member("2"), nil }, never)
	})
	f(func(f *File) error { return f.SaveUses([]Use{{"g", "a", "k1", 7}}) })
	file := open(t, path)
	if got := all(t, file, "h"); got != "new:2" {
		t.Errorf("there is %q", got)
	}
	if m, err := file.Get("g", "a"); err != nil || len(m.Keys) != 1 || m.Keys[0].LastUsed != 7 {
		t.Errorf("got %+v, %v", m, err)
	}
}

// TestUnwritten: what fails before its root is written, as it does when the disk is full, has changed nothing, and costs nothing else.
func TestUnwritten(t *testing.T) {
	t.Parallel()
	file := open(t, filepath.Join(t.TempDir(), "consumers.db"))
	put(t, file, "g", "a", member("1", "k1"))
	whole := file.updates
	file.updates = func(db *bolt.DB, do func(*bolt.Tx) error) error {
		return db.Update(func(tx *bolt.Tx) error { return errors.Join(do(tx), syscall.ENOSPC) })
	}
	err := file.Edit("g", "a", func(*Member) (*Member, error) { return nil, nil }, func(_, _ *Member) { t.Error("it was done") })
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrBroken) {
		t.Errorf("got %v", err)
	}
	if err := file.SaveUses([]Use{{"g", "a", "k1", 7}}); !errors.Is(err, syscall.ENOSPC) || file.Broken() != nil {
		t.Errorf("got %v, %v", err, file.Broken())
	}
	if got := all(t, file, "g"); got != "a:1" {
		t.Errorf("there is %q", got)
	}
	file.updates = whole
	put(t, file, "g", "a", member("2"))
}

// TestDiskFails makes the disk fail at every sync of a revocation, one after the other, in processes of their own: either the error says that
// the file is broken, or the key is as good as before.
func TestDiskFails(t *testing.T) {
	if path := os.Getenv("ROSTER_DISK_FAILS"); path != "" {
		revokeOn(t, path)
		return
	}
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not there")
	}
	path := filepath.Join(t.TempDir(), "consumers.db")
	f := open(t, path)
	put(t, f, "g", "a", member("1", "k1"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	for when := 1; when <= 4; when++ { // two are of opening it
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(strace, "-f", "-o", os.DevNull, "-e", "trace=fdatasync", "-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", when),
			os.Args[0], "-test.run=^TestDiskFails$", "-test.v")
		cmd.Env = append(os.Environ(), "ROSTER_DISK_FAILS="+path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			if strings.Contains(string(out), "ptrace") {
				t.Skip("nobody may trace here")
			}
			t.Fatalf("%v:\n%s", err, out)
		}
		for _, outcome := range []string{"not opened", "unchanged", "broken", "revoked"} {
			outcomes[outcome] += strings.Count(string(out), "outcome: "+outcome)
		}
	}
	if outcomes["revoked"] > 0 || outcomes["unchanged"] != 1 || outcomes["broken"] != 1 || outcomes["not opened"] != 2 {
		t.Errorf("got %v", outcomes)
	}
}

// revokeOn revokes a key on a disk that fails once, and says what came of it.
func revokeOn(t *testing.T, path string) {
	runtime.LockOSThread() // for each of which strace counts by itself
	f, err := Open(path)
	if err != nil {
		t.Log("outcome: not opened")
		return
	}
	defer f.Close()
	err = f.Edit("g", "a", func(m *Member) (*Member, error) {
		m.Keys = nil
		return m, nil
	}, func(_, _ *Member) {})
	m, problem := f.Get("g", "a")
	switch {
	case err == nil:
		t.Log("outcome: revoked")
	case errors.Is(err, ErrBroken) && errors.Is(problem, ErrBroken):
		t.Log("outcome: broken")
	case problem == nil && len(m.Keys) == 1:
		t.Log("outcome: unchanged")
	default:
		t.Errorf("%v, and then %+v, %v", err, m, problem)
	}
}

// TestFolders: folders are made as deep as it takes.
func TestFolders(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	open(t, filepath.Join(base, "a", "b", "c", "consumers.db"))
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, inside := range []string{"file", "file/a"} {
		if _, err := Open(filepath.Join(base, inside, "consumers.db")); err == nil {
			t.Errorf("%s is no folder", inside)
		}
	}
}

// TestNamed: what was written under one name is no record under another.
func TestNamed(t *testing.T) {
	m := member("p", "k")
	m.Name = "acme"
	record, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode("acme", record); err != nil || got.Name != "acme" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := decode("acmd", record); err == nil {
		t.Error("it is good for another name")
	}
}
