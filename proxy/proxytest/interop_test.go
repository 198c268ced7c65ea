package proxytest

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// TestGRPC_interop plays the standard cases of gRPC (its doc/interop-test-descriptions.md) through the gateway, those that need no
// account of a cloud. A case that fails ends the test's process with a line that says which: that is how they were written.
func TestGRPC_interop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	testpb.RegisterTestServiceServer(server, interop.NewTestServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	gw := Start(t, listen2(fmt.Sprintf(`
services: { calls: { to: ["h2c://%s"] } }
routes: { calls: { match: "/**", to: calls } }
`, l.Addr())))
	conn, err := grpc.NewClient("passthrough:///"+gw.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := testpb.NewTestServiceClient(conn)
	f := func(name string, play func(ctx context.Context, client testpb.TestServiceClient, opts ...grpc.CallOption)) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			play(ctx, client)
		})
	}
	f("empty_unary", interop.DoEmptyUnaryCall)
	f("large_unary", interop.DoLargeUnaryCall)
	f("client_streaming", interop.DoClientStreaming)
	f("server_streaming", interop.DoServerStreaming)
	f("ping_pong", interop.DoPingPong)
	f("empty_stream", interop.DoEmptyStream)
	f("timeout_on_sleeping_server", interop.DoTimeoutOnSleepingServer)
	f("cancel_after_begin", interop.DoCancelAfterBegin)
	f("cancel_after_first_response", interop.DoCancelAfterFirstResponse)
	f("custom_metadata", interop.DoCustomMetadata)
	f("status_code_and_message", interop.DoStatusCodeAndMessage)
	f("special_status_message", interop.DoSpecialStatusMessage)
	f("unimplemented_method", func(ctx context.Context, _ testpb.TestServiceClient, _ ...grpc.CallOption) {
		interop.DoUnimplementedMethod(ctx, conn)
	})
	f("unimplemented_service", func(ctx context.Context, _ testpb.TestServiceClient, _ ...grpc.CallOption) {
		interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(conn))
	})
}
