package proxytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcServer is a real server of gRPC.
type grpcServer struct {
	testpb.UnimplementedTestServiceServer
	waiting  chan struct{} // a call waits for its end
	canceled chan error    // and this is how it has ended
	next     chan struct{} // lets a stream with "step" send its next message
}

// UnaryCall echoes the payload, and the metadata "say" as header and trailer. With "wait" it waits for the call's end.
func (s *grpcServer) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	said := strings.Join(md.Get("say"), "|")
	err := errors.Join(grpc.SetHeader(ctx, metadata.Pairs("said", said)), grpc.SetTrailer(ctx, metadata.Pairs("told-bin", said)))
	switch {
	case err != nil:
		return nil, err
	case len(md.Get("wait")) > 0:
		s.waiting <- struct{}{}
		<-ctx.Done()
		s.canceled <- ctx.Err()
		return nil, ctx.Err()
	case in.ResponseStatus != nil:
		return nil, status.Error(codes.Code(in.ResponseStatus.Code), in.ResponseStatus.Message)
	}
	return &testpb.SimpleResponse{Payload: in.Payload}, nil
}

// StreamingInputCall adds the sizes of its messages up.
func (s *grpcServer) StreamingInputCall(stream testpb.TestService_StreamingInputCallServer) error {
	for size := 0; ; {
		in, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		}
		if err != nil {
			return err
		}
		size += len(in.Payload.Body)
	}
}

// StreamingOutputCall sends messages of the sizes that are asked for; with the metadata "step" each when it is told to.
func (s *grpcServer) StreamingOutputCall(in *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	for _, p := range in.ResponseParameters {
		if len(md.Get("step")) > 0 {
			select {
			case <-s.next:
			case <-stream.Context().Done():
				s.canceled <- stream.Context().Err()
				return stream.Context().Err()
			}
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: sevens(int(p.Size))}); err != nil {
			return err
		}
	}
	return nil
}

// FullDuplexCall answers each message at once, and a message with a status by ending so.
func (s *grpcServer) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			select {
			case s.canceled <- stream.Context().Err():
			default:
			}
			return err
		}
		if in.ResponseStatus != nil {
			return status.Error(codes.Code(in.ResponseStatus.Code), in.ResponseStatus.Message)
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

func sevens(n int) *testpb.Payload { return &testpb.Payload{Body: bytes.Repeat([]byte{7}, n)} }

// grpcStage is a server, a gateway in front of it, and a client.
type grpcStage struct {
	*grpcServer
	gateway *Gateway
	client  testpb.TestServiceClient
}

const grpcMessageMax = 32 << 20

func newGRPCStage(t *testing.T, yaml string) *grpcStage {
	t.Helper()
	s := &grpcStage{grpcServer: &grpcServer{waiting: make(chan struct{}, 1), canceled: make(chan error, 1), next: make(chan struct{})}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(grpcMessageMax))
	testpb.RegisterTestServiceServer(server, s.grpcServer)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	s.gateway = Start(t, listen2(strings.ReplaceAll(yaml, "ORIGIN", l.Addr().String())))
	conn, err := grpc.NewClient("passthrough:///"+s.gateway.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(grpcMessageMax)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.client = testpb.NewTestServiceClient(conn)
	return s
}

const grpcYAML = `
services: { calls: { to: ["grpc://ORIGIN"] } }
limits: { streams: 2000 }
routes: { calls: { match: "/**", to: calls } }
`

func grpcContext(t *testing.T, pairs ...string) context.Context {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), pairs...), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestGRPC_unary: messages of all sizes, metadata and trailers both ways, and statuses of the server's own.
func TestGRPC_unary(t *testing.T) {
	s := newGRPCStage(t, grpcYAML)
	for _, size := range []int{0, 1, 1000, 100_000, 1 << 20} {
		var header, trailer metadata.MD
		out, err := s.client.UnaryCall(grpcContext(t, "say", "a", "say", "b"), &testpb.SimpleRequest{Payload: sevens(size)},
			grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if len(out.Payload.Body) != size || fmt.Sprint(header["said"], trailer["told-bin"]) != "[a|b] [a|b]" {
			t.Errorf("%d bytes: got %d, header %v, trailer %v", size, len(out.Payload.Body), header, trailer)
		}
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		in := &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(code), Message: "só 100 % \n"}}
		var trailer metadata.MD
		_, err := s.client.UnaryCall(grpcContext(t, "say", "x"), in, grpc.Trailer(&trailer))
		if st := status.Convert(err); st.Code() != code || st.Message() != "só 100 % \n" || fmt.Sprint(trailer["told-bin"]) != "[x]" {
			t.Errorf("%v: got %v, trailer %v", code, err, trailer)
		}
	}
	if _, err := s.client.UnimplementedCall(grpcContext(t), &testpb.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v", err)
	}
}

// TestGRPC_streams: each kind of stream, and that a message is passed on before the next one is there.
func TestGRPC_streams(t *testing.T) {
	s := newGRPCStage(t, grpcYAML)

	in, err := s.client.StreamingInputCall(grpcContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		if err := in.Send(&testpb.StreamingInputCallRequest{Payload: sevens(n * 100)}); err != nil {
			t.Fatal(err)
		}
	}
	if sum, err := in.CloseAndRecv(); err != nil || sum.AggregatedPayloadSize != 100*99*50 {
		t.Errorf("client streaming: %v, %v", sum, err)
	}

	ask := &testpb.StreamingOutputCallRequest{}
	for n := range 100 {
		ask.ResponseParameters = append(ask.ResponseParameters, &testpb.ResponseParameters{Size: int32(n * 1000)})
	}
	out, err := s.client.StreamingOutputCall(grpcContext(t), ask)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		if m, err := out.Recv(); err != nil || len(m.Payload.Body) != n*1000 {
			t.Fatalf("server streaming, message %d: %v", n, err)
		}
	}
	if _, err := out.Recv(); err != io.EOF {
		t.Errorf("server streaming ends with %v", err)
	}

	both, err := s.client.FullDuplexCall(grpcContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		if err := both.Send(&testpb.StreamingOutputCallRequest{Payload: sevens(n)}); err != nil {
			t.Fatal(err)
		}
		if m, err := both.Recv(); err != nil || len(m.Payload.Body) != n {
			t.Fatalf("both ways, message %d: %v", n, err)
		}
	}
	end := &testpb.StreamingOutputCallRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(codes.DataLoss), Message: "over"}}
	if err := both.Send(end); err != nil {
		t.Fatal(err)
	}
	// The server ends while the client's side is open.
	if _, err := both.Recv(); status.Code(err) != codes.DataLoss {
		t.Errorf("both ways, the end: %v", err)
	}
}

// TestGRPC_ends: the client's deadline and its cancellation reach the server; the gateway's own end reaches both.
func TestGRPC_ends(t *testing.T) {
	const short = `
services: { calls: { to: ["grpc://ORIGIN"] } }
routes: { calls: { match: "/**", to: calls, timeout: 150ms } }
`
	f := func(yaml string, limit time.Duration, cancels bool, want codes.Code) {
		t.Helper()
		s := newGRPCStage(t, yaml)
		call := func() (reached bool) {
			ctx, cancel := context.WithTimeout(grpcContext(t, "wait", "yes"), limit)
			defer cancel()
			over := make(chan struct{})
			met := make(chan bool, 1)
			go func() {
				select {
				case <-s.waiting:
					if cancels {
						cancel()
					}
					met <- true
				case <-over:
					met <- false
				}
			}()
			start := time.Now()
			_, err := s.client.UnaryCall(ctx, &testpb.SimpleRequest{})
			close(over)
			if status.Code(err) != want || time.Since(start) > 10*time.Second {
				t.Errorf("after %s the client got %v, want %v", time.Since(start), err, want)
			}
			return <-met
		}
		// On a busy machine the time is over before the server is asked, in the first calls: later ones need no new connection.
		for try := 1; !call(); try++ {
			if try == 30 {
				t.Fatal("the server is never asked in time")
			}
		}
		select {
		case <-s.canceled:
		case <-time.After(10 * time.Second):
			t.Error("the server's call goes on")
		}
	}
	f(grpcYAML, 150*time.Millisecond, false, codes.DeadlineExceeded)
	f(grpcYAML, 15*time.Second, true, codes.Canceled)
	f(short, 15*time.Second, false, codes.DeadlineExceeded)

	// A stream that both sides keep open ends with its client.
	s := newGRPCStage(t, grpcYAML)
	ctx, cancel := context.WithCancel(grpcContext(t))
	both, err := s.client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := both.Send(&testpb.StreamingOutputCallRequest{Payload: sevens(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := both.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-s.canceled:
		if err != context.Canceled {
			t.Errorf("the server's stream ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server's stream goes on")
	}
	// So does the start of one that waits for its first message, at the route's timeout.
	s = newGRPCStage(t, short)
	if both, err = s.client.FullDuplexCall(grpcContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := both.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a stream without a message ended with %v", err)
	}
}

// TestGRPC_refused: what the gateway says itself is a status of gRPC, and the server is not asked.
func TestGRPC_refused(t *testing.T) {
	f := func(yaml string, size int, want codes.Code, says string) {
		t.Helper()
		s := newGRPCStage(t, yaml)
		_, err := s.client.UnaryCall(grpcContext(t), &testpb.SimpleRequest{Payload: sevens(size)})
		if status.Code(err) != want || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %v with %s", err, want, says)
		}
		both, err := s.client.FullDuplexCall(grpcContext(t))
		if err != nil {
			t.Fatal(err)
		}
		// The gateway may have answered before.
		if err := both.Send(&testpb.StreamingOutputCallRequest{Payload: sevens(size)}); err != nil && err != io.EOF {
			t.Error(err)
		}
		if err := both.CloseSend(); err != nil {
			t.Error(err)
		}
		if _, err := both.Recv(); status.Code(err) != want || !strings.Contains(err.Error(), says) {
			t.Errorf("a stream: got %v, want %v with %s", err, want, says)
		}
	}
	f(`
services: { calls: { to: ["grpc://ORIGIN"] } }
policies: { nobody: { addresses: { deny: [127.0.0.0/8] } } }
routes: { calls: { match: "/**", use: [nobody], to: calls } }
`, 10, codes.PermissionDenied, "address_denied")
	f(`
services: { calls: { to: ["grpc://ORIGIN"] } }
routes: { calls: { match: /elsewhere, to: calls } }
`, 10, codes.Unimplemented, "no_route")
	f(`
services: { calls: { to: ["grpc://ORIGIN"] } }
routes: { calls: { match: "/**", to: calls, body_limit: 1KiB } }
`, 100_000, codes.ResourceExhausted, "body_too_large")
	f(`
services: { calls: { to: ["grpc://`+refusingAddress(t)+`"] } }
routes: { calls: { match: "/**", to: calls } }
`, 10, codes.Unavailable, "upstream_unreachable")
}

// TestGRPC_concurrent: a thousand streams at the same time, each with its own messages, over one connection of the client and a few
// to the server.
func TestGRPC_concurrent(t *testing.T) {
	const streams = 1000
	// They say nothing until all are there, which may be longer than min_rate lets them.
	s := newGRPCStage(t, strings.Replace(grpcYAML, "streams: 2000", "streams: 2000, min_rate: off", 1))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	open := make(chan struct{})
	var opened sync.WaitGroup
	opened.Add(streams)
	for n := range streams {
		all.Go(func() {
			both, err := s.client.FullDuplexCall(ctx)
			for round := range 3 {
				if err == nil {
					err = both.Send(&testpb.StreamingOutputCallRequest{Payload: sevens(n + round)})
				}
				if err == nil {
					var m *testpb.StreamingOutputCallResponse
					if m, err = both.Recv(); err == nil && len(m.Payload.Body) != n+round {
						err = fmt.Errorf("got another's message, of %d bytes", len(m.Payload.Body))
					}
				}
				if round == 0 {
					opened.Done()
					<-open
				}
			}
			if err == nil {
				err = both.CloseSend()
			}
			if err == nil {
				if _, err = both.Recv(); err == io.EOF {
					err = nil
				}
			}
			if err != nil {
				t.Errorf("stream %d: %v", n, err)
			}
		})
	}
	opened.Wait()
	if e := s.gateway.Runtime.Services()[0].Endpoints[0]; e.InFlight != streams || e.Open > 10 {
		t.Errorf("%d streams are in flight on %d connections, want %d on a few", e.InFlight, e.Open, streams)
	}
	close(open)
	all.Wait()
}
