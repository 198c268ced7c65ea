package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// result is what a comparison found, as it is written to result.json.
type result struct {
	Taken     time.Time         `json:"taken"`
	Host      string            `json:"host"` // kernel and processor
	Versions  map[string]string `json:"versions"`
	Order     []string          `json:"order"` // of the peers; the first is what the others are compared with
	Rounds    int               `json:"rounds"`
	Seconds   int               `json:"seconds"`
	Threads   int               `json:"threads"`
	Scenarios []scenarioResult  `json:"scenarios"`
}

type scenarioResult struct {
	Name     string          `json:"name"`
	About    string          `json:"about"`
	Unit     string          `json:"unit"`             // of Cost
	Failed   string          `json:"failed,omitempty"` // why there are no figures
	Subjects []subjectResult `json:"subjects,omitempty"`
}

// subjectResult is what one peer did in one scenario. Ratios are medians of the ratios of each round.
type subjectResult struct {
	Peer   string    `json:"peer"`
	With   string    `json:"with,omitempty"`
	Median sample    `json:"median"`
	Rounds []sample  `json:"rounds"`
	Calls  *syscalls `json:"system_calls,omitempty"` // per request, where they were counted

	// What the first peer costs beside this one: below 1 it is cheaper. 0 where there is nothing to compare.
	Ratio    float64 `json:"ratio,omitempty"`
	RatioP99 float64 `json:"ratio_p99,omitempty"`
	// What this one costs beside itself without the scenario's word.
	Added    float64 `json:"added,omitempty"`
	AddedP99 float64 `json:"added_p99,omitempty"`
}

// sample is one run. Times of requests are milliseconds.
type sample struct {
	Requests  int64   `json:"requests"`
	Seconds   float64 `json:"seconds"`
	Cost      float64 `json:"cost"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	RSS       float64 `json:"rss_kib"`
	Reads     float64 `json:"io_reads"`  // per request, as /proc/PID/io counts: without recv and its like
	Writes    float64 `json:"io_writes"` // per request, without send and its like
	Others    float64 `json:"others"`    // the share of the proxy's cores that others had
}

func (r subjectResult) label() string { return subject{peer{name: r.Peer}, r.With}.label() }

func (r subjectResult) costs() []float64 { return r.each(func(s sample) float64 { return s.Cost }) }
func (r subjectResult) p99s() []float64  { return r.each(func(s sample) float64 { return s.P99 }) }

func (r subjectResult) each(f func(sample) float64) []float64 {
	var all []float64
	for _, s := range r.Rounds {
		all = append(all, f(s))
	}
	return all
}

// relate fills in what follows from the rounds: medians and ratios.
func (r *result) relate() {
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		for j := range s.Subjects {
			one := &s.Subjects[j]
			one.Median = one.medians()
			first := s.find(s.Subjects[0].Peer, one.With)
			if first != nil && first.Peer != one.Peer {
				one.Ratio = medianRatio(first.costs(), one.costs())
				one.RatioP99 = medianRatio(first.p99s(), one.p99s())
			}
			if bare := s.find(one.Peer, ""); bare != nil && one.With != "" {
				one.Added = medianRatio(one.costs(), bare.costs())
				one.AddedP99 = medianRatio(one.p99s(), bare.p99s())
			}
		}
	}
}

func (s *scenarioResult) find(peer, with string) *subjectResult {
	for i, one := range s.Subjects {
		if one.Peer == peer && one.With == with {
			return &s.Subjects[i]
		}
	}
	return nil
}

func (r subjectResult) medians() sample {
	of := func(f func(sample) float64) float64 { return median(r.each(f)) }
	return sample{
		Requests:  int64(of(func(s sample) float64 { return float64(s.Requests) })),
		Seconds:   of(func(s sample) float64 { return s.Seconds }),
		Cost:      of(func(s sample) float64 { return s.Cost }),
		PerSecond: of(func(s sample) float64 { return s.PerSecond }),
		P50:       of(func(s sample) float64 { return s.P50 }),
		P99:       of(func(s sample) float64 { return s.P99 }),
		P999:      of(func(s sample) float64 { return s.P999 }),
		RSS:       of(func(s sample) float64 { return s.RSS }),
		Reads:     of(func(s sample) float64 { return s.Reads }),
		Writes:    of(func(s sample) float64 { return s.Writes }),
		Others:    of(func(s sample) float64 { return s.Others }),
	}
}

func (r *result) failed() []string {
	var names []string
	for _, s := range r.Scenarios {
		if s.Failed != "" {
			names = append(names, s.Name)
		}
	}
	return names
}

// describe says where and with what was measured.
func (p plan) describe() (*result, error) {
	r := &result{Taken: time.Now().UTC().Truncate(time.Second), Versions: map[string]string{}, Rounds: p.rounds, Seconds: p.seconds, Threads: p.threads}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, fmt.Errorf("cannot tell the kernel: %w", err)
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot tell the processor: %w", err)
	}
	model := "unknown processor"
	for line := range strings.Lines(string(cpu)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	r.Host = fmt.Sprintf("Linux %s, %d cores, %s", bytes.TrimSpace(kernel), runtime.NumCPU(), model)
	for _, peer := range p.peers {
		r.Order = append(r.Order, peer.name)
		if r.Versions[peer.name], err = peer.tells(); err != nil {
			return nil, err
		}
	}
	// Of wrk the version alone matters: it exits with 1 after having told it.
	out, _ := exec.Command("wrk", "-v").CombinedOutput()
	line, _, _ := strings.Cut(string(out), " [")
	r.Versions["wrk"] = line
	return r, nil
}

func (r *result) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return nil
}
