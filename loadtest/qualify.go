package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"sluice/loadtest/openloop"
)

// What qualify exits with.
const (
	exitMet       = 0
	exitNotMet    = 1
	exitCannotRun = 2 // the command line makes no sense, or nobody answers at all
	exitUndecided = 3 // the generator itself could not keep up
)

// qualifyCommand measures a gateway that runs somewhere, and says whether it holds what is asked of it.
type qualifyCommand struct {
	Target      string        `required:"" placeholder:"URL" help:"What is asked for: http://host:port/path or https://..."`
	Rate        float64       `required:"" help:"Requests per second, whatever becomes of them."`
	Duration    time.Duration `default:"30s" help:"How long it is measured."`
	Warmup      time.Duration `default:"2s" help:"How long the same load is sent before that."`
	Connections int           `default:"256" help:"Connections, and requests on their way, at most."`
	Timeout     time.Duration `default:"10s" help:"What is not answered in this time has failed."`
	Method      string        `default:"GET" help:"The method."`
	Header      []string      `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"A field of the request; may be repeated."`
	Body        string        `placeholder:"TEXT or @FILE" help:"The body of the request."`
	Connect     string        `placeholder:"HOST:PORT" help:"Connect there instead of to the URL's host, to try one machine of many."`
	Insecure    bool          `help:"Accept any certificate."`
	P50         time.Duration `name:"p50" help:"The objective: half of the requests are answered within this time."`
	P90         time.Duration `name:"p90" help:"... 90 % of them ..."`
	P99         time.Duration `name:"p99" help:"... 99 % of them ..."`
	P999        time.Duration `name:"p99.9" help:"... 99.9 % of them ..."`
	Max         time.Duration `help:"... and all of them."`
	Errors      string        `default:"0.1%" help:"The objective: at most this share of the requests fails."`
	JSON        string        `name:"json" placeholder:"FILE" help:"Write the result there, too."`
}

func (qualifyCommand) Help() string {
	return `An open loop: requests become due by the clock, and are measured from then on, also if they could not be sent because earlier ones hang. Failed is what is answered with a status of 400 and above, or not at all.

It exits with 0 if the objective is met, 1 if it is not, 2 if it could not be tried, and 3 if this generator could not keep up, so that nothing is known.

Example:

  loadtest qualify --target https://edge-7.example/healthz --rate 2000 --duration 1m --p99 50ms --errors 0.1%`
}

// objective is a line of what is asked for. Share is 1 for the slowest.
type objective struct {
	name  string
	share float64
	limit time.Duration
}

// qualification is what a command line asks for, proved to make sense.
type qualification struct {
	request    openloop.Request
	options    openloop.Options
	objectives []objective
	errors     float64 // the share that may fail
}

func (c *qualifyCommand) Run(ctx context.Context, to *console) error {
	q, err := c.plan()
	if err != nil {
		return exit{exitCannotRun, err}
	}
	client := openloop.NewClient(q.request, c.Connections)
	defer client.Close()
	if err := c.try(client); err != nil {
		return exit{exitCannotRun, err}
	}
	q.options.Do = client.Do
	fmt.Fprintf(to.err, "%s %s: %g per second for %s, after %s of warm-up.\n", c.Method, c.Target, c.Rate, c.Duration, c.Warmup)
	r, err := openloop.Run(ctx, q.options)
	if err != nil {
		return exit{exitCannotRun, err}
	}
	v := q.judge(r)
	if err := q.print(to.out, r, v); err != nil {
		return exit{exitCannotRun, err}
	}
	if c.JSON != "" {
		if err := q.write(c.JSON, r, v); err != nil {
			return exit{exitCannotRun, err}
		}
	}
	if v.code != exitMet {
		return exit{v.code, errors.New(v.sentence)}
	}
	return nil
}

// plan refuses what makes no sense, before anything is sent.
func (c *qualifyCommand) plan() (*qualification, error) {
	q := &qualification{}
	var err error
	if q.request, err = c.request(); err != nil {
		return nil, err
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("cannot tell how many files may be open: %w", err)
	}
	switch {
	case !(c.Rate > 0 && c.Rate <= 1e6):
		return nil, fmt.Errorf("--rate %g: wants a number above 0, and at most 1000000 per second", c.Rate)
	case c.Duration < time.Second || c.Duration > 24*time.Hour:
		return nil, fmt.Errorf("--duration %s: wants a second at least, and at most a day", c.Duration)
	case c.Warmup < 0 || c.Warmup > time.Hour:
		return nil, fmt.Errorf("--warmup %s: wants no less than nothing, and at most an hour", c.Warmup)
	case c.Timeout < time.Millisecond || c.Timeout > 10*time.Minute:
		return nil, fmt.Errorf("--timeout %s: wants a millisecond at least, and at most ten minutes", c.Timeout)
	case c.Connections < 1:
		return nil, fmt.Errorf("--connections %d: wants at least one", c.Connections)
	case uint64(c.Connections)+50 > files.Cur:
		return nil, fmt.Errorf("--connections %d: only %d files may be open (ulimit -n)", c.Connections, files.Cur)
	case c.Rate*c.Duration.Seconds() < 10:
		return nil, fmt.Errorf("--rate %g for %s is less than ten requests, which says nothing", c.Rate, c.Duration)
	}
	q.options = openloop.Options{Rate: c.Rate, Duration: c.Duration, Warmup: c.Warmup, Workers: c.Connections, Timeout: c.Timeout}
	if q.errors, err = percentage(c.Errors); err != nil {
		return nil, fmt.Errorf("--errors %s: %w", c.Errors, err)
	}
	q.objectives, err = c.objectives()
	return q, err
}

func (c *qualifyCommand) objectives() ([]objective, error) {
	var all []objective
	for _, o := range []objective{{"p50", 0.5, c.P50}, {"p90", 0.9, c.P90}, {"p99", 0.99, c.P99}, {"p99.9", 0.999, c.P999}, {"max", 1, c.Max}} {
		requests := c.Rate * c.Duration.Seconds()
		switch {
		case o.limit == 0:
			continue
		case o.limit < 0:
			return nil, fmt.Errorf("--%s %s: wants a time above 0", o.name, o.limit)
		case o.limit > c.Timeout:
			return nil, fmt.Errorf("--%s %s: is above --timeout %s, after which nobody waits", o.name, o.limit, c.Timeout)
		case len(all) > 0 && o.limit < all[len(all)-1].limit:
			return nil, fmt.Errorf("--%s %s: is below --%s %s", o.name, o.limit, all[len(all)-1].name, all[len(all)-1].limit)
		case o.share < 1 && requests*(1-o.share) < 9.99:
			return nil, fmt.Errorf("--%s: of %.0f requests less than ten are beyond it, which says nothing: measure for %.0f s at least",
				o.name, requests, math.Ceil(10/(1-o.share)/c.Rate))
		}
		all = append(all, o)
	}
	return all, nil
}

func (c *qualifyCommand) request() (openloop.Request, error) {
	r := openloop.Request{Method: c.Method, Connect: c.Connect, Insecure: c.Insecure}
	target, err := url.Parse(c.Target)
	switch {
	case err != nil:
		return r, fmt.Errorf("--target %s: wants http://... or https://...: %w", c.Target, err)
	case target.Scheme != "http" && target.Scheme != "https":
		return r, fmt.Errorf("--target %s: wants http://... or https://...", c.Target)
	case target.Hostname() == "":
		return r, fmt.Errorf("--target %s: has no host", c.Target)
	case target.User != nil:
		return r, fmt.Errorf("--target: give credentials with -H 'Authorization: ...'")
	case target.Fragment != "":
		return r, fmt.Errorf("--target %s: what follows # is never sent", c.Target)
	case c.Insecure && target.Scheme == "http":
		return r, fmt.Errorf("--insecure: http has no certificates")
	}
	r.URL = target
	if c.Connect != "" {
		if _, _, err := net.SplitHostPort(c.Connect); err != nil {
			return r, fmt.Errorf("--connect %s: wants host:port", c.Connect)
		}
	}
	if !token(c.Method) || c.Method == "CONNECT" {
		return r, fmt.Errorf("--method %q: wants a method such as GET or POST", c.Method)
	}
	for _, line := range c.Header {
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !token(name) || strings.ContainsAny(value, "\r\n\x00") {
			return r, fmt.Errorf("--header %q: wants 'Name: value'", line)
		}
		if slices.Contains([]string{"content-length", "transfer-encoding", "connection", "expect", "upgrade"}, strings.ToLower(name)) {
			return r, fmt.Errorf("--header %q: this field is the generator's own", line)
		}
		r.Fields = append(r.Fields, [2]string{name, value})
	}
	if r.Body, err = body(c.Body); err != nil {
		return r, fmt.Errorf("--body: %w", err)
	}
	if len(r.Body) > 0 && slices.Contains([]string{"GET", "HEAD", "TRACE"}, c.Method) {
		return r, fmt.Errorf("--body: %s has none: add --method POST, say", c.Method)
	}
	return r, nil
}

// bodyMax bounds what is read for --body.
const bodyMax = 64 << 20

// body is a text, or what is in a file.
func body(text string) ([]byte, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return []byte(text), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	all, err := io.ReadAll(io.LimitReader(file, bodyMax+1))
	if err == nil && len(all) > bodyMax {
		err = fmt.Errorf("%s is above %d MiB", name, bodyMax>>20)
	}
	return all, err
}

// token of RFC 9110 section 5.6.2.
func token(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, b) >= 0 {
			return false
		}
	}
	return s != ""
}

func percentage(text string) (float64, error) {
	digits, ok := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || !(n >= 0 && n <= 100) {
		return 0, errors.New("wants a percentage such as 0.1%")
	}
	return n / 100, nil
}

// try makes one request: if nobody is there, a load need not be sent.
func (c *qualifyCommand) try(client *openloop.Client) error {
	o := client.Do(0, time.Now().Add(c.Timeout))
	if o.Failure != "" && !strings.HasPrefix(o.Failure, "status ") {
		return fmt.Errorf("%s does not answer: %s: %w", c.Target, o.Failure, o.Err)
	}
	return nil
}

// verdict is what came out.
type verdict struct {
	code     int
	sentence string
	lines    []verdictLine
}

type verdictLine struct {
	Name     string `json:"name"`
	Wanted   string `json:"wanted"`
	Measured string `json:"measured"`
	Met      bool   `json:"met"`
}

// A latency contains what the generator was late by when it sent the request: a limit that is met is met all the same.
// One that is not met may be the generator's fault if that lateness, at the same percentile, is more than a share of
// the limit, and times blame, because answers may be read as late as requests are sent, would explain what is beyond it.
const (
	lateness = 0.1
	blame    = 10
)

// judge compares. What the generator is to blame for is not held against the target.
func (q *qualification) judge(r *openloop.Report) verdict {
	var v verdict
	var broken, doubts []string
	failed := r.Due - r.Answered
	share := float64(failed) / float64(max(1, r.Due))
	line := verdictLine{"errors", fmt.Sprintf("≤ %.3g %%", 100*q.errors), fmt.Sprintf("%.3g %%", 100*share), share <= q.errors}
	v.lines = append(v.lines, line)
	if !line.Met {
		broken = append(broken, fmt.Sprintf("%s of the requests failed instead of %s", line.Measured, line.Wanted))
		if r.Own > 0 {
			doubts = append(doubts, fmt.Sprintf("%d requests failed in the generator itself", r.Own))
		}
	}
	for _, o := range q.objectives {
		got := openloop.Quantile(r.Latency, o.share)
		line := verdictLine{o.name, "≤ " + o.limit.String(), got.String(), got <= o.limit}
		v.lines = append(v.lines, line)
		if line.Met {
			continue
		}
		broken = append(broken, fmt.Sprintf("%s is %s instead of %s", o.name, line.Measured, line.Wanted))
		if lag := openloop.Quantile(r.Lag, o.share); lag.Seconds() > lateness*o.limit.Seconds() && got <= o.limit+blame*lag {
			doubts = append(doubts, fmt.Sprintf("at %s the generator itself was late by %s", o.name, lag))
		}
	}
	switch {
	case len(broken) == 0:
		v.code, v.sentence = exitMet, "The objective is met."
	case len(doubts) > 0:
		v.code = exitUndecided
		v.sentence = fmt.Sprintf("undecided, the generator could not keep up: %s; and %s. Lower --rate, or give it a machine of its own",
			strings.Join(doubts, ", "), strings.Join(broken, ", "))
	default:
		v.code, v.sentence = exitNotMet, "the objective is not met: "+strings.Join(broken, ", ")
	}
	return v
}

// quantiles are those that are told.
var quantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p75", 0.75}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}}

func (q *qualification) print(to io.Writer, r *openloop.Report, v verdict) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	achieved := float64(r.Answered) / r.Elapsed.Seconds()
	fmt.Fprintf(w, "rate\t%.1f per second answered, of %g that were due\n", achieved, q.options.Rate)
	fmt.Fprintf(w, "requests\t%d due, %d answered, %d failed\n", r.Due, r.Answered, r.Due-r.Answered)
	fmt.Fprintf(w, "at the same time\t%d at most, over %d connections; %d requests found none free\n", r.Busiest, q.options.Workers, r.Waited)
	for _, kind := range sortedKinds(r.Failures) {
		example := ""
		if err := r.Examples[kind]; err != nil {
			example = fmt.Sprintf(" (%.160s)", err)
		}
		fmt.Fprintf(w, "failed\t%d: %s%s\n", r.Failures[kind], kind, example)
	}
	fmt.Fprintf(w, "\nlatency\tsince due\tsince sent\tgenerator late by\n")
	for _, at := range quantiles {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", at.name, openloop.Quantile(r.Latency, at.share), openloop.Quantile(r.Service, at.share), openloop.Quantile(r.Lag, at.share))
	}
	fmt.Fprintf(w, "\nobjective\twanted\tmeasured\t\n")
	for _, line := range v.lines {
		said := "met"
		if !line.Met {
			said = "NOT MET"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", line.Name, line.Wanted, line.Measured, said)
	}
	if v.code == exitMet {
		fmt.Fprintf(w, "\n%s\n", v.sentence)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("cannot print the result: %w", err)
	}
	return nil
}

// sortedKinds puts the most frequent first.
func sortedKinds(all map[string]int64) []string {
	var kinds []string
	for kind := range all {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b string) int {
		if all[a] != all[b] {
			return int(all[b] - all[a])
		}
		return strings.Compare(a, b)
	})
	return kinds
}

func (q *qualification) write(path string, r *openloop.Report, v verdict) error {
	latency, lag := map[string]float64{}, map[string]float64{}
	for _, at := range quantiles {
		latency[at.name] = openloop.Quantile(r.Latency, at.share).Seconds() * 1e3
		lag[at.name] = openloop.Quantile(r.Lag, at.share).Seconds() * 1e3
	}
	text, err := json.MarshalIndent(map[string]any{
		"target": q.request.URL.String(), "method": q.request.Method, "rate": q.options.Rate, "seconds": q.options.Duration.Seconds(),
		"answered_per_second": float64(r.Answered) / r.Elapsed.Seconds(), "due": r.Due, "answered": r.Answered, "failures": r.Failures,
		"latency_ms": latency, "generator_late_ms": lag, "objective": v.lines, "verdict": v.sentence, "exit": v.code,
	}, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return nil
}
