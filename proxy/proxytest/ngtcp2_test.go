package proxytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestNgtcp2 has a client of HTTP/3 by other people, in other languages: ngtcp2 with nghttp3 and GnuTLS. It uploads and downloads over
// many streams, resumes a session, and moves to another port in the middle of a download.
func TestNgtcp2(t *testing.T) {
	program, err := exec.LookPath("gtlsclient")
	if err != nil {
		t.Fatal("gtlsclient, the second client of this test, is missing: `make test` installs it (package ngtcp2-client)")
	}
	page := bytes.Repeat([]byte("0123456789abcdef"), 32<<10)
	var bodies atomic.Int64
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies.Add(n)
		for rest := page; len(rest) > 0; {
			piece := rest[:64<<10]
			rest = rest[len(piece):]
			if _, err := w.Write(piece); err != nil {
				t.Error(err)
				return
			}
			if strings.HasPrefix(r.URL.Path, "/slow") {
				time.Sleep(50 * time.Millisecond) // so that there is a middle
			}
		}
	})
	gw := Start(t, listenTLS(fmt.Sprintf("services: { o: { to: [\"http://%s\"] } }\nroutes: { all: { match: \"/**\", to: o } }\n", origin), "[h1, h3]"))
	host, port, err := net.SplitHostPort(gw.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	upload := filepath.Join(dir, "upload")
	if err := os.WriteFile(upload, page, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(files []string, options ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		args := append([]string{"--quiet", "--exit-on-all-streams-close", "--timeout=20s", "--download=" + dir}, options...)
		args = append(args, host, port)
		for _, file := range files {
			args = append(args, "https://script.localhost:"+port+"/"+file)
		}
		if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, file := range files {
			got, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || !bytes.Equal(got, page) {
				t.Errorf("%s: got %d bytes, %v, want %d", file, len(got), err, len(page))
			}
			_ = os.Remove(filepath.Join(dir, file)) // the next run writes it again, or fails
		}
	}
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf("page%d", i)
	}
	run(many)
	run(many[:5], "--http-method=POST", "--data="+upload)
	if got, want := bodies.Load(), int64(5*len(page)); got != want {
		t.Errorf("the origin has read %d bytes, want %d", got, want)
	}
	session := []string{"--session-file=" + filepath.Join(dir, "session"), "--tp-file=" + filepath.Join(dir, "parameters")}
	run(many[:1], session...)
	run(many[:1], session...)
	if h := gw.Server.Handshakes(); h.Completed != 4 || h.Resumed != 1 {
		t.Errorf("got %+v, want the last of four handshakes to resume a session", h)
	}
	run([]string{"slow"}, "--change-local-addr=100ms")
}
