// Package redistest starts redis-server for tests, and breaks it for them.
package redistest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a redis-server of a test, with a gate in front of it that can be slow, or swallow everything.
type Server struct {
	t      testing.TB
	socket string
	cmd    *exec.Cmd
	args   []string
	gate   net.Listener
	said   bytes.Buffer // it is written to while the server runs

	mu    sync.Mutex
	delay time.Duration
	shut  chan struct{} // open: nothing passes until it is closed
	conns map[net.Conn]bool
}

// Start starts a server without persistence. It ends with the test. args are further ones of redis-server.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	// Not t.TempDir: the path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{t: t, socket: filepath.Join(dir, "s"), conns: map[net.Conn]bool{}}
	s.args = append([]string{"--port", "0", "--unixsocket", s.socket, "--save", "", "--appendonly", "no", "--dir", dir, "--loglevel", "warning"}, args...)
	if s.gate, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go s.accept()
	s.Revive()
	t.Cleanup(func() {
		_ = s.gate.Close()
		s.Pass()
		s.Cut()
		s.Kill()
		if t.Failed() {
			t.Logf("redis-server wrote:\n%s", s.said.String())
		}
	})
	return s
}

// Address is where the gate listens, and Socket what the server itself listens on.
func (s *Server) Address() string { return s.gate.Addr().String() }

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return s.socket }

// Revive starts the server again after Kill, empty, and waits until it answers.
func (s *Server) Revive() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.said, &s.said
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("cannot start redis-server (make tools installs it): %v", err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", s.socket)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("redis-server does not come up: %v", err)
		}
	}
}

// Kill ends the server at once, and all that it knows with it.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed, which is an error
	s.cmd = nil
	_ = os.Remove(s.socket)
}

// Delay lets every answer wait.
func (s *Server) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Swallow lets nothing through any more, in either direction, and closes nothing: as a network does that has come apart.
func (s *Server) Swallow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut == nil {
		s.shut = make(chan struct{})
	}
}

// Pass ends what Swallow began. What was sent meanwhile arrives.
func (s *Server) Pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut != nil {
		close(s.shut)
		s.shut = nil
	}
}

// Cut ends all connections.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *Server) accept() {
	for {
		c, err := s.gate.Accept()
		if err != nil {
			return
		}
		go s.relay(c)
	}
}

func (s *Server) relay(client net.Conn) {
	defer s.keep(client)()
	s.wait(0)
	server, err := net.Dial("unix", s.socket)
	if err != nil {
		return
	}
	defer s.keep(server)()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.copy(server, client, func() { s.wait(0) })
		_ = server.Close()
	}()
	s.copy(client, server, func() {
		s.mu.Lock()
		d := s.delay
		s.mu.Unlock()
		s.wait(d)
	})
	_ = client.Close()
	<-done
}

// keep remembers a connection until the function that it returns closes it.
func (s *Server) keep(c net.Conn) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		_ = c.Close()
	}
}

func (s *Server) wait(d time.Duration) {
	time.Sleep(d)
	s.mu.Lock()
	shut := s.shut
	s.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

func (s *Server) copy(to io.Writer, from io.Reader, before func()) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			before()
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Command runs a command and returns the lines of the answer.
func (s *Server) Command(t testing.TB, args ...string) []string {
	t.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a connection that just began has one
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	lines, err := readReply(bufio.NewReader(c))
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return lines
}

// readReply reads a reply of RESP2, flat.
func readReply(b *bufio.Reader) ([]string, error) {
	line, err := b.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSpace(line)
	switch line[0] {
	case '-':
		return nil, errors.New(line)
	case '$', '*':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return nil, err
		}
		if line[0] == '$' {
			text := make([]byte, n+2)
			_, err = io.ReadFull(b, text)
			return []string{string(text[:n])}, err
		}
		var all []string
		for range n {
			one, err := readReply(b)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	}
	return []string{line[1:]}, nil
}
