package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// dial opens a blocking socket without a place in Go's poller. Reads and writes give up after ten seconds.
func dial(address string) (int, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot make a socket: %w", err)
	}
	patience := unix.Timeval{Sec: 10}
	// Connected first: a connect with a time limit that a signal interrupts cannot be repeated (signal(7)), and the Go runtime
	// sends itself signals. Here the other side is a listener on this machine.
	err = errors.Join(
		unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
	)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot connect to %s: %w", address, err)
	}
	return fd, nil
}

// read and write are the system calls, repeated when a signal interrupted them, which happens where a socket has a time limit.
func read(fd int, p []byte) (int, error)  { return uninterrupted(fd, p, unix.Read) }
func write(fd int, p []byte) (int, error) { return uninterrupted(fd, p, unix.Write) }

func uninterrupted(fd int, p []byte, call func(int, []byte) (int, error)) (int, error) {
	for {
		if n, err := call(fd, p); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// answered tells whether a response is complete. Only 200 with a Content-Length is taken.
func answered(response []byte) (bool, error) {
	head, body, ok := bytes.Cut(response, []byte("\r\n\r\n"))
	if !ok {
		return false, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return false, fmt.Errorf("the answer is not 200: %.100q", head)
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			size, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil || len(body) > size {
				return false, fmt.Errorf("the answer has %d bytes of body, and says %q", len(body), value)
			}
			return len(body) == size, nil
		}
	}
	return false, errors.New("the answer has no Content-Length")
}
