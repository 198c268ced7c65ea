package main

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestSignals: the generators outlive the signals with which the Go runtime interrupts its own threads.
func TestSignals(t *testing.T) {
	p, backend, dir := stage(t)
	to := started(t, p, build(t), backend, dir)
	f := func(args ...string) {
		t.Helper()
		var said bytes.Buffer
		cmd := exec.Command(os.Args[0], args...)
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		sent := 0
		for {
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("%q: %v after %d signals: %s", args, err, sent, said.String())
				}
				return
			case <-time.After(time.Millisecond):
				if cmd.Process.Signal(syscall.SIGURG) == nil {
					sent++
				}
			}
		}
	}
	f("echo", to.proxy.listen, "/socket", "1")
	f("hold", to.proxy.listen, "/100", "500")
}
