package proxy

import "testing"

func TestHostName(t *testing.T) {
	f := func(host, want string) {
		t.Helper()
		if got := string(HostName([]byte(host))); got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
	f("", "")
	f("a.example", "a.example")
	f("a.example.", "a.example")
	f("a.example:80", "a.example")
	f("a.example.:80", "a.example")
	f("[::1]:443", "[::1]")
	f("127.0.0.1:1", "127.0.0.1")
}
