package proxytest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/tools/txtar"
)

// Script2 plays a script with a client of HTTP/2, and wants the same to happen: the same requests at the origins, the same
// responses. It is for scripts about policies and routes: they must not say how a connection is used. What differs between
// the protocols is not looked at: the case and order of field names, the reason, the version in Via.
//
// secured: over TLS, where the scheme differs, too.
func Script2(t *testing.T, file string, secured bool) {
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, file: txtar.Parse(want), origins: make(map[string]*scriptOrigin), client2: client2(t, secured), tls: secured}
	s.playAlike(want, "HTTP/2")
}

// playAlike plays the script, and compares what is the same for all protocols.
func (s *script) playAlike(want []byte, protocol string) {
	got := s.play()
	if diff := cmp.Diff(essence(txtar.Parse(want)), essence(txtar.Parse(got))); diff != "" {
		s.t.Errorf("%s over %s (- expected, + got):\n%s", s.t.Name(), protocol, diff)
	}
}

// client2 speaks HTTP/2, over TLS or with prior knowledge.
func client2(t testing.TB, secured bool) *http2.Transport {
	tr := &http2.Transport{
		AllowHTTP: true, DisableCompression: true,
		DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
			if secured {
				secure := clientTLS.Clone()
				secure.NextProtos = []string{"h2"}
				return (&tls.Dialer{Config: secure}).DialContext(ctx, network, address)
			}
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// listen2 adds a listener that speaks HTTP/2 to a configuration that names none.
func listen2(yaml string) string {
	return listening(yaml, "http: [h1, h2]")
}

// listening lets the listener of a configuration do more, or adds one.
func listening(yaml, more string) string {
	const listen = "listen: { web: { address: \"127.0.0.1:0\", "
	if strings.Contains(yaml, listen) {
		return strings.Replace(yaml, listen, listen+more+", ", 1)
	}
	return "listen: { web: { address: \"127.0.0.1:8080\", " + more + " } }\n" + yaml
}

// converse2 plays one turn, a request after the other.
func (s *script) converse2(u *turn) {
	for _, r := range u.requests {
		u.answers = append(u.answers, s.ask2(unescape(s.t, r.Data)))
	}
}

// ask2 sends what stands there as text of HTTP/1.1, and writes the response down as such.
func (s *script) ask2(text []byte) string {
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	line := strings.Fields(lines[0])
	if len(line) != 3 {
		s.t.Fatalf("%q is no request line that HTTP/2 could carry", lines[0])
	}
	scheme := "http"
	if s.tls {
		scheme = "https"
	}
	req := (&http.Request{
		Method: line[0], URL: &url.URL{Scheme: scheme, Host: s.gateway.Addr, Opaque: line[1]},
		Header: http.Header{"User-Agent": {""}},
	}).WithContext(s.t.Context())
	if len(body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	for _, field := range lines[1:] {
		name, value, _ := strings.Cut(field, ":")
		value = strings.Trim(value, " \t")
		switch name = http.CanonicalHeaderKey(name); name {
		case "Host":
			req.Host = value
		case "Content-Length":
		case "Transfer-Encoding": // HTTP/2 has its own framing; what matters is that no length is announced
			req.Body, req.ContentLength = io.NopCloser(httputil.NewChunkedReader(bytes.NewReader(body))), -1
		case "User-Agent":
			req.Header[name] = []string{value}
		default:
			req.Header[name] = append(req.Header[name], value)
		}
	}
	resp, err := s.client2.RoundTrip(req)
	if err != nil {
		return resetText(err)
	}
	defer resp.Body.Close()
	var w transcript
	fmt.Fprintf(&w, "HTTP/1.1 %s\n", resp.Status)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		for _, value := range resp.Header[name] {
			fmt.Fprintf(&w, "%s: %s\n", name, value)
		}
	}
	w.WriteByte('\n')
	got, err := io.ReadAll(resp.Body)
	w.data(got, len(got) > 0)
	if err != nil {
		w.WriteString(resetText(err))
	}
	return w.String()
}

func resetText(err error) string {
	if _, ok := errors.AsType[http2.StreamError](err); ok {
		return "(reset)\n"
	}
	if _, ok := errors.AsType[*http3.Error](err); ok {
		return "(reset)\n"
	}
	return fmt.Sprintf("(%v)\n", err)
}

// essence is what a script expects, whichever protocol carries it.
func essence(a *txtar.Archive) map[string]string {
	all := map[string]string{}
	for i, f := range a.Files {
		if kind, _, _ := strings.Cut(f.Name, " "); kind == "response" || kind == "seen" {
			all[fmt.Sprintf("%03d %s", i, f.Name)] = essentials(string(f.Data), kind == "response")
		}
	}
	return all
}

// sameValue takes out of values what the protocol makes different.
var sameValue = strings.NewReplacer("2.0 sluice", "1.1 sluice", "3.0 sluice", "1.1 sluice", "proto=https", "proto=http", "; Secure", "")

func essentials(message string, response bool) string {
	head, body, _ := strings.Cut(message, "\n\n")
	lines := strings.Split(head, "\n")
	if response {
		lines[0], _, _ = strings.Cut(strings.TrimPrefix(lines[0], "HTTP/1.1 "), " ")
	}
	fields := lines[1:]
	for i, line := range fields {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSuffix(strings.TrimSpace(value), `\x09`)
		if name == "X-Forwarded-Proto" {
			value = "http"
		}
		fields[i] = strings.ToLower(name) + ": " + sameValue.Replace(value)
	}
	fields = slices.DeleteFunc(fields, func(line string) bool { return strings.HasPrefix(line, "connection: ") })
	slices.SortStableFunc(fields, func(a, b string) int {
		nameA, _, _ := strings.Cut(a, ":")
		nameB, _, _ := strings.Cut(b, ":")
		return strings.Compare(nameA, nameB)
	})
	return lines[0] + "\n" + strings.Join(fields, "\n") + "\n\n" + strings.TrimSuffix(body, "\n")
}
