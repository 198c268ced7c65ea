package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
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
	shared    bool   // the proxy shares its cores with the load: nobody is quiet then
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
		all = append(all, subject{peer, s.needs})
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
	var all []entrant
	results := make([]subjectResult, len(subjects))
	for i, subject := range subjects {
		all = append(all, entrant{does: s, who: subject, threads: p.threads})
		results[i] = subjectResult{Peer: subject.name, With: subject.word}
	}
	var samples [][]sample
	if _, fresh := s.load.(hold); fresh {
		samples, err = p.oneByOne(ctx, all, max(1, p.rounds/3), origin, dir)
	} else {
		rounds := p.rounds
		if s.often {
			rounds *= 2
		}
		samples, err = p.sideBySide(ctx, all, rounds, origin, dir, func(i int, t target) (err error) {
			if s.calls || p.calls {
				results[i].Calls, err = count(ctx, s.generator(), t)
			}
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	for i := range results {
		results[i].Rounds = samples[i]
	}
	return results, nil
}
