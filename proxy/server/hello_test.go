package server

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
)

// realHello is what crypto/tls's client says first.
func realHello(t testing.TB) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		_ = tls.Client(there, &tls.Config{ServerName: "shop.test"}).Handshake() // it gets no answer
	}()
	defer there.Close()
	b := make([]byte, 16<<10)
	n, err := here.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestHelloWhole(t *testing.T) {
	f := func(first string, want bool) {
		t.Helper()
		if got := helloWhole([]byte(first)); got != want {
			t.Errorf("%.40q: %t, want %t", first, got, want)
		}
	}
	real := string(realHello(t))
	f(real, true)
	f(real+"more", true)
	for n := range len(real) {
		f(real[:n], false)
	}
	// Each byte in a record of its own.
	split := ""
	for _, b := range []byte(real[5:]) {
		split += "\x16\x03\x01\x00\x01" + string([]byte{b})
	}
	f(split, true)
	f(split[:len(split)-1], false)
	f(split[:len(split)-6], false)
	f(split[:7], false)

	f("", false)
	f("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", false)
	f("\x16\x03\x01\x00\x04\x01\x00\x00\x00", true) // an empty one

	// What is no ClientHello is not waited for.
	f("G", true)
	f("GET / HTTP/1.1\r\n", true)
	f("\x16\x03\x01\x00\x00", true)
	f("\x16\x03\x01\xff\xff", true)
	f("\x16\x03\x01\x00\x04\x02\x00\x00\xff", true) // a ServerHello
	f("\x16\x03\x01\x00\x04\x01\x00\x00\xff\x15", true)
}

func FuzzHelloWhole(f *testing.F) {
	f.Add(string(realHello(f)))
	f.Add("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x03\x00\x00\x00")
	f.Fuzz(func(t *testing.T, first string) {
		if len(first) > helloAwaited {
			t.Skip()
		}
		// Once it is whole, or nothing, nothing that follows changes that.
		if helloWhole([]byte(first)) && !helloWhole([]byte(first+strings.Repeat("\x16", 20))) {
			t.Error("it is not whole any more with more of it")
		}
	})
}
