package wire

import (
	"net"
	"syscall"
)

// Await waits until enough is true of the first bytes that have arrived on a socket and that nobody has read, or until there are size
// of them, their end, or an error that a read will tell. They stay in the kernel, which bounds them, so that a peer that does not go
// on costs no more than its socket and a goroutine. The connection's deadline holds. On other than sockets it returns at once.
func Await(c net.Conn, size int, enough func(first []byte) bool) error {
	var socket syscall.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		socket = c
	case *net.UnixConn:
		socket = c
	default:
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		buf := GetBuf(size)
		defer buf.Free()
		for {
			n, e := rawReceive(fd, buf.B[:size], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			switch {
			case e == syscall.EINTR:
				continue
			case e == syscall.EAGAIN:
				return false // whatever comes next wakes us
			case e != 0 || n == 0 || n == size:
				return true
			}
			return enough(buf.B[:n])
		}
	})
}
