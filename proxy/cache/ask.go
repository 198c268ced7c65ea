package cache

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"time"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/cache/store"
	"sluice/proxy/wire"
)

// outcome is what came of asking the origin.
type outcome uint8

const (
	outFailed    outcome = iota // no answer
	outBroken                   // an answer that says that the origin is in trouble
	outWrong                    // a 304 about something else than what is kept, which is no longer
	outRefreshed                // what is kept is still good
	outAlone                    // an answer for the one who has asked, and nobody else
	outLanded                   // an answer for the flight; the fork is its own
)

// lead asks the origin, for all who follow f.
func (v *visit) lead(next *proxy.Chain, f *flight) error {
	x, p := v.x, v.p
	v.result = Miss
	if v.late {
		v.status.Detail = "waited"
	}
	defer f.desert(true)
	out, c, err := v.askAs(next, f)
	now := wire.Now()
	x.Waited = true
	switch out {
	case outLanded:
		if v.turn != nil {
			p.cache.flights.enter(f)
			v.went(true, nil)
		}
		return v.share(f, now, true)
	case outRefreshed:
		p.cache.land(f, refreshed, nil)
		v.went(true, nil)
		v.status.FwdStatus = 304
		x.Learn(c)
		c.End()
		v.result = Revalidated
		return v.answer(now)
	}
	s, reason := lesson(out, c, err)
	p.cache.land(f, s, reason)
	v.went(false, reason)
	if (out == outFailed || out == outBroken) && v.mayUse(now) {
		x.Learn(c)
		status := c.Response.Status
		c.End()
		return v.standIn(now, status)
	}
	if err == nil && v.wantsLess(&c.Response) {
		c.End() // which ends its body
		return next.Serve(x)
	}
	// Also what has refused it, behind us, has a word for the head, and something to do at the end.
	x.Adopt(c)
	if err != nil && x.FailedAt == "" {
		x.FailedAt = c.FailedAt
	}
	return err
}

// wantsLess reports that it costs less to ask again with the Range or the conditions of the client than to read all of r, which is large or of
// unknown length. They were left out at first so that the response could be stored, and r turned out not to be storable.
func (v *visit) wantsLess(r *proxy.Response) bool {
	size := r.Body.Size()
	return (v.req.Range || v.req.Conditional) && r.Status == 200 && r.Body.Flowing() && (size < 0 || size > muchMore)
}

const muchMore = 64 << 10

// lesson is what an answer that is not for the others says to them: that the origin is in trouble, that the request may have been at fault,
// or nothing.
func lesson(out outcome, c *proxy.Exchange, err error) (state, *proxy.Error) {
	status := c.Response.Status
	switch {
	case out == outFailed:
		if reason := proxy.AsError(err); reason.Side != proxy.ByClient {
			return failed, reason
		}
		return declined, nil
	case status >= 500:
		return failed, errFailing
	case status >= 400, out == outWrong:
		return declined, nil
	}
	return passed, nil
}

// errFailing is for those who have waited for the answers to others, each of which was an error of the origin's that is not theirs to see.
var errFailing = &proxy.Error{
	Status: 503, Code: "service_failing", Detail: "The service has answered others who asked for the same with errors.", Side: proxy.ByUpstream,
}

// went tells those who wait with v what has come of its turn, if it has one.
func (v *visit) went(answered bool, failure *proxy.Error) {
	if f := v.turn; f != nil {
		v.turn = nil
		f.went(answered, failure)
	}
}

// askAs asks through a fork of the exchange, which is canceled with it as long as nobody else wants the answer. The fork is the
// caller's to end, unless the outcome is outLanded.
func (v *visit) askAs(next *proxy.Chain, f *flight) (out outcome, c *proxy.Exchange, err error) {
	x := v.x
	done := false
	defer func() {
		if !done { // a panic behind us costs its own request an error 500 and no other's
			x.CancelFork(nil, nil)
			v.p.cache.land(f, declined, nil)
			c.End()
		}
	}()
	ask := func() {
		c = x.Fork()
		f.asks(c)
		x.CancelFork(c, f.spares)
		out, err = v.p.ask(c, next, f, v)
		x.CancelFork(nil, nil)
	}
	if ask(); out == outWrong {
		f.asks(nil)
		c.End()
		ask() // for the whole
	}
	done = true
	return out, c, err
}

// mayUse reports whether what was found may be used because the origin has failed.
func (v *visit) mayUse(now int64) bool {
	return v.has && v.record.kind == kindObject && rules.MayUseOnError(v.age(now), &v.record.life, &v.req, &v.p.Rules)
}

// standIn answers with what was found in place of an origin that has failed, with a status or without.
func (v *visit) standIn(now int64, status int) error {
	v.result, v.status = Stale, rules.Status{Forward: rules.ForwardStale, FwdStatus: status, Detail: "stale-if-error"}
	return v.answer(now)
}

// follow waits for the answer to another request. done is false if the store has to be looked at again, and the origin to be asked if there is
// nothing: by one of those who have waited, whom the others follow, or if v has a turn now, by itself.
func (v *visit) follow(next *proxy.Chain, f *flight) (done bool, err error) {
	v.result = Collapsed
	s, err := v.await(f)
	if err == nil && s == landing && (f.names == nil || string(v.appendVariant(f.names, f.id)) == f.variant) {
		v.status.Collapsed = true
		return true, v.share(f, wire.Now(), false)
	}
	f.desert(false)
	switch {
	case err != nil:
		return true, err
	case s == refreshed, s == landing:
		return false, nil
	case expired(v.x):
		if s == ownTurn {
			f.turns.give(1)
		}
		return true, proxy.ErrTimeout
	case s == ownTurn:
		v.turn = f
		return false, nil
	case (s == failed || s == hopeless) && v.mayUse(wire.Now()):
		return true, v.standIn(wire.Now(), 0)
	case s == failed && v.failed >= leadersMax:
		v.status.Collapsed = true
		return true, f.err
	case s == hopeless:
		v.status.Collapsed = true
		return true, f.spent
	}
	return false, nil
}

// await waits until there is something to do for who follows f: see follow. Whoever has waited for long enough, or in vain, waits for its
// turn to ask by itself, or for what comes before that.
func (v *visit) await(f *flight) (s state, err error) {
	x, p := v.x, v.p
	p.cache.Waiting.Add(1)
	defer p.cache.Waiting.Add(-1)
	if v.until == 0 {
		v.until = wire.Now() + int64(p.Wait)
	}
	s, err = f.await(x, within(x, time.Duration(v.until-wire.Now())))
	if err == nil && s == waiting && !expired(x) {
		s, err = f.queue(x, waiting, p.Wait)
		v.late = s == ownTurn
	}
	if s == declined || s == failed {
		v.failed++
	}
	if err == nil && (s == passed || s == declined && v.failed >= leadersMax) && !expired(x) {
		s, err = f.queue(x, s, p.Wait)
	}
	return s, err
}

// within is how long x may wait until its answer has to be there.
func within(x *proxy.Exchange, wait time.Duration) time.Duration {
	if x.Deadline != 0 {
		wait = min(wait, time.Duration(x.Deadline-wire.Now()))
	}
	return max(wait, 0)
}

func expired(x *proxy.Exchange) bool { return x.Deadline != 0 && wire.Now() >= x.Deadline }

// land ends the wait for a flight's head without one.
func (c *Cache) land(f *flight, s state, err *proxy.Error) {
	c.flights.leave(f)
	f.settle(s, err)
}

// behindMax bounds fetches in the background.
const behindMax = 256

// refreshBehind asks the origin in the background, unless somebody does already.
func (v *visit) refreshBehind(next *proxy.Chain, m store.Mark) {
	p := v.p
	c := p.cache
	if c.behind.Add(1) > behindMax {
		c.behind.Add(-1)
		c.Skipped.Add(1)
		return
	}
	f, leads := c.flights.join(v.key, v.flightKey(), m, false, v.purged)
	if !leads {
		c.behind.Add(-1)
		return
	}
	f.desert(true)                       // nobody waits for it
	seen, fork := v.x.Fork(), v.x.Fork() // policies change what they serve, and what was asked tells variants apart
	seen.Leave()
	fork.Leave()
	seen.Request.Method, fork.Request.Method = "GET", "GET"
	fork.Started = wire.Now()
	fork.Deadline = 0
	if p.Timeout > 0 {
		fork.Deadline = fork.Started + int64(p.Timeout)
	}
	c.Refreshes.Add(1)
	fork.OnFinish(forNobody{})
	b := &visit{p: p, x: seen, req: v.req, urlEnd: v.urlEnd}
	b.key = seen.KeepScratch(append(seen.Scratch(), v.key...))
	b.full = seen.KeepScratch(append(seen.Scratch(), v.full...))
	go func() {
		defer c.behind.Add(-1)
		defer seen.End()
		done := false
		defer func() {
			if r := recover(); r != nil {
				proxy.Caught(r)
			}
			if !done {
				c.land(f, declined, nil)
				fork.End()
			}
		}()
		b.behind(fork, next, f)
		done = true
	}()
}

// forNobody lets the route's observer see what a service was asked in the background.
type forNobody struct{}

// Finish implements proxy.Finisher.
func (forNobody) Finish(c *proxy.Exchange) {
	if r := c.Route; r != nil && r.Observer != nil {
		r.Observer.Asked(c)
	}
}

// behind asks the origin for nobody in particular. What is kept serves until it must not any more: then a client is told of failures.
func (v *visit) behind(c *proxy.Exchange, next *proxy.Chain, f *flight) {
	p := v.p
	defer v.entry.Free()
	v.has = v.get()
	switch out, err := p.ask(c, next, f, v); out {
	case outLanded:
		return // the fork is the flight's
	case outRefreshed:
		p.cache.land(f, refreshed, nil)
	default:
		s, reason := lesson(out, c, err)
		p.cache.land(f, s, reason)
	}
	c.End()
}

// prepare makes the fork's request one whose answer can be kept: as a whole, and asked for only if it differs from what is there.
func (v *visit) prepare(c *proxy.Exchange) (conditional bool) {
	h := &c.Request.Head
	if v.p.Codings != nil {
		coding, _ := wire.NegotiateCoding(h, v.p.Codings)
		h.Del("Accept-Encoding")
		if coding != "" {
			h.AddString("Accept-Encoding", coding)
		}
	} else if set, ok := rules.AppendCodings(c.Scratch(), h); ok {
		set = c.KeepScratch(set)
		h.Del("Accept-Encoding") // the origin sees what the key says, and not what else stood there
		h.Add("Accept-Encoding", set)
	}
	if v.p.Rules.IgnoreRequest {
		h.Del("Cache-Control") // it is not asked for this client alone
		h.Del("Pragma")
	}
	if !v.has || v.record.kind != kindObject {
		rules.Ask(h, nil)
		return false
	}
	var kept wire.Head
	kept.Load(v.entry.Meta[v.record.headAt:])
	rules.Ask(h, &kept)
	return v.record.etagLen > 0 || v.record.modLen > 0
}

// ask sends the fork's request and does with the answer what there is to do, but for ending the fork where the outcome is not
// outLanded. v says what was found before.
func (p *Policy) ask(c *proxy.Exchange, next *proxy.Chain, f *flight, v *visit) (outcome, error) {
	conditional := v.prepare(c)
	asked := wire.Now()
	if err := next.Serve(c); err != nil {
		return outFailed, err
	}
	c.RunEditors() // what is behind us has its say about the head before it is judged, and kept
	now := wire.Now()
	r := &c.Response
	if r.Status == 304 && conditional {
		if !p.refresh(c, f, v, asked, now) {
			return outWrong, nil
		}
		return outRefreshed, nil
	}
	if r.Status == 304 {
		return outFailed, errWrong304
	}
	if rules.FailsOver(r.Status) && v.mayUse(now) {
		return outBroken, nil
	}
	said := rules.ParseResponse(&r.Head)
	if said.Date == 0 {
		said.Date = time.Now().Unix() // it is as old as it is here (RFC 9110 section 6.6.1)
	}
	reason := p.refuses(c, v, &said)
	if reason == "" {
		reason = p.start(c, f, v, &said, asked, now)
	}
	if reason != "" {
		v.status.Detail = reason
		p.remember(v, f, r.Status, &said)
		return outAlone, nil
	}
	return outLanded, nil
}

// refuses says why the fork's answer is not for the cache, in the word that Cache-Status has for it; "": it is.
func (p *Policy) refuses(c *proxy.Exchange, v *visit, said *rules.Response) string {
	r := &c.Response
	switch reason := rules.Storable(r.Status, &v.req, said, p.rules(v.x)); {
	case reason != rules.Stored:
		return reason.String()
	case p.changed(c, v):
		return "vary"
	case r.OpenEnded:
		return "open-ended"
	case r.Body.Size() > p.MaxObject:
		return "size"
	case isEventStream(r.Head.GetKnown(wire.ContentType)):
		return "stream"
	case p.cache.crowded():
		return "busy"
	}
	return ""
}

// changed reports that the origin's answer depends on fields which policies behind the cache have changed: nobody can tell from a request
// who else may have it.
func (p *Policy) changed(c *proxy.Exchange, v *visit) bool {
	names, _ := rules.AppendVary(nil, &c.Response.Head)
	return len(names) > 0 && !bytes.Equal(
		rules.AppendVariant(nil, names, &v.x.Request.Head, p.Codings), rules.AppendVariant(nil, names, &c.Request.Head, p.Codings))
}

// isEventStream reports a body that never ends by intention.
func isEventStream(mime []byte) bool {
	const stream = "text/event-stream"
	return len(mime) >= len(stream) && wire.EqualFold(mime[:len(stream)], stream)
}

// rules are the policy's, as they are for who asks.
func (p *Policy) rules(x *proxy.Exchange) *rules.Policy {
	if !p.Shared && x.Identity != nil && x.ByAuthorization {
		return &p.byIdentity
	}
	return &p.Rules
}

var errWrong304 = &proxy.Error{
	Status: 502, Code: "bad_response", Detail: "The service says that something has not changed about which it was not asked.", Side: proxy.ByUpstream,
}

// crowded reports that bodies on their way take as much memory as they may.
func (c *Cache) crowded() bool { return c.flights.bytes.Load() > flightsMax*c.Store.MaxObject() }

// flightsMax is how many of the largest objects may be under way at the same time.
const flightsMax = 8

// remember keeps for a while that answers for this key are not for the cache: requests for it need not wait for each other. What is about a
// failure or about one request says nothing of the others.
func (p *Policy) remember(v *visit, f *flight, status int, said *rules.Response) {
	if status >= 400 || v.status.Detail == "busy" {
		return
	}
	key := v.full
	if rules.Storable(status, &rules.Request{}, said, &p.Rules) == rules.Stored && v.authorized() {
		key = v.flightKey()
	} else if v.req.Authorization || v.req.NoStore && !p.Rules.IgnoreRequest {
		return
	}
	it := store.Item{
		Key: key, URLFrom: p.urlFrom(), URLTo: v.urlEnd, Meta: (&record{kind: kindPass}).append(nil), KeepFor: passFor, Began: f.mark,
	}
	_ = p.cache.Store.Put(&it, nil) // if it cannot be, requests wait for each other
}

const passFor = 30 * time.Second

// urlFrom is where the URL begins in a key.
func (p *Policy) urlFrom() int { return len(p.Space) + 1 }

// varies are the fields by which a head says that the answer differs, but for the one that a policy behind us brings in.
func (p *Policy) varies(h *wire.Head) string {
	names, ok := rules.AppendVary(nil, h)
	if !ok {
		return "*"
	}
	if p.Codings != nil {
		rest := slices.DeleteFunc(strings.Split(string(names), ","), func(name string) bool { return name == "accept-encoding" })
		return strings.Join(rest, ",")
	}
	return string(names)
}

// start lets the answer in c arrive in the flight and in the store: after it c is the flight's. Or it says why not, as refuses does, and leaves
// c alone.
func (p *Policy) start(c *proxy.Exchange, f *flight, v *visit, said *rules.Response, asked, now int64) string {
	r := &c.Response
	tags := p.tags(&r.Head)
	p.clean(&r.Head)
	rec := record{kind: kindObject, status: r.Status, via: r.Via}
	rec.judge(said, p, v.x, asked, now)
	meta := rec.build(&r.Head)
	names, _ := rules.AppendVary(nil, &r.Head) // "*" was refused before
	key, id := v.key, []byte(nil)
	if len(names) > 0 {
		if key, id = v.variantFor(names); key == nil {
			return "head-size"
		}
	}
	it := store.Item{
		Key: key, URLFrom: p.urlFrom(), URLTo: v.urlEnd, Tags: tags, Meta: meta, KeepFor: rec.keepFor(said, now), Began: f.mark,
	}
	w := p.cache.Store.Create(&it)
	switch w.Err() {
	case nil:
	case store.ErrExpired:
		return "age"
	default:
		return "head-size"
	}
	f.tagged = len(tags) > 0
	if id != nil {
		f.names, f.id, f.variant = names, id, string(key)
		p.keepVary(v, f, it.KeepFor)
	}
	v.x.Learn(c)
	v.x.CancelFork(nil, nil) // from here on it is not v's alone
	if !r.Body.Flowing() {
		whole := bytes.Clone(r.Body.Prefix())
		w.Abort()
		f.land(meta, int64(len(whole)), whole, true)
		v.status.Stored = p.cache.Store.Put(&it, whole) == nil // else too large for it, or purged meanwhile: the next one asks again
		p.cache.flights.leave(f)
		c.End()
		return ""
	}
	v.status.Stored = r.Body.Size() >= 0 // of one that may yet turn out to be too large nobody can say
	f.land(meta, r.Body.Size(), nil, false)
	c.Leave()
	go p.fill(c, f, w, string(key))
	return ""
}

// fill brings the body of c into the flight, and into the store as far as it is to be kept. What does not come to its announced end
// is not kept.
func (p *Policy) fill(c *proxy.Exchange, f *flight, w *store.Writer, key string) {
	kept, sealed, stored := true, false, false
	seal := func() {
		if kept && !sealed {
			sealed, stored = true, w.Commit() == nil // else it was evicted or purged meanwhile: the next one asks again
		}
	}
	err := error(proxy.ErrInternal) // of a panic
	defer func() {
		if caught := recover(); caught != nil {
			proxy.Caught(caught)
		}
		w.Abort()
		p.cache.flights.bytes.Add(-f.counted)
		p.cache.flights.leave(f)
		f.end(err)
		c.End()
	}()
	b := &c.Response.Body
	var room []byte
	for {
		if len(room) == 0 {
			room = make([]byte, nextBlock(b.Left()))
		}
		n, end := b.Read(room)
		if n > 0 {
			part := room[:n:n]
			room = room[n:]
			if kept {
				f.counted += int64(n)
				p.cache.flights.bytes.Add(int64(n))
				if _, failed := w.Write(part); failed != nil || f.arrived+int64(n) > p.MaxObject || p.cache.crowded() {
					// It goes on to those who read it, but nobody new is to begin with it.
					kept = false
					w.Abort()
					p.cache.flights.bytes.Add(-f.counted)
					f.counted = 0
					p.cache.flights.leave(f)
				}
			}
			if f.arrived+int64(n) == f.size {
				seal() // first: who has got the last byte may ask again at once
			}
			f.grow(part)
		}
		if end == io.EOF {
			if seal(); stored {
				f.park(&parked{p.cache.Store, key, w.ID()})
			}
			err = nil
			return
		}
		if end != nil {
			err = end
			return
		}
		if !kept && !f.awaitReaders() {
			err = errGivenUp
			return
		}
	}
}

var errGivenUp = &proxy.Error{Status: 502, Code: "cache_given_up", Detail: "The response was given up.", Side: proxy.ByGateway}

// nextBlock is how much memory to read the next part of a body into.
func nextBlock(left int64) int {
	if left > 0 && left < blockSize {
		return int(left)
	}
	return blockSize
}

// clean takes out of a response's head what is not to be kept.
func (p *Policy) clean(h *wire.Head) {
	h.Del("Age") // it is counted from here on
	if p.Rules.StripSetCookie {
		h.DelKnown(wire.SetCookie.Bit())
	}
	if p.Tags != "" {
		h.Del(p.Tags)
	}
	h.DelKnown(wire.XRequestID.Bit()) // that of the one who has asked
	h.Del("RateLimit")                // and so are these
	h.Del("RateLimit-Policy")
	if !h.HasKnown(wire.Date) {
		h.AddKnown(wire.Date, wire.AppendDate(nil, wire.Now()))
	}
}

// tags are the words by which an answer can be purged.
func (p *Policy) tags(h *wire.Head) [][]byte {
	if p.Tags == "" {
		return nil
	}
	var tags [][]byte
	for line := range h.Values(p.Tags) {
		for _, tag := range bytes.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == ',' || c == '\t' }) {
			if len(tags) < store.TagsMax {
				tags = append(tags, tag)
			}
		}
	}
	return tags
}

// variantFor makes the key of an answer that differs by names, and what tells it from those that were there before. What the store
// says of the key already stays, so that the answers to others are still found.
func (v *visit) variantFor(names []byte) (key, id []byte) {
	var e store.Entry
	defer e.Free()
	var rec record
	if v.p.cache.Store.Get(v.key, &e) == store.Usable && rec.decode(e.Meta) && rec.kind == kindVary && bytes.Equal(rec.names, names) {
		id = bytes.Clone(rec.id)
	} else {
		id = binary.LittleEndian.AppendUint64(nil, v.p.cache.ids.Add(1))
	}
	return v.appendVariant(names, id), id
}

// keepVary notes under the key which fields tell the answers apart.
func (p *Policy) keepVary(v *visit, f *flight, keepFor time.Duration) {
	rec := record{kind: kindVary, names: f.names, id: f.id}
	it := store.Item{Key: v.key, URLFrom: p.urlFrom(), URLTo: v.urlEnd, Meta: rec.append(nil), KeepFor: keepFor, Began: f.mark}
	_ = p.cache.Store.Put(&it, nil) // then the answer is not found, and the next one asks again
}
