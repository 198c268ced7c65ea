package proxytest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"sluice/proxy/server"
)

// TestAsk: the gateway asks itself, and what it gets is in the cache for whoever asks from outside.
func TestAsk(t *testing.T) {
	var asked atomic.Int32
	waits := make(chan bool)
	origin := Origin(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/slow" {
			select {
			case <-waits:
			case <-r.Context().Done():
			}
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.Host+r.URL.String()+r.Header.Get("X-Lang"))
	})
	defer close(waits)
	gw := Start(t, fmt.Sprintf(cached, origin))
	f := func(q server.Question, want string) {
		t.Helper()
		a, err := gw.Server.Ask(t.Context(), q)
		if got := fmt.Sprintf("%d %s %d %v", a.Status, a.Cache, a.Bytes, err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	page := server.Question{Scheme: "http", Host: gw.Addr, Target: "/x?y=1", Fields: [][2]string{{"X-Lang", "de"}}}
	size := len(gw.Addr + "/x?y=1de")
	f(page, fmt.Sprintf("200 miss %d <nil>", size))
	f(page, fmt.Sprintf("200 hit %d <nil>", size))
	if resp, body, err := gw.get("/x?y=1"); err != nil || resp.Header.Get("Age") == "" || len(body) != size {
		t.Error(resp, string(body), err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
	for _, q := range []server.Question{
		{}, {Scheme: "http", Host: "a", Target: "x"}, {Scheme: "http", Host: "a b", Target: "/"}, {Scheme: "http", Host: "a", Target: "/ x"},
		{Scheme: "http", Host: "a", Target: "/", Fields: [][2]string{{"A", "b\r\nc: d"}}}, {Scheme: "http", Host: "a", Target: "/", Fields: [][2]string{{"Connection", "x"}}},
	} {
		f(q, "0  0 "+server.ErrQuestion.Error())
	}
	// Whoever gives up is not waited for.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := gw.Server.Ask(ctx, server.Question{Scheme: "http", Host: "a", Target: "/slow", Fields: [][2]string{{"Cookie", "a=b"}}}); err == nil || time.Since(begin) > 10*time.Second {
		t.Error(err, time.Since(begin))
	}
}

// TestAskEndsLate: the time of a question may run out when its answer is there already. The exchange goes on to serve somebody else a moment
// later, and must not be canceled then. It is for the race detector.
func TestAskEndsLate(t *testing.T) {
	origin := Origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		io.WriteString(w, "hello")
	})
	gw := Start(t, fmt.Sprintf(cached, origin))
	for range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		a, err := gw.Server.Ask(endsLate{ctx, cancel}, server.Question{Scheme: "http", Host: "a", Target: "/"})
		if err != nil || a.Status != 200 || a.Bytes != 5 {
			t.Fatalf("got %+v, %v", a, err)
		}
	}
}

// endsLate ends just after it was asked whether it has ended.
type endsLate struct {
	context.Context
	end func()
}

func (c endsLate) Err() error {
	err := c.Context.Err()
	c.end()
	return err
}
