package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/pprof/profile"
)

// pgoCommand makes the profile that Sluice is built with: profile-guided optimisation inlines and lays out what is hot
// in it (go.dev/doc/pgo).
type pgoCommand struct {
	Sluice     string `default:"bin/sluice" help:"The build that is profiled."`
	Out        string `default:"profiles/default.pgo" help:"Where the profile goes."`
	Share      int    `default:"1" help:"Multiplies how long each part of the mix takes."`
	ProxyCores string `default:"0" help:"The cores of the proxy."`
	LoadCores  string `default:"1" help:"The cores of load and origin."`
}

// The mix weighs by time: Sluice is busy all of it, so that a part's seconds are its weight. Small proxied requests are
// what a gateway does most; the others make sure that their paths are not taken for cold.
var mix = []struct {
	scenario string
	word     string
	seconds  int
}{
	{"proxy-1k", "", 24},
	{"policies", "log+policies", 8},
	{"post-4k", "", 6},
	{"routes", "routes", 4},
	{"static", "", 4},
	{"proxy-100k", "", 4},
	{"churn", "", 4},
	{"proxy-1m", "", 2},
	{"post-1m", "", 2},
	{"websocket", "", 2},
}

// pgoMax is what the repository is to be burdened with at most.
const pgoMax = 500 << 10

func (c *pgoCommand) Run(ctx context.Context, to *console) error {
	program, err := filepath.Abs(c.Sluice)
	if err != nil {
		return err
	}
	scratch, err := folder("", "sluice-loadtest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	address, backend, err := startOrigin(ctx, c.LoadCores, scratch)
	if err != nil {
		return err
	}
	defer backend.stop()

	p := plan{threads: 1, proxy: c.ProxyCores, load: c.LoadCores}
	var parts []*profile.Profile
	for _, part := range mix {
		picked, err := pick([]string{part.scenario}, true)
		if err != nil {
			return err
		}
		p.seconds = part.seconds * c.Share
		fmt.Fprintf(to.err, "%-12s %d s\n", part.scenario, p.seconds)
		one, err := p.profile(ctx, entrant{does: picked[0], who: subject{sluice("sluice", program), part.word}, threads: 1}, address, scratch)
		if err != nil {
			return fmt.Errorf("%s: %w", part.scenario, err)
		}
		parts = append(parts, one)
	}
	text, err := distill(parts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.Out), 0o755); err != nil {
		return fmt.Errorf("cannot make the folder of the profile: %w", err)
	}
	if err := os.WriteFile(c.Out, text, 0o644); err != nil {
		return fmt.Errorf("cannot write the profile: %w", err)
	}
	fmt.Fprintf(to.out, "%s: %d KiB. `make build` uses it from now on.\n", c.Out, len(text)>>10)
	return nil
}

// profile takes a CPU profile over the admin listener, as an operator would, while the scenario's load goes on.
func (p plan) profile(ctx context.Context, e entrant, origin, dir string) (*profile.Profile, error) {
	t, err := p.launch(ctx, e, origin, dir)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	seconds := t.seconds
	t.seconds += 2 // the load begins earlier and ends later than the profile
	loaded := make(chan error, 1)
	go func() {
		_, err := e.does.generator().run(ctx, t)
		loaded <- err
	}()
	time.Sleep(time.Second)
	one, err := fetchProfile(ctx, t.proxy.admin, seconds)
	if loadErr := <-loaded; loadErr != nil {
		return nil, loadErr
	}
	return one, err
}

func fetchProfile(ctx context.Context, admin string, seconds int) (*profile.Profile, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds+30)*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, seconds), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch a profile: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("cannot fetch a profile: %w", err)
	}
	if response.StatusCode != 200 {
		return nil, fmt.Errorf("cannot fetch a profile: %s: %.200s", response.Status, text)
	}
	one, err := profile.ParseData(text)
	if err != nil {
		return nil, fmt.Errorf("cannot read the profile: %w", err)
	}
	return one, nil
}

// unwanted are functions of the profiling itself.
var unwanted = regexp.MustCompile(`^(runtime/pprof|net/http/pprof|sluice/control/admin)\.`)

// distill merges profiles and drops what a compiler has no use for: it looks for functions, and for the lines of calls
// relative to the beginning of their function (cmd/internal/pgo).
func distill(parts []*profile.Profile) ([]byte, error) {
	all, err := profile.Merge(parts)
	if err != nil {
		return nil, fmt.Errorf("cannot merge the profiles: %w", err)
	}
	all.FilterSamplesByName(nil, unwanted, nil, nil)
	for _, s := range all.Sample {
		s.Label, s.NumLabel, s.NumUnit = nil, nil, nil
	}
	if err := all.Aggregate(true, true, false, true, false, false); err != nil {
		return nil, fmt.Errorf("cannot reduce the profile: %w", err)
	}
	// Aggregate leaves mappings and comments: the path of the program, and when it was built, are nobody's business.
	for _, l := range all.Location {
		l.Mapping = nil
	}
	all.Mapping, all.Comments, all.TimeNanos = nil, nil, 0
	// Merging again unites what has become the same.
	if all, err = profile.Merge([]*profile.Profile{all}); err != nil {
		return nil, fmt.Errorf("cannot reduce the profile: %w", err)
	}
	if len(all.Sample) == 0 {
		return nil, fmt.Errorf("the profile is empty")
	}
	var text bytes.Buffer
	if err := all.Write(&text); err != nil {
		return nil, fmt.Errorf("cannot write the profile: %w", err)
	}
	if text.Len() > pgoMax {
		return nil, fmt.Errorf("the profile has %d KiB, which is more than %d", text.Len()>>10, pgoMax>>10)
	}
	return text.Bytes(), nil
}
