package main

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

func TestParseReport(t *testing.T) {
	f := func(printed string, requests int64, p99 time.Duration, complaint string) {
		t.Helper()
		got, err := parseReport(printed)
		if complaint != "" {
			if err == nil || !strings.Contains(err.Error(), complaint) || got != (outcome{}) {
				t.Errorf("%q: %+v, error %v; want no figures and %q", printed, got, err, complaint)
			}
			return
		}
		if err != nil || got.Requests != requests || got.P99 != p99 {
			t.Errorf("%q: %+v, error %v; want %d requests, p99 %s", printed, got, err, requests, p99)
		}
	}
	const good = `report: {"requests":100,"us":2000000,"bytes":1000,"p50":10,"p99":1500,"p999":3000,"connect":0,"read":0,"write":0,"status":0,"timeout":0}`
	f("Running 1s test\n"+good+"\n", 100, 1500*time.Microsecond, "")
	f(`report: {"requests":5,"us":1,"p99":7}`, 5, 7*time.Microsecond, "") // our own generators stop at an error

	f("", 0, 0, "has not reported")
	f("unable to connect to 127.0.0.1:1 Connection refused", 0, 0, "Connection refused")
	f("report: {", 0, 0, "cannot be read")
	f(strings.Replace(good, `"connect":0`, `"connect":3`, 1), 0, 0, "3 connect")
	f(strings.Replace(good, `"read":0`, `"read":1`, 1), 0, 0, "1 read")
	f(strings.Replace(good, `"write":0`, `"write":1`, 1), 0, 0, "1 write")
	f(strings.Replace(good, `"status":0`, `"status":100`, 1), 0, 0, "100 status")
	f(strings.Replace(good, `"timeout":0`, `"timeout":2`, 1), 0, 0, "2 timeout")
	f(strings.Replace(good, `"requests":100`, `"requests":0`, 1), 0, 0, "no request")
}

const h2loadGood = `starting benchmark...
finished in 2.00s, 118910.00 req/s, 144.81MB/s
requests: 237820 total, 237884 started, 237820 done, 237820 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 237820 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 289.63MB (303696140) total, 45.82MB (48046508) headers (space savings 0.00%), 232.28MB (243562496) data
                     min         max         mean         sd        +/- sd
time for request:      286us      3.27ms       537us        77us    93.20%
`

func TestParseH2load(t *testing.T) {
	f := func(printed string, requests int64, seconds float64, complaint string) {
		t.Helper()
		got, err := parseH2load(printed)
		if complaint != "" {
			if err == nil || !strings.Contains(err.Error(), complaint) || got != (outcome{}) {
				t.Errorf("%+v, error %v; want no figures and %q", got, err, complaint)
			}
			return
		}
		if err != nil || got.Requests != requests || got.Seconds != seconds || got.Bytes != 303696140 {
			t.Errorf("%+v, error %v; want %d requests in %v s", got, err, requests, seconds)
		}
	}
	f(h2loadGood, 237820, 2, "")
	f(strings.Replace(h2loadGood, "in 2.00s", "in 950.50ms", 1), 237820, 0.9505, "")

	f("", 0, 0, "has not told")
	f(strings.Replace(h2loadGood, "traffic", "traffik", 1), 0, 0, "has not told")
	f(strings.Replace(h2loadGood, "0 failed", "7 failed", 1), 0, 0, "not all requests")
	f(strings.Replace(h2loadGood, "0 errored", "7 errored", 1), 0, 0, "not all requests")
	f(strings.Replace(h2loadGood, "0 timeout", "7 timeout", 1), 0, 0, "not all requests")
	f(strings.Replace(h2loadGood, "237820 succeeded", "237819 succeeded", 1), 0, 0, "not all requests")
	f(strings.Replace(h2loadGood, "0 5xx", "1 5xx", 1), 0, 0, "not all requests")
	// What h2load prints when nobody listens, and exits with 0.
	f(strings.NewReplacer("237820 done", "0 done", "237820 succeeded", "0 succeeded").Replace(h2loadGood), 0, 0, "no request")
}

func TestReadH2loadLog(t *testing.T) {
	f := func(log string, p50, p99 time.Duration, complaint string) {
		t.Helper()
		var o outcome
		err := o.readH2loadLog(bufio.NewScanner(strings.NewReader(log)))
		if complaint != "" {
			if err == nil || !strings.Contains(err.Error(), complaint) {
				t.Errorf("error %v, want %q", err, complaint)
			}
			return
		}
		if err != nil || o.P50 != p50 || o.P99 != p99 {
			t.Errorf("%+v, error %v; want %s and %s", o, err, p50, p99)
		}
	}
	f(strings.Repeat("1795629569738617\t200\t100\n", 98)+strings.Repeat("1795629569738617\t200\t900\n", 2), 100*time.Microsecond, 900*time.Microsecond, "")
	f("", 0, 0, "empty")
	f("1795629569738617\t200\n", 0, 0, "cannot be read")
	f("1795629569738617\t200\tx\n", 0, 0, "cannot be read")
	f("1795629569738617\t200\t99999999999\n", 0, 0, "odd time")
}

func TestParseStrace(t *testing.T) {
	const table = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 50.00    0.000200           1       300       100 recvfrom
 25.00    0.000100           1       200           sendto
 20.00    0.000080           1        20           epoll_pwait
  5.00    0.000020           1        10           futex
------ ----------- ----------- --------- --------- ----------------
100.00    0.000400           0       530       100 total
`
	got, err := parseStrace(table, 100)
	if want := (syscalls{Reads: 3, Writes: 2, Waits: 0.2, Others: 0.1}); err != nil || *got != want {
		t.Errorf("%+v, error %v; want %+v", got, err, want)
	}
	f := func(text string, requests int64, complaint string) {
		t.Helper()
		if _, err := parseStrace(text, requests); err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("error %v, want %q", err, complaint)
		}
	}
	f("", 100, "counted nothing")
	f(table, 0, "no requests")
	f(strings.Replace(table, "300", "x", 1), 100, "cannot be read")
}

func TestAnswered(t *testing.T) {
	f := func(response string, whole, bad bool) {
		t.Helper()
		if got, err := answered([]byte(response)); got != whole || (err != nil) != bad {
			t.Errorf("%q: %v, error %v", response, got, err)
		}
	}
	f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", false, false)
	f("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na", false, false)
	f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", true, false)
	f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", false, true)
	f("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false, true)
	f("HTTP/1.1 200 OK\r\n\r\n", false, true)
	f("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false, true)
}

func TestPlausible(t *testing.T) {
	s := scenario{path: "/1k"}
	f := func(bytes int64, ok bool) {
		t.Helper()
		if err := s.plausible(outcome{Requests: 10, Bytes: bytes}, false); (err == nil) != ok {
			t.Errorf("%d bytes: %v", bytes, err)
		}
	}
	f(10*1300, true)
	f(0, true)       // unknown
	f(10*300, false) // error pages
	f(10*9000, false)

	if err := s.plausible(outcome{Requests: 10, Bytes: 10 * 400}, true); err != nil {
		t.Error(err)
	}
	if s.plausible(outcome{Requests: 10, Bytes: 10 * 900}, true) == nil {
		t.Error("answers that are not compressed are taken for some that are")
	}
}

func TestCoreNames(t *testing.T) {
	f := func(cores, want string) {
		t.Helper()
		got, err := coreNames(cores)
		if (err != nil) != (want == "") || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, error %v; want %s", cores, got, err, want)
		}
	}
	f("0", "cpu0")
	f("0,2-4", "cpu0 cpu2 cpu3 cpu4")
	f("", "")
	f("a", "")
	f("-1", "")
	f("3-1", "")
	f("0-99999", "")
}
