package cache

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules/model"
	"sluice/proxy/wire"
)

// TestHistory lets clients, time and an origin go on at random around the policy, and holds every answer that did not come from the origin at that time
// against a model of the RFCs.
func TestHistory(t *testing.T) { playHistories(t, 0, 120) }

func TestSoakHistory(t *testing.T) {
	if os.Getenv("SLUICE_SOAK") == "" {
		t.Skip("it takes a minute: set SLUICE_SOAK=1")
	}
	playHistories(t, rand.Uint64(), 5000)
}

func playHistories(t *testing.T, first, count uint64) {
	t.Helper()
	var tally model.Tally
	for seed := first; seed != first+count && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			started := time.Now()
			build := func(w *model.World) model.Cache { return newHistory(t, w, started) }
			if err := model.Play(seed, 200, started.Unix(), build, &tally); err != nil {
				t.Error(err)
			}
		})
	}
	if !t.Failed() && min(tally.Fresh, tally.Stale, tally.OnError, tally.Validated) < 10 {
		t.Fatalf("%+v: not enough of each to say anything", tally)
	}
}

// history is a policy with the world behind it.
type history struct {
	*bench
	world   *model.World
	started time.Time
}

func newHistory(t *testing.T, w *model.World, started time.Time) *history {
	rules := *w.Policy
	rules.ByIdentity = false // the policy finds out by itself
	h := &history{bench: newBench(t, Options{Rules: rules}), world: w, started: started}
	h.chain = proxy.NewChain(proxy.Link{Name: "cache", Policy: NewPolicy(h.cache, Options{Rules: rules, Space: []byte("a"), Wait: time.Minute})},
		proxy.Link{Name: "world", Policy: worldPolicy{h}})
	return h
}

var errDown = errors.New("down")

// worldPolicy answers what the policy asks.
type worldPolicy struct{ h *history }

func (p worldPolicy) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	h := p.h
	now := int64(time.Since(h.started) / time.Second)
	status, head, body, failed := h.world.Answer(string(x.Request.Path), x.Request.Method, &x.Request.Head, now)
	if failed {
		return errDown
	}
	x.Response.Status = status
	for name, value := range head.All() {
		x.Response.Head.Add(string(name), value)
	}
	if status == 304 || x.Request.Method == "HEAD" {
		x.Response.Body.SetAbsent(-1)
	} else {
		x.Response.Body.SetWhole([]byte(body))
	}
	return nil
}

// Serve implements model.Cache.
func (h *history) Serve(url, method string, req *wire.Head, now int64) model.Served {
	time.Sleep(time.Until(h.started.Add(time.Duration(now) * time.Second)))
	x := proxy.Acquire()
	x.Edge, x.Started = proxy.Nobody{}, wire.Now()
	x.Request.Method, x.Request.Scheme, x.Request.Host, x.Request.Path = method, "http", []byte("host"), []byte(url)
	x.Received.Method = []byte(method)
	for name, value := range req.All() {
		x.Request.Head.Add(string(name), value)
	}
	if who := req.Get("authorization"); who != nil && h.world.Policy.ByIdentity {
		x.Identity = proxy.NewIdentity("test", "", string(who), nil)
	}
	defer func() {
		x.Response.Body.Close()
		x.Wait()
		x.Finish()
		x.Release()
		synctest.Wait() // for what was asked in the background
	}()
	err := h.chain.Serve(x)
	x.EditHead()
	status := string(x.Response.Head.Get("Cache-Status"))
	s := model.Served{Status: x.Response.Status, Head: new(wire.Head)}
	for name, value := range x.Response.Head.All() {
		s.Head.Add(string(name), value)
	}
	s.Failed = errors.Is(err, errDown) || strings.Contains(status, "detail=stale-if-error")
	s.Asked = s.Failed || strings.Contains(status, "fwd=")
	if err != nil {
		return s
	}
	body, err := io.ReadAll(&x.Response.Body)
	if err != nil {
		h.t.Error(fmt.Errorf("cannot read the body: %w", err))
	}
	s.Body = string(body)
	return s
}
