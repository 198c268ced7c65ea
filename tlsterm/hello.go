package tlsterm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Hello is what a client says first, before anybody has answered: with Encrypted ClientHello, the outer one.
type Hello struct {
	ServerName string // that the client asks for (RFC 6066 section 3), in lower case; empty: none
	JA4        string
}

// helloBytesMax bounds what is read for a ClientHello, and so what somebody costs who never ends one: nginx and HAProxy read as much.
// Those of browsers have 2 KiB with a post-quantum key, and some more to resume a session; every byte may come in a record of its own,
// which costs five more.
const helloBytesMax = 16 << 10

// ErrNoHello is what ReadHello returns for a ClientHello that does not end within helloBytesMax.
var ErrNoHello = fmt.Errorf("there is no ClientHello within %d bytes", helloBytesMax)

// ReadHello reads the ClientHello that a connection begins with, in however many pieces and records it comes, and returns it with all
// that was read, which may be more than the hello. The connection's deadline bounds the wait. The client is sent nothing, but for
// the alert if what it says is no ClientHello.
//
// It is crypto/tls that reads, as it does where TLS ends here: what is passed through and what is not is told apart by the same
// reader. Since that reader has no keys for Encrypted ClientHello, it sees the outer name, which is the one to go by: only who has the
// keys, which may be the service behind, can tell the inner one.
func ReadHello(c net.Conn) (Hello, []byte, error) {
	var hello Hello
	found := false
	r := &helloConn{Conn: c}
	err := tls.Server(r, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = Hello{ServerName: strings.ToLower(info.ServerName), JA4: JA4(info)}
		found, r.mute = true, true
		return nil, errHelloRead
	}}).Handshake()
	switch {
	case found:
		return hello, r.read, nil
	case err == nil:
		return Hello{}, nil, errors.New("BUG: a handshake without a ClientHello")
	}
	return Hello{}, nil, err
}

// errHelloRead ends the handshake that was begun only to read.
var errHelloRead = errors.New("the ClientHello was read")

// helloConn keeps what is read from a connection.
type helloConn struct {
	net.Conn
	read []byte
	mute bool // the reader has found what it looks for; what it says about being stopped is not for the client
}

func (c *helloConn) Read(p []byte) (int, error) {
	if len(c.read) >= helloBytesMax {
		return 0, ErrNoHello
	}
	n, err := c.Conn.Read(p[:min(len(p), helloBytesMax-len(c.read))])
	c.read = append(c.read, p[:n]...)
	return n, err
}

func (c *helloConn) Write(p []byte) (int, error) {
	if c.mute {
		return len(p), nil
	}
	return c.Conn.Write(p)
}
