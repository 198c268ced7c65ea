package proxytest

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// resettingOrigin resets each call with the code that its field "reset" says: at once, or with "headed" after the head
// and an empty message, or half of one.
func resettingOrigin(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go resetAll(c)
		}
	}()
	return l.Addr().String()
}

// resetAll serves a connection until the gateway ends it. What a test expects is on the other side.
func resetAll(c net.Conn) {
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	fr := http2.NewFramer(c, c)
	decoder := hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings()
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = fr.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			fields, err := decoder.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				return
			}
			code := 0
			for _, field := range fields {
				switch field.Name {
				case "reset":
					code, _ = strconv.Atoi(field.Value)
				case "headed":
					var block bytes.Buffer
					e := hpack.NewEncoder(&block)
					_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
					_ = e.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
					_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
					_ = fr.WriteData(f.StreamID, false, make([]byte, map[string]int{"yes": 5, "half": 3}[field.Value]))
				}
			}
			_ = fr.WriteRSTStream(f.StreamID, http2.ErrCode(code))
		}
	}
}

// TestGRPC_reset: why a server resets a call becomes the status that gRPC says it is, before the head and after it.
func TestGRPC_reset(t *testing.T) {
	gw := Start(t, listen2(`
services: { calls: { to: ["grpc://`+resettingOrigin(t)+`"] } }
routes: { calls: { match: "/**", to: calls } }
`))
	conn, err := grpc.NewClient("passthrough:///"+gw.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := testpb.NewTestServiceClient(conn)
	f := func(code http2.ErrCode, before, after codes.Code) {
		t.Helper()
		number := strconv.Itoa(int(code))
		_, err := client.UnaryCall(grpcContext(t, "reset", number), &testpb.SimpleRequest{})
		if status.Code(err) != before {
			t.Errorf("%v before the head: got %v, want %v", code, err, before)
		}
		_, err = client.UnaryCall(grpcContext(t, "reset", number, "headed", "yes"), &testpb.SimpleRequest{})
		if status.Code(err) != after {
			t.Errorf("%v after the head: got %v, want %v", code, err, after)
		}
	}
	f(http2.ErrCodeNo, codes.Internal, codes.Internal)
	f(http2.ErrCodeProtocol, codes.Internal, codes.Internal)
	f(http2.ErrCodeInternal, codes.Internal, codes.Internal)
	f(http2.ErrCodeFlowControl, codes.Internal, codes.Internal)
	f(http2.ErrCodeSettingsTimeout, codes.Internal, codes.Internal)
	f(http2.ErrCodeStreamClosed, codes.Internal, codes.Internal)
	f(http2.ErrCodeFrameSize, codes.Internal, codes.Internal)
	f(http2.ErrCodeRefusedStream, codes.Unavailable, codes.Internal)
	f(http2.ErrCodeCancel, codes.Canceled, codes.Canceled)
	f(http2.ErrCodeCompression, codes.Internal, codes.Internal)
	f(http2.ErrCodeConnect, codes.Internal, codes.Internal)
	f(http2.ErrCodeEnhanceYourCalm, codes.ResourceExhausted, codes.ResourceExhausted)
	f(http2.ErrCodeInadequateSecurity, codes.PermissionDenied, codes.PermissionDenied)
	f(http2.ErrCodeHTTP11Required, codes.Internal, codes.Internal)
}
