//go:build !race && !invariants

// The race detector has a shadow of all memory.

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// residentMemory returns how much of the process is in memory, in bytes.
func residentMemory(t *testing.T, pid int) int {
	t.Helper()
	bytes, err := residentMemoryOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func residentMemoryOf(pid int) (int, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 { // there is nothing in it of a process that has just ended
		return 0, fmt.Errorf("process %d: %q", pid, statm)
	}
	pages, err := strconv.Atoi(fields[1])
	return pages * os.Getpagesize(), err
}

// TestIdleConnections holds as many keep-alive connections as the usual limit of 20,000 open files allows, and some of the kinds that
// cost more to make. Each has been used twice, with the head of a browser; what it costs is measured when all have been unused for
// long. Then all are used again, and a drain ends them at once.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	// idleMax is a bound on bytes of memory for each. Handshakes take time, so that those with TLS are fewer.
	t.Run("h1", func(t *testing.T) { testIdle(t, 18_000, 6<<10, false, "http/1.1") })
	t.Run("others", func(t *testing.T) {
		f := func(name string, connections, idleMax int, secure bool, protocol string) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testIdle(t, connections, idleMax, secure, protocol)
			})
		}
		f("h1+TLS", 2_000, 20<<10, true, "http/1.1")
		f("h2", 4_000, 14<<10, false, "h2")
		f("h2+TLS", 2_000, 26<<10, true, "h2")
	})
}

// browser is the head of a request of HTTP/1.1, without its first line.
var browser = [][2]string{
	{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"},
	{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	{"Accept-Encoding", "gzip, deflate, br"},
	{"Accept-Language", "en-US,en;q=0.9"},
	{"Cookie", "session=" + strings.Repeat("0123456789abcdef", 60)},
}

// idler is a connection of a client that waits most of its time.
type idler struct {
	net.Conn
	h2      *http2.Framer // nil for HTTP/1.1
	block   bytes.Buffer
	encoder *hpack.Encoder
	stream  uint32
}

func newIdler(address string, secure bool, protocol string) (*idler, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	i := &idler{Conn: c}
	if secure {
		i.Conn = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	}
	if protocol == "h2" {
		i.h2 = http2.NewFramer(i.Conn, i.Conn)
		i.encoder = hpack.NewEncoder(&i.block)
		if _, err := io.WriteString(i.Conn, http2.ClientPreface); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		if err := i.h2.WriteSettings(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return i, nil
}

// use makes a request.
func (i *idler) use() error {
	if err := i.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if i.h2 != nil {
		return i.use2()
	}
	request := "GET / HTTP/1.1\r\nHost: a.example\r\n"
	for _, f := range browser {
		request += f[0] + ": " + f[1] + "\r\n"
	}
	if _, err := io.WriteString(i, request+"\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(i, 512), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

func (i *idler) use2() error {
	i.block.Reset()
	head := append([][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a.example"}}, browser...)
	for _, f := range head {
		if err := i.encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(f[0]), Value: f[1]}); err != nil {
			return err
		}
	}
	i.stream = max(i.stream+2, 1) | 1
	err := i.h2.WriteHeaders(http2.HeadersFrameParam{StreamID: i.stream, BlockFragment: i.block.Bytes(), EndHeaders: true, EndStream: true})
	for err == nil {
		var f http2.Frame
		if f, err = i.h2.ReadFrame(); err != nil {
			break
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			if f.StreamID == i.stream && f.StreamEnded() && len(f.Data()) > 0 {
				return nil
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return fmt.Errorf("got %v", f)
		}
	}
	return err
}

func testIdle(t *testing.T, connections, idleMax int, secure bool, protocol string) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Cur) - 200; connections > most {
		t.Logf("the limit of open files allows %d connections only", most)
		connections = most
	}
	config := writeFile(t, t.TempDir()+"/gateway.yaml", `version: 1
admin: off
listen: { web: { address: "127.0.0.1:0", http: [h1, h2] }, secure: { address: "127.0.0.1:0", http: [h1, h2], tls: edge } }
tls: { edge: { certificates: self-signed } }
limits: { per_client: off }
routes:
  all: { match: "/**", respond: { json: { ok: true } } }
`)
	p := launch(t, "run", "-c", config)
	address := p.address("web")
	if status, _ := get("http://" + address); status != 200 {
		t.Fatalf("got status %d", status)
	}
	if secure {
		address = p.address("secure")
	}
	for range 32 { // what is needed once for all
		c, err := newIdler(address, secure, protocol)
		if err == nil {
			err = errors.Join(c.use(), c.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := residentMemory(t, p.cmd.Process.Pid)

	conns := make([]*idler, connections)
	all := func(f func(i int) error) {
		t.Helper()
		const workers = 64
		var done sync.WaitGroup
		for w := range workers {
			done.Go(func() {
				for i := w; i < connections; i += workers {
					if err := f(i); err != nil {
						t.Errorf("connection %d: %v", i, err)
						return
					}
				}
			})
		}
		done.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	all(func(i int) error {
		c, err := newIdler(address, secure, protocol)
		if err != nil {
			return err
		}
		conns[i] = c
		return errors.Join(c.use(), c.use())
	})
	each := 0
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		each = (residentMemory(t, p.cmd.Process.Pid) - before) / connections
		if each <= idleMax {
			break
		}
		if time.Now().After(end) {
			t.Errorf("an idle connection costs %d bytes, want at most %d", each, idleMax)
			break
		}
	}
	t.Logf("an idle connection costs %d bytes", each)

	all(func(i int) error { return conns[i].use() })
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v to drain", took)
	}
}
