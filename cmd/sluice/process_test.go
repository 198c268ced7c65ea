package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what ought to happen at once.
const patience = 20 * time.Second

// process is a running binary.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan int // receives the exit code

	mu     sync.Mutex
	stderr bytes.Buffer
	listen map[string]string // addresses by listener
}

// launch starts the binary. It is killed when the test ends, if it has not ended by then.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), done: make(chan int, 1), listen: map[string]string{}}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(stderr)
	}()
	go func() {
		<-read
		// The exit code says it all.
		_ = p.cmd.Wait()
		p.done <- p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		// It has ended already, unless the test failed.
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the process wrote:\n%s", p.log())
		}
	})
	return p
}

func (p *process) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var line struct{ Msg, Listener, Address string }
		p.mu.Lock()
		p.stderr.WriteString(lines.Text() + "\n")
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			p.listen[line.Listener] = line.Address
		}
		p.mu.Unlock()
	}
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// address waits until a listener is there, and the gateway behind it ready or able to say why it is not.
func (p *process) address(listener string) string {
	p.t.Helper()
	var address string
	eventually(p.t, "the listener "+listener, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		address = p.listen[listener]
		return address != ""
	})
	if listener == "admin" { // it listens before everything else is there
		eventually(p.t, "the gateway has started", func() bool { _, body := get("http://" + address + "/readyz"); return body != "starting\n" })
	}
	return address
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case code := <-p.done:
		return code
	case <-time.After(patience):
		p.t.Fatal("the process does not end")
		return -1
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("%s: it did not happen", what)
}

// get returns the status and the body, or 0 if there is no answer.
func get(url string) (int, string) { return call(http.MethodGet, url) }

func call(method, url string) (int, string) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// testOrigin answers with what it was asked; requests below /items/slow wait until release is closed.
type testOrigin struct {
	url     string
	reached chan struct{} // receives for every slow request
	release chan struct{}
}

func newTestOrigin(t *testing.T) *testOrigin {
	o := &testOrigin{reached: make(chan struct{}, 16), release: make(chan struct{})}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/items/slow") {
			o.reached <- struct{}{}
			select {
			case <-o.release:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "origin saw "+r.Method+" "+r.URL.Path) // the client's test notices
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	o.url = s.URL
	return o
}

// onFreePorts makes the contract's file one that any number of tests can run at once.
func (o *testOrigin) onFreePorts(text string) string {
	return strings.NewReplacer("127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:9180", "127.0.0.1:0", "http://127.0.0.1:9000", o.url).Replace(text)
}

// configured writes the contract's file with more routes or sections at its end.
func (o *testOrigin) configured(t *testing.T, more string) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "sluice.yaml"), o.onFreePorts(contract)+more)
}

// freePort is an address that nobody uses.
func freePort(t *testing.T) string {
	t.Helper()
	nl := listenBelow(t)
	defer nl.Close()
	return nl.Addr().String()
}

// listenBelow listens below the ports that the kernel hands out: what is free there may belong to another test's connection a moment later.
// No port comes twice: whoever got it first has closed it, and is about to have a gateway listen there.
func listenBelow(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		port := 15_000 + rand.IntN(5000)
		if _, given := portsGiven.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l
		}
	}
	t.Fatal("100 ports are taken")
	return nil
}

// portsGiven are those that listenBelow has given to a test.
var portsGiven sync.Map
