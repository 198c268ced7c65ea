// Package origin is the server behind the proxies that are measured. It costs so little that the proxy is what one
// measures: one thread, epoll, answers that are made beforehand, no allocation per request.
//
//	GET  .../100  .../1k  .../100k  .../1m   a JSON body of that size; the last segment decides, whatever is before it
//	GET  .../page                           a list in JSON, such as compresses to a fifth
//	GET  .../head                           the head of the request as it arrived, to see what a proxy made of it
//	POST .../upload                         takes a body (Content-Length or chunked) and says how long it was
//	GET  .../socket                         a WebSocket that echoes
//
// Everything else is 404, so that a mistake in a configuration does not look like speed.
package origin

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Serve answers on an address until the process ends.
func Serve(address netip.AddrPort) error {
	s := &server{conns: map[int32]*conn{}, input: make([]byte, 256<<10)}
	if err := s.listen(address); err != nil {
		return fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return s.loop()
}

// server is the event loop and all that it knows. One goroutine runs it.
type server struct {
	listener int32
	poller   int
	conns    map[int32]*conn
	input    []byte // what was just read, of whichever connection
}

func (s *server) listen(address netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}); err != nil {
		return err
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return err
	}
	if s.poller, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	s.listener = int32(fd)
	return unix.EpollCtl(s.poller, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: s.listener})
}

func (s *server) loop() error {
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := wait(s.poller, events)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("cannot wait for events: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == s.listener {
				if err := s.accept(); err != nil {
					return err
				}
				continue
			}
			c := s.conns[e.Fd]
			if (e.Events&^uint32(unix.EPOLLOUT) != 0 && !s.read(c)) || !c.flush() {
				delete(s.conns, e.Fd)
				unix.Close(int(e.Fd)) // takes it out of the poller, too
			}
		}
	}
}

// accept takes all connections that wait. Events come once per change (EPOLLET), so that no call to the poller is
// needed when a connection turns from reading to writing.
func (s *server) accept() error {
	for {
		fd, _, err := unix.Accept4(int(s.listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot accept a connection: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			unix.Close(fd)
			continue // it was reset
		}
		s.conns[int32(fd)] = &conn{fd: fd}
		events := uint32(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff)
		if err := unix.EpollCtl(s.poller, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
			return fmt.Errorf("cannot watch a connection: %w", err)
		}
	}
}

// read takes what has arrived, and reports whether the connection goes on. A read that does not fill the buffer has
// emptied the socket: what comes later is an event of its own.
func (s *server) read(c *conn) bool {
	for {
		n, err := readSome(c.fd, s.input)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return true
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n == 0:
			return false
		}
		if !c.take(s.input[:n]) {
			return false
		}
		if n < len(s.input) {
			return true
		}
	}
}
