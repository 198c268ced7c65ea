package cache

import (
	"fmt"
	"io"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/wire"
)

// tail is the rest of a body that comes from the origin, because it is not in the store any more.
type tail struct {
	c    *proxy.Exchange
	left int64
}

// resume asks the origin for the next left bytes, from at on, of the body of that size that v's client is reading: something of it was evicted
// while the client took its time. The response goes on only with bytes of the same version, which takes a strong entity tag and an origin that
// knows ranges; else, as when the origin fails, it is cut. It happens once: what comes from the origin is not evicted.
//
// Each client asks for itself, and keeps a connection of the service for as long as it reads: whoever lets many clients read slowly, and pushes
// out what they read, must not take all of these. Those beyond resumesMax are cut.
func (v *visit) resume(at, left, size int64, why error) error {
	if resuming := &v.p.cache.resuming; resuming.Add(1) > resumesMax {
		resuming.Add(-1)
		return errTorn.With(fmt.Errorf("%w, and the rest of too many others is being asked for", why))
	}
	part := rules.Range{From: at, To: at + left - 1}
	etag := v.record.etag(v.lines)
	c := v.x.Fork()
	c.Leave() // the head of the response is out
	c.OnFinish(forNobody{})
	c.Started, c.Deadline = wire.Now(), 0
	if v.p.Timeout > 0 {
		c.Deadline = c.Started + int64(v.p.Timeout)
	}
	v.tail.c = c // to be ended by closeTail, whatever comes of it
	bare := visit{p: v.p}
	bare.prepare(c)
	if v.record.status != 200 || !rules.AskPart(&c.Request.Head, etag, part) {
		return errTorn.With(why)
	}
	v.x.CancelFork(c, nil)
	if err := v.next.Serve(c); err != nil {
		return errTorn.With(fmt.Errorf("%w, and the rest cannot be had: %w", why, err))
	}
	if r := &c.Response; r.Status != 206 || r.Body.Absent() || !rules.IsPart(&r.Head, etag, part, size) {
		return errTorn.With(fmt.Errorf("%w, and the service does not send the rest: it answers %d", why, r.Status))
	}
	v.tail.left = left
	v.p.cache.Resumed.Add(1)
	return nil
}

// resumesMax bounds the bodies that go on from their origins at a time.
const resumesMax = 64

// goesOn reports whether the body goes on from the origin.
func (t *tail) goesOn() bool { return t.left > 0 }

func (t *tail) read(p []byte) (int, error) {
	n, err := t.c.Response.Body.Read(p[:min(int64(len(p)), t.left)])
	t.left -= int64(n)
	if err == io.EOF && t.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// closeTail ends what resume has begun, if it has.
func (v *visit) closeTail() {
	if c := v.tail.c; c != nil {
		v.x.CancelFork(nil, nil)
		c.End()
		v.p.cache.resuming.Add(-1)
	}
}
