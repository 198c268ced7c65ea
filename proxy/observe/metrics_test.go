package observe

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sluice/proxy"
)

// scrape returns our own part of what m writes: the go_ and process_ metrics differ each time.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	var b strings.Builder
	if err := m.WritePrometheus(&b); err != nil {
		t.Fatal(err)
	}
	var own strings.Builder
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "sluice_") || strings.HasPrefix(line, "# ") && strings.Contains(line, " sluice_") {
			own.WriteString(line)
		}
	}
	return own.String()
}

// samples returns the value of each series.
func samples(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for line := range strings.Lines(scrape(t, m)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if _, twice := values[line[:i]]; twice {
			t.Errorf("the series %s stands there twice", line[:i])
		}
		values[line[:i]] = v
	}
	return values
}

func TestWritePrometheus(t *testing.T) {
	m := New()
	m.Func("sluice_connections", "Client connections by state.", func(yield func(string, float64) bool) {
		_ = yield(Labels("state", "idle"), 3) && yield(Labels("state", "active"), 1.5)
	})
	m.Func("sluice_panics_total", "Bugs that a recover caught.", Value(func() float64 { return 2 }))
	route, service := m.Route("orders"), m.Service("origin")
	m.Route("idle")
	m.Service("spare")

	x := get()
	x.Started, x.UpstreamAt, x.HeadAt = 1e9, 1e9+1e6, 1e9+3e6
	x.BytesIn, x.Attempts = 10, 3
	route.begin()
	route.begin()
	route.finish(x, 1e9+4e6, 200)
	service.finish(x, 1e9+4e6, 200)
	route.begin()
	x.Err, x.Aborted, x.WouldRefuse = proxy.ErrTimeout, true, "shield"
	route.finish(x, 1e9+70e9, 504)
	service.finish(x, 1e9+70e9, 504)

	db, nowhere := m.Passage("postgres", "db"), m.Passage("postgres", "")
	passages := NewPassageObserver(nil, db, nowhere)
	p := &proxy.Passage{Service: "db", Ended: proxy.EndedByClient}
	passages.Begin(p)
	passages.Begin(p)
	passages.Moved(p, 10, 20)
	passages.Moved(p, 1, 2)
	passages.Finish(p)
	p = &proxy.Passage{Ended: proxy.UnrecognizedName}
	passages.Begin(p)
	passages.Finish(p)

	const want = `# HELP sluice_requests_total Requests finished, by the class of the status the client got; none: no status was ever sent.
# TYPE sluice_requests_total counter
sluice_requests_total{route="idle",class="2xx"} 0
sluice_requests_total{route="idle",class="5xx"} 0
sluice_requests_total{route="orders",class="2xx"} 1
sluice_requests_total{route="orders",class="5xx"} 1
# HELP sluice_request_duration_seconds Time from the first byte of a request to the end of its response.
# TYPE sluice_request_duration_seconds histogram
sluice_request_duration_seconds_bucket{route="orders",le="0.0005"} 0
sluice_request_duration_seconds_bucket{route="orders",le="0.001"} 0
sluice_request_duration_seconds_bucket{route="orders",le="0.0025"} 0
sluice_request_duration_seconds_bucket{route="orders",le="0.005"} 1
sluice_request_duration_seconds_bucket{route="orders",le="0.01"} 1
sluice_request_duration_seconds_bucket{route="orders",le="0.025"} 1
sluice_request_duration_seconds_bucket{route="orders",le="0.05"} 1
sluice_request_duration_seconds_bucket{route="orders",le="0.1"} 1
sluice_request_duration_seconds_bucket{route="orders",le="0.25"} 1
sluice_request_duration_seconds_bucket{route="orders",le="0.5"} 1
sluice_request_duration_seconds_bucket{route="orders",le="1"} 1
sluice_request_duration_seconds_bucket{route="orders",le="2.5"} 1
sluice_request_duration_seconds_bucket{route="orders",le="5"} 1
sluice_request_duration_seconds_bucket{route="orders",le="10"} 1
sluice_request_duration_seconds_bucket{route="orders",le="30"} 1
sluice_request_duration_seconds_bucket{route="orders",le="60"} 1
sluice_request_duration_seconds_bucket{route="orders",le="+Inf"} 2
sluice_request_duration_seconds_sum{route="orders"} 70.004
sluice_request_duration_seconds_count{route="orders"} 2
# HELP sluice_request_bytes_total Bytes of request bodies taken from clients.
# TYPE sluice_request_bytes_total counter
sluice_request_bytes_total{route="orders"} 20
# HELP sluice_response_bytes_total Bytes of responses written to clients, heads included.
# TYPE sluice_response_bytes_total counter
sluice_response_bytes_total{route="orders"} 1024
# HELP sluice_requests_in_flight Requests begun and not finished, streams and tunnels included.
# TYPE sluice_requests_in_flight gauge
sluice_requests_in_flight{route="orders"} 1
# HELP sluice_requests_aborted_total Responses that were cut short.
# TYPE sluice_requests_aborted_total counter
sluice_requests_aborted_total{route="orders"} 1
# HELP sluice_requests_refused_total Requests that the gateway answered with an error of its own, by its code.
# TYPE sluice_requests_refused_total counter
sluice_requests_refused_total{route="orders",code="timeout"} 1
# HELP sluice_guard_reports_total Requests that a guard in report mode would have refused.
# TYPE sluice_guard_reports_total counter
sluice_guard_reports_total{route="orders",policy="shield"} 1
# HELP sluice_upstream_requests_total Requests that asked the service, by the class of its answer; error: none that could be passed on.
# TYPE sluice_upstream_requests_total counter
sluice_upstream_requests_total{service="origin",class="error"} 1
sluice_upstream_requests_total{service="origin",class="2xx"} 1
sluice_upstream_requests_total{service="origin",class="5xx"} 0
sluice_upstream_requests_total{service="spare",class="2xx"} 0
sluice_upstream_requests_total{service="spare",class="5xx"} 0
# HELP sluice_upstream_duration_seconds Time from the begin of the last try to the head of the response.
# TYPE sluice_upstream_duration_seconds histogram
`
	got := scrape(t, m)
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s...", got, want)
	}
	const wantEnd = `sluice_upstream_duration_seconds_sum{service="origin"} 0.004
sluice_upstream_duration_seconds_count{service="origin"} 2
# HELP sluice_upstream_retries_total Tries beyond the first.
# TYPE sluice_upstream_retries_total counter
sluice_upstream_retries_total{service="origin"} 4
# HELP sluice_passages_total Connections passed on to a service as they are, or refused, by how they ended.
# TYPE sluice_passages_total counter
sluice_passages_total{listener="postgres",service="",ended="unrecognized_name"} 1
sluice_passages_total{listener="postgres",service="db",ended="client"} 1
# HELP sluice_passages_open Connections that are passed on to a service now.
# TYPE sluice_passages_open gauge
sluice_passages_open{listener="postgres",service="db"} 1
# HELP sluice_passage_bytes_total Bytes of connections that are passed on: in is from clients. They are counted within seconds.
# TYPE sluice_passage_bytes_total counter
sluice_passage_bytes_total{listener="postgres",service="db",direction="in"} 11
sluice_passage_bytes_total{listener="postgres",service="db",direction="out"} 22
# HELP sluice_connections Client connections by state.
# TYPE sluice_connections gauge
sluice_connections{state="idle"} 3
sluice_connections{state="active"} 1.5
# HELP sluice_panics_total Bugs that a recover caught.
# TYPE sluice_panics_total counter
sluice_panics_total 2
`
	if !strings.HasSuffix(got, wantEnd) {
		t.Errorf("got\n%s\nwant ...\n%s", got, wantEnd)
	}
}

func TestWritePrometheusProcess(t *testing.T) {
	var b strings.Builder
	if err := New().WritePrometheus(&b); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(b.String(), "\n"+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestWritePrometheusError(t *testing.T) {
	broken := errors.New("connection reset")
	if err := New().WritePrometheus(brokenWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

// TestNames lints every metric that this package writes.
func TestNames(t *testing.T) {
	m := New()
	x := get()
	x.Err, x.WouldRefuse = proxy.ErrTimeout, "shield"
	m.Route("a").begin()
	m.Route("a").finish(x, x.Started, 504)
	m.Service("b").finish(x, x.Started, 504)
	kinds := map[string]string{}
	suffixes := regexp.MustCompile(`_(bucket|sum|count)$`)
	for line := range strings.Lines(scrape(t, m)) {
		words := strings.Fields(line)
		switch words[1] {
		case "HELP":
			if help := strings.Join(words[3:], " "); !strings.HasSuffix(help, ".") {
				t.Errorf("%s: the help %q is no sentence", words[2], help)
			}
			continue
		case "TYPE":
			kinds[words[2]] = words[3]
			continue
		}
		name, _, _ := strings.Cut(words[0], "{")
		if kinds[name] == "" && kinds[suffixes.ReplaceAllString(name, "")] != "histogram" {
			t.Errorf("%s has no TYPE before it", name)
		}
	}
	if len(kinds) != len(ownNames) {
		t.Errorf("%d metrics are written, %d named", len(kinds), len(ownNames))
	}
	for _, name := range ownNames {
		if err := checkName(name); err != nil {
			t.Error(err)
		}
		switch total := strings.HasSuffix(name, "_total"); kinds[name] {
		case "counter":
			if !total {
				t.Errorf("the counter %s does not end in _total", name)
			}
		case "histogram":
			if !strings.HasSuffix(name, "_seconds") {
				t.Errorf("the histogram %s does not end in its unit", name)
			}
		case "gauge":
			if total {
				t.Errorf("the gauge %s ends in _total", name)
			}
		default:
			t.Errorf("%s is not written", name)
		}
	}
}

func TestCheckName(t *testing.T) {
	f := func(name string, want bool) {
		t.Helper()
		if err := checkName(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	f("sluice_pool_connections", true)
	f("sluice_http2_streams_total", true)
	f("sluice_pool_bytes", true)
	f("sluice_pool_read_bytes_total", true)

	f("", false)
	f("sluice", false)
	f("sluice_", false)
	f("pool_connections", false)
	f("sluice_Pool", false)
	f("sluice_pool-size", false)
	f("sluice_pool__size", false)
	f("sluice_pool_", false)
	f("sluice_pool{a=\"b\"}", false)
	f("sluice_pool_bytes_read", false)
	f("sluice_pool_seconds_waited_total", false)
}

// TestGroup: metrics of a group stand at their places among all others, and show what was read once.
func TestGroup(t *testing.T) {
	m := New()
	reads := 0
	g := NewGroup(m, func() int { reads++; return reads })
	show := func(n int) iter.Seq2[string, float64] { return Value(func() float64 { return float64(n) }) }
	g.Func("sluice_c", "Last.", show)
	g.Func("sluice_a_total", "First.", show)
	m.Func("sluice_b", "Between.", Value(func() float64 { return 7 }))
	for n := 1; n <= 2; n++ {
		var b strings.Builder
		if err := m.WritePrometheus(&b); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("# HELP sluice_a_total First.\n# TYPE sluice_a_total counter\nsluice_a_total %d\n"+
			"# HELP sluice_b Between.\n# TYPE sluice_b gauge\nsluice_b 7\n"+
			"# HELP sluice_c Last.\n# TYPE sluice_c gauge\nsluice_c %d\n", n, n)
		if !strings.Contains(b.String(), want) {
			t.Errorf("want\n%s\nin\n%s", want, b.String())
		}
	}
}

func TestFuncBugs(t *testing.T) {
	f := func(name string, wantPanic bool) {
		t.Helper()
		m := New()
		m.Func("sluice_taken", "Taken.", Value(func() float64 { return 0 }))
		defer func() {
			t.Helper()
			if p := recover(); (p != nil) != wantPanic {
				t.Errorf("%s: panic %v", name, p)
			}
		}()
		m.Func(name, "Help.", Value(func() float64 { return 0 }))
	}
	f("sluice_free", false)
	f("sluice_taken", true)
	f("sluice_requests_total", true)
	f("requests", true)
}

func TestLabels(t *testing.T) {
	f := func(want string, pairs ...string) {
		t.Helper()
		if got := Labels(pairs...); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(``)
	f(`a="b"`, "a", "b")
	f(`a="b",c="d"`, "a", "b", "c", "d")
	f(`a=""`, "a", "")
	f(`a="q\"b\\s\nn"`, "a", "q\"b\\s\nn")
	f("a=\"\uFFFD\"", "a", "\xff")
	f(`a="ü}"`, "a", "ü}")
}

func TestGetOrCreateAndForget(t *testing.T) {
	m := New()
	r, s := m.Route("a"), m.Service("a")
	if m.Route("a") != r || m.Service("a") != s {
		t.Error("a second look found other metrics")
	}
	if m.Route("b") == r || m.Service("b") == s {
		t.Error("two names share metrics")
	}
	if r.Name() != "a" || s.Name() != "a" {
		t.Errorf("names %q, %q", r.Name(), s.Name())
	}
	m.ForgetRoutes("a", "never-there")
	m.ForgetServices("b")
	got := samples(t, m)
	f := func(series string, want bool) {
		t.Helper()
		if _, ok := got[series]; ok != want {
			t.Errorf("%s: %v", series, ok)
		}
	}
	f(`sluice_requests_total{route="a",class="2xx"}`, false)
	f(`sluice_requests_total{route="b",class="2xx"}`, true)
	f(`sluice_upstream_requests_total{service="a",class="2xx"}`, true)
	f(`sluice_upstream_requests_total{service="b",class="2xx"}`, false)
	r.begin() // an exchange that still runs
	if m.Route("a") == r {
		t.Error("a forgotten route came back with its counts")
	}
}

// TestConcurrent loses no update, and no scrape meanwhile sees a counter fall or a gauge below 0.
func TestConcurrent(t *testing.T) {
	const workers, rounds = 8, 2000
	m := New()
	o := NewObserver(m.Route("a"), map[string]*ServiceMetrics{"orders": m.Service("orders")}, nil)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			x := get()
			x.Err = &proxy.Error{Status: 429, Code: fmt.Sprint("code-", i%4)}
			x.Response.Status = 200
			for range rounds {
				o.Begin(x)
				o.Finish(x)
			}
		})
	}
	stop, scraped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(scraped)
		before := map[string]float64{}
		for {
			select {
			case <-stop:
				return
			default:
			}
			for series, v := range samples(t, m) {
				if v < before[series] && !strings.Contains(series, "in_flight") || v > workers*rounds*1000 {
					t.Errorf("%s: %v after %v", series, v, before[series])
				}
				before[series] = v
			}
		}
	}()
	wg.Wait()
	close(stop)
	<-scraped

	got := samples(t, m)
	f := func(series string, want float64) {
		t.Helper()
		if got[series] != want {
			t.Errorf("%s: got %v, want %v", series, got[series], want)
		}
	}
	f(`sluice_requests_total{route="a",class="2xx"}`, workers*rounds)
	f(`sluice_request_duration_seconds_count{route="a"}`, workers*rounds)
	f(`sluice_requests_in_flight{route="a"}`, 0)
	f(`sluice_response_bytes_total{route="a"}`, workers*rounds*512)
	f(`sluice_requests_refused_total{route="a",code="code-0"}`, workers*rounds/4)
	f(`sluice_upstream_requests_total{service="orders",class="2xx"}`, workers*rounds)
}

// TestManyRoutes keeps a scrape of 10,000 idle routes short.
func TestManyRoutes(t *testing.T) {
	m := New()
	for i := range 10_000 {
		m.Route(fmt.Sprint("route-", i))
	}
	var n countingWriter
	if err := m.WritePrometheus(&n); err != nil {
		t.Fatal(err)
	}
	if n > 2<<20 {
		t.Errorf("a scrape is %d bytes long", n)
	}
}

type countingWriter int

func (n *countingWriter) Write(p []byte) (int, error) {
	*n += countingWriter(len(p))
	return len(p), nil
}

var _ io.Writer = new(countingWriter)
