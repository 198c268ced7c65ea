package proxytest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// TestSmuggling sends every hostile request of the table to a gateway and looks at what its client hears and what its
// origin receives, byte by byte: the request is refused and nothing arrives, or it arrives and has one reading. Each is
// sent alone, behind a good request, and in front of one that must not be served when the connection has to close.
// Whatever arrives is read again by net/http and by nginx.
func TestSmuggling(t *testing.T) {
	const good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
	flood := strings.Repeat("x", 256<<10)
	table := hostileCases()
	if len(table) < 150 {
		t.Fatalf("the table has only %d cases", len(table))
	}
	read := newReaders(t)
	each(t, table, 0, func(t *testing.T, b *bench, c *hostileCase) {
		b.try(t, read, c, "alone", c.raw)
		behind := *c
		behind.before = 1
		behind.answers = append([]int{200}, c.answers...)
		behind.arrived = append([]string{"GET /good a"}, c.arrived...)
		b.try(t, read, &behind, "behind a good request", good+c.raw)
		if c.closes() && !c.lone {
			b.try(t, read, c, "in front of a good request", c.raw+good)
		}
		if c.refused() && !c.lone {
			// Its kernel must not throw the answer away because more is on the way (RFC 9112 section 9.6).
			b.try(t, read, c, "in front of a flood", c.raw+flood)
		}
	})
	read.finish()
}

// TestSmugglingSplit sends every hostile request in two parts, cut at each of its bytes in turn, and byte by byte. The
// gateway reads the first part before the second is there, and nothing may come of that.
func TestSmugglingSplit(t *testing.T) {
	read := newReaders(t)
	each(t, hostileCases(), 0, func(t *testing.T, b *bench, c *hostileCase) {
		for i := 1; i < len(c.raw); i++ {
			if (testing.Short() || underRace || wire.Invariants) && i%7 != len(c.raw)%7 {
				continue // the ordinary build makes all cuts
			}
			b.try(t, read, c, "cut at "+strconv.Itoa(i), c.raw[:i], c.raw[i:])
			if t.Failed() {
				return // the other cuts would say the same
			}
		}
		b.try(t, read, c, "byte by byte", strings.Split(c.raw, "")...)
	})
	read.finish()
}

// TestSmugglingPooled sends all of the table through one gateway that keeps its connections to the origin. A request
// that leaves something behind on one would show in the next.
func TestSmugglingPooled(t *testing.T) {
	table := hostileCases()
	origin := newRecorder(t)
	var want []string
	t.Run("serve", func(t *testing.T) {
		b := &bench{gw: Start(t, fmt.Sprintf(hostileYAML, origin.path, 8))}
		for _, c := range table {
			b.converse(t, c, c.raw)
			want = append(want, c.arrived...)
		}
	})
	var got []string
	connections := origin.flush(t)
	for _, rec := range connections {
		seen, _, err := readAll(rec)
		got = append(got, seen...)
		// A body that broke off ended its connection.
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the origin cannot read %q behind %q: %v", rec, seen, err)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("what arrived in all is not the sum of what arrives one by one: %d requests, want %d", len(got), len(want))
	}
	broken := 0
	for _, c := range table {
		if c.cut != "" {
			broken++
		}
	}
	if len(connections) > broken+20 {
		t.Errorf("%d connections were opened for %d bodies that broke off: connections are not used again", len(connections), broken)
	}
}

// each runs f on every case, on a few gateways at the same time, with the given number of idle connections to origins.
func each(t *testing.T, table []*hostileCase, idle int, f func(t *testing.T, b *bench, c *hostileCase)) {
	t.Helper()
	before := proxy.Panics.Load()
	benches := make(chan *bench, 3)
	for range cap(benches) {
		origin := newRecorder(t)
		gw := Start(t, fmt.Sprintf(hostileYAML, origin.path, idle))
		memory := newPipes()
		gw.Server.Listen("memory", memory, proxy.Listening{})
		benches <- &bench{gw, origin, memory}
	}
	t.Run("cases", func(t *testing.T) {
		for _, c := range table {
			t.Run(fmt.Sprintf("hostile_test.go:%d", c.line), func(t *testing.T) {
				t.Parallel()
				b := <-benches
				defer func() { benches <- b }()
				f(t, b, c)
			})
		}
	})
	if n := proxy.Panics.Load() - before; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// bench is a gateway with an origin that records. It takes one case at a time, so that what is recorded is its doing.
type bench struct {
	gw     *Gateway
	origin *recorder
	memory *pipes
}

// try sends the parts one after the other and checks everything that comes of it.
func (b *bench) try(t *testing.T, read *readers, c *hostileCase, how string, parts ...string) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s, %.2000q: %s", how, strings.Join(parts, ""), fmt.Sprintf(format, args...))
	}
	answered, err := b.converse(t, c, parts...)
	recordings := b.origin.flush(t)
	if err != nil {
		fail("%v", err)
	}
	if c.cut != "" {
		// The body turned bad: an error or nothing, but no success.
		if len(answered) == len(c.answers)+1 && answered[len(c.answers)] >= 400 {
			answered = answered[:len(c.answers)]
		}
	}
	if !slices.Equal(answered, c.answers) {
		fail("answered %v, want %v; arrived %q", answered, c.answers, recordings)
	}
	want := c.arrived
	if c.cut != "" {
		want = append(slices.Clip(want), c.cut)
	}
	// Something of a cut request may arrive or nothing at all.
	if len(recordings) != len(want) && !(c.cut != "" && len(recordings) == len(c.arrived)) {
		fail("arrived %q, want %q", recordings, want)
		return
	}
	for i, rec := range recordings {
		if err := one(rec, want[i], i == len(c.arrived)); err != nil {
			fail("arrived %q, want %q: %v", rec, want[i], err)
		}
		read.again(rec, want[i], i == len(c.arrived))
	}
	everything := bytes.Join(recordings[min(c.before, len(recordings)):], nil)
	for _, text := range c.has {
		if !bytes.Contains(everything, []byte(text)) {
			fail("arrived %q without %q", everything, text)
		}
	}
	for _, text := range c.not {
		if bytes.Contains(everything, []byte(text)) {
			fail("arrived %q with %q", everything, text)
		}
	}
}

// converse sends the parts and returns the status of every final answer until the gateway has closed. Two parts and
// more go over a connection in memory, which keeps them apart; one goes over the network.
func (b *bench) converse(t *testing.T, c *hostileCase, parts ...string) ([]int, error) {
	t.Helper()
	var conn halfCloser
	var err error
	if len(parts) == 1 {
		var nc net.Conn
		if nc, err = net.Dial("tcp", b.gw.Addr); err == nil {
			conn = nc.(*net.TCPConn)
		}
	} else {
		conn, err = b.memory.dial()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		for _, part := range parts {
			if _, err := io.WriteString(conn, part); err != nil {
				return // refused before it was sent to the end
			}
		}
		// Where the gateway has to close by itself nothing here helps it to.
		if !c.closes() {
			_ = conn.CloseWrite() // it may have been quicker
		}
	}()
	answers, err := io.ReadAll(conn)
	if err != nil && (c.refused() || c.cut == "") {
		return nil, fmt.Errorf("after %q: %w", answers, err)
	}
	var methods []string
	for _, a := range c.arrived {
		methods = append(methods, strings.Fields(a)[0])
	}
	return statuses(answers, methods, c.refused())
}

// statuses reads every answer to requests of the given methods. closed demands that the last one announces the end of
// the connection.
func statuses(b []byte, methods []string, closed bool) ([]int, error) {
	in := bufio.NewReader(bytes.NewReader(b))
	var got []int
	ended := false
	for {
		method := http.MethodGet
		if len(got) < len(methods) {
			method = methods[len(got)]
		}
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if errors.Is(err, io.ErrUnexpectedEOF) && in.Buffered() == 0 {
			break
		}
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
		}
		if err != nil {
			return got, fmt.Errorf("cannot read answer %d in %q: %w", len(got)+1, b, err)
		}
		if resp.StatusCode >= 200 {
			got, ended = append(got, resp.StatusCode), resp.Close
		}
	}
	if closed && !ended {
		return got, fmt.Errorf("the last answer does not say that the connection is closed: %q", b)
	}
	return got, nil
}

// one checks that a recording is one request and nothing else, "METHOD target host body", or the beginning of one that
// was cut off.
func one(rec []byte, want string, cut bool) error {
	if err := unambiguous(rec); err != nil {
		return err
	}
	seen, rest, err := readAll(rec)
	if !cut {
		if err != nil {
			return fmt.Errorf("net/http cannot read it: %w", err)
		}
		if len(seen) != 1 || seen[0] != want {
			return fmt.Errorf("net/http reads %q", seen)
		}
		return nil
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(seen) > 0 {
		return fmt.Errorf("net/http takes it for whole: %q, %v", seen, err)
	}
	head, body := split(want)
	gotHead, gotBody := split(rest)
	if gotHead != head || !strings.HasPrefix(body, gotBody) {
		return fmt.Errorf("net/http reads %q", rest)
	}
	return nil
}

// split returns "METHOD target host" and the body behind it.
func split(s string) (head, body string) {
	f := strings.SplitN(s, " ", 4)
	if len(f) == 4 {
		body = f[3]
	}
	return strings.Join(f[:min(3, len(f))], " "), body
}

// readAll reads requests with net/http, each as "METHOD target host body". rest is what could be read of the last one
// when it ends early.
func readAll(b []byte) (seen []string, rest string, err error) {
	in := bufio.NewReader(bytes.NewReader(b))
	for {
		if _, err := in.Peek(1); err == io.EOF {
			return seen, "", nil
		}
		req, err := http.ReadRequest(in)
		if err != nil {
			return seen, "", err
		}
		host := req.Host
		if host == "" {
			host = "-"
		}
		s := req.Method + " " + req.RequestURI + " " + host
		body, err := io.ReadAll(req.Body)
		if len(body) > 0 {
			s += " " + string(body)
		}
		if err != nil {
			return seen, s, err
		}
		seen = append(seen, s)
	}
}

// unambiguous checks the head of a request by the letter, without the leniency of any parser.
func unambiguous(rec []byte) error {
	end := bytes.Index(rec, []byte("\r\n\r\n"))
	if end < 0 {
		return errors.New("the head has no end")
	}
	lines := strings.Split(string(rec[:end]), "\r\n")
	if !requestLine.MatchString(lines[0]) {
		return fmt.Errorf("request line %q", lines[0])
	}
	count := map[string]int{}
	for _, line := range lines[1:] {
		if !fieldLine.MatchString(line) {
			return fmt.Errorf("field line %q", line)
		}
		name, _, _ := strings.Cut(line, ":")
		count[strings.ToLower(name)]++
	}
	if count["host"] != 1 || count["content-length"]+count["transfer-encoding"] > 1 {
		return fmt.Errorf("fields %v", count)
	}
	return nil
}

var (
	requestLine = regexp.MustCompile(`^[!#$%&'*+.^_` + "`" + `|~0-9A-Za-z-]+ (/[^\x00-\x20\x7f#\\]*|\*) HTTP/1\.1$`)
	fieldLine   = regexp.MustCompile(`^[!#$%&'*+.^_` + "`" + `|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*$`)
)

// readers collects what arrived, to have it read by nginx: once for each different recording, many on one connection.
type readers struct {
	t     *testing.T
	nginx *nginx

	mu    sync.Mutex
	known map[string]bool
	whole []read
}

type read struct {
	rec  []byte
	want string
}

func newReaders(t *testing.T) *readers {
	return &readers{t: t, nginx: startNginx(t), known: map[string]bool{}}
}

// requestID differs from request to request and means nothing to a reader.
var requestID = regexp.MustCompile(`(X-Request-Id: )[0-9a-f]{32}`)

// again has a recording read by nginx, now or later.
func (r *readers) again(rec []byte, want string, cut bool) {
	key := string(requestID.ReplaceAll(rec, []byte("$1-")))
	r.mu.Lock()
	known := r.known[key]
	r.known[key] = true
	if !known && !cut {
		r.whole = append(r.whole, read{rec, want})
	}
	r.mu.Unlock()
	if known || !cut {
		return
	}
	// What was cut off is no request to anybody.
	if got := r.nginx.read(rec); len(got) > 0 && got[0] != "400" {
		r.t.Errorf("nginx takes for whole what was cut off: %q: %q", rec, got)
	}
}

// nginxMethod is what nginx knows of methods: it refuses others, legal as they are.
var nginxMethod = regexp.MustCompile(`^[A-Z_-]+ `)

// finish has nginx read everything that is left: one after the other on one connection, where a wrong end of one would
// be a wrong beginning of the next.
func (r *readers) finish() {
	r.t.Helper()
	if len(r.whole) == 0 {
		r.t.Fatal("nothing was recorded")
	}
	var sent []byte
	var want []string
	check := func() {
		r.t.Helper()
		got := r.nginx.read(append(sent, sentinel...))
		if all := append(want, "GET /sentinel sentinel"); !slices.Equal(got, all) {
			for i := range min(len(got), len(all)) {
				if got[i] != all[i] {
					r.t.Errorf("nginx reads %q, want %q", got[i], all[i])
				}
			}
			r.t.Errorf("nginx reads %d requests, want %d", len(got), len(all))
		}
		sent, want = nil, nil
	}
	for _, w := range r.whole {
		head, body := split(w.want)
		if !nginxMethod.MatchString(head) {
			if got := r.nginx.read(append(slices.Clip(w.rec), sentinel...)); !slices.Equal(got, []string{"400"}) {
				r.t.Errorf("nginx reads %q as %q, want a refusal of the method", w.rec, got)
			}
			continue
		}
		if len(body) > 0 || bytes.Contains(w.rec, []byte("\r\nContent-Length: 0\r\n")) || bytes.Contains(w.rec, []byte("\r\nTransfer-Encoding: chunked\r\n")) {
			head += " " + strconv.Itoa(len(body))
		}
		sent = append(sent, w.rec...)
		want = append(want, head)
		if len(want) == 50 {
			check()
		}
	}
	check()
}
