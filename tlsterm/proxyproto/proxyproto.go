// Package proxyproto reads and writes the PROXY protocol header, version 1 or 2, that an L4 load balancer puts in front of what a client
// sends, so that the client's address is known behind it (the specification is HAProxy's doc/proxy-protocol.txt).
//
// A header is taken from the socket to the last byte and not further: what follows it belongs to TLS or HTTP, which then
// read from the connection as if there had been no header.
package proxyproto

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
	"golang.org/x/sys/unix"
)

// Header is what a header says.
type Header struct {
	// Local says that the balancer speaks for itself, a health check say: the addresses are those of the connection.
	Local bool
	// Source and Destination are the client's and the balancer's end; zero if the balancer does not know (UNKNOWN,
	// UNSPEC), or for a unix socket.
	Source, Destination netip.AddrPort
	// TLS says that the client has spoken TLS to the balancer (PP2_TYPE_SSL), TLSVersion which: "TLSv1.3".
	TLS        bool
	TLSVersion string
	// Certificate says that the client has shown a certificate that was verified, Resumed that this was when the session was made
	// that this connection resumes. Read leaves both out: nobody who only says so is believed.
	Certificate, Resumed bool
	// Authority is the name that the client has asked for (PP2_TYPE_AUTHORITY), or "".
	Authority string
	// ALPN is the protocol that was agreed upon with the client (PP2_TYPE_ALPN), or "".
	ALPN string
}

// unknownTLS stands for a version that nobody knows.
const unknownTLS = "TLS"

// Limits of what is read. A header of version 1 has 107 bytes at most; one of version 2 may announce 64 KiB, of which a balancer
// uses some hundreds.
const (
	maxV1 = 107
	maxV2 = 16 + 4096
)

var signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// ErrNone is what Read returns for a connection that does not begin with a header.
var ErrNone = errors.New("there is no PROXY header")

// Read waits for the header and takes it from the connection, which must be a socket; the connection's deadline bounds the wait.
// On an error the connection is of no use any more.
func Read(c net.Conn) (Header, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return Header{}, fmt.Errorf("%T is no socket", c)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return Header{}, err
	}
	buf := make([]byte, maxV2)
	have, size := 0, 0
	for size == 0 {
		n, err := peek(raw, buf, have)
		if err != nil {
			return Header{}, err
		}
		if have = n; have > 0 {
			if size, err = headerSize(buf[:have]); err != nil {
				return Header{}, err
			}
		}
	}
	if _, err := io.ReadFull(c, buf[:size]); err != nil { // which is there already
		return Header{}, err
	}
	return parse(buf[:size])
}

// peek waits until more than have bytes can be read and copies them into buf, without taking them.
func peek(raw syscall.RawConn, buf []byte, have int) (int, error) {
	n := 0
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		for {
			n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if failed != unix.EINTR {
				break
			}
		}
		if failed == unix.EAGAIN {
			failed = nil
			return false
		}
		if failed == nil && n <= have && ended(fd) {
			failed = io.ErrUnexpectedEOF
		}
		// The poller tells of what arrives, not of what is there: with no more than before, wait.
		return failed != nil || n > have
	})
	return n, errors.Join(failed, err)
}

// ended reports whether the peer has closed: peeking at what is there does not tell.
func ended(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// headerSize returns how long the header is that b begins with, 0 if b is too short to tell or to hold it.
func headerSize(b []byte) (int, error) {
	if n := min(len(b), len(signature)); bytes.Equal(b[:n], signature[:n]) {
		if len(b) < 16 {
			return 0, nil
		}
		size := 16 + int(binary.BigEndian.Uint16(b[14:]))
		if size > maxV2 {
			return 0, fmt.Errorf("a PROXY header of %d bytes: at most %d are taken", size, maxV2)
		}
		if len(b) < size {
			return 0, nil
		}
		return size, nil
	}
	const v1 = "PROXY "
	if n := min(len(b), len(v1)); string(b[:n]) != v1[:n] {
		return 0, ErrNone
	}
	if i := bytes.Index(b[:min(len(b), maxV1)], []byte("\r\n")); i >= 0 {
		return i + 2, nil
	}
	if len(b) >= maxV1 {
		return 0, errors.New("a PROXY header without an end")
	}
	return 0, nil
}

// parse reads a whole header.
func parse(b []byte) (Header, error) {
	in := bufio.NewReaderSize(bytes.NewReader(b), len(b))
	p, err := proxyproto.Read(in)
	if err != nil {
		return Header{}, fmt.Errorf("a broken PROXY header: %w", err)
	}
	if n := in.Buffered(); n > 0 {
		return Header{}, fmt.Errorf("a broken PROXY header: %d bytes more than it needs", n)
	}
	h := Header{Local: p.Command.IsLocal()}
	if source, destination, ok := p.TCPAddrs(); ok && !h.Local {
		h.Source, h.Destination = addrPort(source), addrPort(destination)
	}
	tlvs, err := p.TLVs()
	if err != nil {
		return Header{}, fmt.Errorf("a broken PROXY header: %w", err)
	}
	for _, tlv := range tlvs {
		switch {
		case tlv.Type == proxyproto.PP2_TYPE_AUTHORITY && validAuthority(tlv.Value):
			h.Authority = string(tlv.Value)
		case tlv.Type == proxyproto.PP2_TYPE_ALPN && validAuthority(tlv.Value):
			h.ALPN = string(tlv.Value)
		case tlvparse.IsSSL(tlv):
			ssl, err := tlvparse.SSL(tlv)
			if err != nil {
				return Header{}, fmt.Errorf("a broken PROXY header: %w", err)
			}
			h.TLS = ssl.ClientSSL()
			if version, _ := ssl.SSLVersion(); h.TLS && validAuthority([]byte(version)) {
				h.TLSVersion = version
			} else if h.TLS {
				h.TLSVersion = unknownTLS
			}
		}
	}
	return h, nil
}

func addrPort(a *net.TCPAddr) netip.AddrPort {
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

// validAuthority reports whether it can be a host name, or another word: it goes to logs and perhaps into a header.
func validAuthority(b []byte) bool {
	if len(b) == 0 || len(b) > 255 {
		return false
	}
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
