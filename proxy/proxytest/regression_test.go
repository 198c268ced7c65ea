package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answerOf reads a response whole.
func answerOf(t *testing.T, c *Client) (status int, body string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(c.R, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// countingOrigin answers with how many bytes of body it has received, and how they ended.
func countingOrigin(t *testing.T) string {
	return Origin(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
}

// TestUnaskedAnswerUnderTLS has an origin that sends a second answer to one request: the next client must not get it.
func TestUnaskedAnswerUnderTLS(t *testing.T) {
	sent := make(chan bool, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for q := r; err == nil; q, err = http.ReadRequest(rw.Reader) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%s", q.URL.Path[:3])
			if q.URL.Path == "/up" {
				time.Sleep(5 * time.Millisecond) // in a segment of its own, behind the answer
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
				sent <- true
			}
		}
	}))
	s.StartTLS()
	t.Cleanup(s.Close)
	gw := Start(t, fmt.Sprintf("services: { o: { to: [%q], origin_tls: { verify: false } } }\nroutes: { r: { match: \"/**\", to: o } }\n", s.URL))
	first, second := gw.Dial(), gw.Dial()
	first.Send("GET /up HTTP/1.1\r\nHost: a\r\n\r\n")
	if status, body := answerOf(t, first); status != 200 || body != "/up" {
		t.Fatal(status, body)
	}
	<-sent
	second.Send("GET /v1 HTTP/1.1\r\nHost: a\r\n\r\n")
	if status, body := answerOf(t, second); status != 200 || body != "/v1" {
		t.Fatalf("the second client got %d %q", status, body)
	}
}

// TestSteadyUploads takes its time, by far more than the services' timeouts: as long as the client is above the minimum
// rate, no deadline of the origin's side may end an upload.
func TestSteadyUploads(t *testing.T) {
	f := func(name, service, limits, head string, pieces int, every time.Duration, piece string, end string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gw := Start(t, fmt.Sprintf("services: { o: { to: [\"http://%s\"], %s } }\nlimits: { %s }\nroutes: { r: { match: \"/**\", to: o } }\n",
				countingOrigin(t), service, limits))
			c := gw.Dial()
			c.Send("POST / HTTP/1.1\r\nHost: a\r\n" + head + "\r\n")
			if strings.Contains(head, "Expect") {
				if line, err := c.R.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
					t.Fatal(line, err)
				}
				if _, err := c.R.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			for range pieces {
				time.Sleep(every)
				c.Send(piece)
			}
			c.Send(end)
			if status, body := answerOf(t, c); status != 200 || !strings.HasSuffix(body, "<nil>") {
				t.Fatalf("got %d %q", status, body)
			}
		})
	}
	thousand := strings.Repeat("x", 1000)
	f("after 100 Continue", "timeout: 1s", "", "Content-Length: 30000\r\nExpect: 100-continue\r\n", 30, 100*time.Millisecond, thousand, "")
	f("small chunks", "timeout: 5s", "header_timeout: 2s, min_rate: 1KiB/s", "Transfer-Encoding: chunked\r\n",
		15, 200*time.Millisecond, strings.Repeat("14\r\n"+thousand[:20]+"\r\n", 50), "0\r\n\r\n")
	f("a pause at the beginning", "timeouts: { idle: 1s }", "header_timeout: 8s", "Content-Length: 2000\r\n", 2, 1500*time.Millisecond, thousand, "")
}
