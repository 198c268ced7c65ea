package proxytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// secret stands wherever a request or response may hold one. No byte of it may come to light.
const secret = "hush-6f2a91"

// secretFields are received with every request of the test.
const secretFields = "Host: shop.example\r\nAuthorization: Bearer " + secret + "-a\r\nCookie: session=" + secret + "-c; theme=dark\r\n" +
	"Proxy-Authorization: Basic " + secret + "-p\r\nX-Api-Key: " + secret + "-k\r\nReferer: https://me:" + secret + "-u@shop.example/?token=" + secret + "-r\r\n"

// TestMetricsAndLogAgree sends a known mix of requests and then compares three witnesses: what the client counted, what
// /metrics says and what the access log says.
func TestMetricsAndLogAgree(t *testing.T) {
	arrived, release := make(chan bool), make(chan bool)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session="+secret+"-s")
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		switch r.URL.Path {
		case "/held":
			arrived <- true
			<-release
		case "/broken":
			w.WriteHeader(503)
		}
		fmt.Fprintf(w, "%d bytes", n)
	})
	cut := RawOrigin(t, func(c *net.TCPConn) {
		if _, err := newMessages(c).next(); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes!")
		}
	})
	access := filepath.Join(t.TempDir(), "access.log")
	gw := Start(t, fmt.Sprintf(`
log: { access: { to: %[1]q } }
services:
  good: { to: ["http://%[2]s"] }
  half: { to: ["http://%[2]s", "http://%[4]s"] }
  none: { to: ["http://%[4]s"] }
  cut:  { to: ["http://%[3]s"] }
policies:
  outside: { addresses: { deny: [127.0.0.0/8] } }
  watch: { addresses: { deny: [127.0.0.0/8], mode: report } }
routes:
  get:      { match: "GET /get/{x}", to: good, use: [watch] }
  post:     { match: "POST /post", to: good, body_limit: 64KiB }
  broken:   { match: /broken, to: good }
  held:     { match: /held, to: good }
  half:     { match: /half, to: half }
  none:     { match: /none, to: none }
  cut:      { match: /cut, to: cut }
  refused:  { match: /refused, use: [outside], respond: { text: never } }
  respond:  { match: /respond, respond: { text: hello } }
  redirect: { match: "/old/{x}", redirect: { to: "/get/$path.x", status: 302 } }
  silent:   { match: /silent, respond: { text: nobody asks } }
`, access, origin, cut, unreachable(t)))

	saw := ledger{}
	c := gw.Dial()
	in := newMessages(c.TCPConn)
	// f sends a request n times on one connection. body is what its body counts for.
	f := func(n int, route, class, request string, body int) {
		t.Helper()
		for range n {
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			c.Send(request)
			m, err := in.next()
			if err != nil {
				t.Fatal(err)
			}
			saw.add(t, route, class, m, body)
		}
	}
	// last does the same where the answer ends the connection.
	last := func(route, class, request string, body int) {
		t.Helper()
		c := gw.Dial()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		c.Send(request)
		m, err := io.ReadAll(c.TCPConn)
		if err != nil {
			t.Fatal(err)
		}
		c.Close() // the gateway reads on until then, so that its answer is not lost
		saw.add(t, route, class, m, body)
	}
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + secretFields + "\r\n" }
	query := "?q=1&token=" + secret + "-t&access_token=" + secret + "&password=" + secret

	f(7, "get", "2xx", get("/get/cats"+query), 0)
	f(3, "post", "2xx", "POST /post"+query+" HTTP/1.1\r\n"+secretFields+"Content-Length: 1000\r\n\r\n"+strings.Repeat("y", 1000), 1000)
	f(2, "post", "2xx", "POST /post HTTP/1.1\r\n"+secretFields+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 5)
	f(1, "post", "2xx", "POST /post HTTP/1.1\r\n"+secretFields+"Content-Length: 60000\r\n\r\n"+strings.Repeat("y", 60000), 60000)
	f(2, "broken", "5xx", get("/broken"+query), 0)
	f(2, "half", "2xx", get("/half"), 0) // one of the two meets the endpoint that is not there
	f(3, "none", "5xx", get("/none"+query), 0)
	f(4, "refused", "4xx", get("/refused"+query), 0)
	f(5, "respond", "2xx", get("/respond"), 0)
	f(3, "redirect", "3xx", get("/old/cats"+query), 0)
	f(6, "-", "4xx", get("/nothing"+query), 0)
	f(2, "-", "4xx", "DELETE /get/cats"+query+" HTTP/1.1\r\n"+secretFields+"\r\n", 0)
	f(1, "-", "4xx", get("/%00"+query), 0)
	f(1, "-", "2xx", "OPTIONS /post"+query+" HTTP/1.1\r\n"+secretFields+"\r\n", 0)
	for _, accept := range []string{"text/html", "text/plain", "application/json"} {
		f(1, "-", "4xx", "GET /nothing"+query+" HTTP/1.1\r\nAccept: "+accept+"\r\n"+secretFields+"\r\n", 0)
	}
	// Refused before its body was sent, which is then read and thrown away: the connection lives on.
	f(1, "post", "4xx", "POST /post"+query+" HTTP/1.1\r\n"+secretFields+"Content-Length: 70000\r\n\r\n", 0)
	c.Send(strings.Repeat("y", 70000))
	f(1, "respond", "2xx", get("/respond"), 0)
	last("cut", "2xx", get("/cut"+query), 0)
	last("-", "4xx", "GET /get/cats"+query+" HTTP/1.1\r\n"+secretFields+"Bad : "+secret+"\r\n\r\n", 0)
	last("-", "4xx", "GET /get/cats"+query+" HTTP/1.1\r\n"+secretFields+"Cookie: "+secret+"\x00\r\n\r\n", 0)

	// While a request is under way it is in flight, and nothing else is.
	held := gw.Dial()
	held.Send(get("/held"))
	await(t, arrived)
	during := scrape(t, gw)
	during.want(t, `sluice_requests_in_flight{route="held"}`, 1)
	during.want(t, `sluice_requests_total{route="held",class="2xx"}`, 0)
	close(release)
	if err := held.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	m, err := newMessages(held.TCPConn).next()
	if err != nil {
		t.Fatal(err)
	}
	saw.add(t, "held", "2xx", m, 0)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := gw.Server.Shutdown(ctx); err != nil { // every exchange has finished after it
		t.Fatal(err)
	}
	after := scrape(t, gw)
	gw.Stop()
	text, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	lines := parseLog(t, text)

	compare(t, saw, after, lines)
	after.want(t, `sluice_requests_aborted_total{route="cut"}`, 1)
	after.want(t, `sluice_requests_aborted_total{route="get"}`, 0)
	after.want(t, `sluice_guard_reports_total{route="get",policy="watch"}`, 7)
	after.want(t, `sluice_requests_total{route="silent",class="2xx"}`, 0)
	after.want(t, `sluice_upstream_requests_total{service="good",class="2xx"}`, 7+3+2+1+1)
	after.want(t, `sluice_upstream_requests_total{service="good",class="5xx"}`, 2)
	after.want(t, `sluice_upstream_requests_total{service="none",class="error"}`, 3)
	after.want(t, `sluice_upstream_requests_total{service="cut",class="2xx"}`, 1)
	after.want(t, `sluice_upstream_requests_total{service="half",class="2xx"}`, 2)
	if after[`sluice_upstream_retries_total{service="half"}`] < 1 {
		t.Error("no try at the endpoint that is not there was counted as retried")
	}
	for name, witness := range map[string][]byte{"the access log": text, "/metrics": exposition(t, gw)} {
		if i := bytes.Index(witness, []byte("hush")); i >= 0 {
			t.Errorf("%s holds a secret: ...%s", name, witness[max(0, i-100):min(len(witness), i+50)])
		}
	}
}

// TestLogTemplateHidesSecrets: a format that asks for a secret gets a mark in its place.
func TestLogTemplateHidesSecrets(t *testing.T) {
	f := func(format, want string) {
		t.Helper()
		access := filepath.Join(t.TempDir(), "access.log")
		gw := Start(t, fmt.Sprintf(`
log: { access: { to: %q, format: %q } }
routes:
  say: { match: "/say/{x}", respond: { text: hello, headers: { Set-Cookie: "session=%s" } } }
`, access, format, secret))
		r := gw.Repeat(200, "GET /say/cats?q=1&token="+secret+"-t HTTP/1.1\r\n"+secretFields+"\r\n")
		if _, err := r.Do(); err != nil {
			t.Fatal(err)
		}
		gw.Stop()
		got, err := os.ReadFile(access)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want+"\n" {
			t.Fatalf("%s: got %q, want %q", format, got, want)
		}
	}
	f("$route $request.method $response.status", "say GET 200")
	f("$header.Authorization;$header.cookie;$cookie.session;$cookie.theme", "***;***;***;***")
	f("$header.X-Api-Key $header.Proxy-Authorization $header.Host", "*** *** shop.example")
	f("$header.Referer", "https://***@shop.example/?token=***")
	f("$request.uri $request.query $query.q $query.token", "/say/cats?q=1&token=*** q=1&token=*** 1 ***")
	f("$response.header.Set-Cookie", "***")
}

// tally is what happened on one route.
type tally struct {
	classes  map[string]int
	bytesIn  int
	bytesOut int
}

// ledger is what happened, by route.
type ledger map[string]*tally

func (l ledger) of(route string) *tally {
	if l[route] == nil {
		l[route] = &tally{classes: map[string]int{}}
	}
	return l[route]
}

// add enters a response that the client has read.
func (l ledger) add(t *testing.T, route, class string, response []byte, body int) {
	t.Helper()
	if len(response) < 10 || response[9] != class[0] {
		t.Fatalf("got %.200q, want a status of %s", response, class)
	}
	// The origin's own cookie is the client's business; what the gateway writes itself must not hold a secret.
	_, own, _ := bytes.Cut(response, headEnd)
	if bytes.Contains(own, []byte("hush")) {
		t.Errorf("the answer's body holds a secret: %s", own)
	}
	e := l.of(route)
	e.classes[class]++
	e.bytesIn += body
	e.bytesOut += len(response)
}

// compare holds metrics and log against what the client saw.
func compare(t *testing.T, saw ledger, m samples, lines []logLine) {
	t.Helper()
	logged := ledger{}
	codes := map[string]float64{}
	retries, aborted := map[string]float64{}, map[string]float64{}
	lasted := map[string]float64{}
	for _, n := range lines {
		e := logged.of(n.Route)
		e.classes[fmt.Sprintf("%dxx", n.Status/100)]++
		e.bytesIn += n.BytesIn
		e.bytesOut += n.BytesOut
		lasted[n.Route] += n.Duration
		if n.Error != "" {
			codes[fmt.Sprintf("sluice_requests_refused_total{route=%q,code=%q}", n.Route, n.Error)]++
		}
		if n.Attempts > 0 {
			retries[fmt.Sprintf("sluice_upstream_retries_total{service=%q}", n.Service)] += float64(n.Attempts - 1)
		}
		if n.Aborted {
			aborted[fmt.Sprintf("sluice_requests_aborted_total{route=%q}", n.Route)]++
		}
		if n.ID == "" || n.Time.IsZero() || n.Duration <= 0 || n.Client != "127.0.0.1" {
			t.Errorf("a line lacks something: %+v", n)
		}
	}
	if got, want := slices.Sorted(maps.Keys(logged)), slices.Sorted(maps.Keys(saw)); !slices.Equal(got, want) {
		t.Errorf("the log has the routes %q, want %q", got, want)
	}
	for route, want := range saw {
		got := logged.of(route)
		if !maps.Equal(got.classes, want.classes) || got.bytesIn != want.bytesIn || got.bytesOut != want.bytesOut {
			t.Errorf("the log says of route %s %+v, want %+v", route, *got, *want)
		}
		total := 0
		for _, class := range []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
			m.want(t, fmt.Sprintf("sluice_requests_total{route=%q,class=%q}", route, class), float64(want.classes[class]))
			total += want.classes[class]
		}
		m.want(t, fmt.Sprintf("sluice_request_bytes_total{route=%q}", route), float64(want.bytesIn))
		m.want(t, fmt.Sprintf("sluice_response_bytes_total{route=%q}", route), float64(want.bytesOut))
		m.want(t, fmt.Sprintf("sluice_requests_in_flight{route=%q}", route), 0)
		m.histogram(t, "sluice_request_duration_seconds", fmt.Sprintf("route=%q", route), total, lasted[route])
	}
	for _, service := range []string{"good", "half", "none", "cut"} {
		total, ms := 0, 0.0
		for _, n := range lines {
			if n.Service == service && n.Attempts > 0 {
				total++
				ms += n.Upstream
			}
		}
		m.histogram(t, "sluice_upstream_duration_seconds", fmt.Sprintf("service=%q", service), total, ms)
	}
	for _, family := range []struct {
		name string
		want map[string]float64
	}{{"sluice_requests_refused_total", codes}, {"sluice_upstream_retries_total", retries}, {"sluice_requests_aborted_total", aborted}} {
		for series, want := range family.want {
			m.want(t, series, want)
		}
		for series, got := range m {
			if strings.HasPrefix(series, family.name+"{") && got != family.want[series] {
				t.Errorf("%s is %v, the log says %v", series, got, family.want[series])
			}
		}
	}
}

// samples are the lines of /metrics, by series.
type samples map[string]float64

// want checks one series. A series that is not there counts as 0.
func (m samples) want(t *testing.T, series string, want float64) {
	t.Helper()
	if got := m[series]; got != want {
		t.Errorf("%s is %v, want %v", series, got, want)
	}
}

// histogram checks that the buckets never fall, that the last of them is the count, that this is total, and that the sum
// is that of the log and lies between what the buckets say at least and at most.
func (m samples) histogram(t *testing.T, name, label string, total int, ms float64) {
	t.Helper()
	var bounds []float64
	buckets := map[float64]float64{}
	for series, n := range m {
		rest, ok := strings.CutPrefix(series, name+"_bucket{"+label+",le=\"")
		if !ok {
			continue
		}
		le, err := strconv.ParseFloat(strings.TrimSuffix(rest, "\"}"), 64)
		if err != nil {
			t.Fatal(err)
		}
		bounds = append(bounds, le)
		buckets[le] = n
	}
	slices.Sort(bounds)
	var before, below, least, most float64
	for _, le := range bounds {
		n := buckets[le] - below
		if n < 0 {
			t.Errorf("%s{%s}: the bucket of %v holds less than the one before", name, label, le)
		}
		if n > 0 {
			least, most = least+n*before, most+n*le
		}
		before, below = le, buckets[le]
	}
	count, sum := m[name+"_count{"+label+"}"], m[name+"_sum{"+label+"}"]
	if len(bounds) < 2 || below != count || int(count) != total {
		t.Errorf("%s{%s}: %d buckets, the last one holds %v, count is %v, want %d", name, label, len(bounds), below, count, total)
	}
	if sum < least || sum > most {
		t.Errorf("%s{%s}: sum is %v, the buckets say from %v to %v", name, label, sum, least, most)
	}
	if logged := ms / 1e3; sum < logged-1e-9 || sum > logged+1e-6*float64(total)+1e-9 {
		t.Errorf("%s{%s}: sum is %v, the log says %v", name, label, sum, logged) // in whole microseconds, rounded down
	}
}

func exposition(t *testing.T, gw *Gateway) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gw.Metrics.WritePrometheus(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func scrape(t *testing.T, gw *Gateway) samples {
	t.Helper()
	m := samples{}
	for line := range strings.Lines(string(exposition(t, gw))) {
		line = strings.TrimSuffix(line, "\n")
		at := strings.LastIndexByte(line, ' ')
		if line == "" || line[0] == '#' || at < 0 || !strings.HasPrefix(line, "sluice_") {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if _, twice := m[line[:at]]; twice {
			t.Errorf("%s stands there twice", line[:at])
		}
		m[line[:at]] = value
	}
	return m
}

// logLine is a line of the access log.
type logLine struct {
	Time     time.Time `json:"time"`
	ID       string    `json:"request_id"`
	Client   string    `json:"client"`
	Status   int       `json:"status"`
	Route    string    `json:"route"`
	Service  string    `json:"service"`
	Attempts int       `json:"attempts"`
	BytesIn  int       `json:"bytes_in"`
	BytesOut int       `json:"bytes_out"`
	Duration float64   `json:"duration_ms"`
	Upstream float64   `json:"upstream_ms"`
	Error    string    `json:"error"`
	Aborted  bool      `json:"aborted"`
}

func parseLog(t *testing.T, text []byte) []logLine {
	t.Helper()
	var lines []logLine
	for line := range bytes.Lines(text) {
		var n logLine
		if err := json.Unmarshal(line, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, n)
	}
	return lines
}

// unreachable returns an address that refuses connections: its port is taken by a socket that does not listen.
func unreachable(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

func await(t *testing.T, c <-chan bool) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened for ten seconds")
	}
}
