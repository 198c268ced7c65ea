package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"sluice/loadtest/origin"
)

// plan is what a comparison measures.
type plan struct {
	scenarios []scenario
	peers     []peer // those that are measured in each scenario that they can do
	more      bool   // and those that a scenario names itself
	thorough  bool   // of these, also those for a thorough run
	rounds    int
	seconds   int
	threads   int
	calls     bool   // system calls are counted in every scenario
	proxy     string // cores
	load      string // cores
	progress  io.Writer
}

// compare measures. Scenarios that fail have no figures but the reason; the error is for what prevents all of them.
func (p plan) compare(ctx context.Context) (*result, error) {
	scratch, err := folder("", "sluice-loadtest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	if err := settle(p.load); err != nil {
		return nil, err
	}
	address, backend, err := startOrigin(ctx, p.load, scratch)
	if err != nil {
		return nil, err
	}
	defer backend.stop()

	r, err := p.describe()
	if err != nil {
		return nil, err
	}
	for _, s := range p.scenarios {
		fmt.Fprintf(p.progress, "%-12s %s\n", s.name, s.about)
		subjects, err := p.measure(ctx, s, address, scratch)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(p.progress, "%-12s FAILED: %s\n", s.name, err)
			r.Scenarios = append(r.Scenarios, scenarioResult{Name: s.name, About: s.about, Unit: s.unit(), Failed: err.Error()})
			continue
		}
		r.Scenarios = append(r.Scenarios, scenarioResult{Name: s.name, About: s.about, Unit: s.unit(), Subjects: subjects})
	}
	r.relate()
	return r, nil
}

// startOrigin starts the server behind the proxies, which is this program again.
func startOrigin(ctx context.Context, cores, scratch string) (string, *process, error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("cannot find this program: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	backend, err := start("origin", cores, scratch, nil, self, "origin", address)
	if err != nil {
		return "", nil, err
	}
	if err := backend.listening(ctx, address); err != nil {
		backend.stop()
		return "", nil, err
	}
	return address, backend, nil
}

// originCommand is that server.
type originCommand struct {
	Address netip.AddrPort `arg:""`
}

func (c *originCommand) Run() error {
	signal.Reset() // it has nothing to clean up
	return origin.Serve(c.Address)
}

// subject is a peer as it runs in one scenario: with what the scenario's word stands for, or without.
type subject struct {
	peer
	word string
}

func (s subject) label() string {
	if s.word == "" {
		return s.name
	}
	return s.name + "+" + s.word
}

// subjects are who takes part in a scenario.
func (p plan) subjects(s scenario) ([]subject, error) {
	var names []string
	if p.more && s.large {
		names = append(names, "nginx-64k", "haproxy-splice")
	}
	if p.more && p.thorough {
		names = append(names, s.also...)
	}
	more, err := choose(peers, names)
	if err != nil {
		return nil, err
	}
	var all []subject
	for _, peer := range append(slices.Clone(p.peers), more...) {
		if slices.Contains(s.without, peer.program) {
			continue
		}
		all = append(all, subject{peer, ""})
		if s.with != "" {
			all = append(all, subject{peer, s.with})
		}
	}
	return all, nil
}

// measure measures one scenario.
func (p plan) measure(ctx context.Context, s scenario, origin, scratch string) ([]subjectResult, error) {
	subjects, err := p.subjects(s)
	if err != nil {
		return nil, err
	}
	dir, err := folder(scratch, s.name+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	results := make([]subjectResult, len(subjects))
	for i, subject := range subjects {
		results[i] = subjectResult{Peer: subject.name, With: subject.word}
	}
	if _, fresh := s.load.(hold); fresh {
		return results, p.oneByOne(ctx, s, subjects, results, origin, dir)
	}
	return results, p.sideBySide(ctx, s, subjects, results, origin, dir)
}

// sideBySide runs all subjects at the same time and loads them in turn, A B C A B C. Those that are not loaded cost
// nothing but memory.
func (p plan) sideBySide(ctx context.Context, s scenario, subjects []subject, results []subjectResult, origin, dir string) error {
	var all []*running
	defer func() {
		for _, r := range all {
			r.stop()
		}
	}()
	for _, subject := range subjects {
		r, err := p.launch(ctx, s, subject, origin, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", subject.label(), err)
		}
		all = append(all, r)
	}
	rounds := p.rounds
	if s.often {
		rounds *= 2
	}
	// Round 0 warms connections, caches and heaps up, and does not count.
	for round := range rounds + 1 {
		for i, subject := range subjects {
			seconds := p.seconds
			if round == 0 {
				seconds = 1
			}
			sample, err := p.undisturbed(ctx, s, p.target(s, all[i], seconds), subject, min(round, 2))
			if err != nil {
				return fmt.Errorf("%s: %w", subject.label(), err)
			}
			if round > 0 {
				results[i].Rounds = append(results[i].Rounds, sample)
			}
		}
	}
	if !s.calls && !p.calls {
		return nil
	}
	for i, subject := range subjects {
		var err error
		if results[i].Calls, err = count(ctx, s.generator(), p.target(s, all[i], 1)); err != nil {
			return fmt.Errorf("%s: %w", subject.label(), err)
		}
	}
	return nil
}

// oneByOne starts the proxies anew for each sample, where what they keep of the last one would spoil the next. There
// are fewer rounds, because memory is not as noisy as time.
func (p plan) oneByOne(ctx context.Context, s scenario, subjects []subject, results []subjectResult, origin, dir string) error {
	once := func(i int) error {
		r, err := p.launch(ctx, s, subjects[i], origin, dir)
		if err != nil {
			return err
		}
		defer r.stop()
		t := p.target(s, r, 1)
		if _, err := (wrk{}).run(ctx, t); err != nil {
			return err
		}
		sample, err := p.sample(ctx, s, t, subjects[i])
		results[i].Rounds = append(results[i].Rounds, sample)
		return err
	}
	for range max(1, p.rounds/3) {
		for i, subject := range subjects {
			if err := once(i); err != nil {
				return fmt.Errorf("%s: %w", subject.label(), err)
			}
		}
	}
	return nil
}

// folder makes a new folder into which everybody can look: nginx and Varnish give up root.
func folder(parent, name string) (string, error) {
	dir, err := os.MkdirTemp(parent, name)
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("cannot make a folder: %w", err)
	}
	return dir, nil
}

func (p plan) target(s scenario, r *running, seconds int) target {
	return target{url: "http://" + r.listen + s.path, path: s.path, seconds: seconds, cores: p.load, scratch: r.dir, proxy: r}
}

// launch starts a subject and makes sure that it does what the scenario is about.
func (p plan) launch(ctx context.Context, s scenario, who subject, origin, dir string) (*running, error) {
	own, err := folder(dir, who.label()+"-")
	if err != nil {
		return nil, err
	}
	r, err := who.peer.launch(ctx, own, p.proxy, settings{Origin: origin, With: who.word, Threads: p.threads, Routes: routes(who.word)})
	if err != nil {
		return nil, err
	}
	if err := s.verify(ctx, r); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// undisturbed loads a proxy, and does so again if others had its core meanwhile.
func (p plan) undisturbed(ctx context.Context, s scenario, t target, who subject, retries int) (sample, error) {
	for {
		one, err := p.sample(ctx, s, t, who)
		if err != nil || one.Others <= disturbance || retries == 0 {
			return one, err
		}
		retries--
	}
}

// sample loads a proxy once.
func (p plan) sample(ctx context.Context, s scenario, t target, who subject) (sample, error) {
	stop := func() error { return nil }
	if who.word == "scrape" {
		stop = scrape(ctx, t.proxy.metrics())
	}
	busyBefore, err := busy(p.proxy)
	if err != nil {
		return sample{}, errors.Join(err, stop())
	}
	began := time.Now()
	before, err := t.proxy.usage()
	if err != nil {
		return sample{}, errors.Join(err, stop())
	}
	o, err := s.generator().run(ctx, t)
	if err = errors.Join(err, stop()); err != nil {
		return sample{}, err
	}
	after, err := t.proxy.usage()
	if err != nil {
		return sample{}, err
	}
	busyAfter, err := busy(p.proxy)
	if err != nil {
		return sample{}, err
	}
	if err := s.plausible(o); err != nil {
		return sample{}, err
	}
	n := float64(o.Requests)
	one := sample{
		Requests:  o.Requests,
		Seconds:   o.Seconds,
		Cost:      float64((after.cpu - before.cpu).Nanoseconds()) / 1e3 / n,
		PerSecond: n / o.Seconds,
		P50:       o.P50.Seconds() * 1e3,
		P99:       o.P99.Seconds() * 1e3,
		P999:      o.P999.Seconds() * 1e3,
		RSS:       float64(after.rss) / 1024,
		Reads:     float64(after.reads-before.reads) / n,
		Writes:    float64(after.writes-before.writes) / n,
		Others:    max(0, (busyAfter-busyBefore-(after.cpu-before.cpu)).Seconds()/time.Since(began).Seconds()),
	}
	if o.perConnection != 0 {
		one.Cost = o.perConnection / 1024
	}
	return one, nil
}

// plausible refuses a run whose answers were shorter or longer than the scenario's.
func (s scenario) plausible(o outcome) error {
	body := s.expected()
	if o.Bytes == 0 || body == anything {
		return nil
	}
	each := float64(o.Bytes) / float64(o.Requests)
	if each < float64(len(body)) || each > float64(len(body))*1.1+2048 {
		return fmt.Errorf("an answer has %.0f bytes on average, with a body of %d", each, len(body))
	}
	return nil
}

// verify makes a request and looks at the answer: a proxy that is quick to say something else must not win.
func (s scenario) verify(ctx context.Context, r *running) error {
	if s.path == "/socket" {
		return nil // its load looks at every answer
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	method, body := "GET", ""
	if w, ok := s.load.(wrk); ok && w.body > 0 {
		method, body = "POST", strings.Repeat("y", w.body)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+r.listen+s.path, strings.NewReader(body))
	if err != nil {
		return err
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("a first request failed: %w", err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(io.LimitReader(response.Body, 2<<20))
	if err != nil {
		return fmt.Errorf("a first request failed: %w", err)
	}
	status := s.status
	if status == 0 {
		status = 200
	}
	if response.StatusCode != status {
		return fmt.Errorf("a first request was answered with %s instead of %d: %.200s", response.Status, status, got)
	}
	if want := s.expected(); want != anything && string(got) != want {
		return fmt.Errorf("a first request got %d bytes that are not the answer: %.100q", len(got), got)
	}
	return nil
}

// scrape asks for the metrics each second until it is stopped, and says whether that always went well.
func scrape(ctx context.Context, url string) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			if err = scrapeOnce(ctx, url); err != nil && ctx.Err() != nil {
				err = nil // it was cut off by stop
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		failed <- err
	}()
	return func() error {
		cancel()
		if err := <-failed; err != nil {
			return fmt.Errorf("cannot scrape: %w", err)
		}
		return nil
	}
}

func scrapeOnce(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	err = errors.Join(err, response.Body.Close())
	if err == nil && response.StatusCode != 200 {
		err = fmt.Errorf("%s answers %s", url, response.Status)
	}
	return err
}
