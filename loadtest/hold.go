package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// hold opens connections, makes a request on each and lets them wait. Its figure is the memory that each costs the
// proxy.
type hold struct {
	connections int
	rests       time.Duration // see restFor; 0: so long
}

func (h hold) run(ctx context.Context, t target) (outcome, error) {
	before, err := h.rest(ctx, t)
	if err != nil {
		return outcome{}, err
	}
	holder, err := startHolder(ctx, t, h.connections)
	if err != nil {
		return outcome{}, err
	}
	after, err := h.rest(ctx, t)
	o, releaseErr := holder.release()
	if err = errors.Join(err, releaseErr); err != nil {
		return outcome{}, err
	}
	o.perConnection = float64(after.rss-before.rss) / float64(h.connections)
	return o, nil
}

// holder is a process that holds connections open.
type holder struct {
	connections int
	command     *exec.Cmd
	cancel      context.CancelFunc
	in          io.Closer
	out         *bufio.Reader
	said        strings.Builder
}

// startHolder returns when all connections are open and have got their first answer.
func startHolder(ctx context.Context, t target, connections int) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	h := &holder{connections: connections}
	ctx, h.cancel = context.WithCancel(ctx)
	arguments := []string{"-c", t.cores, self, "hold", t.proxy.listen, t.path, strconv.Itoa(connections)}
	for _, word := range []string{"tls", "h2"} {
		if t.proxy.has(word) {
			arguments = append(arguments, "--"+word)
		}
	}
	h.command = exec.CommandContext(ctx, "taskset", arguments...)
	h.command.Stderr = &h.said
	in, err := h.command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot hold connections: %w", err)
	}
	out, err := h.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot hold connections: %w", err)
	}
	if err := h.command.Start(); err != nil {
		return nil, fmt.Errorf("cannot hold connections: %w", err)
	}
	h.in, h.out = in, bufio.NewReader(out)
	if line, err := h.out.ReadString('\n'); err != nil || line != "open\n" {
		_, err = h.release()
		return nil, fmt.Errorf("%d connections could not be opened: %w", connections, err)
	}
	return h, nil
}

// release tries each connection once more and closes it. It must be called once.
func (h *holder) release() (outcome, error) {
	defer h.cancel()
	closeErr := h.in.Close() // which the process waits for
	last, readErr := io.ReadAll(h.out)
	if err := errors.Join(h.command.Wait(), readErr, closeErr); err != nil {
		return outcome{}, fmt.Errorf("%d connections did not last: %w: %s", h.connections, err, tail(h.said.String()))
	}
	return parseReport(string(last))
}

// rest lets the proxy do what it does when nothing happens, and looks at it.
func (h hold) rest(ctx context.Context, t target) (usage, error) {
	select {
	case <-ctx.Done():
		return usage{}, ctx.Err()
	case <-time.After(cmp.Or(h.rests, max(restFor, time.Duration(t.seconds)*time.Second))):
	}
	return t.proxy.usage()
}

// restFor is how long they wait at least before memory is measured: proxies give it back when connections have been unused for some time.
const restFor = 12 * time.Second

// holdCommand is the process that holds them: a proxy and its client cannot both have 18,000 files in one.
type holdCommand struct {
	Address     string `arg:""`
	Path        string `arg:""`
	Connections int    `arg:""`
	TLS         bool   `name:"tls"`
	H2          bool   `name:"h2"` // over TLS
}

func (c *holdCommand) Run() error {
	began := time.Now()
	var held []waiting
	for range c.Connections {
		w, err := c.open()
		if err != nil {
			return fmt.Errorf("connection %d: %w", len(held)+1, err)
		}
		held = append(held, w)
		if err := w.ask(); err != nil {
			return fmt.Errorf("connection %d: %w", len(held), err)
		}
	}
	if _, err := fmt.Println("open"); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for i, w := range held {
		if err := w.ask(); err != nil {
			return fmt.Errorf("connection %d did not last: %w", i+1, err)
		}
	}
	fmt.Printf("report: {\"requests\":%d,\"us\":%d}\n", 2*len(held), time.Since(began).Microseconds())
	return nil
}
