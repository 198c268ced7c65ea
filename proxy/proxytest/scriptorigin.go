package proxytest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scriptOrigin is the fake origin of a script: it writes down what it receives and answers what it was told to.
type scriptOrigin struct {
	t       testing.TB
	address string
	turn    atomic.Int32 // of the script

	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	answers []answer
	seen    []*seen
}

// answer is an answer of an origin.
type answer struct {
	bytes        []byte
	early, close bool
}

func (a *answer) interim() bool { return strings.HasPrefix(string(a.bytes), "HTTP/1.1 1") }

// seen is a request as the origin received it.
type seen struct {
	turn int
	text transcript
}

func newScriptOrigin(t testing.TB) *scriptOrigin {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	o := &scriptOrigin{t: t, listener: l, address: l.Addr().String()}
	o.running.Add(1)
	go o.accept()
	return o
}

func (o *scriptOrigin) accept() {
	defer o.running.Done()
	for {
		c, err := o.listener.Accept()
		if err != nil {
			return
		}
		if c.RemoteAddr().(*net.TCPAddr).IP.Equal(lastCaller) {
			c.Close()
			return
		}
		o.running.Add(1)
		go func() {
			defer o.running.Done()
			defer c.Close()
			// A connection that hangs is a failure that the script shows.
			_ = c.SetDeadline(time.Now().Add(scriptPatience))
			o.serve(c.(*net.TCPConn))
		}()
	}
}

// lastCaller is where the connection comes from after which none comes. The gateway calls from 127.0.0.1.
var lastCaller = net.IPv4(127, 0, 0, 2)

// stop waits until everything that was sent to the origin is written down. Connections are accepted in their order: when
// one that comes now is, all that came before are.
func (o *scriptOrigin) stop() {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: lastCaller}, Timeout: scriptPatience}
	c, err := d.Dial("tcp", o.address)
	if err != nil {
		o.t.Fatal(err)
	}
	defer c.Close()
	o.running.Wait()
}

func (o *scriptOrigin) serve(c *net.TCPConn) {
	r := bufio.NewReader(c)
	for {
		if _, err := r.Peek(1); err != nil {
			return
		}
		m := &seen{turn: int(o.turn.Load())}
		o.mu.Lock()
		o.seen = append(o.seen, m)
		o.mu.Unlock()
		if !o.exchange(c, r, &m.text) {
			return
		}
	}
}

// exchange reads a request and answers it. It reports whether another may follow.
func (o *scriptOrigin) exchange(c *net.TCPConn, r *bufio.Reader, in *transcript) bool {
	head, err := in.head(r)
	if err != nil {
		in.broken(err, false)
		return false
	}
	answered := false
	for !answered {
		a, ok := o.next(true)
		if !ok {
			break
		}
		answered = !a.interim()
		if !o.send(c, a) {
			return false
		}
	}
	if err := in.body(r, head, false); err != nil {
		in.broken(err, false)
		return false
	}
	if answered {
		return true
	}
	a, ok := o.next(false)
	if !ok {
		b, _ := io.ReadAll(r) // how the gateway gives up makes no difference; that it sends nothing more does
		in.data(b, len(b) > 0)
		return false
	}
	if !o.send(c, a) {
		return false
	}
	if strings.HasPrefix(string(a.bytes), "HTTP/1.1 101") {
		in.rest(r)
		if a, ok := o.next(false); ok {
			o.send(c, a)
		}
		return false
	}
	return true
}

// next takes the next answer, or, with early, takes it if it is one that does not wait for the body.
func (o *scriptOrigin) next(early bool) (answer, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.answers) == 0 || early && !o.answers[0].early {
		return answer{}, false
	}
	a := o.answers[0]
	o.answers = o.answers[1:]
	return a, true
}

// send reports whether the connection goes on.
func (o *scriptOrigin) send(c *net.TCPConn, a answer) bool {
	_, err := c.Write(a.bytes)
	return err == nil && !a.close
}
