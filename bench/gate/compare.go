package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// What is too much, and how sure the gate has to be.
const (
	slowerMin    = 1.05 // a ratio from which on a benchmark is slower
	alpha        = 0.01 // for all benchmarks that are confirmed together
	leastSeconds = 1e-9 // a difference below it is that of where a loop happens to lie, not of work

	// The first look is less strict, so that it misses little; what it suspects is measured again, from the beginning, and
	// only that decides.
	suspectMin   = 1.03
	suspectAlpha = 0.2

	bytesMin = 16 // bytes per operation: an allocation that not every operation makes shows here

	roundsMin    = 6    // of which the U test can still say p < 0.01
	confirmTimes = 2    // as many processes per side as in the first look
	confirmShare = 0.35 // of the time, at least
)

// compareWith compares a commit with the working tree.
func compareWith(ctx context.Context, o *options, root, rev, scratch string) (*report, error) {
	base, err := checkout(ctx, root, rev, filepath.Join(scratch, "worktree"))
	if err != nil {
		return nil, err
	}
	defer base.remove()
	here, err := workingTree(ctx, root)
	if err != nil {
		return nil, err
	}
	return compare(ctx, o, base, here, scratch)
}

// compare measures both trees. Everything is done in turn, base and new, so that what changes with time changes both.
func compare(ctx context.Context, o *options, base, here *tree, scratch string) (*report, error) {
	g := &gate{
		options: o, started: time.Now(), scratch: scratch, cpu: newPinned(),
		base: &side{tree: base}, here: &side{tree: here}, repeats: make(map[string]int),
	}
	defer g.cpu.close()
	g.report = newReport(base, here, g.cpu)
	if err := g.findPackages(ctx); err != nil {
		return nil, err
	}
	if err := g.firstLook(ctx); err != nil {
		return nil, err
	}
	if err := g.confirm(ctx); err != nil {
		return nil, err
	}
	g.report.Seconds = time.Since(g.started).Seconds()
	return g.report, nil
}

// gate is a comparison under way.
type gate struct {
	*options
	report     *report
	started    time.Time
	scratch    string
	cpu        *pinned
	base, here *side
	packages   []string // to compare
	round      int      // of all so far: it decides the layout, and who goes first
	looked     time.Duration
	repeats    map[string]int // slices per benchmark and process, of packages that have fewer than others
}

func (g *gate) sides() [2]*side { return [2]*side{g.base, g.here} }

// left is what the budget has left, less what the end takes.
func (g *gate) left() time.Duration { return g.budget - time.Since(g.started) - 5*time.Second }

func (g *gate) findPackages(ctx context.Context) error {
	for _, s := range g.sides() {
		s.results = make(map[name]*series)
		var err error
		if s.folders, err = s.tree.packages(ctx); err != nil {
			return err
		}
	}
	if len(g.base.folders) == 0 {
		return &failure{codeNoBase, fmt.Errorf("the base %.12s has no benchmarks to compare with", g.base.tree.commit)}
	}
	g.packages, g.report.OnlyBase = both(g.base.folders, g.here.folders)
	_, g.report.OnlyNew = both(g.here.folders, g.base.folders)
	if len(g.packages) == 0 {
		return &failure{codeNoBase, fmt.Errorf("no package has benchmarks both here and in the base %.12s", g.base.tree.commit)}
	}
	return nil
}

// build makes the binaries of the next round: of both sides, with a layout that was not there before.
func (g *gate) build(ctx context.Context) error {
	g.round++
	for _, s := range g.sides() {
		var err error
		if s.binaries, err = s.tree.build(ctx, g.packages, g.round, filepath.Join(g.scratch, s.tree.name)); err != nil {
			return err
		}
	}
	return nil
}

// firstLook measures everything that is not the same on both sides, and judges what looks worse.
func (g *gate) firstLook(ctx context.Context) error {
	g.say("building the benchmarks of %d packages: base %.12s, and %s", len(g.packages), g.base.tree.commit, g.here.tree)
	if err := g.build(ctx); err != nil {
		return err
	}
	if err := g.dropIdentical(); err != nil || len(g.packages) == 0 {
		return err
	}
	g.report.BuildSeconds = time.Since(g.started).Seconds()
	g.say("measuring %d packages", len(g.packages))
	began := time.Now()
	rounds, err := g.measure(ctx, g.rounds, time.Duration(float64(g.left())*(1-confirmShare)), nil)
	if err != nil {
		return err
	}
	g.looked = time.Since(began)
	g.report.Rounds = rounds
	return g.report.judge(g.base.results, g.here.results, g.base.folders)
}

// dropIdentical leaves out packages whose binaries are the same on both sides, bit by bit: they can only differ by chance.
func (g *gate) dropIdentical() error {
	var differ []string
	for _, p := range g.packages {
		same, err := sameFile(g.base.binaries[p], g.here.binaries[p])
		if err != nil {
			return err
		}
		if same {
			g.report.Identical = append(g.report.Identical, p)
		}
		if !same || g.identical {
			differ = append(differ, p)
		}
	}
	g.packages = differ
	return nil
}

// measure runs up to as many rounds as asked for and as fit into the time, but not fewer than roundsMin. Of each package
// only benchmarks that only names are run, all if it is nil.
//
// Every round has binaries of its own, whose functions lie in another order (see tree.build). Where a loop happens to lie
// changes what a small benchmark takes by as much as half, and any edit moves loops: what is the same code then looks slower,
// in every process alike. With a layout per process it is noise like any other, of which the test knows.
func (g *gate) measure(ctx context.Context, most int, within time.Duration, only map[string][]name) (int, error) {
	began := time.Now()
	for round := range most {
		if spent := time.Since(began); round >= roundsMin && spent+spent/time.Duration(round) > within {
			return round, nil
		}
		var building time.Duration
		if round > 0 { // the first binaries are there
			before := time.Now()
			if err := g.build(ctx); err != nil {
				return 0, err
			}
			building = time.Since(before)
		}
		took := make(map[string]time.Duration)
		for _, p := range g.packages {
			before := time.Now()
			bench := g.bench
			if only != nil {
				bench = exactly(only[p])
			}
			first, second := g.base, g.here
			if g.round%2 == 1 {
				first, second = second, first
			}
			for _, s := range []*side{first, second} {
				if err := s.run(ctx, g.options, g.cpu, p, bench, g.repeat(p)); err != nil {
					return 0, err
				}
			}
			took[p] = time.Since(before)
		}
		if more := roundsMin - round - 1; more > 0 {
			g.shorten(took, (within-time.Since(began))/time.Duration(more)-building)
		}
	}
	return most, nil
}

// repeat is how often a process measures each benchmark of a package.
func (g *gate) repeat(p string) int {
	if n := g.repeats[p]; n > 0 {
		return n
	}
	return g.options.repeat
}

// shorten lets the packages that take longest measure fewer times per process, until a round takes no longer than it may: what
// prepares its benchmarks expensively does so each time. If even that is too long, the budget ends the comparison.
func (g *gate) shorten(took map[string]time.Duration, within time.Duration) {
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	for sum > within {
		longest := ""
		for p, d := range took {
			if g.repeat(p) > 1 && (longest == "" || d > took[longest]) {
				longest = p
			}
		}
		if longest == "" {
			return
		}
		now := g.repeat(longest)
		fewer := (now + 1) / 2
		g.say("%s takes %s a round: measured %d times per process from here, not %d", longest, took[longest].Round(time.Second/10), fewer, now)
		less := took[longest] * time.Duration(now-fewer) / time.Duration(now)
		took[longest] -= less
		sum -= less
		g.repeats[longest] = fewer
	}
}

// confirm measures again what looks worse: more often, and with nothing taken over from before.
func (g *gate) confirm(ctx context.Context) error {
	suspects := g.affordable(g.report.suspects())
	if len(suspects) == 0 {
		return nil
	}
	g.packages = nil
	only := make(map[string][]name)
	for _, e := range suspects {
		g.say("suspicious: %s", e)
		if only[e.pkg] == nil {
			g.packages = append(g.packages, e.pkg)
		}
		only[e.pkg] = append(only[e.pkg], e.name())
	}
	for _, s := range g.sides() {
		s.results = make(map[name]*series)
	}
	if err := g.build(ctx); err != nil {
		return err
	}
	rounds, err := g.measure(ctx, confirmTimes*g.rounds, g.left(), only)
	if err != nil {
		return err
	}
	g.report.ConfirmRounds = rounds
	var list []again
	for _, e := range suspects {
		a := again{e, g.base.results[e.name()], g.here.results[e.name()]}
		if a.base == nil || a.here == nil {
			return fmt.Errorf("BUG: %s was not measured again", e.name())
		}
		list = append(list, a)
	}
	decide(list)
	return nil
}

// affordable returns as many of the suspects, the worst first, as can be measured again in the time that is left.
func (g *gate) affordable(suspects []*entry) []*entry {
	if len(suspects) == 0 {
		return nil
	}
	each := g.looked / time.Duration(g.report.Rounds*len(g.report.Benchmarks))
	n := int(g.left() / (each * roundsMin))
	return suspects[:min(max(n, 1), len(suspects))]
}
