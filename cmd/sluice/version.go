package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// stamped is the version that the build puts in with -ldflags "-X main.stamped=...".
var stamped string

type versionCommand struct{}

func (versionCommand) Help() string {
	return example("Prints the version of Sluice, of Go, and the revision it was built from, if that is known.", "sluice version")
}

func (versionCommand) Run(t *terminal) error {
	return t.write(fmt.Sprintf("sluice %s\n%s %s/%s\nrevision %s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, revision()))
}

// version is the one stamped in, or else the module's.
func version() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// revision is the commit that the go command saw when it built the binary.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " (changed)"
		}
	}
	return revision + changed
}
