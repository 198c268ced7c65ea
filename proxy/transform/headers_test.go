package transform

import (
	"errors"
	"strings"
	"testing"

	"sluice/proxy"
)

// parseOps reads "set Name value; add Name value; remove Name".
func parseOps(t testing.TB, text, pattern string) Ops {
	t.Helper()
	var ops Ops
	for line := range strings.SplitSeq(text, "; ") {
		word, rest, _ := strings.Cut(line, " ")
		name, value, _ := strings.Cut(rest, " ")
		op := Op{Name: name}
		switch word {
		case "":
			continue
		case "set":
			op.Verb = Set
		case "add":
			op.Verb = Add
		case "remove":
			op.Verb = Remove
		default:
			t.Fatalf("unknown verb %q", word)
		}
		if op.Verb != Remove {
			op.Value = parseTemplate(t, value, parsePattern(t, pattern))
		}
		ops = append(ops, op)
	}
	return ops
}

func TestHeadersOfRequest(t *testing.T) {
	f := func(ops, target, want string) {
		t.Helper()
		const pattern = "/{kind}/**"
		x := newExchange(t, pattern, target)
		defer x.Release()
		x.Request.Head.AddString("Accept", "*/*")
		x.Request.Head.AddString("X-Old", "1")
		x.Request.Head.AddString("x-old", "2")
		h, err := NewHeaders(parseOps(t, ops, pattern), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := serve(t, h, x); err != nil {
			t.Fatal(err)
		}
		x.EditHead()
		if got := fields(&x.Request.Head); got != want {
			t.Fatalf("unexpected request head\n got: %s\nwant: %s", got, want)
		}
		if got := fields(&x.Response.Head); got != "" {
			t.Fatalf("the response has got %q", got)
		}
	}

	f("set X-New a", "/a/b", "Accept: */*; X-Old: 1; x-old: 2; X-New: a")
	f("set X-OLD a", "/a/b", "Accept: */*; X-OLD: a")
	f("add X-Old a", "/a/b", "Accept: */*; X-Old: 1; x-old: 2; X-Old: a")
	f("remove X-oLD", "/a/b", "Accept: */*")
	f("remove X-None", "/a/b", "Accept: */*; X-Old: 1; x-old: 2")
	f("set Accept ", "/a/b", "Accept: ; X-Old: 1; x-old: 2")

	// Origins may take fields that are spelled otherwise for it.
	f("set x_old a", "/a/b", "Accept: */*; x_old: a")
	f("remove X_OLD", "/a/b", "Accept: */*")
	f("add x_old a", "/a/b", "Accept: */*; X-Old: 1; x-old: 2; x_old: a")
	f("set x_old $header.X-Old", "/a/b", "Accept: */*; x_old: 1")

	// In order.
	f("remove X-Old; add X-Old a; add X-Old b", "/a/b", "Accept: */*; X-Old: a; X-Old: b")
	f("add X-Old a; remove X-Old", "/a/b", "Accept: */*")
	f("remove X-Old; set X-Copy $header.Accept; remove Accept", "/a/b", "X-Copy: */*")

	// Variables.
	f("remove X-Old; set X-Kind $path.kind of $path.rest", "/a/b/c", "Accept: */*; X-Kind: a of b/c")
	f("set X-Old $header.X-Old$header.X-Old", "/a/b", "Accept: */*; X-Old: 11")
	f("remove X-Old; set X-Client $client.ip;$$", "/a/b", "Accept: */*; X-Client: 192.0.2.7;$")
	f("remove X-Old; set X-None <$query.q>", "/a/b", "Accept: */*; X-None: <>")

	// A decoded value neither spoils what stands before it nor ends the line.
	f("remove X-Old; set X-Q before $query.q after", "/a/b?q=1%202+3", "Accept: */*; X-Q: before 1 2 3 after")
	f("remove X-Old; set X-Q $query.q", "/a/b?q=1%0d%0aX-Evil:%201", "Accept: */*; X-Q: 1  X-Evil: 1")
}

func TestHeadersOfResponse(t *testing.T) {
	f := func(ops string, origin error, want string) {
		t.Helper()
		const pattern = "/{kind}"
		x := newExchange(t, pattern, "/a")
		defer x.Release()
		h, err := NewHeaders(nil, parseOps(t, ops, pattern))
		if err != nil {
			t.Fatal(err)
		}
		end := &answer{err: origin}
		err = proxy.NewChain(proxy.Link{Name: "headers", Policy: h}, proxy.Link{Name: "end", Policy: end}).Serve(x)
		if err != origin {
			t.Fatalf("unexpected error %v", err)
		}
		if got := fields(&x.Response.Head); got != "" {
			t.Fatalf("the head was edited before it was final: %q", got)
		}
		// What the edge does: an error becomes a response with a new head.
		x.Response.Head.AddString("Server", "origin")
		if err != nil {
			x.Response.Status = proxy.AsError(err).Status
		}
		x.EditHead()
		if got := fields(&x.Response.Head); got != want {
			t.Fatalf("unexpected response head\n got: %s\nwant: %s", got, want)
		}
		if got := fields(&x.Request.Head); got != "" {
			t.Fatalf("the request has got %q", got)
		}
	}

	f("set X-Kind $path.kind", nil, "Server: origin; X-Kind: a")
	f("remove server; add X-Status $response.status", nil, "X-Status: 200")
	f("set X-Status $response.status", proxy.ErrTimeout, "Server: origin; X-Status: 504")
	f("set X-From $response.header.Server", errors.New("bug"), "Server: origin; X-From: origin")
}

func TestNewHeadersErrors(t *testing.T) {
	value := parseTemplate(t, "v", nil)
	f := func(op Op, want string) {
		t.Helper()
		for _, side := range []string{"request", "response"} {
			request, response := Ops{op}, Ops(nil)
			if side == "response" {
				request, response = nil, request
			}
			_, err := NewHeaders(request, response)
			if err == nil {
				t.Fatalf("no error for %s %q", op.Verb, op.Name)
			}
			if got := err.Error(); !strings.HasPrefix(got, side) || !strings.Contains(got, want) {
				t.Fatalf("unexpected error %q", got)
			}
		}
	}

	f(Op{Set, "Bad Name", value}, "not a field name")
	f(Op{Set, "", value}, "not a field name")
	f(Op{Remove, "X:", nil}, "not a field name")
	f(Op{Add, strings.Repeat("x", nameBytesMax+1), value}, "not a field name")
	f(Op{Set, "host", value}, "rewritten")
	f(Op{Set, "content-LENGTH", value}, "one connection")
	f(Op{Add, "Transfer-Encoding", value}, "one connection")
	f(Op{Remove, "Connection", nil}, "one connection")
	f(Op{Set, "TE", value}, "one connection")
	f(Op{Set, "Trailer", value}, "one connection")
	f(Op{Set, "Upgrade", value}, "one connection")
	f(Op{Set, "X-A", nil}, "need a value")
	f(Op{Remove, "X-A", value}, "takes none")

	if _, err := NewHeaders(nil, nil); err == nil {
		t.Fatal("no error for a policy without effect")
	}
}
