package proxytest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sluice/proxy/wire"
)

// TestLockStep has an echo origin: every piece of an upload is back at the client before the next one is sent. Whoever
// waits for more than there is, in either direction, hangs. The origin says one byte more when it has seen the end, so
// that no response is over before its request.
func TestLockStep(t *testing.T) {
	checkLeaks(t)
	const pieces = 100
	sizes := []int{1, 100, 3000, 20_000, 70_000}
	total := 0
	for i := range pieces {
		total += sizes[i%len(sizes)]
	}
	f := func(up, down framing) {
		t.Helper()
		origin := RawOrigin(t, func(c *net.TCPConn) {
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				err = echoBody(c, io.MultiReader(r.Body, strings.NewReader(".")), down, total+1)
			}
			if err != nil {
				t.Error(err)
			}
		})
		c := streamTo(t, origin, "").dialIn(t, 20*time.Second)
		c.Send("POST /echo HTTP/1.1\r\nHost: a\r\n" + up.field(total) + "\r\n")
		resp := c.response(t, "POST", 200)
		for i := range pieces {
			piece := pattern(i, sizes[i%len(sizes)])
			c.Send(up.piece(piece))
			got := make([]byte, len(piece))
			if _, err := io.ReadFull(resp.Body, got); err != nil {
				t.Fatalf("piece %d: %v", i, err)
			}
			if string(got) != piece {
				t.Fatalf("piece %d came back as another", i)
			}
		}
		c.Send(up.end())
		c.bodyIs(t, resp, ".")
		// An origin that answers before the first byte of a long upload was asked for makes the gateway announce the end of
		// the connection: it cannot know yet that the upload will be wanted.
		if !resp.Close {
			c.goesOn(t)
		}
	}
	f(sized, sized)
	f(sized, inChunks)
	f(inChunks, sized)
	f(inChunks, inChunks)
}

// TestEarlyRefusal has an origin that answers 413 in the middle of an upload without an end and closes. The answer has
// to arrive, at a client that reads while it sends and at one that reads only when it can send no more.
func TestEarlyRefusal(t *testing.T) {
	checkLeaks(t)
	const answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large"
	f := func(up framing, after int, readsWhileSending, linger bool) {
		t.Helper()
		origin := RawOrigin(t, func(c *net.TCPConn) {
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.CopyN(io.Discard, r.Body, int64(after)); err != nil {
				t.Error(err)
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				t.Error(err)
			}
			if linger {
				// As nginx does: the end of the response is sent, and the rest of the request thrown away for a while.
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, c) // until the gateway closes
			}
		})
		gw := streamTo(t, origin, "")
		c := gw.dialIn(t, 20*time.Second)
		c.Send("POST /endless HTTP/1.1\r\nHost: a\r\n" + up.field(1<<40) + "\r\n")
		sent := make(chan error, 1)
		go func() {
			piece := []byte(up.piece(pattern(0, 60_000)))
			for {
				if _, err := c.Write(piece); err != nil {
					sent <- err
					return
				}
			}
		}()
		if !readsWhileSending {
			if err := <-sent; errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the endless upload was not ended")
			}
		}
		resp := c.response(t, "POST", 413)
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "too large" {
			t.Fatalf("got %q, %v", body, err)
		}
		if readsWhileSending {
			if err := <-sent; errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the endless upload was not ended")
			}
		}
	}
	for _, up := range []framing{sized, inChunks} {
		for _, reads := range []bool{true, false} {
			for _, linger := range []bool{false, true} {
				f(up, 0, reads, linger)
				f(up, 1<<20, reads, linger)
			}
		}
	}
}

// stallMax is what a reader that stalls may cost the gateway, in memory and in the kernel's buffers of its sockets.
const stallMax = 8 << 20

// TestStalledClient has a client that stops reading a download, at once and after so many bytes that the kernel has
// learned to give the connections large buffers.
func TestStalledClient(t *testing.T) {
	checkLeaks(t)
	f := func(down framing, total, before, size int) {
		t.Helper()
		conns := make(chan *net.TCPConn, 1)
		var pushed atomic.Int64
		origin := RawOrigin(t, func(c *net.TCPConn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
				return
			}
			conns <- c
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+down.field(total)+"\r\n")
			sendPieces(c, down, total, size, &pushed)
			// The kernel of some machines takes all of it: then the connection is still there to be looked at.
			_, _ = c.Read(make([]byte, 1))
		})
		c := streamTo(t, origin, "").dialIn(t, 60*time.Second)
		heap := heapNow()
		c.Send("GET /download HTTP/1.1\r\nHost: a\r\n\r\n")
		resp := c.response(t, "GET", 200)
		if _, err := io.CopyN(io.Discard, resp.Body, int64(before)); err != nil {
			t.Fatal(err)
		}
		taken := int64(before + c.R.Buffered())
		pushing := <-conns
		held := standing(t, &pushed, func() int64 { return pushed.Load() - unacknowledged(t, pushing) - taken - unread(t, c.TCPConn) })
		if held > stallMax {
			t.Errorf("a stalled client costs %d bytes in the gateway, want at most %d", held, stallMax)
		}
		if grown := heapNow() - heap; grown > stallMax {
			t.Errorf("a stalled client lets the heap grow by %d bytes, want at most %d", grown, stallMax)
		}
		n, err := io.Copy(io.Discard, resp.Body) // it goes on reading: nothing was lost
		if err != nil || n != int64(total-before) {
			t.Fatalf("after the stall: %d bytes, %v; want %d", n, err, total-before)
		}
		c.goesOn(t)
	}
	total := 256 << 20
	if underRace || wire.Invariants {
		total = 64 << 20 // still more than kernels hold
	}
	for _, down := range []framing{sized, inChunks} {
		f(down, total, 0, 64<<10)
		f(down, total, total/2, 64<<10)
		// Small segments take up the kernel's memory in another way.
		f(down, total/2, 0, 1<<9)
		f(down, total/2, total/16, 1<<9)
	}
}

// TestStalledOrigin is the same for an origin that stops reading an upload.
func TestStalledOrigin(t *testing.T) {
	checkLeaks(t)
	const total = 256 << 20
	f := func(up framing, before int) {
		t.Helper()
		conns := make(chan *net.TCPConn, 1)
		var taken atomic.Int64
		resume := make(chan struct{})
		origin := RawOrigin(t, func(c *net.TCPConn) {
			in := bufio.NewReader(c)
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return // the gateway closes
				}
				if r.Method == "POST" {
					if _, err := io.CopyN(io.Discard, r.Body, int64(before)); err != nil {
						t.Error(err)
						return
					}
					taken.Store(int64(before + in.Buffered()))
					conns <- c
					<-resume
				}
				n, err := io.Copy(io.Discard, r.Body)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Rest: %d\r\nContent-Length: 0\r\n\r\n", n); err != nil {
					return
				}
			}
		})
		c := streamTo(t, origin, "").dialIn(t, 60*time.Second)
		heap := heapNow()
		c.Send("POST /upload HTTP/1.1\r\nHost: a\r\n" + up.field(total) + "\r\n")
		var pushed atomic.Int64
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			send(c.TCPConn, up, total, &pushed)
		}()
		stalled := <-conns
		held := standing(t, &pushed, func() int64 { return pushed.Load() - unacknowledged(t, c.TCPConn) - taken.Load() - unread(t, stalled) })
		if most := stallMax + autotuned(t); held > most {
			t.Errorf("a stalled origin costs %d bytes in the gateway, want at most %d", held, most)
		}
		if grown := heapNow() - heap; grown > stallMax {
			t.Errorf("a stalled origin lets the heap grow by %d bytes, want at most %d", grown, stallMax)
		}
		close(resume)
		resp := c.response(t, "POST", 200)
		if want := strconv.Itoa(total - before); resp.Header.Get("X-Rest") != want {
			t.Fatalf("after the stall: %s bytes, want %s", resp.Header.Get("X-Rest"), want)
		}
		c.bodyEnds(t, resp)
		<-sent
		c.goesOn(t)
	}
	f(sized, 0)
	f(inChunks, 0)
	f(sized, total/2)
	f(inChunks, total/2)
}

// TestLongBody sends a long body through and back, and compares what came out at each end with what went in.
func TestLongBody(t *testing.T) {
	checkLeaks(t)
	total := 1 << 30
	if testing.Short() || underRace || wire.Invariants {
		total = 64 << 20 // these builds look at how it goes on, not at what piles up
	}
	longBody(t, sized, inChunks, total)
	longBody(t, inChunks, sized, total)
}

// TestSoakBody is TestLongBody at a length that nothing could hold in memory.
func TestSoakBody(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("10 GiB take a minute or two: set SLUICE_SOAK=1")
	}
	checkLeaks(t)
	longBody(t, sized, sized, 10<<30)
	longBody(t, inChunks, inChunks, 10<<30)
}

// longBody echoes a body. The heap must not grow with it.
func longBody(t *testing.T, up, down framing, total int) {
	t.Helper()
	seen := make(chan []byte, 1)
	origin := RawOrigin(t, func(c *net.TCPConn) {
		in := bufio.NewReaderSize(c, 256<<10)
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Error(err)
			return
		}
		h := sha256.New()
		if err := echoBody(c, io.TeeReader(r.Body, h), down, total); err != nil {
			t.Error(err)
			return
		}
		seen <- h.Sum(nil)
	})
	c := streamTo(t, origin, "").dialIn(t, 10*time.Minute)
	heap := heapNow()
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\n" + up.field(total) + "\r\n")
	sum := sha256.New()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		block := []byte(pattern(7, 1<<20))
		for left := total; left > 0; {
			n := min(len(block)-left%4096, left) // pieces of changing sizes, each with other bytes
			block[left%len(block)]++
			sum.Write(block[:n])
			if err := up.write(c.TCPConn, block[:n]); err != nil {
				t.Error(err)
				return
			}
			left -= n
		}
		if _, err := io.WriteString(c, up.end()); err != nil {
			t.Error(err)
		}
	}()
	resp := c.response(t, "POST", 200)
	got := sha256.New()
	half, err := io.CopyN(got, resp.Body, int64(total/2))
	if err != nil {
		t.Fatal(half, err)
	}
	if grown := heapNow() - heap; grown > stallMax {
		t.Errorf("half of a body lets the heap grow by %d bytes", grown)
	}
	if rest, err := io.Copy(got, resp.Body); err != nil || half+rest != int64(total) {
		t.Fatalf("got %d bytes, %v; want %d", half+rest, err, total)
	}
	<-sent
	want := sum.Sum(nil)
	if !bytes.Equal(<-seen, want) {
		t.Errorf("the origin saw another body than the client sent")
	}
	if !bytes.Equal(got.Sum(nil), want) {
		t.Errorf("the client saw another body than it sent")
	}
}

// TestEvents has an event stream: each event is at the client before the origin sends the next one.
func TestEvents(t *testing.T) {
	checkLeaks(t)
	const events = 30
	f := func(proto string, down framing) {
		t.Helper()
		next := make(chan struct{})
		origin := RawOrigin(t, func(c *net.TCPConn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"+down.field(-1)+"\r\n")
			for i := range events {
				<-next
				if _, err := io.WriteString(c, down.piece(event(i))); err != nil {
					t.Error(err)
					return
				}
			}
			<-next
			_, _ = io.WriteString(c, down.end())
		})
		c := streamTo(t, origin, "").dialIn(t, 20*time.Second)
		c.Send("GET /events " + proto + "\r\nHost: a\r\n\r\n")
		resp := c.response(t, "GET", 200) // the head comes before the first event
		for i := range events {
			next <- struct{}{}
			got := make([]byte, len(event(i)))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != event(i) {
				t.Fatalf("event %d: got %q, %v", i, got, err)
			}
		}
		next <- struct{}{}
		c.bodyEnds(t, resp)
	}
	f("HTTP/1.1", inChunks)
	f("HTTP/1.1", untilClose)
	f("HTTP/1.0", inChunks)
	f("HTTP/1.0", untilClose)
}

func event(i int) string { return fmt.Sprintf("id: %d\ndata: %s\n\n", i, strings.Repeat("x", i*i)) }

// TestContinue is Expect: 100-continue. The body is asked for when the origin asks for it, and not before; the client
// is asked once, whoever says it how often.
func TestContinue(t *testing.T) {
	checkLeaks(t)
	const proceed = "HTTP/1.1 100 Continue\r\n\r\n"
	const done = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	type script struct {
		asked  bool   // whether the origin is to see the Expect
		before string // what it says to the head
		reads  bool   // whether it wants the body
		after  string // what it says then
	}
	run := func(up framing, s script, conversation func(c *streamClient, body string)) {
		t.Helper()
		body := pattern(3, 50_000)
		origin := RawOrigin(t, func(c *net.TCPConn) {
			in := bufio.NewReader(c)
			r, err := http.ReadRequest(in)
			if err != nil {
				t.Error(err)
				return
			}
			if asked := r.Header.Get("Expect") == "100-continue"; asked != s.asked {
				t.Errorf("whether the origin was asked: %v, want %v", asked, s.asked)
			}
			_, _ = io.WriteString(c, s.before)
			if !s.reads {
				// Whatever comes now is a body that the origin refused.
				if b, _ := in.Peek(1); len(b) > 0 {
					t.Error("the origin refused the body and got some of it")
				}
				return
			}
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != body {
				t.Errorf("the origin got %d bytes, %v; want %d", len(got), err, len(body))
			}
			_, _ = io.WriteString(c, s.after)
		})
		c := streamTo(t, origin, "").dialIn(t, 20*time.Second)
		head := "PUT /big HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + up.field(len(body)) + "\r\n"
		if s.asked {
			c.Send(head)
			conversation(c, up.piece(body)+up.end())
		} else {
			conversation(c, head+up.piece(body)+up.end())
		}
	}
	asked := func(c *streamClient) {
		t.Helper()
		line := make([]byte, len(proceed))
		if _, err := io.ReadFull(c.R, line); err != nil || string(line) != proceed {
			t.Fatalf("got %q, %v; want 100 Continue", line, err)
		}
	}
	waits := func(c *streamClient, body string) {
		t.Helper()
		asked(c)
		c.Send(body)
		c.bodyIs(t, c.response(t, "PUT", 200), "ok") // response fails on a second 100
	}
	refused := func(status int) func(*streamClient, string) {
		return func(c *streamClient, _ string) {
			t.Helper()
			resp := c.response(t, "PUT", status)
			if !resp.Close {
				t.Error("a client that was refused and may still send its body needs a connection that ends")
			}
			c.bodyIs(t, resp, "no")
		}
	}
	for _, up := range []framing{sized, inChunks} {
		run(up, script{asked: true, before: proceed, reads: true, after: done}, waits)
		run(up, script{asked: true, before: proceed + proceed, reads: true, after: proceed + done}, waits)
		run(up, script{asked: true, before: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + proceed, reads: true, after: done}, func(c *streamClient, body string) {
			t.Helper()
			if r, err := http.ReadResponse(c.R, nil); err != nil || r.StatusCode != 103 {
				t.Fatalf("got %v, %v; want 103 first", r, err)
			}
			waits(c, body)
		})
		// An origin that says nothing gets the body after a while.
		run(up, script{asked: true, reads: true, after: done}, waits)
		// A client that does not wait, and whose body is there with the head, is not asked, and neither is the origin.
		run(up, script{reads: true, after: done}, func(c *streamClient, message string) {
			t.Helper()
			c.Send(message)
			c.bodyIs(t, c.response(t, "PUT", 200), "ok")
		})
		for _, status := range []int{417, 413, 401} {
			answer := fmt.Sprintf("HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno", status)
			run(up, script{asked: true, before: answer}, refused(status))
		}
	}

	// A client that asked for nothing is told nothing, and what no origin has to see the gateway answers itself.
	origin := RawOrigin(t, func(c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, proceed)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(c, proceed+done)
	})
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
routes:
  all: { match: "/**", to: origin, body_limit: 100KiB }
  here: { match: /here, respond: { status: 200, text: "no" } }
`, origin))
	c := gw.dialIn(t, 10*time.Second)
	c.Send("PUT /big HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
	c.bodyIs(t, c.response(t, "PUT", 200), "ok")
	for _, up := range []framing{sized, inChunks} {
		c = gw.dialIn(t, 10*time.Second)
		c.Send("PUT /here HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + up.field(100) + "\r\n")
		refused(200)(c, "")
	}
	c = gw.dialIn(t, 10*time.Second)
	c.Send("PUT /big HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 200000\r\n\r\n")
	if resp := c.response(t, "PUT", 413); !resp.Close {
		t.Error("a refused body has to end the connection")
	}
}

// TestTrailers sends fields behind the body, both ways.
func TestTrailers(t *testing.T) {
	checkLeaks(t)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "X-Back")
		w.WriteHeader(200)
		fmt.Fprintf(w, "%d %s", n, r.Trailer.Get("X-Sum"))
		w.Header().Set("X-Back", "again "+r.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "too")
	})
	gw := streamTo(t, origin, "")
	f := func(size int, inOne bool) {
		t.Helper()
		c := gw.dialIn(t, 10*time.Second)
		head := "POST /t HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
		body := inChunks.piece(pattern(1, size))
		end := "0\r\nX-Sum: 42\r\nX-Other: 43\r\n\r\n"
		if inOne {
			c.Send(head + body + end)
		} else {
			c.Send(head)
			c.Send(body)
			c.Send(end)
		}
		resp := c.response(t, "POST", 200)
		c.bodyIs(t, resp, fmt.Sprintf("%d 42", size))
		if resp.Trailer.Get("X-Back") != "again 42" || resp.Trailer.Get("X-Unannounced") != "too" {
			t.Errorf("got trailers %v", resp.Trailer)
		}
		c.goesOn(t)
	}
	f(10, true)
	f(10, false)
	f(100_000, false)

	// A client of HTTP/1.0 cannot be sent trailers, and gets the rest.
	c := gw.dialIn(t, 10*time.Second)
	c.Send("POST /t HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
	c.bodyIs(t, c.response(t, "POST", 200), "3 ")
}

// TestPipelined sends requests without waiting for answers: they come in order, whatever the bodies.
func TestPipelined(t *testing.T) {
	checkLeaks(t)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Query().Has("large") {
			_, _ = w.Write(make([]byte, 300_000))
		}
		fmt.Fprintf(w, "%s %s %d %x", r.Method, r.URL.Path, n, sum.Sum(nil))
	})
	gw := Start(t, fmt.Sprintf(`
services: { origin: { to: ["http://%s"] } }
routes:
  all: { match: "/**", to: origin }
  here: { match: /here, respond: { status: 202, text: here } }
`, origin))
	type pipelined struct {
		method string
		status int
		body   string // want; a suffix of it
	}
	var wants []pipelined
	var b strings.Builder
	add := func(method, target string, up framing, size int) {
		body := pattern(len(wants), size)
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: a\r\n", method, target)
		if size >= 0 {
			b.WriteString(up.field(size) + "\r\n" + up.piece(body) + up.end())
		} else {
			b.WriteString("\r\n")
		}
		path, _, _ := strings.Cut(target, "?")
		want := pipelined{method, 200, fmt.Sprintf("%s %s %d %x", method, path, len(body), sha256.Sum256([]byte(body)))}
		switch {
		case method == "HEAD":
			want.body = ""
		case path == "/here":
			want.status, want.body = 202, "here"
		}
		wants = append(wants, want)
	}
	for i := range 40 {
		add("GET", fmt.Sprintf("/get/%d", i), sized, -1)
		add("POST", fmt.Sprintf("/post/%d", i), sized, 0)
		add("POST", fmt.Sprintf("/post/%d", i), sized, 10)
		add("HEAD", fmt.Sprintf("/head/%d", i), sized, -1)
		add("PUT", fmt.Sprintf("/put/%d", i), inChunks, 1000*i)
		add("GET", fmt.Sprintf("/get/%d?large", i), sized, -1)
		add("POST", fmt.Sprintf("/post/%d", i), sized, 4000*i)
		add("POST", "/here", sized, 3000*i) // a body that nobody reads
		add("POST", "/here", inChunks, 3000*i)
		add("GET", fmt.Sprintf("/last/%d", i), inChunks, 5)
	}
	f := func(write int) {
		t.Helper()
		c := gw.dialIn(t, 60*time.Second)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for s := b.String(); s != ""; {
				n := min(write, len(s))
				if _, err := io.WriteString(c, s[:n]); err != nil {
					t.Error(err)
					return
				}
				s = s[n:]
			}
		}()
		for i, want := range wants {
			resp := c.response(t, want.method, want.status)
			got, err := io.ReadAll(resp.Body)
			if err != nil || !strings.HasSuffix(string(got), want.body) || want.body == "" && len(got) > 0 {
				t.Fatalf("response %d: got %.100q, %v; want %q", i, got, err, want.body)
			}
		}
		<-sent
		c.goesOn(t)
	}
	f(1 << 30)
	f(4096)
	f(777)
}

// A framing is how the end of a body is known.
type framing int

const (
	sized framing = iota
	inChunks
	untilClose // responses only
)

// field is the line that announces a body of so many bytes.
func (f framing) field(n int) string {
	switch f {
	case sized:
		return fmt.Sprintf("Content-Length: %d\r\n", n)
	case inChunks:
		return "Transfer-Encoding: chunked\r\n"
	}
	return "Connection: close\r\n"
}

// piece is a part of the body on the wire.
func (f framing) piece(s string) string {
	if f != inChunks || s == "" {
		return s
	}
	return strconv.FormatInt(int64(len(s)), 16) + "\r\n" + s + "\r\n"
}

// write sends a part of the body without making garbage of its length.
func (f framing) write(c net.Conn, p []byte) error {
	parts := net.Buffers{p}
	if f == inChunks && len(p) > 0 {
		parts = net.Buffers{fmt.Appendf(nil, "%x\r\n", len(p)), p, []byte("\r\n")}
	}
	_, err := parts.WriteTo(c)
	return err
}

// end is what follows the last piece.
func (f framing) end() string {
	if f == inChunks {
		return "0\r\n\r\n"
	}
	return ""
}

// pattern is n bytes that differ from those of another seed, and that are no framing.
func pattern(seed, n int) string {
	if n <= 0 {
		return ""
	}
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = 'a' + byte(x>>24)%26
	}
	return string(b)
}

// streamTo starts a gateway in front of one origin, with more settings if the test has any: lines of the service's
// mapping.
func streamTo(t testing.TB, origin, limits string, service ...string) *Gateway {
	t.Helper()
	return Start(t, fmt.Sprintf(`
limits: { body_bytes: off, %s }
services: { origin: { to: ["http://%s"], %s } }
routes:
  all: { match: "/**", to: origin }
  alive: { match: /alive, respond: { status: 200, text: alive } }
`, limits, origin, strings.Join(service, ", ")))
}

// streamClient is a connection of a client that gives up after a time instead of hanging.
type streamClient struct{ *Client }

func (g *Gateway) dialIn(t testing.TB, limit time.Duration) *streamClient {
	t.Helper()
	c := g.Dial()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return &streamClient{c}
}

// response reads the next response's head, whose status must be the one wanted: informational ones are not passed over.
func (c *streamClient) response(t testing.TB, method string, status int) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(c.R, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	if resp.StatusCode != status {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		t.Fatalf("got status %d, want %d: %v %s", resp.StatusCode, status, resp.Header, b)
	}
	return resp
}

// bodyIs reads the rest of the body.
func (c *streamClient) bodyIs(t testing.TB, resp *http.Response, want string) {
	t.Helper()
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != want {
		t.Fatalf("got body %.100q, %v; want %.100q", got, err, want)
	}
}

// bodyEnds wants nothing but a proper end from here on.
func (c *streamClient) bodyEnds(t testing.TB, resp *http.Response) { t.Helper(); c.bodyIs(t, resp, "") }

// goesOn sends another request on the connection, which must be where it can carry one.
func (c *streamClient) goesOn(t testing.TB) {
	t.Helper()
	if err := c.another(); err != nil {
		t.Fatal(err)
	}
}

func (c *streamClient) another() error {
	if _, err := io.WriteString(c, "GET /alive HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return err
	}
	if b, err := c.R.Peek(4); err != nil || string(b) != "HTTP" {
		return fmt.Errorf("the connection is not where a response begins: %q, %v", b, err)
	}
	resp, err := http.ReadResponse(c.R, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode >= 500 {
		return fmt.Errorf("the connection does not carry another request: %v, %v", resp, err)
	}
	return nil
}

// echoBody answers with a body of total bytes, piece by piece as it comes.
func echoBody(c *net.TCPConn, body io.Reader, down framing, total int) error {
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"+down.field(total)+"\r\n"); err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if err := down.write(c, buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			_, err = io.WriteString(c, down.end())
			return err
		}
		if err != nil {
			return err
		}
	}
}

// send writes a body of total bytes as fast as it is taken, and counts. It stops where the connection fails.
func send(c *net.TCPConn, f framing, total int, count *atomic.Int64) {
	sendPieces(c, f, total, 64<<10, count)
}

func sendPieces(c *net.TCPConn, f framing, total, size int, count *atomic.Int64) {
	piece := []byte(f.piece(pattern(0, size)))
	for left := total; left > 0; left -= size {
		if _, err := c.Write(piece); err != nil {
			return
		}
		count.Add(int64(size))
	}
	_, _ = io.WriteString(c, f.end())
}

// standing is how much is held when nothing is counted any more. Where that is too much, it looks again: on a busy machine the gateway may have
// stood still between two reads for want of a processor.
func standing(t testing.TB, count *atomic.Int64, held func() int64) (n int64) {
	t.Helper()
	for range 5 {
		settled(t, count)
		if n = held(); n <= stallMax {
			break
		}
	}
	return n
}

// autotuned is how much more than by itself the kernel of this machine may let the receive buffer of a client's connection grow: see wire.TuneAccepted.
func autotuned(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_rmem")
	if err != nil {
		t.Fatal(err)
	}
	var least, first, most int64
	if _, err := fmt.Sscan(string(text), &least, &first, &most); err != nil {
		t.Fatal(err)
	}
	return max(most-6<<20, 0)
}

// settled waits until nothing more is counted: a stall is the absence of events, so that there is none to wait for.
func settled(t testing.TB, count *atomic.Int64) {
	t.Helper()
	last, since := int64(-1), time.Now()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		switch now := count.Load(); {
		case now != last:
			last, since = now, time.Now()
		case time.Since(since) > 500*time.Millisecond:
			return
		}
	}
	t.Fatal("the stalled side is sent ever more")
}

// unacknowledged is what the kernel still holds of what was written to c: the gateway's has not taken it.
func unacknowledged(t testing.TB, c *net.TCPConn) int64 { return queued(t, c, unix.SIOCOUTQ) }

// unread is what the kernel holds for whoever reads from c.
func unread(t testing.TB, c *net.TCPConn) int64 { return queued(t, c, unix.SIOCINQ) }

func queued(t testing.TB, c *net.TCPConn, what uint) int64 {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err2 := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), what) }); err2 != nil || err != nil {
		t.Fatal(err, err2)
	}
	return int64(n)
}

func heapNow() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// checkLeaks fails the test if it leaves a goroutine or a file descriptor behind. It must be called first, so that it
// runs when the gateway and the origins are gone.
func checkLeaks(t testing.TB) {
	t.Helper()
	files := openFiles(t)
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		checkGoroutines(t, before)
		now := openFiles(t)
		for end := time.Now().Add(20 * time.Second); now > files && time.Now().Before(end); now = openFiles(t) {
			time.Sleep(10 * time.Millisecond) // the other end of a connection may be closing still
			runtime.GC()                      // pipes of splices are kept in a pool until then
		}
		if now > files {
			t.Errorf("%d file descriptors are open, %d before the test", now, files)
		}
	})
}

// checkGoroutines fails the test if goroutines stay that were not there before. They end a moment after what they have served, which may be longer
// than the half second that goleak waits by itself.
func checkGoroutines(t testing.TB, before goleak.Option) {
	t.Helper()
	err := goleak.Find(before)
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); err = goleak.Find(before) {
	}
	if err != nil {
		t.Error(err)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
