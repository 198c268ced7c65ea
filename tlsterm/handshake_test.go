package tlsterm

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// put writes a pair as NAME.crt and NAME.key.
func put(t testing.TB, dir, name string, i issued) Source {
	t.Helper()
	return Source{CertFile: write(t, dir, name+".crt", i.certs), KeyFile: write(t, dir, name+".key", i.keys)}
}

func openAt(t testing.TB, c *clock, o Options) *Terminator {
	t.Helper()
	term, err := open(o, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return term
}

// shaken is what became of a handshake.
type shaken struct {
	server, client       tls.ConnectionState
	serverErr, clientErr error
}

func (s shaken) err() error {
	if s.serverErr != nil {
		return s.serverErr
	}
	return s.clientErr
}

// shake makes a handshake over loopback: over net.Pipe, a client that gives up while the server still writes would wait for
// it, and it for the client.
func shake(server, client *tls.Config) shaken {
	far, near, err := connect("127.0.0.1")
	if err != nil {
		return shaken{serverErr: err, clientErr: err}
	}
	return shakeOver(far, near, server, client)
}

// connect returns both ends of a connection to an address.
func connect(address string) (far, near net.Conn, err error) {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	far, err = l.Accept()
	return far, near, err
}

// shakeOver makes a handshake. With TLS 1.3 a client learns what the server makes of its certificate, and gets its ticket,
// only with the first byte: so one is sent.
func shakeOver(far, near net.Conn, server, client *tls.Config) (s shaken) {
	deadline := time.Now().Add(10 * time.Second) // far more than a handshake takes
	_ = near.SetDeadline(deadline)
	_ = far.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		c := tls.Server(far, server)
		if s.serverErr = c.Handshake(); s.serverErr == nil {
			_, s.serverErr = c.Write([]byte("x"))
		}
		s.server = c.ConnectionState()
	}()
	c := tls.Client(near, client)
	if s.clientErr = c.Handshake(); s.clientErr == nil {
		_, s.clientErr = c.Read(make([]byte, 1))
	}
	s.client = c.ConnectionState()
	near.Close()
	<-done
	if errors.Is(s.serverErr, os.ErrDeadlineExceeded) || errors.Is(s.clientErr, os.ErrDeadlineExceeded) {
		panic("a handshake hangs") // which must not pass for one that is refused
	}
	return s
}

// trusting is a client that trusts a, at the time of c, and is otherwise like the one given, if any.
func trusting(a *authority, c *clock, name string, like *tls.Config) *tls.Config {
	config := &tls.Config{}
	if like != nil {
		config = like.Clone()
	}
	config.RootCAs, config.Time, config.ServerName = a.pool(), c.now, name
	return config
}

// serialOf is the serial number of the certificate that a server has shown.
func serialOf(s shaken) int64 {
	if len(s.client.PeerCertificates) == 0 {
		return 0
	}
	return s.client.PeerCertificates[0].SerialNumber.Int64()
}
