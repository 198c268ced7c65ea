//go:build !race && !invariants

// What it finds does not depend on the build.

package proxytest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
)

// jsCall is a call that testdata/grpcweb/client.js makes, and jsEvent what comes of it.
type jsCall struct {
	Method   string            `json:"method"`
	Format   string            `json:"format"` // "text", or "binary"
	Streams  bool              `json:"streams"`
	Metadata map[string]string `json:"metadata"`
	Message  []byte            `json:"message"`
	Deadline int               `json:"deadline"` // in milliseconds
}

type jsEvent struct {
	Event   string `json:"event"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Said    string `json:"said"`
	Bytes   []byte `json:"bytes"`
}

// jsClient installs the official client, and returns what makes calls with it and splits their events up by call.
func jsClient(t *testing.T) func(base string, calls ...jsCall) [][]jsEvent {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s, which runs the official client of gRPC-Web, is missing: `make test` installs it", program)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/grpcweb")); err != nil {
		t.Fatal(err)
	}
	run := func(limit time.Duration, in []byte, name string, args ...string) []byte {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		cmd.Stdin = bytes.NewReader(in)
		var wrong strings.Builder
		cmd.Stderr = &wrong
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", name, err, out, wrong.String())
		}
		return out
	}
	// What npm has fetched once it need not fetch again.
	run(3*time.Minute, nil, "npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	return func(base string, calls ...jsCall) [][]jsEvent {
		t.Helper()
		in, err := json.Marshal(map[string]any{"base": base, "calls": calls})
		if err != nil {
			t.Fatal(err)
		}
		out := run(time.Minute, in, "node", "client.js")
		all := [][]jsEvent{nil}
		for line := range strings.Lines(string(out)) {
			var e jsEvent
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if e.Event == "end" {
				all = append(all, nil)
				continue
			}
			all[len(all)-1] = append(all[len(all)-1], e)
		}
		if len(all) != len(calls)+1 {
			t.Fatalf("%d calls, of which %d have ended:\n%s", len(calls), len(all)-1, out)
		}
		return all
	}
}

// TestGRPCWeb_officialClient: the official client for browsers understands the gateway.
func TestGRPCWeb_officialClient(t *testing.T) {
	if testing.Short() {
		t.Skip("it installs a client")
	}
	play := jsClient(t)
	s := newGRPCStage(t, webYAML)
	marshal := func(m proto.Message) []byte {
		t.Helper()
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	unary := marshal(&testpb.SimpleRequest{Payload: sevens(100_000)})
	fails := marshal(&testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: 9, Message: "só 100 %"}})
	ask := &testpb.StreamingOutputCallRequest{}
	for n := range 50 {
		ask.ResponseParameters = append(ask.ResponseParameters, &testpb.ResponseParameters{Size: int32(n * 1000)})
	}
	const method = testService
	for _, format := range []string{"text", "binary"} {
		calls := []jsCall{
			{Method: method + "UnaryCall", Format: format, Message: unary, Metadata: map[string]string{"say": "hello"}},
			{Method: method + "UnaryCall", Format: format, Message: fails},
			{Method: method + "Nothing", Format: format},
			{Method: method + "UnaryCall", Format: format, Metadata: map[string]string{"wait": "yes"}, Deadline: 300},
			// The client reads streams as text alone.
			{Method: method + "StreamingOutputCall", Format: "text", Streams: true, Message: marshal(ask)},
		}
		got := play("http://"+s.gateway.Addr, calls...)
		said, message := "", 0
		for _, e := range got[0] {
			switch e.Event {
			case "metadata":
				said = e.Said
			case "message":
				var out testpb.SimpleResponse
				if err := proto.Unmarshal(e.Bytes, &out); err != nil {
					t.Error(err)
				}
				message = len(out.GetPayload().GetBody())
			default:
				t.Errorf("%s: %+v", format, e)
			}
		}
		if said != "hello" || message != 100_000 {
			t.Errorf("%s: said %q, a message of %d bytes", format, said, message)
		}
		failure := func(events []jsEvent, code int, message string) {
			t.Helper()
			for _, e := range events {
				if e.Event == "error" && e.Code == code && strings.Contains(e.Message, message) {
					return
				}
			}
			t.Errorf("%s: got %+v, want status %d with %q", format, events, code, message)
		}
		failure(got[1], 9, "só 100 %")
		failure(got[2], 12, "Nothing")
		failure(got[3], 4, "")
		n := 0
		for _, e := range got[4] {
			var out testpb.StreamingOutputCallResponse
			switch {
			case e.Event == "status" && e.Code == 0:
			case e.Event == "metadata" && n == 0: // the head came some time before the first message
			case e.Event != "message" || proto.Unmarshal(e.Bytes, &out) != nil || len(out.GetPayload().GetBody()) != n*1000:
				t.Fatalf("message %d of a stream is %+v", n, e)
			default:
				n++
			}
		}
		if n != 50 {
			t.Errorf("%d messages of 50 have come", n)
		}
	}

	// What breaks off, and what the gateway says itself, is an error to this client, too.
	const broken = `
services: { calls: { to: ["grpc://ORIGIN"] }, dead: { to: ["grpc://DEAD"] } }
routes:
  calls: { match: "/**", to: calls, grpc_web: true }
  dead: { match: "/grpc.testing.TestService/Dead", to: dead, grpc_web: true }
`
	gw := Start(t, listen2(strings.NewReplacer("ORIGIN", resettingOrigin(t), "DEAD", refusingAddress(t)).Replace(broken)))
	for _, format := range []string{"text", "binary"} {
		got := play("http://"+gw.Addr,
			jsCall{Method: method + "UnaryCall", Format: format, Metadata: map[string]string{"reset": "2", "headed": "yes"}},
			jsCall{Method: method + "UnaryCall", Format: "text", Streams: true, Metadata: map[string]string{"reset": "2", "headed": "yes"}},
			jsCall{Method: method + "Dead", Format: format})
		for i, events := range got[:len(got)-1] {
			failed := 0
			for _, e := range events {
				if e.Event == "error" && e.Code != 0 {
					failed++
				} else if e.Event == "status" && e.Code == 0 {
					t.Errorf("%s: call %d has ended well: %+v", format, i, events)
				}
			}
			if failed != 1 {
				t.Errorf("%s: call %d: %+v", format, i, events)
			}
		}
		if e := got[1]; len(e) == 0 || e[len(e)-1].Code != 13 || !strings.Contains(e[len(e)-1].Message, "upstream_reset") {
			t.Errorf("%s: a stream that breaks off is reported as %+v", format, e)
		}
		if e := got[2]; len(e) == 0 || e[len(e)-1].Code != 14 || !strings.Contains(e[len(e)-1].Message, "upstream_unreachable") {
			t.Errorf("%s: an unreachable service is reported as %+v", format, e)
		}
	}
}
