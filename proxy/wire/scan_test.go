package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var testLimits = Limits{HeadBytes: 1024, TargetBytes: 64, Fields: 8}

// scan scans a request head at once, and again with one byte more at a time: both must say the same.
func scan(t *testing.T, s string) (Message, *Head, error) {
	t.Helper()
	var m Message
	var h Head
	m.Reset()
	done, err := ScanRequest([]byte(s), &testLimits, &m, &h)

	var sm Message
	var sh Head
	sm.Reset()
	var sdone bool
	var serr error
	for n := 1; n <= len(s) && !sdone && serr == nil; n++ {
		moved := append([]byte(nil), s[:n]...) // the buffer may move between calls
		sdone, serr = ScanRequest(moved, &testLimits, &sm, &sh)
	}
	if serr != err || sdone != done {
		t.Fatalf("%q\nat once: %v %v\nbyte by byte: %v %v", s, done, err, sdone, serr)
	}
	if done && string(sh.AppendTo(nil)) != string(h.AppendTo(nil)) {
		t.Fatalf("%q: byte by byte the fields are %q, at once %q", s, sh.AppendTo(nil), h.AppendTo(nil))
	}
	if err == nil && !done {
		err = errIncomplete
	}
	return m, &h, err
}

var errIncomplete = errors.New("incomplete")

func TestScanRequestRefuses(t *testing.T) {
	f := func(head string, want error) {
		t.Helper()
		if _, _, err := scan(t, head); err != want {
			t.Fatalf("%q: got %v, want %v", head, err, want)
		}
	}
	ok := func(head string) { t.Helper(); f(head, nil) }
	const get = "GET / HTTP/1.1\r\n"
	const host = "Host: a\r\n"

	ok(get + host + "\r\n")
	ok("GET /x?y=%20 HTTP/1.1\r\nhost: A.example:80\r\n\r\n")
	ok("GET / HTTP/1.0\r\n\r\n")
	ok("M-SEARCH * HTTP/1.1\r\n" + host + "\r\n")
	ok(get + host + "X:\r\n\r\n")
	ok(get + host + "X: \t a\tb \t\r\n\r\n")
	ok(get + host + "X: \x80\xff\r\n\r\n")
	ok(get + "Host: [::1]:8080\r\n\r\n")
	f(get+host, errIncomplete)
	f(get, errIncomplete)
	f("GE", errIncomplete)

	f("GET  / HTTP/1.1\r\n"+host+"\r\n", ErrRequestLine)
	f("GET /a b HTTP/1.1\r\n"+host+"\r\n", ErrRequestLine)
	f("GET /\r\n"+host+"\r\n", ErrRequestLine)
	f(" GET / HTTP/1.1\r\n"+host+"\r\n", ErrRequestLine)
	f("GET / HTTP/1.1 \r\n"+host+"\r\n", ErrRequestLine)
	f("G@T / HTTP/1.1\r\n"+host+"\r\n", ErrRequestLine)
	f("GET / http/1.1\r\n"+host+"\r\n", ErrRequestLine)
	f("PRI * HTTP/2.0\r\n\r\n", ErrVersion)
	f("GET / HTTP/1.2\r\n"+host+"\r\n", ErrVersion)
	f("\x16\x03\x01\x02\x00", ErrRequestLine)
	f(strings.Repeat("A", 33), ErrRequestLine)
	f("GET /\x00 HTTP/1.1\r\n"+host+"\r\n", ErrTarget)
	f("GET /#x HTTP/1.1\r\n"+host+"\r\n", ErrTarget)
	f("GET /\\x HTTP/1.1\r\n"+host+"\r\n", ErrTarget)
	f("GET /"+strings.Repeat("x", 64)+" HTTP/1.1\r\n"+host+"\r\n", ErrTargetTooLong)

	f("GET / HTTP/1.1\n"+host+"\r\n", ErrBareLF)
	f(get+"Host: a\n\r\n", ErrBareLF)
	f(get+host+"\n", ErrBareLF)
	f(get+host+"X: a\r\r\n\r\n", ErrControl)
	f(get+host+"X: a\x00b\r\n\r\n", ErrControl)
	f(get+host+"X: a\x7fb\r\n\r\n", ErrControl)
	f(get+host+" folded\r\n\r\n", ErrFold)
	f(get+host+"X: a\r\n\tfolded\r\n\r\n", ErrFold)
	f(get+host+"X : a\r\n\r\n", ErrFieldName)
	f(get+host+"X Y: a\r\n\r\n", ErrFieldName)
	f(get+host+": a\r\n\r\n", ErrFieldName)
	f(get+host+"X\r\n\r\n", ErrFieldName)
	f(get+host+"X(: a\r\n\r\n", ErrFieldName)

	f(get+"\r\n", ErrHost)
	f(get+"Host: a\r\nHost: a\r\n\r\n", ErrHost)
	f(get+"Host: a b\r\n\r\n", ErrHost)
	f(get+"Host: u@a\r\n\r\n", ErrHost)
	f(get+"Host: a/b\r\n\r\n", ErrHost)
	f(get+"Host: a:\r\n\r\n", ErrHost)
	f(get+"Host: a:8x\r\n\r\n", ErrHost)
	f(get+"Host:\r\n\r\n", ErrHost)
	f(get+"Host: a,b\r\n\r\n", ErrHost)

	for _, n := range []string{"", "+3", "-1", "0x3", "3,3", "3 3", "9999999999999999999", "3\t4", "\xef\xbc\x93"} {
		f(get+host+"Content-Length: "+n+"\r\n\r\n", ErrContentLength)
	}
	f(get+host+"Content-Length: 3\r\nContent-Length: 3\r\n\r\n", ErrContentLength)
	f(get+host+"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", ErrBothFramings)
	f(get+host+"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", ErrBothFramings)
	for _, te := range []string{"gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1", "\vchunked", ""} {
		want := ErrTransferEncoding
		if te == "\vchunked" {
			want = ErrControl
		}
		f(get+host+"Transfer-Encoding: "+te+"\r\n\r\n", want)
	}
	f(get+host+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", ErrTransferEncoding)
	f("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", ErrTransferEncoding0)

	f(get+host+"Connection: "+strings.Repeat("a,", 33)+"\r\n\r\n", ErrConnection)
	ok(get + host + "Connection: " + strings.Repeat("a,", 32) + "\r\n\r\n")
	f(get+host+strings.Repeat("X: a\r\n", 8)+"\r\n", ErrTooManyFields)
	f(get+host+"X: "+strings.Repeat("a", 1024)+"\r\n\r\n", ErrHeadTooLarge)
}

func TestScanRequestFinds(t *testing.T) {
	m, h, err := scan(t, "POST /p?q HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 003\r\nX-Keep: v\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Method) != "POST" || string(m.Target) != "/p?q" || m.Minor != 1 || m.ContentLength != 3 || !m.Close || !m.Options {
		t.Fatalf("%+v", m)
	}
	DropHopByHop(&m, h)
	if got := string(h.AppendTo(nil)); got != "Host: a\r\nX-Keep: v\r\n" {
		t.Fatalf("after hop-by-hop removal: %q", got)
	}
}

func TestConnectionCannotNameTheProxysFields(t *testing.T) {
	m, h, err := scan(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Host, Cookie, Authorization, X\r\nCookie: a=b\r\nAuthorization: z\r\nX: 1\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	DropHopByHop(&m, h)
	if got := string(h.AppendTo(nil)); got != "Host: a\r\nCookie: a=b\r\nAuthorization: z\r\n" {
		t.Fatalf("%q", got)
	}
}

func TestScanResponse(t *testing.T) {
	f := func(head string, want error, status int) {
		t.Helper()
		for n := 0; n <= len(head); n++ {
			var m Message
			var h Head
			m.Reset()
			done, err := ScanResponse([]byte(head[:n]), &testLimits, &m, &h)
			if n < len(head) && err == nil && !done {
				if done, err = ScanResponse([]byte(head), &testLimits, &m, &h); !done && err == nil {
					err = errIncomplete
				}
			}
			if err != want || err == nil && m.Status != status {
				t.Fatalf("%q cut at %d: got %v status %d, want %v %d", head, n, err, m.Status, want, status)
			}
			if err != nil {
				return
			}
		}
	}
	f("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", nil, 200)
	f("HTTP/1.1 204\r\n\r\n", nil, 204)
	f("HTTP/1.0 599 \r\n\r\n", nil, 599)
	f("HTTP/1.1 2000 OK\r\n\r\n", ErrStatusLine, 0)
	f("HTTP/1.1 099 OK\r\n\r\n", ErrStatusLine, 0)
	f("HTTP/2.0 200 OK\r\n\r\n", ErrStatusLine, 0)
	f("ICY 200 OK\r\n\r\n", ErrStatusLine, 0)
	f("HTTP/1.1 200 O\x01K\r\n\r\n", ErrStatusLine, 0)
	f("HTTP/1.1 200 OK\n\r\n", ErrBareLF, 0)
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ErrBothFramings, 0)
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", ErrContentLength, 0)
}

// FuzzScanRequest checks that whatever is accepted has one reading: sent on, it is accepted again with the same
// meaning, and no byte of it could end a line early.
func FuzzScanRequest(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"))
	f.Add([]byte("POST /a?b HTTP/1.0\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		lim := Limits{HeadBytes: 4096, TargetBytes: 1024, Fields: 32}
		var m Message
		var h Head
		m.Reset()
		done, err := ScanRequest(in, &lim, &m, &h)
		if err != nil || !done {
			return
		}
		out := fmt.Appendf(nil, "%s %s HTTP/1.%d\r\n", m.Method, m.Target, m.Minor)
		out = append(h.AppendTo(out), "\r\n"...)
		if !bytes.Equal(out, in[:m.Bytes()]) {
			t.Fatalf("received %q, would send %q", in[:m.Bytes()], out)
		}
		for i, c := range out {
			if c < ' ' && c != '\r' && c != '\n' && c != '\t' || c == '\n' && out[i-1] != '\r' {
				t.Fatalf("byte %#x at %d of %q", c, i, out)
			}
		}
		if m.Chunked && m.ContentLength >= 0 {
			t.Fatal("two framings accepted")
		}
	})
}

func TestIdentify(t *testing.T) {
	f := func(name string, want Known) {
		t.Helper()
		if got := identify([]byte(name)); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	for k := Other + 1; k < knownCount; k++ {
		name := knownNames[k]
		f(name, k)
		f(strings.ToUpper(name), k)
		f(strings.TrimSuffix(fieldNames[k], ": "), k)
		f(name+"x", map[bool]Known{false: Other, true: XForwardedOther}[strings.HasPrefix(name, xForwarded)])
		if strings.Contains(name, "-") {
			f(strings.Replace(name, "-", "_", 1), Disguised)
		}
		for i := range name {
			// Bytes of a token that differ from the right one, also in the bit for upper case alone.
			for c := range 256 {
				other := []byte(name)
				other[i] = byte(c)
				if tokenByte[c] && lower[c] != name[i] && c != '_' && !strings.HasPrefix(name, xForwarded) {
					f(string(other), Other)
				}
			}
		}
	}
	f("x-forwarded-prefix", XForwardedOther)
	f("X-Forwarded_Port", Disguised)
	f("X_Forwarded-Port", Disguised)
	f("x-forwarded-", Other)
	f("user-agents", Other)
	f("x", Other)
	f("a-name-that-is-longer-than-every-known-one", Other)
	f("x-forwarded-name-that-is-longer-than-every-known-one", XForwardedOther)
}
