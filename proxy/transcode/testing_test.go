package transcode

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/proxy"
)

// call is an exchange as an edge would hand it to the route of a service.
func call(contentType, body string, fields ...string) *proxy.Exchange {
	x := proxy.Acquire()
	x.Request.Method = "POST"
	x.Request.Head.AddString("Content-Type", contentType)
	for i := 0; i < len(fields); i += 2 {
		x.Request.Head.AddString(fields[i], fields[i+1])
	}
	x.Request.Body.SetWhole([]byte(body))
	return x
}

// service is what answers behind the translation.
type service func(x *proxy.Exchange) error

func (s service) Serve(x *proxy.Exchange, _ *proxy.Chain) error { return s(x) }

func serve(g GRPCWeb, x *proxy.Exchange, s service) error {
	err := proxy.NewChain(proxy.Link{Name: "grpc_web", Policy: g}, proxy.Link{Name: "service", Policy: s}).Serve(x)
	x.EditHead()
	return err
}

// pieces is a flow that comes in pieces, each of which has to be waited for, or none; after the last one the trailers are there, or an
// error.
type pieces struct {
	x        *proxy.Exchange
	left     [][]byte
	trailers []string
	err      error
	whole    bool // the next piece can be had without waiting
	closed   bool
	stopped  bool
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		for i := 0; i < len(p.trailers); i += 2 {
			p.x.Response.Trailers.AddString(p.trailers[i], p.trailers[i+1])
		}
		p.trailers = nil
		if p.err != nil {
			return 0, p.err
		}
		return 0, io.EOF
	}
	n := copy(b, p.left[0])
	if p.left[0] = p.left[0][n:]; len(p.left[0]) == 0 {
		p.left = p.left[1:]
	}
	return n, nil
}

func (p *pieces) Buffered() int {
	if p.whole && len(p.left) > 0 {
		return len(p.left[0])
	}
	return 0
}

func (p *pieces) Interrupt() { p.stopped = true }

func (p *pieces) Close() error {
	p.closed = true
	return nil
}

// message is a message of gRPC.
func message(text string) string { return frame(0, text) }

func frame(flags byte, text string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(text)))) + text
}

// answers is a service that answers with these pieces and trailers.
func answers(body []string, trailers ...string) service {
	return func(x *proxy.Exchange) error {
		x.Response.Status = 200
		x.Response.Head.AddString("content-type", "application/grpc")
		p := &pieces{x: x, trailers: trailers}
		for _, b := range body {
			p.left = append(p.left, []byte(b))
		}
		x.Response.Body.SetFlow(nil, p, -1)
		return nil
	}
}

// read takes a body as an edge does: "|" stands where there was nothing more without waiting.
func read(b *proxy.Body, size int) (string, error) {
	var out strings.Builder
	buf := make([]byte, size)
	for {
		n, err := b.Read(buf)
		out.Write(buf[:n])
		if err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return out.String(), err
		}
		if n > 0 && b.Buffered() == 0 {
			out.WriteString("|")
		}
	}
}

// untext decodes base64 with padding anywhere, in another way than the gateway.
func untext(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	for ; len(text) >= 4; text = text[4:] {
		group, err := base64.StdEncoding.Strict().DecodeString(text[:4])
		if err != nil {
			t.Fatalf("%q: %v", text[:4], err)
		}
		out.Write(group)
	}
	if text != "" {
		t.Fatalf("%q is left over", text)
	}
	return out.String()
}

func code(err error) string {
	var e *proxy.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func fields(x *proxy.Exchange) string {
	return strings.ReplaceAll(strings.TrimSuffix(string(x.Response.Head.AppendTo(nil)), "\r\n"), "\r\n", "; ")
}
