package compile

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
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
	if !r.mu.TryLock() {
		t.Error("the runtime is locked")
	} else {
		r.mu.Unlock()
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
