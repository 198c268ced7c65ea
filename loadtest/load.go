package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// load is what clients do to a proxy.
type load interface {
	// run does it once, for so long, from certain cores. Whatever goes wrong with a single request is an error.
	run(ctx context.Context, t target) (outcome, error)
}

// target is what is loaded, and from where.
type target struct {
	url     string
	path    string // the part of url after the address
	seconds int
	cores   string
	scratch string // a folder for files
	proxy   *running
	held    *holder // connections that wait, or nil
}

// outcome is what a load generator has seen.
type outcome struct {
	Requests int64
	Seconds  float64
	Bytes    int64 // 0 if unknown
	P50      time.Duration
	P99      time.Duration
	P999     time.Duration

	perConnection float64 // bytes of memory, if that is what was measured
}

// run runs a load generator, and returns what it printed.
func generate(ctx context.Context, t target, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(t.seconds+30)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", t.cores}, command...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", command[0], errors.Join(err, ctx.Err()), tail(string(out)))
	}
	return string(out), nil
}

// tail is the end of what a program has printed.
func tail(text string) string {
	text = strings.TrimSpace(text)
	return text[max(0, len(text)-1000):]
}

// report is the line that scripts/report.lua and our own generators print. Times are microseconds.
type report struct {
	Requests int64
	Us       int64
	Bytes    int64
	P50      int64
	P99      int64
	P999     int64

	// What went wrong, and how often.
	Connect, Read, Write, Status, Timeout int64
}

// parseReport finds the report in what a generator printed. Errors of any kind, or nothing done, are an error: such a
// run measures something else than it says.
func parseReport(printed string) (outcome, error) {
	_, line, ok := strings.Cut(printed, "report: ")
	if !ok {
		return outcome{}, fmt.Errorf("the load generator has not reported: %s", tail(printed))
	}
	line, _, _ = strings.Cut(line, "\n")
	var r report
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return outcome{}, fmt.Errorf("the report of the load generator cannot be read: %w: %s", err, line)
	}
	var wrong []string
	for _, e := range []struct {
		kind string
		n    int64
	}{{"connect", r.Connect}, {"read", r.Read}, {"write", r.Write}, {"status", r.Status}, {"timeout", r.Timeout}} {
		if e.n != 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", e.n, e.kind))
		}
	}
	if len(wrong) > 0 {
		return outcome{}, fmt.Errorf("%d requests ended well, and there were errors: %s", r.Requests, strings.Join(wrong, ", "))
	}
	if r.Requests <= 0 || r.Us <= 0 {
		return outcome{}, fmt.Errorf("no request was completed in %d µs", r.Us)
	}
	us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	return outcome{Requests: r.Requests, Seconds: us(r.Us).Seconds(), Bytes: r.Bytes, P50: us(r.P50), P99: us(r.P99), P999: us(r.P999)}, nil
}
