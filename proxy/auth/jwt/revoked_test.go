package jwt

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func hashed(claim string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(claim))) }

func TestParseRevoked(t *testing.T) {
	f := func(text string, ids, subjects int, want string) {
		t.Helper()
		list, err := parseRevoked([]byte(text))
		switch {
		case want != "":
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: got %v, want %s", text, err, want)
			}
		case err != nil || len(list.ids) != ids || len(list.subjects) != subjects:
			t.Errorf("%q: got %v, %v", text, list, err)
		}
	}
	h, i := hashed("a"), hashed("b")
	f("", 0, 0, "")
	f("# nobody\n\n", 0, 0, "")
	f("jti:"+h+"\nsub: "+i+" # left\r\n  jti:"+strings.ToUpper(i), 2, 1, "")
	f("jti:"+h+"\njti:"+h, 1, 0, "")
	f(h, 0, 0, "line 1")
	f("jti:"+h+"\nsub:"+h[1:], 0, 0, "line 2")
	f("sub:"+h+"00", 0, 0, "line 1")
	f("sub:"+strings.Repeat("x", 64), 0, 0, "line 1")
	f("iss:"+h, 0, 0, "neither jti: nor sub:")
	f(strings.Repeat("#", revokedBytesMax+1), 0, 0, "64 MiB")
}

func FuzzParseRevoked(f *testing.F) {
	f.Add([]byte("jti:" + hashed("a") + "\n# x\nsub: " + hashed("b")))
	f.Add([]byte("jti:::"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseRevoked(text)
		if err == nil && (len(list.ids)+len(list.subjects))*68 > len(text)+1 {
			t.Fatalf("%q holds %d", text, len(list.ids)+len(list.subjects))
		}
	})
}

// TestRevoked tries that a token which is put on the list counts no more, remembered or not, and that a list which is lost changes nothing.
func TestRevoked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revoked")
	written := 0
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		written++ // the clock of the file system may stand still between two versions
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Duration(written)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadRevoked(path); err == nil {
		t.Fatal("a list that is not there is read")
	}
	write("# nobody\n")
	r, err := ReadRevoked(path)
	if err != nil {
		t.Fatal(err)
	}
	r.every = time.Millisecond
	r.Start()
	defer r.Stop()
	s := newSigner("a")
	g := guard(t, Options{Keys: FixedKeys(setOf(s)), Revoked: r, Remember: 100})
	one, two, other := s.token(claims()), s.token(claims("jti", "token-2")), s.token(claims("jti", "token-3", "sub", "user-8"))
	none := s.token(claims("jti", nil, "sub", nil))
	f := func(want ...string) {
		t.Helper()
		var got []string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			got = nil
			for _, token := range []string{one, two, other, none} {
				got = append(got, strings.Fields(outcome(g, token))[0])
			}
			if strings.Join(got, " ") == strings.Join(want, " ") {
				return
			}
		}
		t.Errorf("got %v, want %v", got, want)
	}
	failing := func() {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !r.Failing(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nobody notices that the list cannot be read")
			}
		}
	}
	f("200", "200", "200", "200")
	write("jti:" + hashed("token-1"))
	f("401", "200", "200", "200")
	write("jti:" + hashed("token-3") + "\nsub:" + hashed("user-7"))
	f("401", "401", "401", "200")
	write("jti:" + hashed("") + "\nsub:" + hashed(""))
	f("200", "200", "200", "200")
	write("sub:" + hashed("user-8"))
	f("200", "200", "401", "200")

	// What cannot be read leaves the list in force.
	write("jti:nonsense")
	failing()
	f("200", "200", "401", "200")
	write("sub:" + hashed("user-8"))
	for r.Failing() {
		time.Sleep(time.Millisecond)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	failing()
	f("200", "200", "401", "200")
	write("")
	f("200", "200", "200", "200")
}
