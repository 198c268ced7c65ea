package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/proxy/proxytest"
)

// neglecting is a gateway whose connections of HTTP/3 have a body beside all others that nobody reads: its service has one connection,
// which is taken. The others' service says what it got.
func neglecting(t *testing.T, limits string) *stage {
	t.Helper()
	hold := make(chan struct{})
	origin := proxytest.Origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy/first" {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
			return
		}
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v %v", b, err, r.Trailer)
	})
	t.Cleanup(func() { close(hold) })
	s := &stage{t: t, Gateway: proxytest.Start(t, all3+fmt.Sprintf(`
limits: %s
services:
  busy: { to: ["http://%s"], pool: { connections: 1, idle: 1, wait: 60s } }
  origin: { to: ["http://%[2]s"] }
routes:
  busy: { match: "/busy/**", to: busy }
  all: { match: "/**", to: origin }
`, limits, origin))}
	s.h3().request("GET", "/busy/first", true)
	return s
}

// neglect begins a body that waits for its service.
func (c *h3client) neglect() { c.request("POST", "/busy/more", false).data("neglected", false) }

// TestH3_pauses: a client may pause anywhere, also while it is looked at whether it may send: bytes mean what they mean without pauses.
func TestH3_pauses(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := neglecting(t, "{ min_rate: 1KiB/s }")
	c := s.h3()
	c.neglect()
	tempting := "\x00\x04EVIL"
	trailers := frame(0x1, section("x-t", "value"))
	long := frame(0x0, []byte(strings.Repeat("x", 100))) // whose size takes two bytes
	type upload struct {
		*h3stream
		parts [][]byte
		want  string
	}
	var all []*upload
	f := func(want string, parts ...[]byte) {
		all = append(all, &upload{h3stream: c.request("POST", "/", false), parts: parts, want: want})
	}
	whole := frame(0x0, []byte("begin "))
	end := frame(0x0, []byte(" end"))
	xs := strings.Repeat("x", 100)
	f("begin "+xs+" end <nil> map[]", whole, long[:1], long[1:], end)
	f("begin "+xs+" end <nil> map[]", whole, long[:2], long[2:], end)
	f("begin "+xs+" end <nil> map[]", whole, long[:50], append(bytes.Clone(long[50:]), end[0]), end[1:])
	f("begin  end <nil> map[]", whole, []byte{0x21, byte(len(tempting))}, []byte(tempting), end)
	f("begin  end <nil> map[]", whole, []byte{0x21}, append([]byte{byte(len(tempting))}, tempting[:1]...), []byte(tempting[1:]), end)
	f("begin  <nil> map[X-T:[value]]", whole, trailers[:1], trailers[1:])
	f("begin  <nil> map[X-T:[value]]", whole, trailers[:4], trailers[4:])
	f("begin  <nil> map[X-T:[value]]", whole, trailers[:4], trailers[4:len(trailers)-1], trailers[len(trailers)-1:])
	for part := range 5 {
		for _, u := range all {
			if part < len(u.parts) {
				u.send(u.parts[part])
			}
			if part == len(u.parts)-1 {
				u.Close()
			}
		}
		time.Sleep(250 * time.Millisecond) // longer than what is excused is let wait; longer still changes nothing
	}
	for i, u := range all {
		var err error
		for err == nil {
			err = u.step()
		}
		if got := string(u.body); err != io.EOF || u.status != "200" || got != u.want {
			t.Errorf("%d: got %s %q and %v, want %q", i, u.status, got, err, u.want)
		}
	}
	if c.Context().Err() != nil {
		t.Error("the connection has ended")
	}
}

// TestH3_slowBesideNeglected: a body that nobody reads excuses others that do not come, but not for ever.
func TestH3_slowBesideNeglected(t *testing.T) {
	t.Parallel() // it waits most of the time
	s := neglecting(t, "{ min_rate: 1MiB/s, header_timeout: 500ms }")
	c := s.h3()
	c.neglect()
	st := c.request("POST", "/", false)
	st.data("and then nothing", false)
	if st.want("408", "*"); !strings.Contains(string(st.body), "slow_request") {
		t.Errorf("got %s", st.body)
	}
}
