package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// entrant is who is measured, and doing what.
type entrant struct {
	does    scenario
	who     subject
	threads int
	idle    int // connections that wait all the while
}

func (e entrant) label() string { return e.who.label() }

// subject is a peer as it runs in one scenario: with what the scenario's word stands for, or without. log+policies are
// two words.
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

func (s subject) has(word string) bool { return settings{With: s.word}.Has(word) }

// sideBySide runs all at the same time and loads them in turn, A B C A B C. Those that are not loaded cost nothing but
// memory. afterwards is called for each at the end.
func (p plan) sideBySide(ctx context.Context, all []entrant, rounds int, origin, dir string, afterwards func(i int, t target) error) ([][]sample, error) {
	var targets []target
	defer func() {
		for _, t := range targets {
			t.stop()
		}
	}()
	for _, e := range all {
		t, err := p.launch(ctx, e, origin, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.label(), err)
		}
		targets = append(targets, t)
	}
	samples := make([][]sample, len(all))
	// Round 0 warms connections, caches and heaps up, and does not count.
	for round := range rounds + 1 {
		for i, e := range all {
			t := targets[i]
			if round == 0 {
				t.seconds = 1
			}
			one, err := p.undisturbed(ctx, e, t, min(round, 2))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.label(), err)
			}
			if round > 0 {
				samples[i] = append(samples[i], one)
			}
		}
	}
	for i, e := range all {
		err := afterwards(i, targets[i])
		if held := targets[i].held; held != nil {
			targets[i].held = nil
			_, releaseErr := held.release()
			err = errors.Join(err, releaseErr)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.label(), err)
		}
	}
	return samples, nil
}

// oneByOne starts the proxies anew for each sample, where what they keep of the last one would spoil the next.
func (p plan) oneByOne(ctx context.Context, all []entrant, rounds int, origin, dir string) ([][]sample, error) {
	once := func(e entrant) (sample, error) {
		t, err := p.launch(ctx, e, origin, dir)
		if err != nil {
			return sample{}, err
		}
		defer t.stop()
		t.seconds = 1
		if _, err := (wrk{}).run(ctx, t); err != nil {
			return sample{}, err
		}
		return p.sample(ctx, e, t)
	}
	samples := make([][]sample, len(all))
	for range rounds {
		for i, e := range all {
			one, err := once(e)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.label(), err)
			}
			samples[i] = append(samples[i], one)
		}
	}
	return samples, nil
}

// launch starts a proxy and makes sure that it does what the scenario is about.
func (p plan) launch(ctx context.Context, e entrant, origin, dir string) (target, error) {
	own, err := folder(dir, e.label()+"-")
	if err != nil {
		return target{}, err
	}
	var store *process // on another host otherwise: its time is not the proxy's
	if e.who.has("across") {
		if store, err = startStore(p.load, own); err != nil {
			return target{}, err
		}
	}
	r, err := e.who.peer.launch(ctx, own, p.proxy, settings{Origin: origin, With: e.who.word, Threads: e.threads})
	if err != nil {
		store.stop()
		return target{}, err
	}
	r.store = store
	if err := e.does.verify(ctx, r); err != nil {
		r.stop()
		return target{}, err
	}
	t := target{url: r.base() + e.does.path, path: e.does.path, seconds: p.seconds, cores: p.load, scratch: own, proxy: r}
	if e.idle > 0 {
		if t.held, err = startHolder(ctx, t, e.idle); err != nil {
			r.stop()
			return target{}, err
		}
	}
	return t, nil
}

// stop ends the proxy, and before that the connections that it holds.
func (t target) stop() {
	if t.held != nil {
		_, _ = t.held.release() // another error led here
	}
	t.proxy.stop()
}

// startStore starts what hosts share limits in.
func startStore(cores, dir string) (*process, error) {
	return start("redis-server", cores, dir, nil, "redis-server", "--port", "0", "--unixsocket", filepath.Join(dir, "redis.sock"), "--save", "", "--appendonly", "no")
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

// undisturbed loads a proxy, and does so again if others had its core meanwhile.
func (p plan) undisturbed(ctx context.Context, e entrant, t target, retries int) (sample, error) {
	for {
		one, err := p.sample(ctx, e, t)
		if err != nil || one.Others <= disturbance || retries == 0 || p.shared {
			return one, err
		}
		retries--
	}
}

// sample loads a proxy once.
func (p plan) sample(ctx context.Context, e entrant, t target) (sample, error) {
	stop := func() error { return nil }
	if e.who.has("scrape") {
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
	o, err := e.does.generator().run(ctx, t)
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
	if err := e.does.plausible(o, e.who.has("compress")); err != nil {
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

// plausible refuses a run whose answers were shorter or longer than the scenario's, or not shorter where they are compressed.
func (s scenario) plausible(o outcome, compressed bool) error {
	body := s.expected()
	if o.Bytes == 0 || body == anything {
		return nil
	}
	each := float64(o.Bytes) / float64(o.Requests)
	if compressed {
		if each > float64(len(body))/2 {
			return fmt.Errorf("an answer has %.0f bytes on average, which are not compressed: the body has %d", each, len(body))
		}
		return nil
	}
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
	request, err := http.NewRequestWithContext(ctx, method, r.base()+s.path, strings.NewReader(body))
	if err != nil {
		return err
	}
	if w, ok := s.load.(wrk); ok {
		for _, f := range w.fields {
			if name, value, _ := strings.Cut(f, "="); name == "Authorization" || name == "X-Api-Key" {
				request.Header.Set(name, value)
			}
		}
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: r.has("h2"), // the certificate is of this run
	}
	var by http.RoundTripper = transport
	if r.has("h3") {
		over := &http3.Transport{TLSClientConfig: transport.TLSClientConfig}
		defer over.Close()
		by = over
	}
	client := http.Client{Transport: by, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
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
	if r.has("h2") && response.ProtoMajor != 2 || r.has("h3") && response.ProtoMajor != 3 {
		return fmt.Errorf("a first request was answered over %s", response.Proto)
	}
	if response.Uncompressed != r.has("compress") { // this client asks for gzip and decodes it
		return fmt.Errorf("that a first request was answered compressed is %v", response.Uncompressed)
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
