package wire

import (
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// unsentMax is how much the kernel may hold of what a slow reader has not taken, beyond what is on its way to it: a
// stalled reader costs this, a copy buffer and what the kernel has received for it, not also the megabytes that an
// autotuned send buffer grows to.
const unsentMax = 512 << 10

// unreadMax is how much the kernel may hold of an origin's response that a slow client has not taken yet. It also bounds
// what one connection can receive in a round trip: an origin 100 ms away still sends 300 Mbit/s.
const unreadMax = 4 << 20

// TuneAccepted sets the options of a client's connection. An option that an old kernel does not know is one less
// protection, not a failure.
//
// Its receive buffer is left to autotuning, up to net.ipv4.tcp_rmem (6 MiB unless it was changed). Fixed at 4 MiB, it
// was seen to overflow with the small segments of a client that pipelines; the kernel then drops segments together with
// the acknowledgements in them, and both directions rest until a retransmission tens of seconds later.
func TuneAccepted(c net.Conn) { tune(c, false) }

// TuneDialled sets the options of a connection to an origin.
func TuneDialled(c net.Conn) { tune(c, true) }

func tune(c net.Conn, dialled bool) {
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
		if dialled && mayBoundUnread() {
			// The kernel doubles the number, to make room for its own bookkeeping.
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, unreadMax/2)
		}
	})
}

// mayBoundUnread reports whether the kernel grants a receive buffer of unreadMax. Where it does not, the option would
// give us the little that it grants; autotuning is better then.
var mayBoundUnread = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return false
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return err == nil && most >= unreadMax/2
})
