package proxytest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
)

// webClient calls as a browser does, in gRPC-Web.
type webClient struct {
	http *http.Client
	base string
	text bool
}

const testService = "/grpc.testing.TestService/"

// eachWebClient runs f with clients of both versions of HTTP and both forms of gRPC-Web, each with a gateway of its own.
func eachWebClient(t *testing.T, yaml string, f func(t *testing.T, s *grpcStage, c *webClient)) {
	h1 := func() http.RoundTripper {
		return &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			// A client of HTTP/1.1 that only stops sending still gets its answer: one that goes away resets.
			return c, c.(*net.TCPConn).SetLinger(0)
		}}
	}
	h2 := func() http.RoundTripper {
		return &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}}
	}
	for _, text := range []bool{false, true} {
		for name, transport := range map[string]func() http.RoundTripper{"h1": h1, "h2": h2} {
			t.Run(fmt.Sprintf("%s-text-%v", name, text), func(t *testing.T) {
				t.Parallel()
				s := newGRPCStage(t, yaml)
				c := &webClient{http: &http.Client{Transport: transport()}, base: "http://" + s.gateway.Addr, text: text}
				t.Cleanup(c.http.CloseIdleConnections)
				f(t, s, c)
			})
		}
	}
}

// webCall is a call under way.
type webCall struct {
	head     http.Header
	messages *bufio.Reader
	body     io.Closer
}

// call begins a call with these messages.
func (c *webClient) call(ctx context.Context, method string, fields map[string]string, messages ...proto.Message) (*webCall, error) {
	var body []byte
	for _, m := range messages {
		b, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		b = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
		if c.text {
			b = base64.StdEncoding.AppendEncode(nil, b) // each with an end of its own
		}
		body = append(body, b...)
	}
	r, err := http.NewRequestWithContext(ctx, "POST", c.base+testService+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	contentType := "application/grpc-web+proto"
	if c.text {
		contentType = "application/grpc-web-text"
		r.Header.Set("Accept", "application/grpc-web-text")
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Grpc-Web", "1")
	for name, value := range fields {
		r.Header.Set(name, value)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(got, strings.TrimSuffix(contentType, "+proto")) {
		resp.Body.Close()
		return nil, fmt.Errorf("the answer is %d of %q", resp.StatusCode, got)
	}
	from := io.Reader(resp.Body)
	if c.text {
		from = &untexted{r: from}
	}
	return &webCall{head: resp.Header, messages: bufio.NewReader(from), body: resp.Body}, nil
}

// untexted decodes base64 with padding anywhere, as it comes.
type untexted struct {
	r    io.Reader
	text []byte
	out  []byte
}

func (u *untexted) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		buf := make([]byte, 1000)
		n, err := u.r.Read(buf)
		u.text = append(u.text, buf[:n]...)
		for len(u.text) >= 4 {
			group, err := base64.StdEncoding.Strict().DecodeString(string(u.text[:4]))
			if err != nil {
				return 0, err
			}
			u.out, u.text = append(u.out, group...), u.text[4:]
		}
		if len(u.out) > 0 {
			break
		}
		if err == io.EOF && len(u.text) > 0 {
			err = errors.New("the text ends in the middle of four characters")
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

// next returns the next message, or at the end of the call its trailers. io.EOF: it has ended without any.
func (c *webCall) next() (message []byte, trailers map[string]string, err error) {
	var head [5]byte
	if _, err := io.ReadFull(c.messages, head[:]); err != nil {
		return nil, nil, err
	}
	message = make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(c.messages, message); err != nil {
		return nil, nil, fmt.Errorf("in a message: %w", err)
	}
	if head[0] != 0x80 {
		return message, nil, nil
	}
	trailers = make(map[string]string)
	for line := range strings.SplitSeq(strings.TrimSuffix(string(message), "\r\n"), "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok || strings.ToLower(name) != name {
			return nil, nil, fmt.Errorf("a trailer is %q", line)
		}
		trailers[name] = value
	}
	if _, err := c.messages.ReadByte(); err != io.EOF {
		return nil, nil, fmt.Errorf("after the trailers comes more (%v)", err)
	}
	return nil, trailers, nil
}

// end reads a call to its end and returns how many messages there were, and what was told at the end, or instead.
func (c *webCall) end() (messages int, told map[string]string, err error) {
	defer c.body.Close()
	for {
		message, trailers, err := c.next()
		switch {
		case trailers != nil:
			return messages, trailers, nil
		case err == io.EOF && messages == 0 && c.head.Get("grpc-status") != "":
			return 0, map[string]string{"grpc-status": c.head.Get("grpc-status"), "grpc-message": c.head.Get("grpc-message")}, nil
		case err != nil:
			return messages, nil, err
		}
		_ = message
		messages++
	}
}

const webYAML = `
services: { calls: { to: ["grpc://ORIGIN"] } }
routes: { calls: { match: "/**", to: calls, grpc_web: true } }
`

func (c *webClient) must(t *testing.T, method string, fields map[string]string, messages ...proto.Message) *webCall {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	call, err := c.call(ctx, method, fields, messages...)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

// TestGRPCWeb_unary: messages of all sizes, metadata and trailers both ways, and statuses of the server's own.
func TestGRPCWeb_unary(t *testing.T) {
	eachWebClient(t, webYAML, func(t *testing.T, s *grpcStage, c *webClient) {
		for _, size := range []int{0, 1, 2, 3, 1000, 100_000, 1 << 20} {
			call := c.must(t, "UnaryCall", map[string]string{"say": "hello"}, &testpb.SimpleRequest{Payload: sevens(size)})
			message, _, err := call.next()
			var out testpb.SimpleResponse
			if err == nil {
				err = proto.Unmarshal(message, &out)
			}
			if err != nil || len(out.GetPayload().GetBody()) != size || call.head.Get("said") != "hello" {
				t.Fatalf("%d bytes: got %d, said %q: %v", size, len(out.GetPayload().GetBody()), call.head.Get("said"), err)
			}
			more, told, err := call.end()
			// grpc-go encodes what is binary.
			if err != nil || more != 0 || told["grpc-status"] != "0" || told["told-bin"] != base64.RawStdEncoding.EncodeToString([]byte("hello")) {
				t.Errorf("%d bytes: %d messages more, %v, %v", size, more, told, err)
			}
		}
		in := &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: 15, Message: "só 100 % \n"}}
		if n, told, err := c.must(t, "UnaryCall", nil, in).end(); err != nil || n != 0 || told["grpc-status"] != "15" || told["grpc-message"] != "s%C3%B3 100 %25 %0A" {
			t.Errorf("a status: %d messages, %v, %v", n, told, err)
		}
		if n, told, err := c.must(t, "Nothing", nil, in).end(); err != nil || n != 0 || told["grpc-status"] != "12" {
			t.Errorf("a method that is not there: %d messages, %v, %v", n, told, err)
		}
		// The same route serves clients of gRPC.
		if out, err := s.client.UnaryCall(grpcContext(t), &testpb.SimpleRequest{Payload: sevens(10)}); err != nil || len(out.Payload.Body) != 10 {
			t.Errorf("a call of gRPC: %v", err)
		}
	})
}

// TestGRPCWeb_streams: a message is passed on before the next one is there; several messages of a client pass, too.
func TestGRPCWeb_streams(t *testing.T) {
	eachWebClient(t, webYAML, func(t *testing.T, s *grpcStage, c *webClient) {
		const count = 20
		ask := &testpb.StreamingOutputCallRequest{}
		for n := range count {
			ask.ResponseParameters = append(ask.ResponseParameters, &testpb.ResponseParameters{Size: int32(n * n * 100)})
		}
		// The head comes with the first message.
		go func() { s.next <- struct{}{} }()
		call := c.must(t, "StreamingOutputCall", map[string]string{"step": "yes"}, ask)
		for n := range count {
			message, _, err := call.next()
			var out testpb.StreamingOutputCallResponse
			if err == nil {
				err = proto.Unmarshal(message, &out)
			}
			if err != nil || len(out.Payload.Body) != n*n*100 {
				t.Fatalf("message %d: %v", n, err)
			}
			if n+1 < count {
				s.next <- struct{}{} // no sooner does the server have another
			}
		}
		if n, told, err := call.end(); err != nil || n != 0 || told["grpc-status"] != "0" {
			t.Errorf("the end: %d messages, %v, %v", n, told, err)
		}

		var in []proto.Message
		for n := range 50 {
			in = append(in, &testpb.StreamingInputCallRequest{Payload: sevens(n * 100)})
		}
		message, _, err := c.must(t, "StreamingInputCall", nil, in...).next()
		var sum testpb.StreamingInputCallResponse
		if err == nil {
			err = proto.Unmarshal(message, &sum)
		}
		if err != nil || sum.AggregatedPayloadSize != 50*49*50 {
			t.Errorf("client streaming: %d, %v", sum.AggregatedPayloadSize, err)
		}
	})
}

// TestGRPCWeb_ends: the client's deadline reaches the server, its going away does; the gateway's own end reaches both.
func TestGRPCWeb_ends(t *testing.T) {
	ended := func(t *testing.T, s *grpcStage) {
		t.Helper()
		select {
		case <-s.canceled:
		case <-time.After(10 * time.Second):
			t.Error("the server's call goes on")
		}
	}
	// A call whose time is over. On a busy machine it may be before the server is asked, in the first calls: later ones need no new connection.
	inTime := func(t *testing.T, s *grpcStage, c *webClient, when string, fields map[string]string) {
		t.Helper()
		for range 30 {
			n, told, err := c.must(t, "UnaryCall", fields, &testpb.SimpleRequest{}).end()
			if err != nil || n != 0 || told["grpc-status"] != "4" {
				t.Errorf("%s: %d messages, %v, %v", when, n, told, err)
			}
			select {
			case <-s.waiting:
				ended(t, s)
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		t.Errorf("%s: the server is never asked in time", when)
	}
	eachWebClient(t, webYAML, func(t *testing.T, s *grpcStage, c *webClient) {
		inTime(t, s, c, "after its deadline", map[string]string{"wait": "yes", "grpc-timeout": "500m"})

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			<-s.waiting
			cancel()
		}()
		if _, err := c.call(ctx, "UnaryCall", map[string]string{"wait": "yes"}, &testpb.SimpleRequest{}); !errors.Is(err, context.Canceled) {
			t.Errorf("a call that was given up: %v", err)
		}
		ended(t, s)

		// So does a stream in the middle.
		ask := &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 10}, {Size: 10}}}
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		go func() { s.next <- struct{}{} }()
		call, err := c.call(ctx, "StreamingOutputCall", map[string]string{"step": "yes"}, ask)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := call.next(); err != nil {
			t.Fatal(err)
		}
		cancel()
		ended(t, s)
	})
	eachWebClient(t, strings.Replace(webYAML, "to: calls,", "to: calls, timeout: 150ms,", 1), func(t *testing.T, s *grpcStage, c *webClient) {
		inTime(t, s, c, "after the route's timeout", map[string]string{"wait": "yes"})
	})
}

// TestGRPCWeb_breaksOff: a call whose server dies in the middle does not look like one that has ended, let alone well.
func TestGRPCWeb_breaksOff(t *testing.T) {
	yaml := strings.Replace(webYAML, "ORIGIN", resettingOrigin(t), 1)
	eachWebClient(t, yaml, func(t *testing.T, _ *grpcStage, c *webClient) {
		for code, want := range map[string]string{"0": "13", "2": "13", "7": "14", "8": "1", "11": "8"} {
			n, told, err := c.must(t, "UnaryCall", map[string]string{"reset": code, "headed": "yes"}, &testpb.SimpleRequest{}).end()
			if err != nil || n != 1 || told["grpc-status"] != want {
				t.Errorf("reset with %s after a message: %d messages, %v, %v", code, n, told, err)
			}
			n, told, err = c.must(t, "UnaryCall", map[string]string{"reset": code, "headed": "half"}, &testpb.SimpleRequest{}).end()
			if err == nil || err == io.EOF || told != nil || n != 0 {
				t.Errorf("reset with %s in a message: %d messages, %v, %v", code, n, told, err)
			}
		}
		if n, told, err := c.must(t, "UnaryCall", map[string]string{"reset": "8"}, &testpb.SimpleRequest{}).end(); err != nil || n != 0 || told["grpc-status"] != "1" {
			t.Errorf("canceled before the head: %d messages, %v, %v", n, told, err)
		}
	})
}

// TestGRPCWeb_badText: what turns out not to be base64 while it comes ends the call on both sides.
func TestGRPCWeb_badText(t *testing.T) {
	s := newGRPCStage(t, webYAML)
	f := func(first, then string) {
		t.Helper()
		c := s.gateway.Dial()
		c.Send("POST " + testService + "FullDuplexCall HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web-text\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, chunk := range []string{first, then} {
			c.Send(fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk))
		}
		resp, err := http.ReadResponse(c.R, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Grpc-Status"); got != "3" || !strings.Contains(resp.Header.Get("Grpc-Message"), "bad_base64") {
			t.Errorf("after %q: %v", then, resp.Header)
		}
	}
	f("AAAA", "AA*A")
	f("AAAAA", "A=AA")
	f("AAAA", "AAA=AAA\r")
	select {
	case <-s.canceled:
	case <-time.After(10 * time.Second):
		t.Error("the server's call goes on")
	}
}

// TestGRPCWeb_notGRPC: a server of HTTP that is none of gRPC is reported in gRPC-Web.
func TestGRPCWeb_notGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "<secret of the origin>", http.StatusForbidden)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	eachWebClient(t, strings.Replace(webYAML, "ORIGIN", l.Addr().String(), 1), func(t *testing.T, _ *grpcStage, c *webClient) {
		n, told, err := c.must(t, "UnaryCall", nil, &testpb.SimpleRequest{Payload: sevens(100_000)}).end()
		if err != nil || n != 0 || told["grpc-status"] != "7" || strings.Contains(told["grpc-message"], "secret") {
			t.Errorf("%d messages, %v, %v", n, told, err)
		}
	})
}
