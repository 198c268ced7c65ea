//go:build !race && !invariants

// The race detector has a shadow of all memory.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// residentMemory returns how much of the process is in memory, in bytes.
func residentMemory(t *testing.T, pid int) int {
	t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestIdleConnections holds as many keep-alive connections as the usual limit of 20,000 open files allows. Each has been used twice,
// with the head of a browser; what it costs is measured when all have been unused for long. Then all are used again, and a drain
// ends them at once.
func TestIdleConnections(t *testing.T) {
	const idleMax = 6 << 10 // bytes of memory for each
	connections := 18_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Cur) - 200; connections > most {
		t.Logf("the limit of open files allows %d connections only", most)
		connections = most
	}
	config := writeFile(t, t.TempDir()+"/gateway.yaml", `version: 1
listen: { web: { address: "127.0.0.1:0" } }
limits: { per_client: off }
routes:
  all: { match: "/**", respond: { json: { ok: true } } }
`)
	p := launch(t, "run", "-c", config)
	address := p.address("web")
	if status, _ := get("http://" + address); status != 200 {
		t.Fatalf("got status %d", status)
	}
	before := residentMemory(t, p.cmd.Process.Pid)

	request := "GET / HTTP/1.1\r\nHost: a.example\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n" +
		"Accept-Language: en-US,en;q=0.9\r\nCookie: session=" + strings.Repeat("0123456789abcdef", 60) + "\r\n\r\n"
	conns := make([]net.Conn, connections)
	use := func(c net.Conn) error {
		if _, err := fmt.Fprint(c, request); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		res, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != 200 {
			return fmt.Errorf("status %d", res.StatusCode)
		}
		return nil
	}
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
		c, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			return err
		}
		conns[i] = c
		return errors.Join(use(c), use(c))
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

	all(func(i int) error { return use(conns[i]) })
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v to drain", took)
	}
}
