package store

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"sluice/proxy/wire"
)

func newStore(t testing.TB, bytes int64) *Store {
	s := New(bytes, wire.Now)
	t.Cleanup(s.Close)
	return s
}

// itemOf is an object of a URL, with tags.
func itemOf(s *Store, url string, tags ...string) *Item {
	key := "route\x00https\x00" + url
	it := &Item{Key: []byte(key), URLFrom: len(key) - len(url), URLTo: len(key), Meta: []byte("head of " + url), KeepFor: time.Hour, Began: s.Now()}
	for _, tag := range tags {
		it.Tags = append(it.Tags, []byte(tag))
	}
	return it
}

// bodyOf is a body that is different for every name, and of which every part is.
func bodyOf(name string, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = name[i%len(name)] ^ byte(i>>8) ^ byte(i*7)
	}
	return b
}

// get returns what is found, with its body as a whole.
func get(t testing.TB, s *Store, url string) (Found, string, []byte) {
	t.Helper()
	var e Entry
	found := s.Get(itemOf(s, url).Key, &e)
	if found == Missing {
		return found, "", nil
	}
	defer e.Free()
	body := make([]byte, e.Size)
	if n, err := e.ReadAt(body, 0); err != nil || n != len(body) {
		t.Fatalf("%s: read %d of %d bytes: %v", url, n, e.Size, err)
	}
	return found, string(e.Meta), body
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFound(t testing.TB, s *Store, url string, want Found) {
	t.Helper()
	if got, _, _ := get(t, s, url); got != want {
		t.Errorf("%s: found %d, want %d", url, got, want)
	}
}

// wantErr is for errors with a name.
func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// inProcess runs a test in a process of its own, because it is about the process, and returns what that printed.
func inProcess(t *testing.T, name string, env ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+name+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), append(env, "SLUICE_STORE_PROCESS="+name)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func isProcess(t *testing.T) bool { return os.Getenv("SLUICE_STORE_PROCESS") == t.Name() }
