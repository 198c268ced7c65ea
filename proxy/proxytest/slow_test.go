package proxytest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The times of these tests are scaled down. What must last is checked against its own length; what must end, with
// seconds to spare for a busy machine.
const endsWithin = 4 * time.Second

// drip sends text a byte at a time until the other side ends the connection or stop is closed.
func drip(c io.Writer, text string, pause time.Duration, stop <-chan struct{}) (sent int) {
	for ; sent < len(text); sent++ {
		if _, err := io.WriteString(c, text[sent:sent+1]); err != nil {
			return sent
		}
		select {
		case <-time.After(pause): // the pace is what is tested
		case <-stop:
			return sent
		}
	}
	return sent
}

// ends waits for the end of the connection, which must come after min and without anything but want.
func (c *streamClient) ends(t testing.TB, began time.Time, min time.Duration, want string) {
	t.Helper()
	got, err := io.ReadAll(c.R)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection was not ended")
	}
	if string(got) != want {
		t.Errorf("got %q before the end, want %q", got, want)
	}
	if took := time.Since(began); took < min || took > min+endsWithin {
		t.Errorf("ended after %v, want %v", took, min)
	}
}

// testSlowHead drips a head. It is cut when its time is over, whatever still comes, and nobody else notices.
func testSlowHead(t *testing.T) {
	var requests atomic.Int64
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) { requests.Add(1) })
	const limit = 400 * time.Millisecond
	gw := streamTo(t, origin, "header_timeout: 400ms, idle: 5s")
	head := "GET /x HTTP/1.1\r\nHost: a\r\nX-Long: " + pattern(1, 1000) + "\r\n\r\n"
	f := func(before string) {
		t.Helper()
		c := gw.dialIn(t, 10*time.Second)
		if before != "" {
			c.Send(before)
			c.bodyEnds(t, c.response(t, "GET", 200))
		}
		began := time.Now()
		stop, done := make(chan struct{}), make(chan int, 1)
		go func() { done <- drip(c, head, 10*time.Millisecond, stop) }()
		c.ends(t, began, limit, "")
		close(stop)
		if sent := <-done; sent == len(head) {
			t.Error("the whole head was taken")
		}
	}
	f("")
	n := requests.Load()
	f("GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
	if now := requests.Load(); n != 0 || now != 1 {
		t.Errorf("%d and %d requests reached the origin, want 0 and 1", n, now)
	}

	// A head that is slow but in time is served: there is much time, for a busy machine does not keep the pace.
	c := streamTo(t, origin, "header_timeout: 20s").dialIn(t, 30*time.Second)
	drip(c, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 2*time.Millisecond, nil)
	c.bodyEnds(t, c.response(t, "GET", 200))
}

// TestIdle closes connections on which nothing comes, at first or after a request.
func TestIdle(t *testing.T) {
	checkLeaks(t)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {})
	gw := streamTo(t, origin, "idle: 300ms")
	const limit = 300 * time.Millisecond
	began := time.Now()
	c := gw.dialIn(t, 10*time.Second)
	c.ends(t, began, limit, "")

	inPace(t, limit, func(p *pace) error {
		c = gw.dialIn(t, 10*time.Second)
		for range 6 {
			p.step()
			began = time.Now()
			if _, err := io.WriteString(c, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				return err
			}
			resp, err := http.ReadResponse(c.R, nil)
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
				return fmt.Errorf("got %d, %v", resp.StatusCode, err)
			}
			time.Sleep(limit / 4) // shorter than idle each, longer in all
		}
		return nil
	})
	c.ends(t, began, limit, "")
}

// testSlowUpload sends bodies below the minimum rate, and bodies that stall: they are cut, and the origin does not take
// what came for whole.
func testSlowUpload(t *testing.T) {
	f := func(t *testing.T, up framing, pause time.Duration) {
		t.Helper()
		origin := make(chan error, 1)
		addr := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			origin <- err
		})
		gw := streamTo(t, addr, "header_timeout: 300ms, min_rate: 10KiB/s")
		c := gw.dialIn(t, 10*time.Second)
		began := time.Now()
		c.Send("POST /x HTTP/1.1\r\nHost: a\r\n" + up.field(100_000) + "\r\n")
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				if _, err := io.WriteString(c, up.piece("x")); err != nil {
					return
				}
				select {
				case <-time.After(pause): // the pace is what is tested
				case <-stop:
					return
				}
			}
		}()
		resp := c.response(t, "POST", 408)
		if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(b, []byte(`"code":"slow_request"`)) || !resp.Close {
			t.Errorf("got %s, %v, close %v", b, err, resp.Close)
		}
		if took := time.Since(began); took < 300*time.Millisecond || took > 300*time.Millisecond+endsWithin {
			t.Errorf("the slow upload was ended after %v", took)
		}
		close(stop)
		<-done
		if err := <-origin; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the origin's end of a cut upload: %v", err)
		}
	}
	var cases []func(t *testing.T)
	for _, up := range []framing{sized, inChunks} {
		cases = append(cases,
			func(t *testing.T) { f(t, up, 10*time.Millisecond) }, // 100 B/s
			func(t *testing.T) { f(t, up, time.Minute) })         // one byte and no more
	}
	atOnce(t, cases...)
}

// testSteadyUpload sends a body slowly, but above the minimum rate: it survives although it takes longer than every
// timeout there is.
func testSteadyUpload(t *testing.T) {
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	})
	gw := Start(t, fmt.Sprintf(`
limits: { header_timeout: 500ms, idle: 500ms, min_rate: 2KiB/s }
services: { origin: { to: ["http://%s"], timeouts: { try: 500ms, idle: 500ms, connect: 500ms } } }
defaults: { timeout: 500ms }
routes: { all: { match: "/**", to: origin } }
`, origin))
	f := func(t *testing.T, up framing) {
		t.Helper()
		inPace(t, 500*time.Millisecond, func(p *pace) error {
			c := gw.dialIn(t, 20*time.Second)
			const pieces, size = 100, 500
			began := time.Now()
			_, err := io.WriteString(c, "POST /x HTTP/1.1\r\nHost: a\r\n"+up.field(pieces*size)+"\r\n")
			for i := 0; i < pieces && err == nil; i++ {
				p.step()
				_, err = io.WriteString(c, up.piece(pattern(i, size)))
				time.Sleep(20 * time.Millisecond) // 25 KB/s
			}
			p.step()
			if err == nil {
				_, err = io.WriteString(c, up.end())
			}
			if err != nil {
				return err
			}
			resp, err := http.ReadResponse(c.R, nil)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(resp.Body)
			if want := fmt.Sprintf("%d <nil>", pieces*size); err != nil || resp.StatusCode != 200 || string(body) != want {
				return fmt.Errorf("got %d %.300q, %v; want %q", resp.StatusCode, body, err, want)
			}
			if took := time.Since(began); took < 4*500*time.Millisecond {
				t.Errorf("the upload took %v, which proves nothing", took)
			}
			p.step()
			return c.another()
		})
	}
	atOnce(t,
		func(t *testing.T) { f(t, sized) },
		func(t *testing.T) { f(t, inChunks) })
}

// testSlowReader reads downloads below the minimum rate: the origin is let go soon, and the client cannot take what it
// got for whole.
func testSlowReader(t *testing.T) {
	f := func(t *testing.T, down framing, proto string, stalls bool) {
		t.Helper()
		released := make(chan struct{})
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+down.field(1<<40)+"\r\n")
			send(c, down, 1<<40, new(atomic.Int64))
			close(released)
		})
		c := streamTo(t, origin, "header_timeout: 300ms, min_rate: 4MiB/s").dialIn(t, 40*time.Second)
		_ = c.SetReadBuffer(32 << 10)
		began := time.Now()
		c.Send("GET /x " + proto + "\r\nHost: a\r\n\r\n")
		resp := c.response(t, "GET", 200)
		buf := make([]byte, 4<<10)
		var cut error // of the connection: the kernel says so once, and then that it is at its end
		for waiting := true; waiting; {
			if !stalls {
				if _, cut = io.ReadFull(resp.Body, buf); cut != nil {
					<-released
				}
			}
			select {
			case <-released:
				waiting = false
			case <-time.After(20 * time.Millisecond): // 200 KB/s
				if time.Since(began) > 20*time.Second {
					t.Fatal("the slow reader was not cut")
				}
			}
		}
		n := int64(0)
		if cut == nil {
			n, cut = io.Copy(io.Discard, resp.Body)
		}
		if cut == nil || cut == io.EOF || errors.Is(cut, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the client saw a whole response: %d more bytes, %v", proto, n, cut)
		}
	}
	for _, stalls := range []bool{false, true} {
		atOnce(t,
			func(t *testing.T) { f(t, sized, "HTTP/1.1", stalls) },
			func(t *testing.T) { f(t, inChunks, "HTTP/1.1", stalls) },
			func(t *testing.T) { f(t, untilClose, "HTTP/1.1", stalls) },
			func(t *testing.T) { f(t, inChunks, "HTTP/1.0", stalls) },
			func(t *testing.T) { f(t, untilClose, "HTTP/1.0", stalls) })
	}
}

// testSteadyReader reads slowly, but above the minimum rate, and for longer than every timeout.
func testSteadyReader(t *testing.T) {
	const total = 8 << 20
	f := func(t *testing.T, down framing, p *pace) error {
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+down.field(total)+"\r\n")
			send(c, down, total, new(atomic.Int64))
		})
		c := streamTo(t, origin, "header_timeout: 400ms, idle: 400ms, min_rate: 64KiB/s",
			"timeouts: { try: 400ms, idle: 400ms }").dialIn(t, 30*time.Second)
		_ = c.SetReadBuffer(32 << 10)
		c.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(c.R, nil)
		if err != nil {
			return err
		}
		if resp.StatusCode != 200 {
			return errors.New(resp.Status)
		}
		began := time.Now()
		for n := int64(0); n < total; {
			p.step()
			k, err := io.CopyN(io.Discard, resp.Body, 64<<10)
			if n += k; err != nil {
				return fmt.Errorf("after %d bytes and %v: %w", n, time.Since(began), err)
			}
			time.Sleep(15 * time.Millisecond) // 4 MB/s
		}
		c.bodyEnds(t, resp)
		if took := time.Since(began); took < 4*400*time.Millisecond {
			return fmt.Errorf("the download took %v, which proves nothing", took)
		}
		return nil
	}
	steadily := func(t *testing.T, down framing) {
		t.Helper()
		inPace(t, 400*time.Millisecond, func(p *pace) error { return f(t, down, p) })
	}
	atOnce(t,
		func(t *testing.T) { steadily(t, sized) },
		func(t *testing.T) { steadily(t, inChunks) })
}

// testTimeouts has origins that do not answer in time, in all the ways there are.
func testTimeouts(t *testing.T) {
	silent := func(answer string) string {
		return RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			in := bufio.NewReader(c)
			r, err := http.ReadRequest(in)
			if err != nil {
				return // the attempt of a test that ends
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			_, _ = io.WriteString(c, answer)
			_, _ = io.Copy(io.Discard, in) // until the gateway closes
		})
	}
	gw := Start(t, fmt.Sprintf(`
services:
  nowhere: { to: ["http://%s"], timeouts: { connect: 300ms } }
  hidden:  { to: ["http://%[1]s"], timeouts: { connect: 8s } }
  try:     { to: ["http://%s"], timeout: 300ms }
  silent:  { to: ["http://%[2]s"], timeout: 8s }
  head:    { to: ["http://%s"], timeout: 300ms }
  interim: { to: ["http://%s"], timeout: 300ms }
  busy:    { to: ["http://%[2]s"], timeout: 8s, pool: { connections: 1, wait: 300ms } }
routes:
  connect: { match: /connect, to: nowhere }
  hidden:  { match: /hidden, to: hidden, timeout: 300ms }
  try:     { match: /try, to: try }
  route:   { match: /route, to: silent, timeout: 300ms }
  head:    { match: /head, to: head }
  interim: { match: /interim, to: interim }
  hold:    { match: /hold, to: busy }
  busy:    { match: /busy, to: busy }
`, blackhole(t), silent(""), silent("HTTP/1.1 200 OK\r\nX-Half: "), silent("HTTP/1.1 103 Early Hints\r\n\r\n")))
	const limit = 300 * time.Millisecond
	const get = "GET %s HTTP/1.1\r\nHost: a\r\n\r\n"
	uploads := []string{
		"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + pattern(1, 100_000),
	}
	f := func(t *testing.T, path string, status int, code string, requests ...string) {
		t.Helper()
		for _, request := range append(requests, get) {
			c := gw.dialIn(t, 10*time.Second)
			began := time.Now()
			c.Send(fmt.Sprintf(request, path))
			var resp *http.Response
			for {
				var err error
				if resp, err = http.ReadResponse(c.R, nil); err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode >= 200 {
					break
				}
			}
			b, err := io.ReadAll(resp.Body)
			if took := time.Since(began); took < limit-50*time.Millisecond || took > limit+endsWithin {
				t.Errorf("%s: answered after %v, want %v", path, took, limit)
			}
			if err != nil || resp.StatusCode != status || !bytes.Contains(b, []byte(`"code":"`+code+`"`)) {
				t.Errorf("%s: got %d %s, %v; want %d %s", path, resp.StatusCode, b, err, status, code)
			}
		}
	}
	atOnce(t,
		func(t *testing.T) { f(t, "/try", 504, "upstream_timeout", uploads...) },
		func(t *testing.T) { f(t, "/route", 504, "upstream_timeout", uploads...) },
		func(t *testing.T) { f(t, "/head", 504, "upstream_timeout") },
		func(t *testing.T) { f(t, "/interim", 504, "upstream_timeout") },
		func(t *testing.T) { f(t, "/hidden", 504, "upstream_timeout") },
		func(t *testing.T) { f(t, "/connect", 502, "upstream_unreachable", uploads...) })
	holder := gw.dialIn(t, 10*time.Second)
	holder.Send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
	until(t, "the only connection is in use", func() bool { return inFlight(gw) == 1 })
	f(t, "/busy", 503, "upstream_busy", uploads...)
	reset(t, holder.TCPConn)
}

// testSilentBody has an origin that falls silent in the middle of its response: it is cut, and does not look whole.
func testSilentBody(t *testing.T) {
	const limit = 300 * time.Millisecond
	f := func(t *testing.T, down framing, request string, p *pace) error {
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			in := bufio.NewReader(c)
			r, err := http.ReadRequest(in)
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			if err != nil {
				return // the gateway has waited for too long already, which the client sees
			}
			p.step()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+down.field(1000)+"\r\n")
			for range 6 {
				p.step()
				_, _ = io.WriteString(c, down.piece("x"))
				time.Sleep(limit / 3) // each shorter than the limit, longer in all
			}
			_, _ = io.Copy(io.Discard, in) // until the gateway closes
		})
		c := streamTo(t, origin, "", "timeouts: { idle: 300ms, try: 300ms }").dialIn(t, 10*time.Second)
		began := time.Now()
		p.step()
		c.Send(request)
		resp, err := http.ReadResponse(c.R, nil)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || string(got) != strings.Repeat("x", 6) {
			return fmt.Errorf("got %d %.300q", resp.StatusCode, got)
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the silent response ended with %v", err)
		}
		if took := time.Since(began); took < 2*limit || took > 3*limit+endsWithin {
			t.Errorf("ended after %v", took)
		}
		return nil
	}
	paced := func(t *testing.T, down framing, request string) {
		t.Helper()
		// The last silence is what is tested, and counts for what has failed before it only.
		inPace(t, limit, func(p *pace) error { return f(t, down, request, p) })
	}
	var cases []func(t *testing.T)
	for _, down := range []framing{sized, inChunks, untilClose} {
		cases = append(cases,
			func(t *testing.T) { paced(t, down, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n") },
			func(t *testing.T) { paced(t, down, "GET /x HTTP/1.0\r\nHost: a\r\n\r\n") },
			func(t *testing.T) {
				paced(t, down, "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
			})
	}
	atOnce(t, cases...)
}

// TestStalledUploadEnds has an origin that stops reading an upload and says nothing: the idle timeout ends it.
func TestStalledUploadEnds(t *testing.T) {
	checkLeaks(t)
	f := func(up framing) {
		t.Helper()
		released := make(chan struct{})
		origin := RawOrigin(t, func(c *net.TCPConn) {
			limitConn(t, c)
			_ = c.SetReadBuffer(16 << 10)
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
			}
			<-released
		})
		defer close(released)
		c := streamTo(t, origin, "", "timeouts: { idle: 300ms }").dialIn(t, 10*time.Second)
		c.Send("POST /x HTTP/1.1\r\nHost: a\r\n" + up.field(1<<40) + "\r\n")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			send(c.TCPConn, up, 1<<40, new(atomic.Int64))
		}()
		resp := c.response(t, "POST", 504)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		<-sent
	}
	f(sized)
	f(inChunks)
}
