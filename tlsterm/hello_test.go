package tlsterm

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// helloOf returns the bytes that a client begins with.
func helloOf(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	c := &recorded{}
	if err := tls.Client(c, config).Handshake(); err == nil {
		t.Fatal("a handshake with nobody succeeded")
	}
	return c.sent
}

// recorded is a connection on which nobody answers.
type recorded struct {
	net.Conn
	sent []byte
}

func (c *recorded) Write(p []byte) (int, error) { c.sent = append(c.sent, p...); return len(p), nil }
func (c *recorded) Read([]byte) (int, error)    { return 0, io.EOF }
func (c *recorded) Close() error                { return nil }

// fed is a connection that gives its bytes in pieces, and keeps what it is told.
type fed struct {
	net.Conn
	pieces [][]byte
	told   []byte
}

func (c *fed) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}
func (c *fed) Write(p []byte) (int, error)      { c.told = append(c.told, p...); return len(p), nil }
func (c *fed) Close() error                     { return nil }
func (c *fed) SetDeadline(time.Time) error      { return nil }
func (c *fed) SetReadDeadline(time.Time) error  { return nil }
func (c *fed) SetWriteDeadline(time.Time) error { return nil }

// cut takes bytes apart.
func cut(b []byte, size int) [][]byte {
	var pieces [][]byte
	for len(b) > 0 {
		n := min(size, len(b))
		pieces = append(pieces, b[:n:n])
		b = b[n:]
	}
	return pieces
}

// inRecords puts the hello of one record into records of size bytes each.
func inRecords(hello []byte, size int) []byte {
	var b []byte
	for _, piece := range cut(hello[5:], size) {
		b = append(append(b, hello[0], hello[1], hello[2], byte(len(piece)>>8), byte(len(piece))), piece...)
	}
	return b
}

func TestReadHello(t *testing.T) {
	f := func(sent []byte, size int, want string) {
		t.Helper()
		c := &fed{pieces: cut(sent, size)}
		hello, read, err := ReadHello(c)
		if err != nil {
			t.Fatal(err)
		}
		if hello.ServerName != want {
			t.Errorf("the name is %q, want %q", hello.ServerName, want)
		}
		if len(hello.JA4) != 36 {
			t.Errorf("the fingerprint is %q", hello.JA4)
		}
		if whole := append(read, bytes.Join(c.pieces, nil)...); !bytes.Equal(whole, sent) {
			t.Errorf("%d bytes came back, want the %d that were sent", len(whole), len(sent))
		}
		if len(c.told) > 0 {
			t.Errorf("the client was told %x", c.told)
		}
	}
	named := helloOf(t, &tls.Config{ServerName: "DB.shop.example"})
	f(named, 1<<16, "db.shop.example")
	f(named, 1, "db.shop.example")
	f(inRecords(named, 100), 1<<16, "db.shop.example")
	f(inRecords(named, 1), 7, "db.shop.example")
	f(append(bytes.Clone(named), "what comes early"...), 1<<16, "db.shop.example")
	f(append(bytes.Clone(named), make([]byte, 2000)...), 50, "db.shop.example")
	f(helloOf(t, &tls.Config{InsecureSkipVerify: true}), 1<<16, "")
	f(helloOf(t, &tls.Config{ServerName: "old.example", MaxVersion: tls.VersionTLS12}), 1<<16, "old.example")
	f(helloOf(t, &tls.Config{ServerName: "older.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}), 1<<16, "older.example")
}

// TestReadHelloECH: of Encrypted ClientHello the outer name counts, which the configuration that the client has names.
func TestReadHelloECH(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := key.PublicKey().Bytes()
	// draft-ietf-tls-esni section 4: id 1, DHKEM(X25519), the key, HKDF-SHA256 with AES-128-GCM, no padding, the public name.
	contents := append([]byte{1, 0, 0x20, 0, byte(len(public))}, public...)
	contents = append(contents, 0, 4, 0, 1, 0, 1, 0)
	contents = append(append(contents, byte(len("outer.example"))), "outer.example"...)
	contents = append(contents, 0, 0)
	config := append([]byte{0xfe, 0x0d, 0, byte(len(contents))}, contents...)
	list := append([]byte{0, byte(len(config))}, config...)
	sent := helloOf(t, &tls.Config{ServerName: "inner.example", EncryptedClientHelloConfigList: list})
	if bytes.Contains(sent, []byte("inner.example")) {
		t.Fatal("the client sends the inner name in the clear")
	}
	hello, _, err := ReadHello(&fed{pieces: cut(sent, 200)})
	if err != nil || hello.ServerName != "outer.example" {
		t.Errorf("the name is %q, %v", hello.ServerName, err)
	}
}

func TestReadNoHello(t *testing.T) {
	f := func(sent []byte, told bool) error {
		t.Helper()
		c := &fed{pieces: cut(sent, 1000)}
		hello, _, err := ReadHello(c)
		if err == nil {
			t.Errorf("%.20q is taken for a ClientHello: %+v", sent, hello)
		}
		if (len(c.told) > 0) != told {
			t.Errorf("%.20q is answered with %x", sent, c.told)
		}
		return err
	}
	named := helloOf(t, &tls.Config{ServerName: "db.shop.example"})
	f(nil, false)
	f(named[:len(named)-1], false)
	f([]byte("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), true) // a ServerHello
	f([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), true)
	f([]byte("\x16\x03\x01\xff\xff"), true)
	f(bytes.Repeat([]byte("\x16\x03\x01\x00\x00"), 100), true)

	var header tls.RecordHeaderError
	if err := f([]byte("GET / HTTP/1.1\r\n\r\n"), false); !errors.As(err, &header) || string(header.RecordHeader[:]) != "GET /" {
		t.Errorf("HTTP is refused with %v", err)
	}

	// One that says it has 60,000 bytes, in records of one byte, is given up.
	long := append([]byte{0x16, 3, 1, 0, 0, 1, 0, 0xea, 0x60}, make([]byte, 60000)...)
	if err := f(inRecords(long, 1), false); !errors.Is(err, ErrNoHello) {
		t.Errorf("a long one is refused with %v", err)
	}
}

func FuzzReadHello(f *testing.F) {
	named := helloOf(f, &tls.Config{ServerName: "db.shop.example"})
	f.Add(named, 1000)
	f.Add(inRecords(named, 3), 5)
	f.Add([]byte("GET / HTTP/1.1\r\n"), 1)
	f.Fuzz(func(t *testing.T, sent []byte, size int) {
		c := &fed{pieces: cut(sent, min(max(size, 1), 1<<16))}
		_, read, err := ReadHello(c)
		if err == nil && !bytes.HasPrefix(sent, read) {
			t.Errorf("%d bytes were read that nobody sent", len(read))
		}
		if len(read) > helloBytesMax {
			t.Errorf("%d bytes were read", len(read))
		}
	})
}
