//go:build !race && !invariants

// What it finds does not depend on the build, and it takes a while.

package proxytest

import (
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// h2specExceptions are the cases of h2spec, which tests RFC 7540, that Sluice answers in another way, with the reason. A malformed
// request may be answered before its stream is reset (RFC 9113 section 8.1.1); the answer says what is wrong, and the access log
// has it.
var h2specExceptions = map[string]string{
	"http2/8.1.2/1":   "an upper-case field name is answered with 400",
	"http2/8.1.2.3/1": "an empty :path is answered with 400",
}

// TestH2Spec runs h2spec, with and without TLS.
func TestH2Spec(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	f := func(secured bool) {
		t.Helper()
		const answer = `
routes: { all: { match: "/**", respond: { text: "some bytes more than there are in a window of one" } } }
`
		yaml := "listen: { web: { address: \"127.0.0.1:8080\", http: h2 } }" + answer // with h1, what is no preface is a bad request
		if secured {
			yaml = listenTLS(answer, "[h1, h2]")
		}
		gw := Start(t, yaml)
		_, port, err := net.SplitHostPort(gw.Addr)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		c := &config.Config{Host: "127.0.0.1", Port: n, Path: "/", Timeout: time.Second, MaxHeaderLen: 4000, TLS: secured, Insecure: true, Strict: true}
		excused := map[string]bool{}
		total := 0
		for _, s := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
			quietly(t, func() { s.Test(c) })
			total += judgeSpec(t, s, excused)
		}
		if total < 140 {
			t.Errorf("only %d cases were run", total)
		}
		for id, why := range h2specExceptions {
			if !excused[id] {
				t.Errorf("%s passes, and is listed as an exception: %s", id, why)
			}
		}
	}
	f(false)
	f(true)
}

// judgeSpec reports what has failed and is not excused, and returns how many cases there were.
func judgeSpec(t *testing.T, g *spec.TestGroup, excused map[string]bool) int {
	t.Helper()
	n := 0
	for i, c := range g.Tests {
		n++
		id := g.ID() + "/" + strconv.Itoa(i+1)
		switch {
		case c.Result == nil:
			t.Errorf("%s was not run: %s", id, c.Desc)
		case !c.Result.Failed:
		case h2specExceptions[id] != "":
			excused[id] = true
		default:
			t.Errorf("%s: %s: %v", id, c.Desc, c.Result.Error)
		}
	}
	for _, sub := range g.Groups {
		n += judgeSpec(t, sub, excused)
	}
	return n
}

// quietly runs f without what it prints.
func quietly(t *testing.T, f func()) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, r) // until w is closed
	}()
	defer func() {
		os.Stdout = stdout
		w.Close()
		<-drained
		r.Close()
	}()
	f()
}
