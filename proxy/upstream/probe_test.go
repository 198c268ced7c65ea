package upstream

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerClosed asks the kernel whether the other end has closed its sending side, whatever lies unread before that.
func peerClosed(c net.Conn) bool {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, _ = unix.Poll(p, 0)
		closed = p[0].Revents != 0
	})
	return closed || err != nil
}

// unacknowledged is how many bytes that were written are not known to be at the other end's kernel; -1: nobody knows.
func unacknowledged(c net.Conn) int {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1
	}
	n := -1
	if err := raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return -1
	}
	return n
}
