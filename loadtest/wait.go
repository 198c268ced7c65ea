package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// waiting is a connection that is held.
type waiting interface {
	// ask makes a request and reads its answer, whose end it must see.
	ask() error
}

// open connects as the command says.
func (c *holdCommand) open() (waiting, error) {
	if !c.TLS {
		fd, err := dial(c.Address)
		return &plainWaiting{fd, c.request()}, err
	}
	protocol := "http/1.1"
	if c.H2 {
		protocol = "h2"
	}
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{Timeout: holdPatience},
		Config:    &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}, // the certificate is our own
	}
	conn, err := dialer.Dial("tcp", c.Address)
	if err != nil {
		return nil, err
	}
	if got := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != protocol {
		return nil, fmt.Errorf("the proxy chose %q, not %s", got, protocol)
	}
	if !c.H2 {
		return &secureWaiting{conn, c.request()}, nil
	}
	w := &h2Waiting{conn: conn, framer: http2.NewFramer(conn, conn), address: c.Address, path: c.Path}
	w.encoder, w.framer.ReadMetaHeaders = hpack.NewEncoder(&w.block), hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	return w, w.framer.WriteSettings()
}

func (c *holdCommand) request() []byte {
	return []byte("GET " + c.Path + " HTTP/1.1\r\nHost: " + c.Address + "\r\nUser-Agent: hold\r\n\r\n")
}

// holdPatience is how long an answer may take.
const holdPatience = 10 * time.Second

// plainWaiting is one of HTTP/1.1, without a place in Go's poller.
type plainWaiting struct {
	fd      int
	request []byte
}

func (w *plainWaiting) ask() error {
	// A blocking socket takes a request of this size whole.
	if _, err := write(w.fd, w.request); err != nil {
		return fmt.Errorf("cannot send the request: %w", err)
	}
	return readAnswer(func(p []byte) (int, error) { return read(w.fd, p) })
}

// readAnswer reads until the answer is complete.
func readAnswer(read func(p []byte) (int, error)) error {
	var answer [64 << 10]byte
	for n := 0; ; {
		m, err := read(answer[n:])
		if err == nil && m == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("cannot read the answer: %w", err)
		}
		n += m
		whole, err := answered(answer[:n])
		if whole || err != nil {
			return err
		}
	}
}

// secureWaiting is one of HTTP/1.1 over TLS.
type secureWaiting struct {
	conn    net.Conn
	request []byte
}

func (w *secureWaiting) ask() error {
	if err := w.conn.SetDeadline(time.Now().Add(holdPatience)); err != nil {
		return err
	}
	if _, err := w.conn.Write(w.request); err != nil {
		return fmt.Errorf("cannot send the request: %w", err)
	}
	return readAnswer(w.conn.Read)
}

// h2Waiting is one of HTTP/2 over TLS.
type h2Waiting struct {
	conn          net.Conn
	framer        *http2.Framer
	block         bytes.Buffer
	encoder       *hpack.Encoder
	address, path string
	stream        uint32
}

func (w *h2Waiting) ask() error {
	if err := w.conn.SetDeadline(time.Now().Add(holdPatience)); err != nil {
		return err
	}
	w.stream = max(w.stream+2, 1) | 1
	w.block.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", w.address}, {":path", w.path}, {"user-agent", "hold"}} {
		if err := w.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return err
		}
	}
	head := http2.HeadersFrameParam{StreamID: w.stream, BlockFragment: w.block.Bytes(), EndHeaders: true, EndStream: true}
	if err := w.framer.WriteHeaders(head); err != nil {
		return fmt.Errorf("cannot send the request: %w", err)
	}
	for {
		f, err := w.framer.ReadFrame()
		if err != nil {
			return fmt.Errorf("cannot read the answer: %w", err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); status != "200" {
				return fmt.Errorf("the answer is not 200: %s", status)
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = w.framer.WriteSettingsAck()
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return fmt.Errorf("instead of an answer there was %v", f)
		case *http2.DataFrame:
			if n := len(f.Data()); n > 0 {
				err = w.framer.WriteWindowUpdate(0, uint32(n))
			}
			if f.StreamEnded() {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
