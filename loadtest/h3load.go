package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/quic-go/quic-go/http3"
)

// h3load is a closed loop like h2load's over HTTP/3, which the h2load of Debian does not speak: as many connections, and as many
// requests at a time on each. It costs far more than h2load, so that only what the proxy takes for a request can be compared.
type h3load struct{ streams int }

const h3loadConnections = 64

func (h h3load) run(ctx context.Context, t target) (outcome, error) {
	self, err := os.Executable()
	if err != nil {
		return outcome{}, fmt.Errorf("cannot find this program: %w", err)
	}
	printed, err := generate(ctx, t, self, "h3load", t.url, strconv.Itoa(t.seconds), strconv.Itoa(h.streams))
	if err != nil {
		return outcome{}, err
	}
	return parseReport(printed)
}

// h3loadCommand is the generator.
type h3loadCommand struct {
	URL     string `arg:""`
	Seconds int    `arg:""`
	Streams int    `arg:""`
}

// h3loadSeen is what came of the requests.
type h3loadSeen struct {
	mu        sync.Mutex
	latencies *hdrhistogram.Histogram
	report    report
}

func (c *h3loadCommand) Run(ctx context.Context) error {
	seen := &h3loadSeen{latencies: hdrhistogram.New(1, 60_000_000, 3)}
	began := time.Now()
	ctx, cancel := context.WithDeadline(ctx, began.Add(time.Duration(c.Seconds)*time.Second))
	defer cancel()
	var all sync.WaitGroup
	for range h3loadConnections {
		client := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
		defer client.Close()
		for range c.Streams {
			all.Go(func() {
				for ctx.Err() == nil {
					seen.ask(ctx, client, c.URL)
				}
			})
		}
	}
	all.Wait()
	at, r := seen.latencies.ValueAtQuantile, &seen.report
	fmt.Printf("report: {\"requests\":%d,\"us\":%d,\"bytes\":%d,\"p50\":%d,\"p99\":%d,\"p999\":%d,\"read\":%d,\"status\":%d}\n",
		seen.latencies.TotalCount(), time.Since(began).Microseconds(), r.Bytes, at(50), at(99), at(99.9), r.Read, r.Status)
	return nil
}

// ask makes one request. What the end of the run has cut off does not count.
func (s *h3loadSeen) ask(ctx context.Context, client http.RoundTripper, url string) {
	began := time.Now()
	status, bytes, err := ask3(ctx, client, url)
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.report.Read++
	case status != http.StatusOK:
		s.report.Status++
	default:
		s.report.Bytes += bytes
		if s.latencies.RecordValue(max(1, time.Since(began).Microseconds())) != nil {
			s.report.Timeout++
		}
	}
}

func ask3(ctx context.Context, client http.RoundTripper, url string) (status int, bytes int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	for _, field := range h2loadFields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.RoundTrip(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	bytes, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, bytes, err
}
