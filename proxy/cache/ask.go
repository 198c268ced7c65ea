package cache

import (
	"bytes"
	"encoding/binary"
	"io"
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
	c := x.Fork()
	done := false
	defer func() {
		if !done { // a panic behind us: its recover answers the client, and nobody else may wait for ever
			x.CancelFork(nil, nil)
			p.cache.land(f, failed, proxy.ErrInternal)
			c.End()
		}
	}()
	wanted := func() bool { return !p.cache.flights.abandon(f) }
	x.CancelFork(c, wanted)
	out, err := p.ask(c, next, f, v)
	if out == outWrong {
		x.CancelFork(nil, nil)
		c.End()
		c = x.Fork()
		x.CancelFork(c, wanted)
		out, err = p.ask(c, next, f, v) // for the whole
	}
	x.CancelFork(nil, nil)
	done = true
	now := wire.Now()
	x.Waited = true
	switch out {
	case outFailed, outBroken:
		if v.mayUse(now) {
			p.cache.land(f, failed, nil)
			c.End()
			return v.standIn(now)
		}
		if out == outBroken {
			p.cache.land(f, passed, nil)
			v.result = Miss
			x.Adopt(c)
			return nil
		}
		p.cache.land(f, failed, proxy.AsError(err))
		if x.FailedAt == "" {
			x.FailedAt = c.FailedAt
		}
		x.Learn(c)
		c.End()
		return err
	case outRefreshed:
		p.cache.land(f, refreshed, nil)
		v.status.FwdStatus = 304
		x.Learn(c)
		c.End()
		v.result = Revalidated
		return v.answer(now)
	case outAlone:
		p.cache.land(f, passed, nil)
		v.result = Miss
		x.Adopt(c)
		return nil
	}
	v.result = Miss
	v.status.Stored = true
	return v.share(f, now)
}

// mayUse reports whether what was found may be used because the origin has failed.
func (v *visit) mayUse(now int64) bool {
	return v.has && v.record.kind == kindObject && rules.MayUseOnError(v.age(now), &v.record.life, &v.req, &v.p.Rules)
}

// standIn answers with what was found in place of an origin that has failed.
func (v *visit) standIn(now int64) error {
	v.result, v.status = Stale, rules.Status{Detail: "stale-if-error"}
	return v.answer(now)
}

// follow waits for the answer to another request. done is false if the store has to be looked at again.
func (v *visit) follow(next *proxy.Chain, f *flight) (done bool, err error) {
	x, p := v.x, v.p
	p.cache.Waiting.Add(1)
	s, err := f.await(x, p.patience(x))
	p.cache.Waiting.Add(-1)
	if err != nil {
		return true, err
	}
	switch s {
	case waiting:
		if expired(x) {
			return true, proxy.ErrTimeout
		}
		v.status.Detail = "waited"
		return true, v.lead(next, newFlight(v.full, f.mark))
	case landing:
		if f.names != nil && string(v.appendVariant(f.names, f.id)) != f.variant {
			return false, nil
		}
		v.result, v.status.Collapsed = Collapsed, true
		return true, v.share(f, wire.Now())
	case refreshed:
		return false, nil
	case passed:
		if err := f.turns.take(x, p.patience(x)); err != nil {
			return true, err
		}
		if expired(x) {
			return true, proxy.ErrTimeout
		}
		err := v.lead(next, newFlight(v.full, f.mark))
		f.turns.give()
		return true, err
	}
	if now := wire.Now(); v.mayUse(now) {
		return true, v.standIn(now)
	}
	if f.err == nil { // the leader had something to use in place of an answer, and we have not
		return true, v.lead(next, newFlight(v.full, f.mark))
	}
	v.status.Collapsed = true
	return true, f.err
}

// patience is how long x waits for others.
func (p *Policy) patience(x *proxy.Exchange) time.Duration {
	if x.Deadline == 0 {
		return p.Wait
	}
	return min(p.Wait, time.Duration(max(x.Deadline-wire.Now(), 0)))
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
		return
	}
	f, leads := c.flights.join(v.key, v.full, m)
	if !leads {
		c.behind.Add(-1)
		return
	}
	seen, fork := v.x.Fork(), v.x.Fork() // policies change what they serve, and what was asked tells variants apart
	seen.Leave()
	fork.Leave()
	seen.Request.Method, fork.Request.Method = "GET", "GET"
	fork.Started = wire.Now()
	fork.Deadline = 0
	if p.Timeout > 0 {
		fork.Deadline = fork.Started + int64(p.Timeout)
	}
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
				c.land(f, failed, proxy.ErrInternal)
				fork.End()
			}
		}()
		b.behind(fork, next, f)
		done = true
	}()
}

// behind asks the origin for nobody in particular. What is kept serves until it must not any more: then a client is told of failures.
func (v *visit) behind(c *proxy.Exchange, next *proxy.Chain, f *flight) {
	p := v.p
	defer v.entry.Free()
	v.has = v.get()
	switch out, _ := p.ask(c, next, f, v); out {
	case outFailed, outBroken, outWrong:
		p.cache.land(f, failed, nil)
	case outRefreshed:
		p.cache.land(f, refreshed, nil)
	case outAlone:
		p.cache.land(f, passed, nil)
	case outLanded:
		return // the fork is the flight's
	}
	c.End()
}

// prepare makes the fork's request one whose answer can be kept: as a whole, and asked for only if it differs from what is there.
func (v *visit) prepare(c *proxy.Exchange) (conditional bool) {
	h := &c.Request.Head
	if v.p.Codings != nil {
		coding, _ := proxy.NegotiateEncoding(h, v.p.Codings)
		h.Del("Accept-Encoding")
		if coding != "" {
			h.AddString("Accept-Encoding", coding)
		}
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
	now := wire.Now()
	r := &c.Response
	f.status = r.Status
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
	if reason == "" && !p.start(c, f, v, &said, asked, now) {
		reason = "head-size"
	}
	if reason != "" {
		v.status.Detail = reason
		if r.Status < 500 {
			p.remember(v, f)
		}
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

// isEventStream reports a body that never ends by intention.
func isEventStream(mime []byte) bool {
	const stream = "text/event-stream"
	return len(mime) >= len(stream) && wire.EqualFold(mime[:len(stream)], stream)
}

// rules are the policy's, as they are for who asks.
func (p *Policy) rules(x *proxy.Exchange) *rules.Policy {
	if !p.Shared && x.Identity != nil {
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

// remember keeps for a while that answers for this key are not for the cache: requests for it need not wait for each other.
func (p *Policy) remember(v *visit, f *flight) {
	it := store.Item{
		Key: v.full, URLFrom: p.urlFrom(), URLTo: v.urlEnd, Meta: (&record{kind: kindPass}).append(nil), KeepFor: passFor, Began: f.mark,
	}
	_ = p.cache.Store.Put(&it, nil) // if it cannot be, requests wait for each other
}

const passFor = 30 * time.Second

// urlFrom is where the URL begins in a key.
func (p *Policy) urlFrom() int { return len(p.Space) + 1 }

// refresh takes over what a 304 says about the entry that v has found, for v and for the store (RFC 9111 section 4.3.4). It returns
// false if the 304 is about something else: then nothing can be said of the entry, which is dropped.
func (p *Policy) refresh(c *proxy.Exchange, f *flight, v *visit, asked, now int64) bool {
	var stored, merged wire.Head
	stored.Load(v.entry.Meta[v.record.headAt:])
	if !rules.Freshens(&c.Response.Head, &stored) {
		p.cache.Store.Delete(v.full)
		v.has = false
		return false
	}
	tags := p.tags(&c.Response.Head)
	age := rules.ParseResponse(&c.Response.Head).Age // of another cache's 304
	p.clean(&c.Response.Head)
	rules.Merge(&merged, &stored, &c.Response.Head)
	said := rules.ParseResponse(&merged)
	said.Age = age
	rec := record{kind: kindObject, status: v.record.status, via: v.record.via}
	rec.judge(&said, p, v.x, asked, now)
	v.fresh = rec.build(&merged)
	v.soft = false
	policy := p.rules(v.x)
	switch {
	case rules.Storable(rec.status, &rules.Request{}, &said, policy) != rules.Stored:
		// The origin does not want it to be kept any more.
		p.cache.Store.Delete(v.full)
	case rules.Storable(rec.status, &v.req, &said, policy) != rules.Stored:
		// Said to this client alone: what is kept for the others stays as it is.
	default:
		// If the entry was evicted or purged meanwhile, what v holds of it answers v's client all the same: it was good when it was asked.
		_ = p.cache.Store.Refresh(&v.entry, &store.Item{Meta: v.fresh, Tags: tags, KeepFor: rec.keepFor(&said, now), Began: f.mark})
	}
	v.record.decode(v.fresh)
	return true
}

// start lets the answer in c arrive in the flight and in the store. It returns false, and leaves c alone, if the head is too large to
// be kept. After it c is the flight's.
func (p *Policy) start(c *proxy.Exchange, f *flight, v *visit, said *rules.Response, asked, now int64) bool {
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
			return false
		}
	}
	if len(meta) > store.MetaMax || len(key) > store.KeyMax {
		return false
	}
	it := store.Item{
		Key: key, URLFrom: p.urlFrom(), URLTo: v.urlEnd, Tags: tags, Meta: meta, KeepFor: rec.keepFor(said, now), Began: f.mark,
	}
	if id != nil {
		f.names, f.id, f.variant = names, id, string(key)
		p.keepVary(v, f, it.KeepFor)
	}
	v.x.Learn(c)
	v.x.CancelFork(nil, nil) // from here on it is not v's alone
	if !r.Body.Flowing() {
		whole := bytes.Clone(r.Body.Prefix())
		f.land(meta, int64(len(whole)), whole, true)
		_ = p.cache.Store.Put(&it, whole) // too large for it, or purged meanwhile: the next one asks again
		p.cache.flights.leave(f)
		c.End()
		return true
	}
	f.land(meta, r.Body.Size(), nil, false)
	c.Leave()
	go p.fill(c, f, p.cache.Store.Create(&it))
	return true
}

// fill brings the body of c into the flight, and into the store as far as it is to be kept. What does not come to its announced end
// is not kept.
func (p *Policy) fill(c *proxy.Exchange, f *flight, w *store.Writer) {
	kept := true
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
					p.cache.flights.leave(f)
				}
			}
			f.grow(part)
		}
		if end == io.EOF {
			if kept {
				_ = w.Commit() // evicted or purged meanwhile: the next one asks again
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
