package proxytest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// ScriptTLS plays a script to a gateway behind TLS, and wants the same to happen, byte for byte, but for the scheme.
func ScriptTLS(t *testing.T, file string) {
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, file: txtar.Parse(want), origins: make(map[string]*scriptOrigin), tls: true}
	got := strings.NewReplacer("X-Forwarded-Proto: https\n", "X-Forwarded-Proto: http\n", "proto=https", "proto=http", "; Secure", "").Replace(string(s.play()))
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s over TLS (- expected, + got):\n%s", filepath.Base(file), diff)
	}
}

// listenTLS adds a listener that speaks TLS to a configuration that names none.
func listenTLS(yaml, http string) string {
	return listening(yaml, "tls: self-signed, http: "+http)
}

// clientTLS trusts whoever is there: what is tested is not the certificate.
var clientTLS = &tls.Config{InsecureSkipVerify: true, ServerName: "script.localhost"}

// encrypt lets clients that speak plain TCP reach a server that speaks TLS, and returns the address for them. It passes on how a
// side ends: its end, or a reset.
func encrypt(t testing.TB, server string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { encryptOne(c.(*net.TCPConn), server) })
		}
	})
	return l.Addr().String()
}

func encryptOne(plain *net.TCPConn, server string) {
	defer plain.Close()
	// The gateway is to see the address that the client has.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: plain.RemoteAddr().(*net.TCPAddr).IP}}
	nc, err := d.Dial("tcp", server)
	if err != nil {
		return
	}
	defer nc.Close()
	secure := tls.Client(nc, clientTLS)
	if err := secure.Handshake(); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(secure, plain); err == nil {
			_ = secure.CloseWrite() // fails where the gateway has closed already
		}
	}()
	if _, err := io.Copy(plain, secure); err != nil && !errors.Is(err, net.ErrClosed) {
		_ = plain.SetLinger(0) // the message was cut short
		plain.Close()
	} else {
		_ = plain.CloseWrite()
	}
	<-done
}
