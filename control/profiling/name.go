package profiling

import (
	"regexp"
	"time"
)

// File is one profile on the disk.
type File struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`    // cpu, heap, goroutine, trace, or reason
	Capture bool      `json:"capture"` // taken because a threshold was passed
	Taken   time.Time `json:"taken"`   // when it began
	Bytes   int64     `json:"bytes"`
}

// A name is the moment, "capture" if it is one, the kind, and what other programs know it by:
// 20260131T235959.999Z.cpu.pprof, 20260131T235959.999Z.capture.trace. Names sort by time.
const momentLayout = "20060102T150405.000Z"

var endings = map[string]string{
	"cpu": "cpu.pprof", "heap": "heap.pprof", "goroutine": "goroutine.pprof", "trace": "trace", "reason": "reason.txt",
}

var nameForm = regexp.MustCompile(`^([0-9]{8}T[0-9]{6}\.[0-9]{3}Z)(\.capture)?\.(?:(cpu|heap|goroutine)\.pprof|(trace)|(reason)\.txt)$`)

// nameOf is the name of a file without its size.
func nameOf(f File) string {
	name := f.Taken.UTC().Format(momentLayout)
	if f.Capture {
		name += ".capture"
	}
	return name + "." + endings[f.Kind]
}

// ParseName is strict: what it accepts is the name of a profile, and nothing that a folder could be left with.
func ParseName(name string) (File, bool) {
	part := nameForm.FindStringSubmatch(name)
	if part == nil {
		return File{}, false
	}
	taken, err := time.Parse(momentLayout, part[1])
	if err != nil {
		return File{}, false // the 32nd of a month
	}
	return File{Name: name, Kind: part[3] + part[4] + part[5], Capture: part[2] != "", Taken: taken}, true
}
