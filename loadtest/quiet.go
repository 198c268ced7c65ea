package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A proxy that shares its core with somebody else looks dearer than it is: caches are cold, and latencies have
// somebody else's time slices in them. A sample is disturbed if others had the core for more than this share.
const disturbance = 0.05

// busy is how long certain cores have worked for somebody: all but idle and waiting for a disk.
func busy(cores string) (time.Duration, error) {
	names, err := coreNames(cores)
	if err != nil {
		return 0, err
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("cannot tell how busy the cores are: %w", err)
	}
	var ticks int64
	for line := range strings.Lines(string(stat)) {
		part := strings.Fields(line)
		if len(part) < 9 || !slices.Contains(names, part[0]) {
			continue
		}
		for _, i := range []int{1, 2, 3, 6, 7, 8} { // user, nice, system, irq, softirq, steal; see proc_stat(5)
			n, err := strconv.ParseInt(part[i], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("cannot tell how busy the cores are: %w", err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // USER_HZ is 100 on every Linux that Go runs on
}

// coreNames turns a list such as 0,2-3 into the names of /proc/stat.
func coreNames(cores string) ([]string, error) {
	var names []string
	for part := range strings.SplitSeq(cores, ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil || from < 0 || to < from || to > 4095 {
			return nil, fmt.Errorf("%q is no list of cores: it is written 0 or 0,2-3", cores)
		}
		for n := from; n <= to; n++ {
			names = append(names, fmt.Sprintf("cpu%d", n))
		}
	}
	return names, nil
}
