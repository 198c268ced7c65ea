package rules

import (
	"fmt"
	"testing"

	"sluice/proxy/wire"
)

func TestPart(t *testing.T) {
	f := func(etag, answer string, want bool) {
		t.Helper()
		var req wire.Head
		got := AskPart(&req, []byte(etag), Range{100, 899})
		if got && (string(req.Get("range")) != "bytes=100-899" || string(req.Get("if-range")) != etag) || !got && req.Has("range") {
			t.Errorf("%s: asked for %q, %q", etag, req.Get("range"), req.Get("if-range"))
		}
		if got = got && IsPart(head(t, answer), []byte(etag), Range{100, 899}, 1000); got != want {
			t.Errorf("%s, %s: %v, want %v", etag, answer, got, want)
		}
	}
	f(`"a"`, `ETag: "a"|Content-Range: bytes 100-899/1000`, true)
	f(`"a"`, `ETag: "b"|Content-Range: bytes 100-899/1000`, false)
	f(`"a"`, `ETag: W/"a"|Content-Range: bytes 100-899/1000`, false)
	f(`"a"`, `Content-Range: bytes 100-899/1000`, false)
	f(`"a"`, `ETag: "a"|Content-Range: bytes 101-899/1000`, false)
	f(`"a"`, `ETag: "a"|Content-Range: bytes 100-898/1000`, false)
	f(`"a"`, `ETag: "a"|Content-Range: bytes 100-899/1001`, false)
	f(`"a"`, `ETag: "a"|Content-Range: bytes 100-899/*`, false)
	f(`"a"`, `ETag: "a"`, false)
	f(`W/"a"`, `ETag: W/"a"|Content-Range: bytes 100-899/1000`, false)
	f(``, `Content-Range: bytes 100-899/1000`, false)
}

func TestEvaluateRange(t *testing.T) {
	f := func(request string, size int64, want string) {
		t.Helper()
		r, k := EvaluateRange(head(t, request), []byte(`"a"`), epoch-60, epoch, size)
		got := "whole"
		if k != RangeNone {
			got = string(AppendContentRange(nil, r, k, size))
		}
		if got != want {
			t.Errorf("%q of %d: %q, want %q", request, size, got, want)
		}
	}
	f("", 100, "whole")
	f("Range: bytes=0-0", 100, "bytes 0-0/100")
	f("Range: bytes=10-19", 100, "bytes 10-19/100")
	f("Range: bytes=0-99", 100, "bytes 0-99/100")
	f("Range: bytes=0-100", 100, "bytes 0-99/100")
	f("Range: bytes=99-", 100, "bytes 99-99/100")
	f("Range: bytes=0-", 100, "bytes 0-99/100")
	f("Range: bytes=-1", 100, "bytes 99-99/100")
	f("Range: bytes=-100", 100, "bytes 0-99/100")
	f("Range: bytes=-101", 100, "bytes 0-99/100")
	f("Range: Bytes=0-1", 100, "bytes 0-1/100")
	f("Range: bytes= 0-1 ,", 100, "bytes 0-1/100")
	f("Range: bytes=0-99999999999999999999", 100, "bytes 0-99/100")
	f("Range: bytes=-99999999999999999999", 100, "bytes 0-99/100")

	f("Range: bytes=100-", 100, "bytes */100")
	f("Range: bytes=100-200", 100, "bytes */100")
	f("Range: bytes=99999999999999999999-", 100, "bytes */100")
	f("Range: bytes=-0", 100, "bytes */100")
	f("Range: bytes=0-", 0, "bytes */0")
	f("Range: bytes=-5", 0, "whole")

	// What is not one range of bytes is answered with the whole.
	f("Range: bytes=0-1,3-4", 100, "whole")
	f("Range: bytes=0-1|Range: bytes=0-1", 100, "whole")
	f("Range: lines=0-1", 100, "whole")
	f("Range: bytes", 100, "whole")
	f("Range: bytes=", 100, "whole")
	f("Range: bytes=-", 100, "whole")
	f("Range: bytes=5", 100, "whole")
	f("Range: bytes=5-4", 100, "whole")
	f("Range: bytes=a-b", 100, "whole")
	f("Range: bytes=0-b", 100, "whole")
	f("Range: bytes=--5", 100, "whole")
	f("Range: bytes=0 - 1", 100, "whole")
	f("Range: bytes =0-1", 100, "whole")
	f("Range: ", 100, "whole")

	// If-Range: strong comparison (RFC 9110 section 13.1.5).
	one := "Range: bytes=0-1|If-Range: "
	f(one+`"a"`, 100, "bytes 0-1/100")
	f(one+`"b"`, 100, "whole")
	f(one+`W/"a"`, 100, "whole")
	f(one+`"a", "b"`, 100, "whole")
	f(one+`"a"|If-Range: "a"`, 100, "whole")
	f(one+date(-60), 100, "bytes 0-1/100")
	f(one+date(-61), 100, "whole")
	f(one+date(0), 100, "whole")
	f(one+"x", 100, "whole")
	f(one, 100, "whole")
	f(`Range: bytes=200-|If-Range: "b"`, 100, "whole")
}

// A Last-Modified that lies close to the response is a weak validator (RFC 9110 section 8.8.2.2), as is a weak tag.
func TestIfRangeWeak(t *testing.T) {
	f := func(value, etag string, changed, at int64, want RangeKind) {
		t.Helper()
		if _, got := EvaluateRange(head(t, "Range: bytes=0-1|If-Range: "+value), []byte(etag), changed, at, 100); got != want {
			t.Errorf("%s of %s, changed %d at %d: %d", value, etag, changed, at, got)
		}
	}
	f(`"a"`, `W/"a"`, 0, 0, RangeNone)
	f(`W/"a"`, `W/"a"`, 0, 0, RangeNone)
	f(`"a"`, ``, 0, 0, RangeNone)
	f(date(0), ``, epoch, epoch+59, RangeNone)
	f(date(0), ``, epoch, epoch+60, RangeOne)
	f(date(0), ``, epoch, 0, RangeNone)
	f(date(0), ``, 0, epoch, RangeNone)
}

func FuzzEvaluateRange(f *testing.F) {
	f.Add("bytes=0-1", int64(100))
	f.Add("bytes=-5", int64(3))
	f.Fuzz(func(t *testing.T, value string, size int64) {
		if size < 0 {
			return
		}
		r, k := EvaluateRange(headOf("Range", value), nil, 0, 0, size)
		if k == RangeOne && !(0 <= r.From && r.From <= r.To && r.To < size) || k != RangeOne && r != (Range{}) {
			t.Fatalf("%q of %d: %v %d", value, size, r, k)
		}
		if k == RangeOne {
			again := fmt.Sprintf("bytes=%d-%d", r.From, r.To)
			if r2, k2 := EvaluateRange(headOf("Range", again), nil, 0, 0, size); r2 != r || k2 != k {
				t.Fatalf("%q is %v, but %q is %v", value, r, again, r2)
			}
		}
	})
}
