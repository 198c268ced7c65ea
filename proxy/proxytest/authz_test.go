package proxytest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestForwardAuthLoop: a service that is reached through the route that asks it is a mistake, which ends.
func TestForwardAuthLoop(t *testing.T) {
	t.Parallel()
	origin := Canned(t, "HTTP/1.1 204 No Content\r\n\r\n")
	first := Start(t, "routes: { a: { match: /, respond: { status: 204 } } }\n")
	first.Reload(fmt.Sprintf(`
services: { origin: { to: "http://%s" }, itself: { to: "http://%s" } }
routes: { a: { match: "/**", use: [{ forward_auth: { service: itself, timeout: 20s } }], to: origin } }
`, origin, first.Addr))
	if status, _ := asked(t, first.Addr, "/", ""); status != 503 {
		t.Errorf("the answer is %d", status)
	}
	// The request is asked about through 16 proxies. So is each question of the gateway's own, which finds out what ails the service, at
	// once and from time to time. Without an end there were thousands.
	status := first.Runtime.DecisionPolicies()
	if n := status[0].Failed; len(status) != 1 || n == 0 || n > 100 || status[0].Admitted+status[0].Refused > 0 {
		t.Errorf("it was asked: %+v", status)
	}
}

// TestForwardAuthDoors lets many clients come, good and bad ones, while the service that decides answers, breaks off, falls silent or says
// nonsense, clients leave in the middle, and the configuration is read again: nobody gets in who is not admitted, nobody is taken for
// somebody else, and who is refused is refused with a decision or with 503.
func TestForwardAuthDoors(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	release := make(chan struct{})
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		user, good := strings.CutPrefix(r.Header.Get("Authorization"), "good ")
		switch n % 8 {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			w.WriteHeader(http.StatusTeapot)
			return
		case 3:
			select { // beyond the timeout of the policy
			case <-r.Context().Done():
			case <-release:
			}
			return
		}
		if !good {
			w.Header().Set("X-User", "nobody")
			if n%8 == 4 {
				w.Header().Set("Set-Cookie", "nonce=1")
			}
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		w.Header().Set("X-User", user)
		io.WriteString(w, strings.Repeat("fine ", int(n%8)*100))
	}))
	defer auth.Close()
	defer close(release)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || len(body) > 0 && string(body) != "hello" {
			t.Errorf("the origin gets %q, %v", body, err)
		}
		fmt.Fprint(w, r.Header.Values("X-User"))
	}))
	defer origin.Close()
	yaml := func(remember string) string {
		return fmt.Sprintf(`
services: { origin: { to: %q }, auth: { to: %q } }
policies: { asked: { forward_auth: { service: auth, forward: [X-User], identity: X-User, timeout: 50ms, remember: %s, remember_refused: 1ms, decisions: 8 } } }
routes: { a: { match: "/a/**", use: [asked, { cache: { for: 1ms } }], to: origin } }
`, origin.URL, auth.URL, remember)
	}
	gw := Start(t, yaml("5ms"))
	var group sync.WaitGroup
	var stop atomic.Bool
	var admitted, refused, closed atomic.Int64
	for c := range 8 {
		group.Go(func() {
			for i := 0; !stop.Load(); i++ {
				token, want := fmt.Sprintf("good user-%d", (c+i)%5), fmt.Sprintf("[user-%d]", (c+i)%5)
				if i%3 == 0 {
					token = fmt.Sprintf("bad user-%d", i%5)
				}
				if i%17 == 0 { // one that leaves in the middle
					if nc, err := net.Dial("tcp", gw.Addr); err == nil {
						fmt.Fprintf(nc, "GET /a/%d HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\n\r\n", i%3, token)
						nc.Close()
					}
				}
				method, body := http.MethodGet, io.Reader(nil)
				if i%5 == 0 {
					method, body = http.MethodPost, strings.NewReader("hello")
				}
				r, err := http.NewRequest(method, fmt.Sprintf("http://%s/a/%d", gw.Addr, i%3), body)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", token)
				r.Header.Set("X-User", "admin")
				response, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				switch {
				case err != nil:
					t.Error(err)
				case response.StatusCode == 503:
					closed.Add(1)
				case token[0] == 'b' && response.StatusCode == 403:
					refused.Add(1)
				case token[0] == 'g' && response.StatusCode == 200 && string(got) == want:
					admitted.Add(1)
				default:
					t.Errorf("%s gets %d %q", token, response.StatusCode, got)
				}
			}
		})
	}
	for i, end := 0, time.Now().Add(time.Minute); (admitted.Load() < 150 || refused.Load() < 50 || closed.Load() < 10) && !t.Failed(); i++ {
		if time.Now().After(end) {
			t.Errorf("%d admitted, %d refused, %d with a closed door", admitted.Load(), refused.Load(), closed.Load())
			break
		}
		time.Sleep(20 * time.Millisecond)
		gw.Reload(yaml(fmt.Sprintf("%dms", 4+i%3)))
	}
	stop.Store(true)
	group.Wait()
}
