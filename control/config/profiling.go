package config

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Profiling is what is profiled without being asked. A nil *Profiling, or one that is Off, is nothing; see
// Admin.Continuous.
type Profiling struct {
	Off       bool     // profiling: off
	To        Path     `cfg:"to" doc:"the folder for the profiles, of this gateway alone; by default the folder profiles in state"`
	Keep      int      `cfg:"keep" default:"48" min:"1" max:"10000" doc:"how many of the continuous profiles, and how many captures, stay on the disk"`
	Bytes     Size     `cfg:"bytes" default:"256MiB" min:"16MiB" doc:"how large all of them may be together"`
	Every     Duration `cfg:"every" default:"5m" doc:"how often a CPU profile and a heap profile are taken"`
	For       Duration `cfg:"for" default:"10s" doc:"how long a CPU profile takes, that of a capture, too"`
	CaptureIf *Capture `cfg:"capture_if" doc:"thresholds; when one is passed, a CPU profile, the goroutines and an execution trace are captured"`
	Pos       Pos
}

// Capture says when to capture.
type Capture struct {
	P99    *Duration  `cfg:"p99" doc:"99 % of the requests that end within over take no longer"`
	CPU    *Percent   `cfg:"cpu" doc:"the process uses less than this share of all its cores"`
	Over   Duration   `cfg:"over" default:"10s" doc:"the time that a threshold is compared over"`
	AtMost Times      `cfg:"at_most" default:"1/10m" doc:"how many captures there may be within a time, such as 1/10m"`
	Except List[Text] `cfg:"except" doc:"routes that do not count for p99, such as streams of events"`
	Pos    Pos
}

// Continuous returns what is profiled continuously, or nil when nothing is.
func (a Admin) Continuous() *Profiling {
	if a.Off || a.Profiling == nil || a.Profiling.Off {
		return nil
	}
	return a.Profiling
}

func (p *Profiling) decodeShort(d *decoder, n *node, path string) bool {
	const wanted = "on, off, or a mapping with to and every"
	text, ok := d.scalar(n, path, wanted)
	if ok && text != "on" && text != "off" {
		d.wants(n, path, wanted, "on writes to the folder profiles in state")
	}
	p.Off = text == "off"
	return true
}

// Times is a number of events within a time, written 1/10m or 3/h.
type Times struct {
	Count int
	Per   time.Duration
}

// timesCountMax is more than anybody counts.
const timesCountMax = 1_000_000

func (v *Times) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "a number within a time, such as 1/10m"
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	times, ok := parseTimes(text)
	if !ok {
		d.wants(n, path, wanted, "")
		return
	}
	*v = times
}

func parseTimes(s string) (Times, bool) {
	number, per, ok := strings.Cut(s, "/")
	if !ok || !isDigits(number) || len(number) > numberBytesMax {
		return Times{}, false
	}
	if _, unit := durationUnits[per]; unit {
		per = "1" + per
	}
	count, err := strconv.Atoi(number)
	span, ok := parseDuration(per)
	if err != nil || !ok || count < 1 || count > timesCountMax || span <= 0 || span > durationMax {
		return Times{}, false
	}
	return Times{count, span}, true
}

// Bounds of profiling, and what is worth a word.
const (
	profileTimeMax  = Duration(time.Minute) // the admin listener's, too
	everyMin        = Duration(time.Second)
	overMin         = Duration(time.Second)
	overMax         = Duration(time.Hour)
	profiledPartMax = 5 // more than one part in so many of the time costs more than it should
)

func (v *validator) profiling(a Admin) {
	p := a.Continuous()
	if p == nil {
		return
	}
	const path = "admin.profiling"
	if p.To == "" && v.config.State == "" {
		v.fail(path, "has no folder for the profiles", "add state: /var/lib/sluice, or to: /var/lib/sluice/profiles")
	}
	if p.To != "" && p.To == v.config.State {
		v.fail(path+".to", "is the folder state itself", "the profiles want one of their own")
	}
	switch {
	case p.Every == 0 || p.For == 0: // reported
	case p.Every < everyMin:
		v.fail(path+".every", "is shorter than 1s", "")
	case p.For > profileTimeMax:
		v.fail(path+".for", "is longer than 1m", "")
	case p.For >= p.Every:
		v.fail(path+".for", "is not shorter than every", "")
	case p.For*profiledPartMax > p.Every:
		v.warn(path+".for", fmt.Sprintf("the CPU is profiled %d%% of the time, which every request pays for", 100*p.For/p.Every), "a tenth of every, or less")
	}
	v.captureIf(p.CaptureIf, path+".capture_if")
}

func (v *validator) captureIf(c *Capture, path string) {
	if c == nil {
		return
	}
	if c.P99 == nil && c.CPU == nil {
		v.fail(path, "names no threshold", "p99: 250ms, cpu: 90%, or both")
	}
	if c.CPU != nil && *c.CPU == 0 {
		v.fail(path+".cpu", "is passed all the time", "90%, for example")
	}
	if c.Over != 0 && (c.Over < overMin || c.Over > overMax) {
		v.fail(path+".over", "is not between 1s and 1h", "")
	}
	if c.P99 == nil && len(c.Except) > 0 {
		v.fail(path+".except", "is for p99, which is not given", "")
	}
	for i, route := range c.Except {
		if _, ok := v.config.Routes.Get(route.Text); !ok {
			v.unknown("route", "routes", route, v.item(path+".except", i), v.config.Routes.Names())
		}
	}
}

// profilesFolder is the folder in state that profiles go to if no other is given.
const profilesFolder = "profiles"

func (c *Config) inheritProfiling() {
	if p := c.Admin.Continuous(); p != nil && p.To == "" {
		p.To = Path(filepath.Join(string(c.State), profilesFolder))
	}
}
