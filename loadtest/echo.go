package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// echo is 64 WebSockets on which a message goes to the origin and comes back, as soon as the last one has.
type echo struct{}

const (
	echoConnections = 64
	echoPayload     = 64 // bytes of a message
)

func (echo) run(ctx context.Context, t target) (outcome, error) {
	self, err := os.Executable()
	if err != nil {
		return outcome{}, fmt.Errorf("cannot find this program: %w", err)
	}
	printed, err := generate(ctx, t, self, "echo", t.proxy.listen, t.path, strconv.Itoa(t.seconds))
	if err != nil {
		return outcome{}, err
	}
	return parseReport(printed)
}

// echoCommand is the generator: one thread and epoll, so that it costs about what wrk costs.
type echoCommand struct {
	Address string `arg:""`
	Path    string `arg:""`
	Seconds int    `arg:""`
}

func (c *echoCommand) Run() error {
	poller, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot make a poller: %w", err)
	}
	message, answer := echoFrames()
	sent := map[int32]time.Time{}
	for range echoConnections {
		fd, err := upgrade(c.Address, c.Path)
		if err != nil {
			return err
		}
		if err := unix.EpollCtl(poller, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return fmt.Errorf("cannot watch a connection: %w", err)
		}
		sent[int32(fd)] = time.Now()
		if _, err := write(fd, message); err != nil {
			return fmt.Errorf("cannot send a message: %w", err)
		}
	}
	latencies := hdrhistogram.New(1, 60_000_000, 3)
	events := make([]unix.EpollEvent, echoConnections)
	partial := map[int32]int{} // bytes of an answer that came in pieces
	buffer := make([]byte, len(answer))
	began := time.Now()
	for end := began.Add(time.Duration(c.Seconds) * time.Second); time.Now().Before(end); {
		n, err := unix.EpollWait(poller, events, 5000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("no message came back for 5 s: %w", errors.Join(err, os.ErrDeadlineExceeded))
		}
		for _, e := range events[:n] {
			missing := answer[partial[e.Fd]:]
			m, err := read(int(e.Fd), buffer[:len(missing)])
			if err == nil && m == 0 {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return fmt.Errorf("a WebSocket broke: %w", err)
			}
			if string(buffer[:m]) != string(missing[:m]) {
				return fmt.Errorf("the echo is not what was sent: %q", buffer[:m])
			}
			if m < len(missing) {
				partial[e.Fd] += m
				continue
			}
			partial[e.Fd] = 0
			now := time.Now()
			if err := latencies.RecordValue(max(1, now.Sub(sent[e.Fd]).Microseconds())); err != nil {
				return fmt.Errorf("cannot record a latency: %w", err)
			}
			sent[e.Fd] = now
			if _, err := write(int(e.Fd), message); err != nil {
				return fmt.Errorf("cannot send a message: %w", err)
			}
		}
	}
	at := latencies.ValueAtQuantile
	fmt.Printf("report: {\"requests\":%d,\"us\":%d,\"p50\":%d,\"p99\":%d,\"p999\":%d}\n",
		latencies.TotalCount(), time.Since(began).Microseconds(), at(50), at(99), at(99.9))
	return nil
}

// echoFrames are a message as a client sends it, and its echo (RFC 6455 section 5.2).
func echoFrames() (message, answer []byte) {
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	payload := []byte(strings.Repeat("m", echoPayload))
	answer = append([]byte{0x81, echoPayload}, payload...)
	message = append([]byte{0x81, 0x80 | echoPayload}, mask[:]...)
	for i, b := range payload {
		message = append(message, b^mask[i&3])
	}
	return message, answer
}

// upgrade opens a WebSocket.
func upgrade(address, path string) (int, error) {
	fd, err := dial(address)
	if err != nil {
		return -1, err
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := write(fd, []byte(request)); err != nil {
		return -1, fmt.Errorf("cannot ask for a WebSocket: %w", err)
	}
	// Byte by byte: what comes after the head is a message.
	var head []byte
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		var one [1]byte
		n, err := read(fd, one[:])
		if err == nil && n == 0 || len(head) > 8<<10 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return -1, fmt.Errorf("no answer to a WebSocket's request: %w", err)
		}
		head = append(head, one[0])
	}
	// The key is that of RFC 6455 section 1.3, and so is what must come back.
	if !strings.HasPrefix(string(head), "HTTP/1.1 101 ") || !strings.Contains(string(head), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
		return -1, fmt.Errorf("the WebSocket was not accepted: %.300q", head)
	}
	return fd, nil
}
