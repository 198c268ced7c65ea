package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// syscalls are the system calls of a request.
type syscalls struct {
	Reads  float64 `json:"reads"`
	Writes float64 `json:"writes"`
	Waits  float64 `json:"waits"` // for events
	Others float64 `json:"others"`
}

// callKinds are those that have a column of their own.
var callKinds = map[string]func(*syscalls) *float64{}

func init() {
	for name := range strings.FieldsSeq("read readv recvfrom recvmsg") {
		callKinds[name] = func(s *syscalls) *float64 { return &s.Reads }
	}
	for name := range strings.FieldsSeq("write writev sendto sendmsg sendfile splice") {
		callKinds[name] = func(s *syscalls) *float64 { return &s.Writes }
	}
	for name := range strings.FieldsSeq("epoll_wait epoll_pwait epoll_pwait2 poll") {
		callKinds[name] = func(s *syscalls) *float64 { return &s.Waits }
	}
}

// count counts the system calls of a proxy under load, with strace. It makes the proxy slow, and so it is a run of its own.
// /proc/PID/io would not disturb, but does not count recv and send.
func count(ctx context.Context, l load, t target) (*syscalls, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out := filepath.Join(t.scratch, "strace.out")
	command := []string{"-c", t.cores, "strace", "-f", "-c", "-o", out}
	for _, pid := range tree(t.proxy.pid) {
		command = append(command, "-p", strconv.Itoa(pid))
	}
	tracer := exec.CommandContext(ctx, "taskset", command...)
	said := filepath.Join(t.scratch, "strace.err")
	messages, err := os.Create(said)
	if err != nil {
		return nil, fmt.Errorf("cannot start strace: %w", err)
	}
	defer messages.Close()
	tracer.Stderr = messages
	if err := tracer.Start(); err != nil {
		return nil, fmt.Errorf("cannot start strace: %w", err)
	}
	time.Sleep(500 * time.Millisecond) // requests before it is attached would count as requests without calls
	t.seconds = 2
	o, err := l.run(ctx, t)
	told := func() string {
		text, _ := os.ReadFile(said) // it explains another error
		return tail(string(text))
	}
	stopErr := tracer.Process.Signal(os.Interrupt)
	if waitErr := tracer.Wait(); stopErr != nil {
		return nil, fmt.Errorf("strace ended by itself: %w: %s", errors.Join(stopErr, waitErr), told())
	}
	if err != nil {
		return nil, fmt.Errorf("under strace: %w", err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("strace has counted nothing: %w: %s", err, told())
	}
	return parseStrace(string(text), o.Requests)
}

// parseStrace reads the table that strace -c prints.
func parseStrace(text string, requests int64) (*syscalls, error) {
	if requests <= 0 {
		return nil, errors.New("there were no requests under strace")
	}
	all, rows := new(syscalls), 0
	for line := range strings.Lines(text) {
		part := strings.Fields(line) // % time, seconds, usecs/call, calls, perhaps errors, syscall
		if len(part) < 5 || part[0] == "%" || strings.HasPrefix(part[0], "-") || part[len(part)-1] == "total" {
			continue
		}
		n, err := strconv.ParseInt(part[3], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("a line of strace cannot be read: %q", line)
		}
		to := &all.Others
		if kind := callKinds[part[len(part)-1]]; kind != nil {
			to = kind(all)
		}
		*to += float64(n) / float64(requests)
		rows++
	}
	if rows == 0 {
		return nil, fmt.Errorf("strace has counted nothing: %s", tail(text))
	}
	return all, nil
}
