package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// h2load is a closed loop like wrk, of other people, and the one that speaks HTTP/2.
type h2load struct {
	options []string // such as --h1
	body    int      // bytes of a POST, 0 is a GET
}

// h2loadFields are those of scripts/report.lua.
var h2loadFields = []string{
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
	"Accept: application/json, text/plain, */*",
	"Accept-Encoding: gzip, deflate, br",
	"Accept-Language: en-US,en;q=0.9",
	"Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlc2lnbmF0dXJlc2ln",
	"X-Debug: 4bf92f3577b34da6a3ce929d0e0e4736",
}

func (h h2load) run(ctx context.Context, t target) (outcome, error) {
	log := filepath.Join(t.scratch, "h2load.log")
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return outcome{}, fmt.Errorf("cannot remove the log of the last run: %w", err)
	}
	command := append([]string{"h2load", "-t1", "-c64", "-D", strconv.Itoa(t.seconds), "--log-file", log}, h.options...)
	for _, field := range h2loadFields {
		command = append(command, "-H", field)
	}
	if h.body > 0 {
		body := filepath.Join(t.scratch, "body")
		if err := os.WriteFile(body, []byte(strings.Repeat("y", h.body)), 0o644); err != nil {
			return outcome{}, fmt.Errorf("cannot write the body for h2load: %w", err)
		}
		command = append(command, "-d", body)
	}
	printed, err := generate(ctx, t, append(command, t.url)...)
	if err != nil {
		return outcome{}, err
	}
	o, err := parseH2load(printed)
	if err != nil {
		return outcome{}, err
	}
	file, err := os.Open(log)
	if err != nil {
		return outcome{}, fmt.Errorf("cannot read the log of h2load: %w", err)
	}
	defer file.Close()
	return o, o.readH2loadLog(bufio.NewScanner(file))
}

var (
	h2loadFinished = regexp.MustCompile(`(?m)^finished in ([0-9.]+)(us|ms|s),`)
	h2loadRequests = regexp.MustCompile(`(?m)^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadStatuses = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)
	h2loadTraffic  = regexp.MustCompile(`(?m)^traffic: .* \((\d+)\) total`)
)

// parseH2load reads what h2load prints at the end. It counts 4xx as failed, and says nothing of connections that could
// not be opened but that nothing was done.
func parseH2load(printed string) (outcome, error) {
	finished, requests := h2loadFinished.FindStringSubmatch(printed), h2loadRequests.FindStringSubmatch(printed)
	statuses, traffic := h2loadStatuses.FindStringSubmatch(printed), h2loadTraffic.FindStringSubmatch(printed)
	if finished == nil || requests == nil || statuses == nil || traffic == nil {
		return outcome{}, fmt.Errorf("h2load has not told what it did: %s", tail(printed))
	}
	took, err := time.ParseDuration(finished[1] + finished[2])
	if err != nil {
		return outcome{}, fmt.Errorf("h2load finished in a time that cannot be read: %w", err)
	}
	var n [5]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(requests[i+1], 10, 64); err != nil {
			return outcome{}, fmt.Errorf("a figure of h2load cannot be read: %w", err)
		}
	}
	if done, succeeded, wrong := n[0], n[1], n[2]+n[3]+n[4]; done != succeeded || wrong != 0 || statuses[3] != "0" || statuses[4] != "0" {
		return outcome{}, fmt.Errorf("not all requests of h2load succeeded: %s; %s", requests[0], statuses[0])
	}
	if n[0] == 0 || took <= 0 {
		return outcome{}, errors.New("h2load completed no request")
	}
	bytes, err := strconv.ParseInt(traffic[1], 10, 64)
	if err != nil {
		return outcome{}, fmt.Errorf("a figure of h2load cannot be read: %w", err)
	}
	return outcome{Requests: n[0], Seconds: took.Seconds(), Bytes: bytes}, nil
}

// readH2loadLog takes the percentiles from the log, whose lines are: when it began, its status, how long it took. Both
// times are microseconds.
func (o *outcome) readH2loadLog(lines *bufio.Scanner) error {
	latencies := hdrhistogram.New(1, 60_000_000, 3)
	for lines.Scan() {
		part := strings.Split(lines.Text(), "\t")
		if len(part) != 3 {
			return fmt.Errorf("the log of h2load has a line that cannot be read: %.100q", lines.Text())
		}
		us, err := strconv.ParseInt(part[2], 10, 64)
		if err != nil {
			return fmt.Errorf("the log of h2load has a line that cannot be read: %w", err)
		}
		if err := latencies.RecordValue(max(1, us)); err != nil {
			return fmt.Errorf("the log of h2load has an odd time: %w", err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("cannot read the log of h2load: %w", err)
	}
	if latencies.TotalCount() == 0 {
		return errors.New("the log of h2load is empty")
	}
	at := func(q float64) time.Duration {
		return time.Duration(latencies.ValueAtQuantile(q)) * time.Microsecond
	}
	o.P50, o.P99, o.P999 = at(50), at(99), at(99.9)
	return nil
}
