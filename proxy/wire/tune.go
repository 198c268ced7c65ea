package wire

import (
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// unsentMax is how much the kernel may hold of what a slow reader has not taken, beyond what is on its way to it, and
// unreadMax what it may hold of what we have not read: a stalled peer costs these and a copy buffer, not the megabytes
// that autotuned buffers grow to. unreadMax also bounds what one connection can receive in a round trip: a client
// 100 ms away still sends 300 Mbit/s.
const (
	unsentMax = 512 << 10
	unreadMax = 4 << 20
)

// Tune sets the options that every TCP connection has, accepted or dialled. An option that an old kernel does not know
// is one less protection, not a failure.
func Tune(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return // closed already: the first read will say so
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMax)
		if mayBoundUnread() {
			// The kernel doubles the number, to make room for its own bookkeeping.
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, unreadMax/2)
		}
	})
}

// mayBoundUnread reports whether the kernel grants a receive buffer of unreadMax. Where it does not, the option would
// give us the little that it grants; autotuning is better then, and by default ends at 6 MiB.
var mayBoundUnread = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return false
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return err == nil && most >= unreadMax/2
})
