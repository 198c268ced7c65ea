package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"sluice/proxy/proxytest"
)

// ownGoroutines marks what the test starts from now on, and returns how many goroutines of it there are: others run beside it.
func ownGoroutines(t *testing.T) (count func() int) {
	t.Helper()
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("test", t.Name()))) // whatever it starts inherits them
	t.Cleanup(func() { pprof.SetGoroutineLabels(context.Background()) })
	label := fmt.Sprintf("%q:%q", "test", t.Name())
	return func() int {
		t.Helper()
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			t.Fatal(err)
		}
		own, n := 0, 0
		for line := range strings.Lines(b.String()) {
			// "2 @ 0x47a ..." and then, if they have any, "# labels: {"test":"TestParked"}".
			if _, err := fmt.Sscanf(line, "%d @", &n); err != nil && strings.HasPrefix(line, "# labels:") && strings.Contains(line, label) {
				own += n
			}
		}
		if own == 0 {
			t.Fatalf("not even the test itself is found in:\n%s", b.String())
		}
		return own
	}
}

// TestParked leaves connections unused until they have no goroutine any more: they serve requests as before, whole or in
// pieces, time out, and end with a drain.
func TestParked(t *testing.T) {
	t.Parallel() // it waits most of the time
	const idleAfter = 5 * time.Second
	goroutines := ownGoroutines(t)
	const routes = `
routes:
  all: { match: "/**", respond: { status: 200, text: hello } }
`
	gw := proxytest.Start(t, routes) // whose connections may idle for longer than the test takes, however busy the machine is
	brief := proxytest.Start(t, "limits: { idle: 8s }\n"+routes)
	const request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
	type conn struct {
		net.Conn
		r *bufio.Reader
	}
	use := func(c conn, pieces ...string) {
		t.Helper()
		for i, p := range pieces {
			if i > 0 {
				time.Sleep(10 * time.Millisecond)
			}
			if _, err := io.WriteString(c, p); err != nil {
				t.Fatal(err)
			}
		}
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); string(b) != "hello" || err != nil {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	ends := func(c conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	}
	const n = 50
	before := goroutines()
	var conns []conn
	for i := range n {
		addr := gw.Addr
		if i == 1 {
			addr = brief.Addr
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, conn{c, bufio.NewReader(c)})
	}
	for _, c := range conns[1:] {
		use(c, request)
	}
	if got := goroutines() - before; got < n/2 {
		t.Fatalf("%d connections have %d goroutines: the test counts wrongly", n, got)
	}
	fresh, unused, pieces, leaver := conns[0], conns[1], conns[2], conns[3]
	deadline := time.Now().Add(idleAfter + patience)
	for goroutines() > before+n/2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d idle connections have %d goroutines", n, goroutines()-before)
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond) // for all of them
	use(fresh, request)
	use(pieces, request[:10], request[10:20], request[20:])
	use(pieces, request)
	leaver.Close()
	for _, c := range conns[4:] {
		use(c, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\n", "abc")
	}
	ends(unused) // 8 s after its last request
	for end := time.Now().Add(patience); gw.Server.Counts().Open != n-2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // a client sees the end of its connection before the server has counted it
	}
	if got := gw.Server.Counts().Open; got != n-2 {
		t.Errorf("%d connections are open, want %d", got, n-2)
	}

	deadline = time.Now().Add(idleAfter + patience)
	for goroutines() > before+n/2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d idle connections have %d goroutines", n-2, goroutines()-before)
		}
		time.Sleep(20 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := gw.Server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	ends(pieces)
}
