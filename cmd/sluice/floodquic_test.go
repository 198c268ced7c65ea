//go:build !race && !invariants

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// Those who attack over UDP.

// packets is a socket of UDP at one of many addresses.
func packets(from net.IP) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: from})
}

// dial3 makes a connection of QUIC, whose streams have a window of so many bytes; 0: as usual.
func (f *attacked) dial3(from net.IP, window uint64) (*quic.Conn, error) {
	pc, err := packets(from)
	if err != nil {
		return nil, err
	}
	to, err := net.ResolveUDPAddr("udp4", f.secure)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.Dial(ctx, pc, to, tls3(), &quic.Config{
		InitialStreamReceiveWindow: window, MaxStreamReceiveWindow: window, MaxIdleTimeout: 2 * time.Minute,
	})
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	context.AfterFunc(conn.Context(), func() { _ = pc.Close() }) // nothing is left that a failure could lose
	return conn, nil
}

func tls3() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "a.example", NextProtos: []string{"h3"}}
}

// openInitial sends what a connection of QUIC begins with, and the same with a token if the gateway wants its address to be proven, and not
// another word.
func openInitial(f *attacked, i int) error {
	to, err := net.ResolveUDPAddr("udp4", f.secure)
	if err != nil {
		return err
	}
	pc, err := packets(holder(i))
	if err != nil {
		return err
	}
	f.hold(pc)
	for range 5 { // packets get lost
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		from := &quic.Transport{Conn: &mute{PacketConn: pc, answered: cancel}}
		_, err = from.Dial(ctx, to, tls3(), nil)
		cancel()
		if closed := from.Close(); closed != nil {
			return closed
		}
		if errors.Is(err, context.Canceled) {
			return nil
		}
	}
	return fmt.Errorf("the Initials were not answered: %w", err)
}

// mute is a socket that hears of nothing but Retry. At the first packet of another kind it calls answered, and sends no more.
type mute struct {
	net.PacketConn
	answered func()
	quiet    atomic.Bool
}

func (m *mute) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := m.PacketConn.ReadFrom(p)
		if err != nil {
			return n, from, err
		}
		if n > 0 && p[0]&0xf0 == 0xf0 { // RFC 9000 section 17.2.5
			return n, from, nil
		}
		m.quiet.Store(true)
		m.answered()
	}
}

func (m *mute) WriteTo(p []byte, to net.Addr) (int, error) {
	if m.quiet.Load() {
		return len(p), nil
	}
	return m.PacketConn.WriteTo(p, to)
}

// section3 is a frame with a head: GET of path.
func section3(path string, more ...string) []byte {
	var block bytes.Buffer
	e := qpack.NewEncoder(&block)
	fields := append([]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", path}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(qpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return append(quicvarint.Append([]byte{1}, uint64(block.Len())), block.Bytes()...)
}

// openStreams3 opens a connection with 100 streams, and does with each what it is told.
func (f *attacked) openStreams3(i int, window uint64, do func(str *quic.Stream) error) error {
	conn, err := f.dial3(holder(i), window)
	if err != nil {
		return err
	}
	f.hold(held3{conn})
	for range 100 {
		ctx, cancel := context.WithTimeout(conn.Context(), patience)
		str, err := conn.OpenStreamSync(ctx)
		cancel()
		if err == nil {
			_ = str.SetDeadline(time.Now().Add(2 * time.Minute)) // never fails
			err = do(str)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// held3 is a connection of QUIC among others that are held.
type held3 struct{ *quic.Conn }

func (h held3) Close() error { return h.CloseWithError(0x100, "") }

// openHead3 sends almost as large a head as is allowed, and not its end.
func openHead3(f *attacked, i int) error {
	head := section3("/", "x-1", strings.Repeat("~", 10_000), "x-2", strings.Repeat("~", 10_000), "x-3", strings.Repeat("~", 10_000))
	return f.openStreams3(i, 0, func(str *quic.Stream) error {
		_, err := str.Write(head[:len(head)-1])
		f.waiting.Add(1)
		go func() {
			// Whatever the end is that the gateway makes of it.
			if _, err := io.Copy(io.Discard, str); !errors.Is(err, os.ErrDeadlineExceeded) {
				f.waiting.Add(-1)
			}
		}()
		return err
	})
}

// openWindowless3 asks for large answers of which no more than the beginning can be sent.
func openWindowless3(f *attacked, i int) error {
	const window = 200
	return f.openStreams3(i, window, func(str *quic.Stream) error {
		if _, err := str.Write(section3("/big")); err != nil {
			return err
		}
		if err := str.Close(); err != nil {
			return err
		}
		kind := make([]byte, 1)
		if _, err := io.ReadFull(str, kind); err != nil || kind[0] != 1 {
			return fmt.Errorf("instead of a head came %v, %v", kind, err)
		}
		return nil
	})
}

// stormReset3 opens streams and resets them at once, until the gateway ends the connection.
func stormReset3(f *attacked, _ int, from net.IP) (taken bool, err error) {
	conn, err := f.dial3(from, 0)
	if err != nil {
		return false, nil // it is refused, or the gateway is too busy with others: that may be
	}
	defer conn.CloseWithError(0x100, "")
	ctx, cancel := context.WithTimeout(conn.Context(), 2*time.Minute)
	defer cancel()
	head := section3("/")
	for {
		str, err := conn.OpenStreamSync(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return true, fmt.Errorf("the gateway does not end the connection: %w", err)
		}
		if err != nil {
			return true, nil
		}
		_, _ = str.Write(head) // it fails at the end of the connection
		str.CancelRead(0x10c)
		str.CancelWrite(0x10c)
	}
}
