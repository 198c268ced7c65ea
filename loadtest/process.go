package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that was started on certain cores, with its children.
type process struct {
	name   string
	pid    int
	output string // the file that holds what it says
	ended  chan struct{}
}

// start runs a program on certain cores. What it writes goes to a file in dir.
func start(name, cores, dir string, env []string, command ...string) (*process, error) {
	output := filepath.Join(dir, name+".out")
	file, err := os.Create(output)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	defer file.Close()
	cmd := exec.Command("taskset", append([]string{"-c", cores}, command...)...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal to the group ends its children, too
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	p := &process{name: name, pid: cmd.Process.Pid, output: output, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is of no interest: that it ended is
		close(p.ended)
	}()
	return p, nil
}

// listening waits until a program takes connections. nginx reads the 10,000 routes of a configuration for seconds, where nothing else runs.
func (p *process) listening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.ended:
			return p.dead()
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w", p.name, address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// dead says why a program is not there any more, as far as it has told.
func (p *process) dead() error {
	said, err := os.ReadFile(p.output)
	if err != nil {
		return fmt.Errorf("%s ended, and what it said cannot be read: %w", p.name, err)
	}
	said = bytes.TrimSpace(said)
	if len(said) > 2000 {
		said = said[len(said)-2000:]
	}
	return fmt.Errorf("%s ended: %s", p.name, said)
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop ends the program and its children, by force if they take longer than two seconds.
func (p *process) stop() {
	if p == nil {
		return
	}
	// SIGINT is the signal on which all of them end at once. Errors mean that nobody is left to be told.
	_ = unix.Kill(-p.pid, unix.SIGINT)
	select {
	case <-p.ended:
	case <-time.After(2 * time.Second):
	}
	_ = unix.Kill(-p.pid, unix.SIGKILL)
	<-p.ended
}

// usage is what a program and its children have used so far.
type usage struct {
	cpu           time.Duration // user and system time
	rss           int64         // bytes now
	reads, writes int64         // calls that /proc/PID/io counts: not recv, send and their like
}

func (p *process) usage() (usage, error) {
	if !p.alive() {
		return usage{}, p.dead()
	}
	var all usage
	for _, pid := range tree(p.pid) {
		one, err := usageOf(pid)
		if err != nil {
			return usage{}, fmt.Errorf("cannot tell what %s uses: %w", p.name, err)
		}
		all.cpu += one.cpu
		all.rss += one.rss
		all.reads += one.reads
		all.writes += one.writes
	}
	return all, nil
}

// tree is a process and those below it.
func tree(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well formed
	for _, task := range tasks {
		list, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(list)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, tree(n)...)
			}
		}
	}
	return all
}

func usageOf(pid int) (usage, error) {
	// The CPU clock of a process (clock_getcpuclockid(3)) is utime + stime of /proc/PID/stat in nanoseconds, where stat
	// has ticks of 10 ms.
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &spent); err != nil {
		return usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	u := usage{cpu: time.Duration(spent.Nano())}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return usage{}, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return usage{}, fmt.Errorf("process %d: %w", pid, err)
	}
	u.rss = resident * int64(os.Getpagesize())
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(io)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("process %d: %w", pid, err)
		}
		switch key {
		case "syscr":
			u.reads = n
		case "syscw":
			u.writes = n
		}
	}
	return u, nil
}

// settle moves this process to certain cores: what it does itself must not disturb the proxy.
func settle(cores string) error {
	out, err := exec.Command("taskset", "-a", "-cp", cores, strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot move to cores %s: %s", cores, bytes.TrimSpace(out))
	}
	return nil
}

// freePort is a port that nobody listens on, below those that the kernel gives to clients.
func freePort() (int, error) {
	for {
		port := 20000 + os.Getpid()%1000*10 + int(portsTried.Add(1))
		if port > 32000 {
			return 0, fmt.Errorf("no port between 20000 and 32000 is free")
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
}

// portsTried is atomic for the tests, which run several comparisons at once.
var portsTried atomic.Int64
