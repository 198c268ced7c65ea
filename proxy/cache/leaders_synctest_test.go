package cache

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
)

// crowd asks for the same n times at once, behind first, which the origin sees first, and counts the answers. X-Who tells them apart.
func (b *bench) crowd(n int, first ...string) map[string]int {
	b.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string]int{}
	ask := func(fields ...string) {
		wg.Go(func() {
			answer := b.ask("GET /a", fields...)
			mu.Lock()
			defer mu.Unlock()
			got[answer]++
		})
		synctest.Wait() // so that they come in this order
	}
	ask(first...)
	for i := range n {
		if i < 20 {
			ask(fmt.Sprint("X-Who: ", i))
			continue
		}
		wg.Go(func() {
			answer := b.ask("GET /a")
			mu.Lock()
			defer mu.Unlock()
			got[answer]++
		})
	}
	wg.Wait()
	return got
}

// asks is how often the origin was asked since the last call.
func (b *bench) asks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.asked)
	b.asked = nil
	return n
}

func (b *bench) wantCounts(got map[string]int, want string) {
	b.t.Helper()
	if s := strings.TrimPrefix(fmt.Sprint(got), "map"); s != want {
		b.t.Errorf("got  %s\nwant %s", s, want)
	}
}

// TestLeaders: who waits for the answer to another one's request depends on no more than the origin does.
func TestLeaders(t *testing.T) {
	const good, shared = "200\nCache-Control: max-age=60\n\none", "200 one age 1, fwd=uri-miss; ttl=59; collapsed"
	wait := Options{Rules: rules.Policy{IgnoreRequest: true}, Wait: 5 * time.Second}
	// bad is an origin that answers so whom X-Bad says, and others well.
	bad := func(b *bench, answer string) {
		b.slow = time.Second
		b.answer = func(x *proxy.Exchange) string {
			if x.Request.Head.Has("X-Bad") {
				return answer
			}
			return good
		}
	}

	inBubble("one whose own fields make the origin answer with an error", t, wait, func(b *bench) {
		for _, status := range []string{"400", "403", "431", "500", "503"} {
			bad(b, status+"\n\nno")
			got := b.crowd(1000, "X-Bad: 1")
			detail := "status"
			b.wantCounts(got, fmt.Sprintf("[200 one age 1, fwd=uri-miss; ttl=59; collapsed:999 200 one age 1, fwd=uri-miss; ttl=59; stored:1 %s no, fwd=uri-miss; detail=%s:1]", status, detail))
			if n := b.asks(); n != 2 {
				b.t.Errorf("%s: the origin was asked %d times", status, n)
			}
			b.cache.Store.PurgeAll(false)
		}
	})

	inBubble("one whose own fields make the origin break off", t, wait, func(b *bench) {
		bad(b, "break")
		got := b.crowd(1000, "X-Bad: 1")
		b.wantCounts(got, "["+shared+":999 200 one age 1, fwd=uri-miss; ttl=59; stored:1 bad_origin, sluice; fwd=uri-miss:1]")
		if n := b.asks(); n != 2 {
			b.t.Errorf("the origin was asked %d times", n)
		}
	})

	inBubble("an origin that is down is asked three times", t, wait, func(b *bench) {
		b.answer, b.slow = says("break"), time.Second
		got := b.crowd(1000)
		b.wantCounts(got, "[bad_origin, sluice; fwd=uri-miss:3 bad_origin, sluice; fwd=uri-miss; collapsed:998]")
		if n := b.asks(); n != 3 {
			b.t.Errorf("the origin was asked %d times", n)
		}
	})

	inBubble("an origin in trouble is asked three times", t, wait, func(b *bench) {
		b.answer, b.slow = says("503\n\nbusy"), time.Second
		got := b.crowd(1000)
		b.wantCounts(got, "[503 busy, fwd=uri-miss; detail=status:3 service_failing, sluice; fwd=uri-miss; collapsed:998]")
		if n := b.asks(); n != 3 {
			b.t.Errorf("the origin was asked %d times", n)
		}
	})

	inBubble("stale-if-error: an origin that is down is asked once", t,
		Options{Rules: rules.Policy{IgnoreRequest: true, StaleIfError: 600}, Wait: 5 * time.Second}, func(b *bench) {
			b.answer = says("200\nCache-Control: max-age=1\n\none")
			b.ask("GET /a")
			b.asks()
			time.Sleep(10 * time.Second)
			b.answer, b.slow = says("503\n\nbusy"), time.Second
			got := b.crowd(1000)
			b.wantCounts(got, "[200 one age 11, fwd=stale; fwd-status=503; ttl=-10; detail=stale-if-error:1 200 one age 11, fwd=stale; ttl=-10; detail=stale-if-error:1000]")
			if n := b.asks(); n != 1 {
				b.t.Errorf("the origin was asked %d times", n)
			}
		})

	inBubble("RFC 9111 4: an error that may not be shared is everybody's own, a few at a time", t, wait, func(b *bench) {
		var mu sync.Mutex
		now, most := 0, 0
		b.answer = func(x *proxy.Exchange) string {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return "404\n\n" + string(x.Request.Head.Get("X-Who"))
		}
		got := b.crowd(50)
		if n := b.asks(); n != 51 || most > 32 {
			b.t.Errorf("the origin was asked %d times, %d at once", n, most)
		}
		for i := range 20 {
			if answer := fmt.Sprintf("404 %d, fwd=uri-miss; detail=no-lifetime", i); got[answer] != 1 {
				b.t.Errorf("%q: %d", answer, got[answer])
			}
		}
	})

	inBubble("errors that may not be shared, until there is an answer for all", t, wait, func(b *bench) {
		var mu sync.Mutex
		asked := 0
		b.slow = time.Second
		b.answer = func(*proxy.Exchange) string {
			mu.Lock()
			defer mu.Unlock()
			if asked++; asked <= 6 {
				return "404\n\nnone"
			}
			return good
		}
		b.crowd(1000)
		if n := b.asks(); n > leadersMax+atFirst+6 { // each of those that were none lets two go
			b.t.Errorf("the origin was asked %d times", n)
		}
	})

	inBubble("a slow origin is asked by a few when the others have waited for long", t, wait, func(b *bench) {
		b.answer, b.slow = says(good), 9*time.Second
		begin := time.Now()
		got := b.crowd(1000)
		if took := time.Since(begin); took != 14*time.Second { // those who went after five seconds
			b.t.Errorf("it took %v", took)
		}
		if n := b.asks(); n != 1+atFirst {
			b.t.Errorf("the origin was asked %d times", n)
		}
		b.wantCounts(got, "[200 one age 9, fwd=uri-miss; ttl=51; collapsed:992 200 one age 9, fwd=uri-miss; ttl=51; stored:1 200 one age 9, fwd=uri-miss; ttl=51; stored; detail=waited:8]")
		b.cache.Store.PurgeAll(false)
		b.slow = 19 * time.Second
		b.crowd(1000)
		if n := b.asks(); n != 1+3*atFirst { // after 5, 10 and 15 seconds
			b.t.Errorf("a slower one was asked %d times", n)
		}
	})

	inBubble("an origin that never answers the first one", t, wait, func(b *bench) {
		hang := make(chan bool)
		b.answer = func(x *proxy.Exchange) string {
			if x.Request.Head.Has("X-Bad") {
				<-hang
			} else {
				time.Sleep(time.Second)
			}
			return good
		}
		time.AfterFunc(time.Minute, func() { close(hang) })
		got := b.crowd(1000, "X-Bad: 1")
		if n := b.asks(); n != 1+atFirst {
			b.t.Errorf("the origin was asked %d times", n)
		}
		b.wantCounts(got, "[200 one age 1, fwd=uri-miss; ttl=59; stored; detail=waited:8 200 one age 1, hit; ttl=59:992 200 one, fwd=uri-miss; detail=age:1]")
	})

	inBubble("an origin that never answers the first nine", t, wait, func(b *bench) {
		hang := make(chan bool)
		b.answer = func(x *proxy.Exchange) string {
			if x.Request.Head.Has("X-Bad") {
				<-hang
			}
			return good
		}
		for range 1 + atFirst {
			go b.ask("GET /a", "X-Bad: 1")
			synctest.Wait()
		}
		time.Sleep(time.Second) // so that the others have all turns
		begin := time.Now()
		b.want(b.ask("GET /a"), "200 one, fwd=uri-miss; ttl=60; stored; detail=waited")
		if took := time.Since(begin); took != 10*time.Second { // five for the first one, five for those who had a turn
			b.t.Errorf("it took %v", took)
		}
		close(hang)
		synctest.Wait()
	})

	inBubble("an origin that never answers anybody", t, wait, func(b *bench) {
		b.timeout = time.Minute
		b.slow = 2 * time.Minute
		b.answer = says("break")
		b.crowd(1000)
		if n := b.asks(); n > 1+12*atFirst { // eight more every five seconds of a minute
			b.t.Errorf("the origin was asked %d times", n)
		}
	})

	inBubble("an origin that fails when the others have waited for long", t, wait, func(b *bench) {
		b.answer, b.slow = says("break"), 20*time.Second
		got := b.crowd(1000)
		if n := b.asks(); n > leadersMax*(1+5*atFirst) { // a few more go as some of them fail
			b.t.Errorf("the origin was asked %d times", n)
		}
		for answer := range got {
			if !strings.HasPrefix(answer, "bad_origin") {
				b.t.Error(answer)
			}
		}
	})
}
