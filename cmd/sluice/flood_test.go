//go:build !race && !invariants

package main

import (
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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestFlood attacks a gateway in every way that is known to have hurt a server of TLS, HTTP/2 or HTTP/3. Each time the memory of the
// process stays below what is stated here, and all requests of other clients are answered, hardly later than without the attack. What it
// logs is what README quotes.
func TestFlood(t *testing.T) {
	flood(t, &size{
		part: 10, phase: time.Second / 4, rounds: 1, factor: 5, floor: time.Second / 2,
		handshakes: 200, patience: 3 * time.Second,
	})
}

// TestSoakFlood is TestFlood with ten times as many attackers: 10,000 handshakes that do not end, for one.
func TestSoakFlood(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes minutes, and 20,000 open files: set SLUICE_SOAK=1")
	}
	flood(t, &size{part: 1, phase: time.Second, rounds: 5, factor: 3, floor: 30 * time.Millisecond})
}

// attack is one way to hurt a gateway.
type attack struct {
	name string
	// hold opens this many connections, or streams, that cost memory for as long as they are open; eachMax is how much.
	hold    int
	eachMax int // bytes
	open    func(f *attacked, i int) error
	// storm is what attackers do again and again, until the gateway ends their connection. taken: it was one.
	storm func(f *attacked, i int, from net.IP) (taken bool, err error)
	// gone: the gateway has to close all that is held, in time.
	gone bool
	// streams is how many requests each of the held connections has under way.
	streams int
	soak    bool // only then
}

const (
	kib = 1 << 10
	// looksMax is how often an attack has to do harm before it is blamed: with 50 answers the 99th percentile is the slowest of them, and a
	// machine that stands still for a moment while the attack lasts makes one slow. What an attack does, it does every time.
	looksMax = 3
	// stormers are those that attack with storm.
	stormers = 4
	// floodBase is how much the process may grow besides what is held: a heap that is collected when it has doubled, and stacks.
	floodBase = 48 << 20
)

// size is how large the attacks are, and what they may do to others.
type size struct {
	part   int           // one part of so many in the number of attackers
	phase  time.Duration // others are looked at for at least so long at a time
	rounds int           // as often, with an attack and without, in turn if it is a storm
	// Limits of the gateway, 0 are its own. patience, for a handshake and for a head, is for attacks that last as long as it does: where others
	// wait for longer on a busy machine, they are cut, too.
	handshakes int
	patience   time.Duration
	// factor and floor bound what an attack does to others: so many times what they wait for without it, and so much more. A request
	// makes some three goroutines of the gateway wait for their turn, and what runs before them gives way after Go's ten milliseconds.
	// Where other tests run at the same time that says little, and both are far larger.
	factor time.Duration
	floor  time.Duration
}

// flood runs each attack against a gateway of its own.
func flood(t *testing.T, size *size) {
	for _, a := range attacks() {
		if !a.soak || size.part == 1 {
			t.Run(strings.ReplaceAll(a.name, " ", "_"), func(t *testing.T) { a.run(t, size) })
		}
	}
}

func attacks() []attack {
	return []attack{
		{name: "handshakes that do not begin", hold: 10_000, eachMax: 24 * kib, open: openSilent, gone: true, soak: true},
		{name: "half-open handshakes", hold: 10_000, eachMax: 16 * kib, open: openHalf, gone: true},
		{name: "handshakes that do not end", hold: 10_000, eachMax: 16 * kib, open: openUnfinished, gone: true},
		{name: "heads that do not end", hold: 2_000, eachMax: 192 * kib, open: openHead, gone: true},
		{name: "CONTINUATION", storm: stormContinuation},
		{name: "rapid reset", storm: stormReset},
		{name: "SETTINGS and PING", storm: stormTalk},
		{name: "streams without a window", hold: 4_000, streams: 100, eachMax: 96 * kib, open: openWindowless("/big")},
		{name: "streams without a window, origin of HTTP/2", hold: 4_000, streams: 100, eachMax: 192 * kib, open: openWindowless("/h2/big")},
		{name: "slow readers over TLS", hold: 1_000, eachMax: 384 * kib, open: openReader},
		{name: "Initials of QUIC", hold: 10_000, eachMax: 48 * kib, open: openInitial, gone: true},
		{name: "heads of HTTP/3 that do not end", hold: 2_000, streams: 100, eachMax: 192 * kib, open: openHead3, gone: true},
		{name: "HTTP/3 resets", storm: stormReset3},
		{name: "streams of HTTP/3 without a window", hold: 4_000, streams: 100, eachMax: 192 * kib, open: openWindowless3},
	}
}

func attackNamed(name string) *attack {
	for _, a := range attacks() {
		if a.name == name {
			return &a
		}
	}
	return nil
}

// attacked is a gateway under attack.
type attacked struct {
	t       *testing.T
	process *process
	web     string // HTTP/1.1 and HTTP/2
	secure  string // the same over TLS, and HTTP/3
	admin   string

	waiting atomic.Int64 // streams of HTTP/3 that wait for an end

	mu   sync.Mutex
	held []io.Closer
}

// limits is what a gateway under the attack is told.
func (s *size) limits(a *attack) string {
	var limits []string
	if s.handshakes > 0 {
		limits = append(limits, fmt.Sprintf("handshakes: %d", s.handshakes))
	}
	if s.patience > 0 && a.gone {
		limits = append(limits, fmt.Sprintf("handshake_timeout: %v, header_timeout: %[1]v", s.patience))
	}
	if limits == nil {
		return ""
	}
	return "limits: { " + strings.Join(limits, ", ") + " }\n"
}

func startAttacked(t *testing.T, limits string) *attacked {
	big := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/big") {
			_, _ = w.Write(big) // those who attack do not read it
			return
		}
		_, _ = io.WriteString(w, "from the origin") // the honest clients notice
	})
	origin := http.Server{Handler: handler, Protocols: new(http.Protocols)}
	origin.Protocols.SetHTTP1(true)
	origin.Protocols.SetUnencryptedHTTP2(true)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = origin.Serve(nl) }() // returns when it is closed
	t.Cleanup(func() { _ = origin.Close() })
	config := writeFile(t, t.TempDir()+"/sluice.yaml", `version: 1
admin: { address: "127.0.0.1:0" }
listen:
  web: { address: "127.0.0.1:0", http: [h1, h2] }
  secure: { address: "127.0.0.1:0", http: [h1, h2, h3], tls: edge }
tls: { edge: { certificates: self-signed } }
log: { access: off }
`+limits+`
services:
  one: { to: "http://`+nl.Addr().String()+`", pool: { connections: off } }
  two: { to: "h2c://`+nl.Addr().String()+`" }
routes:
  h2: { match: "/h2/**", to: two }
  all: { match: "/**", to: one }
`)
	p := launch(t, "run", "-c", config)
	f := &attacked{t: t, process: p, web: p.address("web"), secure: p.address("secure"), admin: "http://" + p.address("admin")}
	t.Cleanup(f.release)
	return f
}

func (f *attacked) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.held {
		_ = c.Close()
	}
	f.held = nil
}

func (f *attacked) memory() int { return residentMemory(f.t, f.process.cmd.Process.Pid) }

// metric is the sum of a metric's values.
func (f *attacked) metric(name string) (n float64) {
	f.t.Helper()
	status, metrics := get(f.admin + "/metrics")
	if status != 200 {
		f.t.Fatalf("/metrics answers %d", status)
	}
	for line := range strings.Lines(metrics) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != name && !strings.HasPrefix(fields[0], name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			f.t.Fatal(err)
		}
		n += v
	}
	return n
}

func (a *attack) run(t *testing.T, size *size) {
	if a.storm != nil {
		a.runStorm(t, size)
		return
	}
	f := startAttacked(t, size.limits(a))
	h := newHonest(f)
	defer h.stop()
	h.phase(size.phase) // everything is warm by then
	held := 0
	for look := 1; ; look++ {
		before := h.phases(size)
		stop := f.watchMemory()
		held = a.openAll(f, size.part)
		during := h.phases(size)
		memory, peak := stop()
		t.Logf("%d: %d KiB of memory for each", held, (peak-memory)/held/kib)
		f.checkMemory(memory, peak, held*a.eachMax)
		if size.compare(t, before, during, look == looksMax) || look == looksMax {
			break
		}
		f.release()
		f.awaitGone(0)
	}
	if a.gone {
		rest := 0
		if a.streams > 0 {
			rest = held / a.streams // without them a connection is one that is idle
		}
		f.awaitGone(rest)
	}
	f.checkPanics()
}

// watchMemory watches the memory of the gateway, until stop returns what it was and what it was at most.
func (f *attacked) watchMemory() (stop func() (memory, peak int)) {
	memory := f.memory()
	peak := memory
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				now, err := residentMemoryOf(f.process.cmd.Process.Pid)
				if err != nil {
					return // a test that has failed ends the gateway, and does not stop us
				}
				peak = max(peak, now)
			}
		}
	}()
	return func() (int, int) {
		close(done)
		<-watched
		return memory, peak
	}
}

func (f *attacked) checkMemory(memory, peak, held int) {
	f.t.Helper()
	f.t.Logf("memory grew from %.1f MiB to %.1f MiB", float64(memory)/(1<<20), float64(peak)/(1<<20))
	if most := floodBase + held; peak-memory > most {
		f.t.Errorf("memory grew by %d MiB, and may grow by %d", (peak-memory)>>20, most>>20)
	}
}

// awaitGone waits until nothing is there any more of what was held, but for the rest of the connections.
func (f *attacked) awaitGone(rest int) {
	f.t.Helper()
	honest := float64(20 + rest) // connections of clients who are welcome, and handshakes
	for end := time.Now().Add(3 * patience); ; time.Sleep(100 * time.Millisecond) {
		open, shaking, waiting := f.metric("sluice_connections_open"), f.metric("sluice_tls_handshakes_in_flight"), f.waiting.Load()
		if waiting == 0 && shaking < honest && open < honest {
			return
		}
		if time.Now().After(end) {
			f.t.Errorf("%v connections, %v handshakes and %d streams are still open", open, shaking, waiting)
			return
		}
	}
}

func (f *attacked) checkPanics() {
	f.t.Helper()
	if f.metric("sluice_panics_total") > 0 {
		f.t.Error("there was a panic")
	}
}

// openAll opens what the attack holds, and returns how much that is.
func (a *attack) openAll(f *attacked, part int) int {
	streams := max(a.streams, 1)
	connections := a.hold / part / streams
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		f.t.Fatal(err)
	}
	files := 1 // of this process, for each connection
	if a.streams > 0 {
		files += streams // which the origin has, if it speaks HTTP/1.1
	}
	if most := (int(limit.Cur) - 500) / files; connections > most {
		f.t.Logf("the limit of open files allows %d connections only", most)
		connections = most
	}
	const workers = 32
	var done sync.WaitGroup
	for w := range workers {
		done.Go(func() {
			for i := w; i < connections; i += workers {
				if err := a.open(f, i); err != nil {
					f.t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	done.Wait()
	return connections * streams
}

// holder is one of many addresses, for no address may have more than limits.per_client.
func holder(i int) net.IP { return net.IPv4(127, 0, 1, byte(1+i%20)) }

// dial opens a connection from one of many addresses.
func (f *attacked) dial(i int, address string) (net.Conn, error) { return dialFrom(holder(i), address) }

func dialFrom(from net.IP, address string) (net.Conn, error) {
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: patience}).Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(2 * time.Minute))
}

// hold keeps a connection until the attack is over.
func (f *attacked) hold(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = append(f.held, c)
}

// openSilent connects, and says nothing.
func openSilent(f *attacked, i int) error {
	c, err := f.dial(i, f.secure)
	if err != nil {
		return err
	}
	f.hold(c)
	return nil
}

// openHalf sends the beginning of a ClientHello that says it is as long as one can be.
func openHalf(f *attacked, i int) error {
	c, err := f.dial(i, f.secure)
	if err != nil {
		return err
	}
	f.hold(c)
	_, err = c.Write(append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3}, make([]byte, 200)...))
	return err
}

// openUnfinished sends a whole ClientHello, and nothing more. Of such handshakes limits.handshakes bounds how many there are.
func openUnfinished(f *attacked, i int) error {
	c, err := f.dial(i, f.secure)
	if err != nil {
		return err
	}
	f.hold(c)
	_, err = c.Write(realHello())
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		err = nil // it is one of those for which there is no place
	}
	return err
}

// realHello is what crypto/tls's client says first.
var realHello = sync.OnceValue(func() []byte {
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		_ = tls.Client(there, &tls.Config{ServerName: "localhost"}).Handshake() // it gets no answer
	}()
	b := make([]byte, 16*kib)
	n, _ := here.Read(b) // nothing can go wrong with a pipe
	return b[:n]
})

// frame writes frames into memory, after a client's preface.
func frames(write func(fr *http2.Framer) error) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	err := write(http2.NewFramer(&out, nil))
	return out.Bytes(), err
}

// block is a head: GET of path.
func block(path string, more ...string) []byte {
	var out bytes.Buffer
	e := hpack.NewEncoder(&out)
	fields := append([]string{":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", path}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: i >= 8}) // into memory
	}
	return out.Bytes()
}

// say sends frames on a new connection.
func (f *attacked) say(i int, write func(fr *http2.Framer) error) (net.Conn, error) {
	said, err := frames(write)
	if err != nil {
		return nil, err
	}
	c, err := f.dial(i, f.web)
	if err != nil {
		return nil, err
	}
	f.hold(c)
	_, err = c.Write(said)
	return c, err
}

// openHead sends almost as large a head as is allowed, in almost as many frames, and not its end.
func openHead(f *attacked, i int) error {
	_, err := f.say(i, func(fr *http2.Framer) error {
		head := block("/", "x-1", strings.Repeat("~", 10_000), "x-2", strings.Repeat("~", 10_000), "x-3", strings.Repeat("~", 10_000))
		err := errors.Join(fr.WriteSettings(), fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head[:100]}))
		const parts = 60
		head = head[100:]
		for p := range parts {
			err = errors.Join(err, fr.WriteContinuation(1, false, head[p*len(head)/parts:(p+1)*len(head)/parts]))
		}
		return err
	})
	return err
}

// openWindowless asks for many large answers and lets none of them be sent.
func openWindowless(path string) func(f *attacked, i int) error {
	return func(f *attacked, i int) error {
		c, err := f.say(i, func(fr *http2.Framer) error {
			err := fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			for id := range uint32(100) {
				err = errors.Join(err, fr.WriteHeaders(http2.HeadersFrameParam{
					StreamID: 2*id + 1, BlockFragment: block(path), EndStream: true, EndHeaders: true,
				}))
			}
			return err
		})
		if err != nil {
			return err
		}
		fr := http2.NewFramer(io.Discard, c)
		for answers := 0; answers < 100; {
			switch frame, err := fr.ReadFrame(); frame := frame.(type) {
			case nil:
				return fmt.Errorf("after %d answers: %w", answers, err)
			case *http2.HeadersFrame:
				answers++
			case *http2.RSTStreamFrame:
				return fmt.Errorf("the stream %d was reset: %v", frame.StreamID, frame.ErrCode)
			case *http2.DataFrame:
				return fmt.Errorf("%d bytes came through a window of none", len(frame.Data()))
			}
		}
		return nil
	}
}

// openReader asks for a large answer and reads nothing but its beginning.
func openReader(f *attacked, i int) error {
	c, err := f.dial(i, f.secure)
	if err != nil {
		return err
	}
	f.hold(c)
	if err := c.(*net.TCPConn).SetReadBuffer(4 * kib); err != nil {
		return err
	}
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if _, err := io.WriteString(tc, "GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.ReadFull(tc, make([]byte, 100))
	return err
}

// drain sends frames and reads until the gateway ends the connection. taken: it has said something before.
func (f *attacked) drain(from net.IP, write func(fr *http2.Framer) error) (taken bool, err error) {
	said, err := frames(write)
	if err != nil {
		return false, err
	}
	c, err := dialFrom(from, f.web)
	if err != nil {
		return false, nil // the gateway has reset it, or is too busy with others: that may be
	}
	defer c.Close()
	go func() { _, _ = c.Write(said) }() // as much of it as is taken
	n, err := io.Copy(io.Discard, c)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n > 0, err
}

// stormReset opens streams and resets them at once (CVE-2023-44487).
func stormReset(f *attacked, _ int, from net.IP) (taken bool, err error) {
	return f.drain(from, func(fr *http2.Framer) error {
		err := fr.WriteSettings()
		for id := uint32(1); id < 4000; id += 2 {
			err = errors.Join(err,
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block("/"), EndStream: true, EndHeaders: true}),
				fr.WriteRSTStream(id, http2.ErrCodeCancel))
		}
		return err
	})
}

// stormContinuation sends a head that has no end (CVE-2024-27316).
func stormContinuation(f *attacked, _ int, from net.IP) (taken bool, err error) {
	return f.drain(from, func(fr *http2.Framer) error {
		err := errors.Join(fr.WriteSettings(), fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block("/")}))
		for range 200 {
			err = errors.Join(err, fr.WriteContinuation(1, false, bytes.Repeat([]byte{0x82}, 4*kib)))
		}
		return err
	})
}

// stormTalk asks for answers (CVE-2019-9512) and sends settings that have to be acknowledged (CVE-2019-9515), in turn.
func stormTalk(f *attacked, i int, from net.IP) (taken bool, err error) {
	return f.drain(from, func(fr *http2.Framer) error {
		err := fr.WriteSettings()
		for n := range uint32(3000) {
			if i%2 == 0 {
				err = errors.Join(err, fr.WritePing(false, [8]byte{}))
			} else {
				err = errors.Join(err, fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}))
			}
		}
		return err
	})
}
