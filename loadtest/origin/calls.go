package origin

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of the kernel are made straight. Go's own tell its scheduler before and after each, and have a thread of the runtime look whether
// one takes long: worth it where other goroutines want to run meanwhile, and about as dear as an answer. Here nobody else wants to. When
// the collector wants the loop to stop while it waits, its signal ends the wait (EINTR).

func readSome(fd int, into []byte) (int, error) {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)))
	return counted(n, e)
}

func writeSome(fd int, from []byte) (int, error) {
	n, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(from))), uintptr(len(from)))
	return counted(n, e)
}

// wait blocks until there are events.
func wait(poller int, events []unix.EpollEvent) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poller), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), ^uintptr(0), 0, 0)
	return counted(n, e)
}

func counted(n uintptr, e unix.Errno) (int, error) {
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
