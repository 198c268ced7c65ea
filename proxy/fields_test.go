package proxy

import "testing"

func TestStripFields(t *testing.T) {
	f := func(names []string, sent, want string) {
		t.Helper()
		x := Acquire()
		defer x.Release()
		x.Request.Head.Load([]byte(sent))
		x.StripFields(names)
		if got := string(x.Request.Head.AppendTo(nil)); got != want {
			t.Errorf("without %q: %q, want %q", names, got, want)
		}
		if len(x.Request.Decided) != len(names) {
			t.Errorf("decided about %q", x.Request.Decided)
		}
		x.Request.Trailers.Load([]byte(sent))
		if got := string(FinalTrailers(&x.Request.Trailers, x.Request.Decided).AppendTo(nil)); got != want {
			t.Errorf("trailers without %q: %q, want %q", names, got, want)
		}
	}
	f(nil, "X-User: a\r\n", "X-User: a\r\n")
	f([]string{"X-User"}, "A: 1\r\nX-User: a\r\nx_user: b\r\nX_USER: c\r\nX-Users: d\r\n", "A: 1\r\nX-Users: d\r\n")
	f([]string{"x_user", "A"}, "A: 1\r\nX-User: a\r\na: 2\r\n", "")
}
