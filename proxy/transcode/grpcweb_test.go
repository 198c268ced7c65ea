package transcode

import (
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"sluice/proxy"
)

// TestRequest: what the service sees of a call.
func TestRequest(t *testing.T) {
	f := func(x *proxy.Exchange, wantHead, wantBody string) {
		t.Helper()
		defer x.Release()
		err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
			head := strings.ReplaceAll(string(x.Request.Head.AppendTo(nil)), "\r\n", "; ")
			body, err := io.ReadAll(&x.Request.Body)
			if head != wantHead || string(body) != wantBody || err != nil || !x.Request.TakesTrailers || x.Request.Body.Flowing() {
				t.Errorf("the service sees %q and %q (%v), want %q and %q", head, body, err, wantHead, wantBody)
			}
			return answers(nil)(x)
		})
		if err != nil {
			t.Error(err)
		}
	}
	one := message("hello")
	text := base64.StdEncoding.EncodeToString([]byte(one))
	f(call("application/grpc-web+proto", one), "Content-Type: application/grpc+proto; ", one)
	f(call("application/grpc-web", one, "X-Grpc-Web", "1", "X-User-Agent", "grpc-web-javascript/0.1", "grpc-timeout", "1S"),
		"Content-Type: application/grpc; X-User-Agent: grpc-web-javascript/0.1; grpc-timeout: 1S; ", one)
	f(call("application/grpc-web-text", text, "Accept", "application/grpc-web-text", "Accept-Encoding", "gzip", "Authorization", "Bearer x"),
		"Content-Type: application/grpc; Authorization: Bearer x; ", one)
	f(call("application/grpc-web-text+proto; charset=utf-8", text), "Content-Type: application/grpc+proto; ", one)
	// Several messages, and several texts each with an end of its own.
	f(call("application/grpc-web", one+one), "Content-Type: application/grpc; ", one+one)
	f(call("application/grpc-web-text", "AAAAAAE="+"QQ=="+text), "Content-Type: application/grpc; ", message("A")+one)
	f(call("application/grpc-web-text", ""), "Content-Type: application/grpc; ", "")
}

// TestPassedBy: what is no call of gRPC-Web stays as it is, both ways.
func TestPassedBy(t *testing.T) {
	f := func(method, contentType string) {
		t.Helper()
		x := call(contentType, "body", "Accept", "a")
		defer x.Release()
		x.Request.Method = method
		err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
			if got := string(x.Request.Head.Get("content-type")); got != contentType || x.Request.TakesTrailers || !x.Request.Head.Has("accept") {
				t.Errorf("%s %s became %s", method, contentType, got)
			}
			return answers([]string{"x"}, "grpc-status", "0")(x)
		})
		body, readErr := io.ReadAll(&x.Response.Body)
		if err != nil || readErr != nil || string(body) != "x" || fields(x) != "content-type: application/grpc" || x.Response.Trailers.Len() != 1 {
			t.Errorf("%s %s: %v, %q, %q", method, contentType, err, body, fields(x))
		}
	}
	f("POST", "application/grpc")
	f("POST", "application/grpc+proto")
	f("POST", "application/json")
	f("POST", "")
	f("GET", "application/grpc-web")
	f("OPTIONS", "application/grpc-web-text")
}

// TestTextSplit decodes the body of a call wherever it is cut, and reads it in pieces of all sizes.
func TestTextSplit(t *testing.T) {
	want := message("first") + message("") + message("the second")
	text := ""
	for rest := want; rest != ""; { // ends of all three kinds in the middle
		n := min(len(rest), 1+len(rest)%7)
		text += base64.StdEncoding.EncodeToString([]byte(rest[:n]))
		rest = rest[n:]
	}
	for cut := range len(text) + 1 {
		for _, size := range []int{1, 2, 3, 5, 4096} {
			x := call("application/grpc-web-text", "")
			x.Request.Body.SetFlow([]byte(text[:cut/2]), &pieces{x: x, left: [][]byte{[]byte(text[cut/2 : cut]), []byte(text[cut:])}}, int64(len(text)))
			err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
				got, err := read(&x.Request.Body, size)
				if strings.ReplaceAll(got, "|", "") != want || err != nil || x.Request.Body.Size() != -1 {
					t.Fatalf("cut at %d, read by %d: got %q (%v), want %q", cut, size, got, err, want)
				}
				return answers(nil)(x)
			})
			if err != nil {
				t.Fatal(err)
			}
			x.Release()
		}
	}
}

// TestTextMalformed: what is no base64 is refused, before the service is asked if it is there by then.
func TestTextMalformed(t *testing.T) {
	f := func(text string) {
		t.Helper()
		x := call("application/grpc-web-text", text)
		defer x.Release()
		err := serve(GRPCWeb{}, x, func(*proxy.Exchange) error {
			t.Errorf("%q: the service was asked", text)
			return nil
		})
		if code(err) != "bad_base64" {
			t.Errorf("%q: %v", text, err)
		}
		for cut := range len(text) + 1 {
			x := call("application/grpc-web-text", "")
			x.Request.Body.SetFlow(nil, &pieces{x: x, left: [][]byte{[]byte(text[:cut]), []byte(text[cut:])}}, -1)
			_ = serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
				if got, err := io.ReadAll(&x.Request.Body); code(err) != "bad_base64" {
					t.Errorf("%q cut at %d: %q, %v", text, cut, got, err)
				}
				return answers(nil)(x)
			})
			x.Release()
		}
	}
	f("A")
	f("AA")
	f("AAA")
	f("AA=")
	f("AAAAA")
	f("A===")
	f("====")
	f("=AAA")
	f("AA=A")
	f("AAAA=AAA")
	f("AAB=") // a bit that stands for nothing
	f("AB==")
	f("AA-_")
	f("AA A")
	f("AAAA\r\n")
	f("AAAAAAA\x00")
	f("AAAA\xff\xff\xff\xff")
}

// TestRequestBreaksOff: a body that ends early is not taken for whole, and one that nobody wants any more can be stopped.
func TestRequestBreaksOff(t *testing.T) {
	x := call("application/grpc-web-text", "")
	defer x.Release()
	broken := errors.New("broken")
	p := &pieces{x: x, left: [][]byte{[]byte("AAAA")}, err: broken}
	x.Request.Body.SetFlow(nil, p, -1)
	err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
		if got, err := io.ReadAll(&x.Request.Body); err != broken || len(got) != 3 {
			t.Errorf("got %d bytes and %v", len(got), err)
		}
		x.Request.Body.Interrupt()
		if !p.stopped {
			t.Error("the read was not interrupted")
		}
		return answers(nil)(x)
	})
	if err != nil {
		t.Error(err)
	}
	if err := x.Request.Body.Close(); err != nil || !p.closed {
		t.Errorf("closed: %v, %v", p.closed, err)
	}
}

// TestAnswer: messages as they come, then the trailers; in text each piece by itself.
func TestAnswer(t *testing.T) {
	f := func(body []string, trailers []string, want ...string) {
		t.Helper()
		for _, size := range []int{1, 2, 7, 4096} {
			x := call("application/grpc-web+proto", "")
			if err := serve(GRPCWeb{}, x, answers(body, trailers...)); err != nil {
				t.Fatal(err)
			}
			got, err := read(&x.Response.Body, size)
			if size == 4096 && got != strings.Join(want, "|") || strings.ReplaceAll(got, "|", "") != strings.Join(want, "") || err != nil {
				t.Errorf("by %d: got %q (%v), want %q", size, got, err, want)
			}
			if fields(x) != "Content-Type: application/grpc-web+proto" || x.Response.Trailers.Len() != 0 || x.Response.Body.Size() != -1 {
				t.Errorf("head %s, %d trailers, size %d", fields(x), x.Response.Trailers.Len(), x.Response.Body.Size())
			}
			x.Release()

			x = call("application/grpc-web-text", "")
			if err := serve(GRPCWeb{}, x, answers(body, trailers...)); err != nil {
				t.Fatal(err)
			}
			if got, err = read(&x.Response.Body, size); err != nil {
				t.Error(err)
			}
			if got = strings.ReplaceAll(got, "|", ""); untext(t, got) != strings.Join(want, "") {
				t.Errorf("text by %d: got %q", size, untext(t, got))
			}
			x.Release()
		}
	}
	a, b := message("aaaa"), message("b")
	status := frame(0x80, "grpc-status: 0\r\n")
	f([]string{a, b}, []string{"grpc-status", "0"}, a, b, status)
	f(nil, []string{"grpc-status", "0"}, status)
	f([]string{a[:3], a[3:]}, []string{"Grpc-Status", "0"}, a[:3], a[3:], status)
	f([]string{a + b}, []string{"grpc-status", "5", "grpc-message", "no%20such", "X-Bin-bin", "AAA", "odd", " \x80\xff:\t,"},
		a+b, frame(0x80, "grpc-status: 5\r\ngrpc-message: no%20such\r\nx-bin-bin: AAA\r\nodd:  \x80\xff:\t,\r\n"))
	// A control byte does not make another line.
	f(nil, []string{"grpc-status", "5", "evil", "x\r\ngrpc-status: 0"}, frame(0x80, "grpc-status: 5\r\nevil: x  grpc-status: 0\r\n"))
	// A service that says nothing about how the call went has not said that it went well.
	unknown := "grpc-status: 2\r\ngrpc-message: The origin ended the call without a status. (upstream_no_status, request )\r\n"
	f([]string{a}, nil, a, frame(0x80, unknown))
	f([]string{a}, []string{"other", "1"}, a, frame(0x80, "other: 1\r\n"+unknown))
}

// TestAnswerText: what can be had without waiting is one text, what has to be waited for begins a new one.
func TestAnswerText(t *testing.T) {
	f := func(whole bool, body []string, want ...string) {
		t.Helper()
		x := call("application/grpc-web-text", "")
		defer x.Release()
		err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
			p := &pieces{x: x, trailers: []string{"grpc-status", "0"}, whole: whole}
			for _, b := range body {
				p.left = append(p.left, []byte(b))
			}
			x.Response.Status = 200
			x.Response.Head.AddString("content-type", "application/grpc+proto")
			x.Response.Body.SetFlow(nil, p, -1)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(&x.Response.Body, 4096)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range want {
			want[i] = base64.StdEncoding.EncodeToString([]byte(text))
		}
		if got != strings.Join(want, "|") || fields(x) != "Content-Type: application/grpc-web-text+proto" {
			t.Errorf("got %q, want %q; %s", got, strings.Join(want, "|"), fields(x))
		}
	}
	a, b := message("aa"), message("bbbb")
	status := frame(0x80, "grpc-status: 0\r\n")
	f(false, []string{a, b}, a, b, status)
	f(true, []string{a, b}, a+b, status)
	f(false, []string{a[:1], a[1:2], a[2:]}, a[:1], a[1:2], a[2:], status)
	f(true, []string{a[:1], a[1:2], a[2:]}, a, status)
}

// TestAnswerLarge: a message of any size goes through the buffers that there are.
func TestAnswerLarge(t *testing.T) {
	large := message(strings.Repeat("0123456789", 100_001))
	for _, contentType := range []string{"application/grpc-web", "application/grpc-web-text"} {
		x := call(contentType, "")
		if err := serve(GRPCWeb{}, x, answers([]string{large}, "grpc-status", "0")); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(&x.Response.Body)
		if err != nil {
			t.Fatal(err)
		}
		text := string(got)
		if contentType == "application/grpc-web-text" {
			text = untext(t, text)
		}
		if text != large+frame(0x80, "grpc-status: 0\r\n") {
			t.Errorf("%s: %d bytes came", contentType, len(text))
		}
		x.Release()
	}
}

// TestAnswerBreaksOff: what breaks off never looks as if it had ended well. After a whole message the client is told what has happened, in
// the middle of one the answer ends in an error.
func TestAnswerBreaksOff(t *testing.T) {
	body := message("aaaa") + message("b")
	closed := &proxy.Error{Status: 502, Code: "closed", Detail: "Gone.", GRPC: 14}
	f := func(contentType string, cut int, failure error, canceled bool, want string) {
		t.Helper()
		x := call(contentType, "")
		defer x.Release()
		err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
			err := answers(nil)(x)
			p := &pieces{x: x, left: [][]byte{[]byte(body[:cut])}, err: failure, trailers: []string{"grpc-status", "0"}}
			if failure != nil {
				p.trailers = nil
			}
			x.Response.Body.SetFlow(nil, p, -1)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if canceled {
			x.Cancel(proxy.ErrClientGone)
		}
		got, err := io.ReadAll(&x.Response.Body)
		text := string(got)
		if contentType != "application/grpc-web" {
			text = untext(t, text)
		}
		if err != nil {
			text += code(err)
		}
		if contentType == "application/grpc-web" && text != body[:cut]+want || !strings.HasSuffix(text, want) {
			t.Errorf("%s cut at %d with %v: %q, want %q", contentType, cut, failure, text, want)
		}
		if failure != nil && !canceled && err == nil && x.ErrCause != failure {
			t.Errorf("the log hears of %v", x.ErrCause)
		}
	}
	for _, contentType := range []string{"application/grpc-web", "application/grpc-web-text"} {
		for cut := range len(body) + 1 {
			good, gone, broken := "upstream_messages", "closed", "<nil>"
			if cut == 0 || cut == len(message("aaaa")) || cut == len(body) {
				good = frame(0x80, "grpc-status: 0\r\n")
				gone = frame(0x80, "grpc-status: 14\r\ngrpc-message: Gone. (closed, request )\r\n")
				broken = frame(0x80, "grpc-status: 13\r\ngrpc-message: The gateway failed to handle this request. (internal, request )\r\n")
			}
			f(contentType, cut, nil, false, good)
			f(contentType, cut, closed, false, gone)
			f(contentType, cut, closed, true, "closed") // nobody is there
			if broken != "<nil>" {
				f(contentType, cut, errors.New("broken"), false, broken)
			}
		}
	}
}

// TestAnswerFrames: what is no message of gRPC is not passed on; trailers inside the body would be believed.
func TestAnswerFrames(t *testing.T) {
	f := func(body string, ok bool) {
		t.Helper()
		for cut := range len(body) {
			x := call("application/grpc-web", "")
			if err := serve(GRPCWeb{}, x, answers([]string{body[:cut], body[cut:]}, "grpc-status", "13")); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(&x.Response.Body)
			if ok != (err == nil) || !ok && (code(err) != "upstream_messages" || strings.Contains(string(got), "grpc-status")) {
				t.Errorf("%q cut at %d: %q, %v", body, cut, got, err)
			}
			x.Release()
		}
	}
	f(frame(1, "compressed"), true)
	f(message("")+message("x"), true)
	f(frame(0x80, "grpc-status: 0\r\n"), false)
	f(message("x")+frame(0x80, "grpc-status: 0\r\n"), false)
	f(frame(0x81, "grpc-status: 0\r\n"), false)
	f("<html>", false)
}

// TestTrailersOnly: a status in a head that nothing follows stays there.
func TestTrailersOnly(t *testing.T) {
	f := func(contentType, accept string, status int, want string) {
		t.Helper()
		x := call(contentType, "", "Accept", accept)
		defer x.Release()
		err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
			x.Response.Status = status
			x.Response.Head.AddString("content-type", "application/grpc+proto")
			x.Response.Head.AddString("grpc-status", "5")
			x.Response.Body.SetWhole(nil)
			return nil
		})
		if err != nil || x.Response.Status != 200 || x.Response.Body.Size() != 0 || fields(x) != "Content-Type: "+want+"; grpc-status: 5" {
			t.Errorf("%v: %d, %s", err, x.Response.Status, fields(x))
		}
	}
	f("application/grpc-web", "*/*", 200, "application/grpc-web+proto")
	f("application/grpc-web-text", "*/*", 200, "application/grpc-web-text+proto")
	f("application/grpc-web", "application/grpc-web-text", 200, "application/grpc-web-text+proto")
	f("application/grpc-web-text", "text/html, application/grpc-web+proto;q=0.5", 503, "application/grpc-web+proto")
}

// TestNotGRPC: what no service of gRPC has said becomes a status of gRPC.
func TestNotGRPC(t *testing.T) {
	f := func(status int, contentType string, want int, extra ...string) {
		t.Helper()
		x := call("application/grpc-web", "")
		defer x.Release()
		err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
			x.Response.Status = status
			x.Response.Head.AddString("content-type", contentType)
			for i := 0; i < len(extra); i += 2 {
				x.Response.Head.AddString(extra[i], extra[i+1])
			}
			x.Response.Body.SetWhole([]byte("<html>"))
			return nil
		})
		var e *proxy.Error
		if !errors.As(err, &e) || int(e.GRPC) != want || e.Side != proxy.ByUpstream || x.FailedAt != "grpc_web" || x.ClientGRPC() != proxy.WebGRPC {
			t.Errorf("%d %s: got %v, want %d", status, contentType, err, want)
		}
	}
	for status, want := range map[int]int{
		200: 2, 204: 2, 301: 2, 400: 13, 401: 16, 403: 7, 404: 12, 405: 2, 429: 14, 500: 2, 502: 14, 503: 14, 504: 14,
	} {
		f(status, "text/html", want)
	}
	f(404, "application/grpc", 12)
	f(200, "application/grpc-web", 2)
	f(200, "", 2)
	f(200, "application/grpc", 13, "Content-Encoding", "gzip")
}

// TestErrorsPass: what policies and services refuse is left to the route's renderer, which learns what the client speaks.
func TestErrorsPass(t *testing.T) {
	for contentType, want := range map[string]proxy.GRPCForm{
		"application/grpc-web": proxy.WebGRPC, "application/grpc-web-text": proxy.WebTextGRPC, "application/grpc": proxy.PlainGRPC, "text/html": proxy.NotGRPC,
	} {
		x := call(contentType, "")
		err := serve(GRPCWeb{}, x, func(*proxy.Exchange) error { return proxy.ErrTimeout })
		if err != error(proxy.ErrTimeout) || x.ClientGRPC() != want || x.FailedAt != "service" {
			t.Errorf("%s: %v, %v at %s", contentType, err, x.ClientGRPC(), x.FailedAt)
		}
		x.Release()
	}
}

// FuzzText decodes as the standard library does, group by group, wherever the text is cut.
func FuzzText(f *testing.F) {
	f.Add([]byte("AAAAAAVoZWxsbw=="), 3)
	f.Add([]byte("AA==AAA="), 4)
	f.Add([]byte("AAAA\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var want []byte
		ok := len(text)%4 == 0
		for at := 0; ok && at < len(text); at += 4 {
			group, err := base64.StdEncoding.Strict().DecodeString(string(text[at : at+4]))
			ok = err == nil && len(group) > 0
			want = append(want, group...)
		}
		cut = min(max(cut, 0), len(text))
		for _, flows := range []bool{true, false} {
			x := call("application/grpc-web-text", string(text))
			if flows {
				x.Request.Body.SetFlow(text[:cut/2], &pieces{x: x, left: [][]byte{text[cut/2 : cut], text[cut:]}}, -1)
			}
			var got []byte
			var readErr error
			err := serve(GRPCWeb{}, x, func(x *proxy.Exchange) error {
				got, readErr = io.ReadAll(&x.Request.Body)
				return answers(nil)(x)
			})
			if err == nil {
				err = readErr
			}
			if ok != (err == nil) || ok && string(got) != string(want) {
				t.Errorf("flowing %v: got %q (%v), want %q (%v)", flows, got, err, want, ok)
			}
			x.Release()
		}
	})
}

// FuzzAnswer: whatever an origin sends, wherever it is cut, an answer without an error is messages and then one frame of trailers, and
// binary and text say the same.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(message("a")+message("bc")), 3, "grpc-status", "0")
	f.Add([]byte(frame(0x80, "grpc-status: 0\r\n")), 3, "x", "\r\n")
	f.Fuzz(func(t *testing.T, body []byte, cut int, name, value string) {
		cut = min(max(cut, 0), len(body))
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" {
			name = "x"
		}
		both := [2]string{}
		for i, contentType := range []string{"application/grpc-web", "application/grpc-web-text"} {
			x := call(contentType, "")
			if err := serve(GRPCWeb{}, x, answers([]string{string(body[:cut]), string(body[cut:])}, name, value)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(&x.Response.Body)
			x.Release()
			if err != nil {
				both[i] = "error"
				continue
			}
			if both[i] = string(got); i == 1 {
				both[i] = untext(t, both[i])
			}
		}
		if both[0] != both[1] {
			t.Fatalf("binary %q, text %q", both[0], both[1])
		}
		if both[0] == "error" {
			return
		}
		rest := both[0]
		for kind := byte(0); rest != ""; {
			if len(rest) < frameHead || kind == flagTrailers {
				t.Fatalf("%q goes on with %q", both[0], rest)
			}
			kind = rest[0]
			size := int(rest[1])<<24 | int(rest[2])<<16 | int(rest[3])<<8 | int(rest[4])
			if len(rest) < frameHead+size {
				t.Fatalf("%q is not whole", both[0])
			}
			if rest = rest[frameHead+size:]; rest == "" && kind != flagTrailers {
				t.Fatalf("%q has no trailers", both[0])
			}
		}
	})
}
