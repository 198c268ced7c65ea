package compile

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machineMemory is how much memory this process can have, by the machine and by its control group; 0 if nobody says.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	machine := int64(0)
	if unix.Sysinfo(&info) == nil {
		machine = int64(info.Totalram) * int64(info.Unit)
	}
	// As seen from within a container; elsewhere the root has no such file.
	text, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return machine
	}
	return lesserMemory(machine, string(text))
}

func lesserMemory(machine int64, cgroup string) int64 {
	limit, err := strconv.ParseInt(strings.TrimSpace(cgroup), 10, 64)
	if err != nil || limit <= 0 || machine > 0 && limit > machine {
		return machine // "max"
	}
	return limit
}
