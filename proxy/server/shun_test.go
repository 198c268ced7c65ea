package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
)

// flooded makes a connection of HTTP/2, floods until it ends, and reports whether it was made at all.
func (s *stage) flooded() bool {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, ServerName: "test.localhost", NextProtos: []string{"h2"}})
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	var all bytes.Buffer
	fr := http2.NewFramer(&all, nil)
	all.WriteString(http2.ClientPreface)
	_ = fr.WriteSettings() // into memory
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
	for range 100 {
		_ = fr.WriteContinuation(1, false, nil)
	}
	if _, err = c.Write(all.Bytes()); err == nil {
		_, err = io.Copy(io.Discard, c)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Fatal("the connection does not end")
	}
	return true
}

// dials3 reports whether a connection of HTTP/3 can be made.
func (s *stage) dials3() bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.Addr, tls3(), &quic.Config{})
	if refused, ok := errors.AsType[*quic.TransportError](err); ok && refused.ErrorCode == quic.ConnectionRefused {
		return false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	_ = conn.CloseWithError(h3NoError, "")
	return true
}

// TestShunned: who floods over connection after connection gets no more of them, of whatever kind, for a while. Those that its address has
// go on.
func TestShunned(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := newStage(t, all3)
	other := s.h3()
	end, floods := time.Now().Add(3*patience), 0
	for s.flooded() || s.dials3() { // quickly: one flood is forgiven each second
		floods++
		if time.Now().After(end) {
			t.Fatalf("after %d floods the client still gets connections", floods)
		}
	}
	if n := s.Server.Counts(); floods <= 10 || n.Shunned == 0 || n.Refused != 0 || n.Calmed < uint64(floods) {
		t.Errorf("after %d floods: %+v", floods, n)
	}
	end = time.Now()
	st := other.request("GET", "/", true)
	s.expect(s.began, "/")
	st.want("200", "hello")
	for !s.dials3() { // which takes seconds
		if time.Now().After(end.Add(2 * patience)) {
			t.Fatal("the client is not forgiven")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestShunned_trusted: a balancer floods because somebody behind it does, and brings everybody else as well.
func TestShunned_trusted(t *testing.T) {
	s := newStage(t, strings.Replace(all3, "tls:", "trust: [127.0.0.0/8], tls:", 1))
	for range 20 {
		if !s.flooded() {
			t.Fatal("a balancer was shunned")
		}
	}
	if n := s.Server.Counts(); n.Calmed != 20 || n.Shunned != 0 {
		t.Errorf("got %+v", n)
	}
}
