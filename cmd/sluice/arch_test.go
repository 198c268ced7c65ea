package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floors is the map of the folders: imports point down only, and packages of one floor never import each other.
// A folder stands for what is below it, unless that has a line of its own. Folders may be planned.
var floors = map[string]int{
	"sluice/cmd/sluice": 5,

	"sluice/control/admin":   4,
	"sluice/control/portal":  4,
	"sluice/control/store":   4,
	"sluice/control/etcd":    4,
	"sluice/control/kube":    4,
	"sluice/proxy/proxytest": 4,
	"sluice/bench":           4,
	"sluice/loadtest":        4,
	"sluice/profiles":        4,

	"sluice/control/compile":   3,
	"sluice/control/profiling": 3,
	"sluice/proxy/server":      3,

	"sluice/proxy/address":   2,
	"sluice/proxy/aggregate": 2,
	"sluice/proxy/auth":      2,
	"sluice/proxy/browser":   2,
	"sluice/proxy/cache":     2,
	"sluice/proxy/compress":  2,
	"sluice/proxy/limit":     2,
	"sluice/proxy/observe":   2,
	"sluice/proxy/respond":   2,
	"sluice/proxy/transcode": 2,
	"sluice/proxy/transform": 2,
	"sluice/proxy/upstream":  2,
	"sluice/waf":             2,

	"sluice/proxy": 1,

	"sluice/control/config": 0,
	"sluice/control/roster": 0,
	"sluice/proxy/wire":     0,
	"sluice/router":         0,
	"sluice/tlsterm":        0,
}

// forbidden says what a package must never reach, over however many others, and why.
var forbidden = []struct {
	in     func(pkg string) bool
	module string // of a package, or the beginning of its path
	why    string
}{
	{isDataPlane, "sluice/control", "the data plane never knows where its configuration comes from"},
	{isDataPlane, "github.com/goccy/go-yaml", "YAML belongs into control/config; runtime types carry no tags"},
	{isDataPlane, "go.etcd.io/etcd", "etcd belongs into control/etcd"},
	{isDataPlane, "k8s.io", "kubernetes belongs into control/kube"},
	{isDataPlane, "github.com/fsnotify/fsnotify", "the data plane is told of changes, it does not look for them"},
	{isDataPlane, "github.com/alecthomas/kong", "the command line belongs into cmd/sluice"},
	{isDataPlane, "net/http/pprof", "profiles are served by control/admin alone"},
	{isControlStore, "sluice/proxy", "configuration is data; control/compile turns it into what runs"},
	{isBinary, "sluice/proxy/proxytest", "test helpers do not belong into the binary"},
	{isBinary, "testing", "test helpers do not belong into the binary"},
	{isBinary, "github.com/gobwas/ws", "it is for tests: the gateway tunnels WebSockets and does not read them"},
}

func isDataPlane(pkg string) bool {
	return floorOf(pkg) <= 3 && (within(pkg, "sluice/proxy") || within(pkg, "sluice/router") || within(pkg, "sluice/tlsterm") || within(pkg, "sluice/waf"))
}
func isControlStore(pkg string) bool { return pkg == "sluice/control/config" }
func isBinary(pkg string) bool       { return pkg == "sluice/cmd/sluice" }

// listed is a package as `go list` describes it.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Module     *struct {
		Path string
		Main bool
	}
}

func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps,Module"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		list = append(list, p)
	}
}

func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// floorOf returns the floor of the nearest folder that has one, or -1.
func floorOf(pkg string) int {
	for folder := pkg; ; {
		if floor, ok := floors[folder]; ok {
			return floor
		}
		cut := strings.LastIndexByte(folder, '/')
		if cut < 0 {
			return -1
		}
		folder = folder[:cut]
	}
}

func TestFloors(t *testing.T) {
	packages := goList(t, "sluice/...")
	if len(packages) < 10 {
		t.Fatalf("go list knows only %d packages", len(packages))
	}
	for _, p := range packages {
		floor := floorOf(p.ImportPath)
		// proxy's own children have lines of their own: a new one must not slip in as the vocabulary.
		if floor < 0 || floor == 1 && p.ImportPath != "sluice/proxy" {
			t.Errorf("%s is on no floor: give it a line in floors, and one in the design", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if why := climbs(p.ImportPath, imported); why != "" {
				t.Error(why)
			}
		}
	}
}

// climbs says what is wrong with an import, if anything.
func climbs(from, to string) string {
	if !within(to, "sluice") {
		return ""
	}
	floor, target := floorOf(from), floorOf(to)
	switch {
	case target < floor:
	case target == floor && folderOf(from) == folderOf(to):
		// Parts of one thing, such as waf/rule and waf/operator.
	case target == floor:
		return fmt.Sprintf("%s imports its sibling %s (floor %d): hand it over from above instead", from, to, floor)
	default:
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d): imports point down only", from, floor, to, target)
	}
	return ""
}

// folderOf is the folder whose line in floors counts for a package.
func folderOf(pkg string) string {
	best := ""
	for folder := range floors {
		if within(pkg, folder) && len(folder) > len(best) {
			best = folder
		}
	}
	return best
}

func TestClimbs(t *testing.T) {
	f := func(from, to, want string) {
		t.Helper()
		if got := climbs(from, to); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s → %s: %q, want %q", from, to, got, want)
		}
	}
	f("sluice/proxy", "sluice/proxy/wire", "")
	f("sluice/control/compile", "sluice/proxy/upstream", "")
	f("sluice/waf/rule", "sluice/waf/operator", "")
	f("sluice/proxy", "fmt", "")
	f("sluice/proxy/limit", "sluice/proxy/cache", "sibling")
	f("sluice/control/compile", "sluice/proxy/server", "sibling")
	f("sluice/proxy/wire", "sluice/router", "sibling")
	f("sluice/proxy", "sluice/proxy/server", "down only")
	f("sluice/router", "sluice/proxy", "down only")
}

func TestForbidden(t *testing.T) {
	packages := goList(t, "sluice/...")
	for _, rule := range forbidden {
		judged := 0
		for _, p := range packages {
			if !rule.in(p.ImportPath) {
				continue
			}
			judged++
			for _, dep := range p.Deps {
				if within(dep, rule.module) {
					t.Errorf("%s reaches %s: %s", p.ImportPath, dep, rule.why)
				}
			}
		}
		if judged == 0 {
			t.Errorf("no package is judged by the rule on %s any more", rule.module)
		}
	}
}

const depsFile = "deps.txt"

// TestDeps compares deps.txt with the modules that the binary is made of: a new one is a line in a change, with the
// reason why its code is not ours. -rewrite brings the list up to date and keeps the reasons.
func TestDeps(t *testing.T) {
	used := map[string]bool{}
	for _, p := range goList(t, "-deps", "sluice/cmd/sluice") {
		if p.Module != nil && !p.Module.Main {
			used[p.Module.Path] = true
		}
	}
	if *rewrite {
		must(t, os.WriteFile(depsFile, []byte(depsText(used, readReasons(t))), 0o644))
	}
	reasons := readReasons(t)
	for _, module := range slices.Sorted(maps.Keys(used)) {
		if reason, ok := reasons[module]; !ok {
			t.Errorf("%s is part of the binary and not in %s: add it, with the reason", module, depsFile)
		} else if reason == "" {
			t.Errorf("%s has no reason in %s", module, depsFile)
		}
	}
	for module := range reasons {
		if !used[module] {
			t.Errorf("%s is in %s and no longer part of the binary", module, depsFile)
		}
	}
	if got := readText(t, depsFile); got != depsText(used, reasons) && !t.Failed() {
		t.Errorf("%s is not in its form; run the test with -rewrite", depsFile)
	}
}

const depsHead = "# The modules that the binary is made of, and why each is not our own code. arch_test.go compares.\n\n"

func depsText(modules map[string]bool, reasons map[string]string) string {
	width := 0
	for module := range modules {
		width = max(width, len(module))
	}
	var b strings.Builder
	b.WriteString(depsHead)
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s  %s", width, module, reasons[module]), " ") + "\n")
	}
	return b.String()
}

func readReasons(t *testing.T) map[string]string {
	t.Helper()
	reasons := map[string]string{}
	for line := range strings.Lines(readText(t, depsFile)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		module, reason, _ := strings.Cut(line, " ")
		reasons[module] = strings.TrimSpace(reason)
	}
	return reasons
}
