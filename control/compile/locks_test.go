package compile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/control/roster"
)

// TestReopenLogsHoldsNothing: while a disk does not open the access log, metrics are there and a reload can be committed.
func TestReopenLogsHoldsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	r := newRuntime(t)
	r.Commit(mustCompile(t, r, fmt.Sprintf("log: { access: { to: %q } }\nroutes: { a: { match: /a, respond: { status: 204 } } }\n", file)))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- r.ReopenLogs() }()
	waitIn(t, "observe.(*AccessLog).reopen(") // which waits for a reader
	if !free(&r.mu) {
		t.Error("the runtime is locked")
	}
	reader, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// waitIn waits until a goroutine is in a function.
func waitIn(t *testing.T, function string) {
	t.Helper()
	stacks := make([]byte, 4<<20)
	for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), function) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("nobody gets to %s", function)
		}
	}
}

// TestMembersOpenHoldsNothing: while the file is opened, which may take its time, metrics are there, and edits are refused. Who ends the members
// meanwhile waits, and nobody opens the file afterwards.
func TestMembersOpenHoldsNothing(t *testing.T) {
	state := t.TempDir()
	other := lockFile(t, filepath.Join(state, membersFile))
	r := newRuntime(t)
	r.Commit(mustCompile(t, r, stored(state, "")))
	m := r.Members()
	opened := make(chan error)
	open := func() error { _, err := m.open(nil); return err }
	go func() { opened <- open() }()
	waitIn(t, "roster.Open(")
	if !free(&m.mu) {
		t.Error("the members are locked")
	}
	if _, err := m.Get("partners", "acme", time.Now()); !errors.Is(err, ErrMembersBusy) {
		t.Errorf("got %v", err)
	}
	if err := <-opened; err == nil {
		t.Error("a locked file was opened")
	}

	go func() { opened <- open() }()
	waitIn(t, "roster.Open(")
	_ = other.Close() // which gives up the lock
	r.Commit(mustCompile(t, r, "routes: { a: { match: /a, respond: { status: 204 } } }\n"))
	<-opened // with the file, or because of the end
	if err := open(); err == nil {
		t.Error("it was opened after its end")
	}
	_ = lockFile(t, filepath.Join(state, membersFile))
}

// free reports whether a lock can be had while what is waited for goes on. Others may have it for a moment.
func free(mu *sync.Mutex) bool {
	for range 100 {
		if mu.TryLock() {
			mu.Unlock()
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// lockFile locks a file as another gateway does, or fails if somebody has it.
func lockFile(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestMembersBrokenBefore: what is said of a file that was replaced meanwhile closes nothing.
func TestMembersBrokenBefore(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	r.Commit(mustCompile(t, r, stored(t.TempDir(), "")))
	if err := r.Members().checked(fmt.Errorf("a former file: %w", roster.ErrBroken)); !errors.Is(err, roster.ErrBroken) {
		t.Errorf("got %v", err)
	}
	if why := r.Unready(); why != "" {
		t.Errorf("it is closed: %s", why)
	}
}
