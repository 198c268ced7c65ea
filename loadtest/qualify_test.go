package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sluice/loadtest/openloop"
)

// qualify runs the command and returns its exit code and all it said.
func qualify(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var said strings.Builder
	code := execute(t.Context(), append([]string{"qualify"}, args...), &console{&said, &said})
	return code, said.String()
}

// decided repeats a qualification that a busy machine has disturbed.
func decided(t *testing.T, before func(), args ...string) (code int, said string) {
	t.Helper()
	for range 20 {
		before()
		if code, said = qualify(t, args...); code != exitUndecided {
			break
		}
	}
	return code, said
}

func TestQualifyRefusesNonsense(t *testing.T) {
	f := func(complaint string, args ...string) {
		t.Helper()
		if code, said := qualify(t, args...); code != exitCannotRun || !strings.Contains(said, complaint) {
			t.Errorf("%q: exit %d, said %q; want 2 and %q", args, code, said, complaint)
		}
	}
	const here, rate = "--target=http://127.0.0.1:1/", "--rate=100"
	f("--target", rate)
	f("--rate", here)
	f("has no host", "--target=http://", rate)
	f("wants http://", "--target=ftp://a/", rate)
	f("wants http://", "--target=127.0.0.1:8080", rate)
	f("what follows #", "--target=http://a/#b", rate)
	f("credentials", "--target=http://a:b@c/", rate)
	f("--target", "--target=http://a b/", rate)
	f("no certificates", here, rate, "--insecure")
	f("wants host:port", here, rate, "--connect=a")

	f("above 0", here, "--rate=0")
	f("above 0", here, "--rate=-5")
	f("above 0", here, "--rate=NaN")
	f("at most 1000000", here, "--rate=1e9")
	f("--rate", here, "--rate=fast")
	f("less than ten", here, "--rate=0.1", "--duration=30s")
	f("a second at least", here, rate, "--duration=1ms")
	f("at most a day", here, rate, "--duration=48h")
	f("--warmup", here, rate, "--warmup=-1s")
	f("--timeout", here, rate, "--timeout=0s")
	f("at least one", here, rate, "--connections=0")
	f("ulimit -n", here, rate, "--connections=100000000")

	f("wants a percentage", here, rate, "--errors=1")
	f("wants a percentage", here, rate, "--errors=x%")
	f("wants a percentage", here, rate, "--errors=101%")
	f("wants a percentage", here, rate, "--errors=NaN%")
	f("a time above 0", here, rate, "--p99=-1s")
	f("--p99", here, rate, "--p99=50")
	f("is above --timeout", here, rate, "--p99=50s")
	f("is below --p50", here, rate, "--p50=50ms", "--p99=10ms")
	f("measure for 100 s", here, rate, "--p99.9=50ms", "--duration=30s")

	f("wants a method", here, rate, "--method=G T")
	f("wants a method", here, rate, "--method=CONNECT")
	f("Name: value", here, rate, "-H", "nonsense")
	f("Name: value", here, rate, "-H", "A B: c")
	f("Name: value", here, rate, "-H", "A: b\r\nC: d")
	f("generator's own", here, rate, "-H", "content-length: 3")
	f("GET has none", here, rate, "--body=x")
	f("no such file", here, rate, "--method=POST", "--body=@/nonexistent")

	f("does not answer: connection refused", here, rate)
}

func TestQualify(t *testing.T) {
	t.Parallel()
	var seen atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		seen.Store(strings.Join([]string{r.Method, r.Host, r.URL.RequestURI(), r.Header.Get("X-A"), r.UserAgent(), string(body)}, " "))
		if r.URL.Path == "/broken" {
			w.WriteHeader(503)
		}
	}))
	defer server.Close()
	f := func(code int, sentence, sees string, args ...string) {
		t.Helper()
		got, said := decided(t, func() {}, append([]string{"--rate=1000", "--duration=1s", "--warmup=0s"}, args...)...)
		if got != code || !strings.Contains(said, sentence) {
			t.Errorf("%q: exit %d, want %d and %q; said:\n%s", args, got, code, sentence, said)
		}
		if sees != "" && seen.Load() != sees {
			t.Errorf("%q: the server saw %q, want %q", args, seen.Load(), sees)
		}
	}
	host := strings.TrimPrefix(server.URL, "http://")
	f(exitMet, "The objective is met.", "GET "+host+" /a/../b%20c?d  sluice-loadtest ", "--target="+server.URL+"/a/../b%20c?d", "--p50=5s", "--p99=5s")
	f(exitMet, "is met", "PUT shop.example /  me hello", "--target="+server.URL, "--method=PUT", "--body=hello", "-H", "host: shop.example", "-H", "User-Agent: me")
	f(exitMet, "is met", "GET shop.example:81 / b, c sluice-loadtest ", "--target=http://shop.example:81/", "--connect="+host, "-H", "X-A: b, c")
	f(exitNotMet, "1000: status 503", "", "--target="+server.URL+"/broken")
	f(exitMet, "1000: status 503", "", "--target="+server.URL+"/broken", "--errors=100%")

	server.Config.SetKeepAlivesEnabled(false) // a new connection for each request is no error
	f(exitMet, "is met", "", "--target="+server.URL)
}

func TestQualifyTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of a client that does not trust it
	server.StartTLS()
	defer server.Close()
	if code, said := qualify(t, "--target="+server.URL, "--rate=100", "--duration=1s", "--warmup=0s"); code != exitCannotRun || !strings.Contains(said, "TLS failed") {
		t.Errorf("exit %d, said %q; a certificate of nobody was accepted", code, said)
	}
	if code, said := decided(t, func() {}, "--target="+server.URL, "--rate=1000", "--duration=1s", "--warmup=0s", "--insecure", "--p99=5s"); code != exitMet {
		t.Errorf("exit %d, said %q", code, said)
	}
}

// TestQualifySeesStall: a server of flesh and blood stands still for 400 ms of two seconds, which is 20 % of what is
// due in that time. Its clients wait in a closed loop of one connection each; p99 must show what users would have seen.
func TestQualifySeesStall(t *testing.T) {
	var began atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		began.CompareAndSwap(0, time.Now().UnixNano())
		at := time.Since(time.Unix(0, began.Load()))
		if at > 500*time.Millisecond && at < 900*time.Millisecond {
			time.Sleep(900*time.Millisecond - at)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "result.json")
	code, said := decided(t, func() { began.Store(0) },
		"--target="+server.URL, "--rate=500", "--duration=2s", "--warmup=0s", "--connections=2", "--p99=200ms", "--json="+file)
	if code != exitNotMet || !strings.Contains(said, "not met: p99 is") {
		t.Errorf("exit %d, said:\n%s", code, said)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Latency map[string]float64 `json:"latency_ms"`
		Exit    int
	}
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	if p99 := result.Latency["p99"]; p99 < 300 || p99 > 1500 || result.Exit != exitNotMet {
		t.Errorf("p99 is %v ms, want about 380: %s", p99, text)
	}
}

func TestJudge(t *testing.T) {
	histogram := func(ms ...int64) *hdrhistogram.Histogram {
		h := hdrhistogram.New(1, 3600e6, 3)
		for _, v := range ms {
			if err := h.RecordValue(v * 1000); err != nil {
				t.Fatal(err)
			}
		}
		return h
	}
	f := func(code int, due, answered, own int64, latency, lag int64) {
		t.Helper()
		q := &qualification{errors: 0.1, objectives: []objective{{"p99", 0.99, 50 * time.Millisecond}}}
		v := q.judge(&openloop.Report{Due: due, Answered: answered, Own: own, Latency: histogram(latency), Lag: histogram(lag)})
		if v.code != code {
			t.Errorf("%d of %d answered, %d own, latency %d ms, lag %d ms: %d (%s), want %d", answered, due, own, latency, lag, v.code, v.sentence, code)
		}
	}
	f(exitMet, 100, 100, 0, 40, 1)
	f(exitMet, 100, 90, 0, 40, 1)
	f(exitMet, 100, 100, 0, 40, 30) // late, and within the limit all the same
	f(exitNotMet, 100, 89, 0, 40, 1)
	f(exitNotMet, 100, 100, 0, 60, 1)
	f(exitNotMet, 100, 89, 0, 60, 4)
	f(exitUndecided, 100, 100, 0, 60, 20)
	f(exitNotMet, 100, 100, 0, 1000, 20) // that late it was not
	f(exitUndecided, 100, 89, 11, 40, 1)
	f(exitNotMet, 100, 0, 0, 40, 1)
}
