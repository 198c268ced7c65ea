package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/control/compile"
)

// place is where a socket listens, as configured. Port 0 may stand in a configuration several times; nth tells such
// places apart.
type place struct {
	network, address string
	nth              int
}

func (p place) String() string {
	if p.network == "unix" {
		return "unix:" + p.address
	}
	return p.address
}

// anyPort reports whether the kernel chooses the port.
func (p place) anyPort() bool { return p.network == "tcp" && strings.HasSuffix(p.address, ":0") }

// places numbers addresses.
type places map[place]bool

func (all places) add(a compile.Address) place {
	p := place{network: a.Network, address: a.Address}
	for all[p] {
		p.nth++
	}
	all[p] = true
	return p
}

// socketMode lets the group of the process connect, and nobody else.
const socketMode = 0o660

// open listens. A TCP address without a host is every address of the machine, IPv4 and IPv6.
func (p place) open() (net.Listener, error) {
	if p.network == "unix" {
		return openUnix(p.address)
	}
	var c net.ListenConfig
	c.SetMultipathTCP(false) // Go's default since 1.24; an edge host gains nothing by it, and each socket costs more
	network := "tcp"
	if a, err := netip.ParseAddrPort(p.address); err == nil && a.Addr().Is4() {
		network = "tcp4" // or else 0.0.0.0 would be every IPv6 address, too
	}
	nl, err := c.Listen(context.Background(), network, p.address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", p, err)
	}
	return nl, nil
}

// openPackets opens the UDP socket beside nl, on the same address.
func (p place) openPackets(nl net.Listener) (net.PacketConn, error) {
	address := p.address
	if host, port, err := net.SplitHostPort(address); err == nil && port == "0" {
		if tcp, ok := nl.Addr().(*net.TCPAddr); ok {
			address = net.JoinHostPort(host, strconv.Itoa(tcp.Port)) // the one that the kernel chose
		}
	}
	network := "udp"
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		network = "udp4"
	}
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s over UDP, for h3: %w", p, err)
	}
	return pc, nil
}

func openUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	nl, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		_ = nl.Close() // the first error is the one to report
		return nil, fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	return nl, nil
}

// removeStale removes the socket of a process that has died. One that somebody listens on stays, and so does whatever
// is no socket.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of this name, and it is no socket")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close() // it was a question only
		return errors.New("another process listens on it")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot tell whether another process listens on it: %w", err)
	}
	return os.Remove(path)
}
