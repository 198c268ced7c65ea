package server

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// starved is a listener of a process that has no file descriptor left.
type starved struct {
	once   sync.Once
	closed chan struct{}
}

func (l *starved) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
		return nil, syscall.EMFILE
	}
}

func (l *starved) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *starved) Addr() net.Addr { return &net.TCPAddr{} }

// TestListener_starved: a listener that waits for file descriptors keeps nobody waiting that closes it.
func TestListener_starved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(wire.NewSweeper(), &proxy.Snapshot{})
		defer s.sweeper.Stop()
		for range 3 {
			s.Listen("web", &starved{closed: make(chan struct{})}, proxy.Listening{})
		}
		time.Sleep(10 * time.Second) // by now they try once a second
		synctest.Wait()
		begin := time.Now()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("the shutdown took %v", took)
		}
	})
}
