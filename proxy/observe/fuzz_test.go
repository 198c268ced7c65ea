package observe

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// FuzzJSONLine: whatever a request holds, its line is one line of JSON with the fields it should have, and the values
// of credentials are not in it.
func FuzzJSONLine(f *testing.F) {
	const secret = "Zs3cr3tZ"
	f.Add([]byte("/a?b=c&token=d"), []byte("/a"), []byte("host"), []byte("curl\t\"x\""), []byte("https://u:p@h/?key=1"), "broken\npipe", 200, int64(5))
	f.Add([]byte("\xff?\x00"), []byte("\u2028"), []byte(""), []byte("\x9b"), []byte("#"), "", -1, int64(-1))
	log := &AccessLog{}
	f.Fuzz(func(t *testing.T, target, path, host, agent, referer []byte, cause string, status int, bytes int64) {
		for _, in := range []string{string(target), string(path), string(host), string(agent), string(referer), cause} {
			if strings.Contains(in, "Z") {
				return // could spell the secret
			}
		}
		x := new(proxy.Exchange)
		x.Started = wire.Now()
		x.Received.Target = append([]byte("/?token="+secret+"&"), target...)
		x.MatchedPath, x.Request.Host, x.ID = path, host, agent
		x.Request.Head.Add("User-Agent", agent)
		x.Request.Head.Add("Referer", append([]byte("http://u:"+secret+"@h/?password="+secret+"&"), referer...))
		x.Request.Head.AddString("Authorization", secret)
		x.Request.Head.AddString("Cookie", secret)
		x.Err, x.ErrCause = proxy.ErrInternal, errors.New(cause)
		x.BytesOut = bytes
		n := &line{log: log, x: x, end: wire.Now(), status: status}
		headers := []loggedHeader{newLoggedHeader("Authorization", nil), newLoggedHeader("Cookie", nil), newLoggedHeader("Referer", nil)}
		got := string(n.appendJSON(nil, headers))

		body, ok := strings.CutSuffix(got, "\n")
		if !ok {
			t.Fatalf("%q has no line feed", got)
		}
		checkOneLine(t, body)
		var fields struct {
			Time      string
			Status    *int
			BytesOut  *int64 `json:"bytes_out"`
			UserAgent string `json:"user_agent"`
			Error     string
			Headers   map[string]string
		}
		if err := json.Unmarshal([]byte(body), &fields); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if fields.Status == nil || *fields.Status != status || fields.BytesOut == nil || *fields.BytesOut != bytes {
			t.Fatalf("status or bytes are lost: %s", body)
		}
		if fields.Error != "internal" || fields.Headers["authorization"] != redacted || fields.Headers["cookie"] != redacted {
			t.Fatalf("error or headers are not what was set: %s", body)
		}
		if strings.Contains(body, secret) {
			t.Fatalf("a secret is left: %s", body)
		}
	})
}

// FuzzFormat: whatever stands in the request, a format makes one line of it.
func FuzzFormat(f *testing.F) {
	f.Add("$client $header.X|$query.q $request.uri", []byte("q=%0a&token=1"), []byte("v\t\xff"))
	log := &AccessLog{}
	f.Fuzz(func(t *testing.T, format string, query, value []byte) {
		segments, err := parseFormat(format, nil)
		if err != nil {
			return
		}
		x := new(proxy.Exchange)
		x.Started = wire.Now()
		x.Request.Query, x.Request.HasQuery = query, true
		x.Request.Head.Add("X", value)
		n := &line{log: log, x: x, end: wire.Now(), status: 200}
		got, ok := strings.CutSuffix(string(n.appendFormat(nil, segments)), "\n")
		if !ok {
			t.Fatalf("%q has no line feed", got)
		}
		checkOneLine(t, got)
	})
}
