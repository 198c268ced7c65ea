package proxy

import (
	"io"
	"strings"
	"testing"

	"sluice/proxy/wire"
)

// edgeOf counts what comes for the client.
type edgeOf struct{ interims int }

func (e *edgeOf) Interim(*Exchange, int, *wire.Head) error { e.interims++; return nil }

type finishes struct{ n *int }

func (f finishes) Finish(*Exchange) { *f.n++ }

type edits struct{ name string }

func (e edits) EditHead(x *Exchange) { x.Response.Head.AddString(e.name, "yes") }

// trailed is a body whose end brings a trailer.
type trailed struct {
	io.Reader
	of     *Exchange
	closed *bool
}

func (f trailed) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		f.of.Response.Trailers.AddString("X-Sum", "1")
	}
	return n, err
}
func (f trailed) Buffered() int { return 0 }
func (f trailed) Close() error  { *f.closed = true; return nil }

func request() (*Exchange, *edgeOf) {
	x := Acquire()
	e := new(edgeOf)
	x.Edge = e
	r := &x.Request
	r.Method, r.Scheme, r.Host, r.Path, r.Query, r.HasQuery = "GET", "https", []byte("a:80"), []byte("/b"), []byte("c=1"), true
	x.Lookup.Host = []byte("a")
	r.Head.AddString("Accept", "text/html")
	r.Head.AddString("X-Gone", "1")
	r.Head.Del("X-Gone")
	x.Received = Received{Method: []byte("GET"), Target: []byte("http://a/b?c=1"), Origin: []byte("/b?c=1"), Minor: 1, Proto: "HTTP/1.1"}
	x.ID, x.MatchedPath, x.Client.Text = []byte("id"), []byte("/b"), []byte("192.0.2.1")
	x.Identity = NewIdentity("test", "", "me", nil)
	return x, e
}

// TestForkOutlives: a fork keeps what it was made with when the exchange is long gone, and its memory is another's.
func TestForkOutlives(t *testing.T) {
	x, e := request()
	c := x.Fork()
	if err := c.Edge.Interim(c, 103, &c.Response.Head); err != nil || e.interims != 1 {
		t.Error("informational responses are not the client's:", err)
	}
	c.Leave()
	who := x.Identity
	for _, b := range [][]byte{x.Request.Host, x.Lookup.Host, x.Request.Path, x.Request.Query, x.Received.Target, x.Received.Origin, x.ID, x.MatchedPath, x.Client.Text} {
		for i := range b {
			b[i] = '#'
		}
	}
	x.Finish()
	x.Release()
	if err := c.Edge.Interim(c, 103, &c.Response.Head); err != nil || e.interims != 1 {
		t.Error("a fork that is on its own still speaks to the client:", err)
	}
	r := &c.Request
	got := strings.Join([]string{r.Method, r.Scheme, string(r.Host), string(c.Lookup.Host), string(r.Path), string(r.Query), string(c.Received.Method), string(c.Received.Target), string(c.Received.Origin),
		string(c.ID), string(c.MatchedPath), string(c.Client.Text), string(r.Head.AppendTo(nil))}, " ")
	if want := "GET https a:80 a /b c=1 GET http://a/b?c=1 /b?c=1 id /b 192.0.2.1 Accept: text/html\r\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !r.HasQuery || r.Body.Size() != 0 || c.Identity != who || c.Lookup.Values != c {
		t.Errorf("%v %v %v", r.HasQuery, r.Body.Size(), c.Identity)
	}
	c.End()
}

// TestAdopt: the response is the parent's, with its trailers and its editors; the fork ends with the parent, once.
func TestAdopt(t *testing.T) {
	x, _ := request()
	c := x.Fork()
	finished, closed := 0, false
	c.OnFinish(finishes{&finished})
	c.OnHead(edits{"X-Edited"})
	c.Service, c.Endpoint, c.Attempts, c.Asked = "s", "e", 2, true
	c.Response.Status, c.Response.Via = 200, "1.1 sluice"
	c.Response.Head.AddString("X-From", "origin")
	c.Response.Body.SetFlow(nil, trailed{strings.NewReader("hello"), c, &closed}, -1)
	x.Adopt(c)
	x.EditHead()
	if got := string(x.Response.Head.AppendTo(nil)); got != "X-From: origin\r\nX-Edited: yes\r\n" {
		t.Errorf("the head is %q", got)
	}
	body, err := io.ReadAll(&x.Response.Body)
	if err != nil || string(body) != "hello" || string(x.Response.Trailers.Get("X-Sum")) != "1" {
		t.Errorf("%q, %v, %q", body, err, x.Response.Trailers.AppendTo(nil))
	}
	if x.Service != "s" || x.Endpoint != "e" || x.Attempts != 2 || !x.Asked || x.Response.Status != 200 || x.Response.Via != "1.1 sluice" {
		t.Errorf("%+v", x.Response)
	}
	x.Cancel(ErrClientGone)
	if c.Canceled() != ErrClientGone {
		t.Error("the fork is not canceled with its parent")
	}
	x.Response.Body.Close()
	x.Finish()
	if finished != 1 || !closed {
		t.Errorf("finished %d times, closed: %v", finished, closed)
	}
	x.Release()

	// Whoever was canceled before adopts a canceled one.
	x, _ = request()
	c = x.Fork()
	x.Cancel(ErrDraining)
	if c.Canceled() != nil {
		t.Error("a fork that nobody has adopted is canceled with its parent")
	}
	x.Adopt(c)
	if c.Canceled() != ErrDraining {
		t.Error("a fork that was adopted late is not canceled")
	}
	x.Finish()
	x.Release()
}
