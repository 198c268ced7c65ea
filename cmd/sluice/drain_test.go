package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestDrainWhileReloadIsStuck: a reload that waits for a disk for ever keeps the gateway from nothing: it is not ready at once, accepts no more,
// ends when limits.drain or another signal says so, and serves nothing new afterwards.
func TestDrainWhileReloadIsStuck(t *testing.T) {
	t.Parallel()
	f := func(name, limit string, signal bool) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := freePort(t), freePort(t)
			config := func(addresses ...string) string {
				return listenBlock(addresses...) + pingRoute + "limits: { drain: " + limit + " }\n"
			}
			file := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), config(a))
			g := newGateway(source{name: file})
			if err := g.start(); err != nil {
				g.abandon()
				t.Fatal(err)
			}
			reached, release := make(chan struct{}), make(chan struct{})
			g.follow = func(*reading) {
				close(reached)
				<-release
			}
			writeFile(t, file, config(a, b))
			late := make(chan error)
			go func() {
				_, err := g.Reload()
				late <- err
			}()
			<-reached
			signals, ended := make(chan os.Signal), make(chan error)
			go func() { ended <- g.drain(signals, syscall.SIGINT, time.Now().Add(-time.Minute)) }()
			eventually(t, "the gateway is not ready", func() bool { return g.Unready() == "draining" })
			if _, err := g.Reload(); !errors.Is(err, errOver) {
				t.Errorf("another reload: %v", err)
			}
			eventually(t, "the listener closes", func() bool { status, _ := get("http://" + a + "/ping"); return status == 0 })
			if signal {
				signals <- syscall.SIGTERM
			}
			select {
			case err := <-ended:
				if !errors.Is(err, errFailed) {
					t.Errorf("the end: %v", err)
				}
			case <-time.After(patience):
				t.Error("the gateway does not end")
			}
			close(release)
			if err := <-late; !errors.Is(err, errOver) {
				t.Errorf("the reload: %v", err)
			}
			if status, _ := get("http://" + b + "/ping"); status != 0 || g.Status().Generation != 1 {
				t.Errorf("after the end there is an answer, %d, generation %d", status, g.Status().Generation)
			}
		})
	}
	f("until the limit", "300ms", false)
	f("until a signal", "10m", true)
}

// TestReloadTooLate: a change that is under way when the end begins, and had seen nothing of it yet, is dropped with what it has opened.
func TestReloadTooLate(t *testing.T) {
	a, b := freePort(t), freePort(t)
	file := writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), listenBlock(a)+pingRoute)
	g := startGateway(t, file)
	writeFile(t, file, listenBlock(a, b)+pingRoute)
	g.publishing.Lock()
	g.over = true
	g.publishing.Unlock()
	if _, err := g.Reload(); !errors.Is(err, errOver) {
		t.Errorf("got %v", err)
	}
	if g.Status().Generation != 1 {
		t.Error("it is served")
	}
	nl, err := net.Listen("tcp", b)
	if err != nil {
		t.Fatal("its socket is open:", err)
	}
	if err := nl.Close(); err != nil {
		t.Error(err)
	}
	if status, _ := get("http://" + a + "/ping"); status != 200 {
		t.Errorf("what runs answers %d", status)
	}
}

// TestHeed: one signal in two is one, and each that follows counts, from when the one before came.
func TestHeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		signals, n := make(chan os.Signal, 4), 0
		first := time.Now()
		signals <- syscall.SIGTERM // while nobody reads
		time.Sleep(5 * time.Second)
		go heed(ctx, signals, first, func() { n++ })
		f := func(want int) {
			t.Helper()
			synctest.Wait()
			if n != want {
				t.Errorf("%d signals count, want %d", n, want)
			}
		}
		f(1)
		signals <- syscall.SIGTERM
		f(1)
		time.Sleep(sameSignal)
		signals <- syscall.SIGINT
		f(2)
		cancel()
	})
}
