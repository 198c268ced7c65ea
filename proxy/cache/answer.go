package cache

import (
	"cmp"
	"io"

	"sluice/proxy"
	"sluice/proxy/cache/rules"
	"sluice/proxy/wire"
)

// answer answers from the entry that was found.
func (v *visit) answer(now int64) error {
	x, e := v.x, &v.entry
	meta := e.Meta
	if v.fresh != nil {
		meta = v.fresh
	}
	v.present(meta[v.record.headAt:], e.Size, now)
	first := e.First
	x.Hold(e.Release())
	b := &x.Response.Body
	if b.Absent() {
		return nil
	}
	from, size := v.at, v.left
	switch n := int64(len(first)); {
	case from+size <= n:
		b.SetWhole(first[from : from+size])
		v.left = 0
	case from < n:
		v.at, v.left = n, size-(n-from)
		b.SetFlow(first[from:], v, size)
	default:
		b.SetFlow(nil, v, size)
	}
	return nil
}

// present makes the head of a response from what is kept, judging what the client has asked to be judged: 304, 206 and 416 are made
// here. After it, v.at and v.left say which part of the body goes on, unless it is absent.
func (v *visit) present(lines []byte, size, now int64) {
	x, m := v.x, &v.record
	r, asks := &x.Response, &x.Request
	r.Status, r.Reason = m.status, nil
	r.Head.Load(lines)
	r.Via = m.via
	age := m.age(now)
	if v.result != Miss || age > 0 {
		r.Head.AddKnown(wire.Age, wire.AppendUint(x.Scratch(), uint64(age)))
	}
	v.lines = lines
	v.status.TTL, v.status.HasTTL = m.life.Fresh-v.age(now), true
	v.at, v.left = 0, size
	switch {
	case m.status == 200 && v.req.Conditional && rules.NotModified(&asks.Head, m.etag(lines), cmp.Or(m.lastModified, m.date)):
		r.Status = 304
		withoutBody(&r.Head)
		r.Body.SetAbsent(-1)
	case asks.Method == "HEAD", m.status == 204:
		r.Body.SetAbsent(size)
	case m.status == 200 && v.req.Range && size >= 0:
		v.cut(m.etag(lines), size)
	}
}

// cut answers a request for a part of the body.
func (v *visit) cut(etag []byte, size int64) {
	x, m := v.x, &v.record
	r := &x.Response
	part, kind := rules.EvaluateRange(&x.Request.Head, etag, m.lastModified, m.date, size)
	switch kind {
	case rules.RangeOne:
		r.Status = 206
		v.at, v.left = part.From, part.To-part.From+1
	case rules.RangeUnsatisfiable:
		r.Status = 416
		withoutBody(&r.Head)
		v.left = 0
	default:
		return
	}
	r.Head.Add("Content-Range", rules.AppendContentRange(x.Scratch(), part, kind, size))
}

// withoutBody takes out of the head what describes a body that does not follow (RFC 9110 section 15.4.5).
func withoutBody(h *wire.Head) {
	h.DelKnown(wire.ContentType.Bit())
	h.Del("Content-Encoding")
	h.Del("Content-Language")
}

// Read implements proxy.Flow for an entry of several chunks.
func (v *visit) Read(p []byte) (int, error) {
	if v.left == 0 {
		return 0, io.EOF
	}
	if v.tail.goesOn() {
		n, err := v.tail.read(p)
		v.at, v.left = v.at+int64(n), v.left-int64(n)
		return n, err
	}
	n, err := v.entry.ReadAt(p[:min(int64(len(p)), v.left)], v.at)
	v.at += int64(n)
	v.left -= int64(n)
	if err != nil && v.left > 0 {
		err = v.resume(v.at, v.left, v.entry.Size, err)
	}
	return n, err
}

// errTorn cuts a response: a part of its body was evicted while the client read what stands before it.
var errTorn = &proxy.Error{Status: 502, Code: "cache_torn", Detail: "A part of the cached body is gone.", Side: proxy.ByGateway}

// Buffered implements proxy.Flow: all that is left can be had without waiting, unless it comes from the origin.
func (v *visit) Buffered() int {
	if v.tail.goesOn() {
		return v.tail.c.Response.Body.Buffered()
	}
	return int(v.left)
}

// Close implements proxy.Flow.
func (v *visit) Close() error { return nil }

// share answers from a flight that has landed.
func (v *visit) share(f *flight, now int64, leader bool) error {
	x := v.x
	if why := x.Canceled(); why != nil {
		f.desert(leader)
		return why
	}
	f.mu.Lock()
	size := f.size
	var whole []byte
	inOne := f.over && f.broken == nil && f.first.next == nil
	if f.over && f.broken == nil {
		size, whole = f.arrived, f.first.data
	}
	f.mu.Unlock()
	if !v.record.decode(f.head) {
		panic("BUG: a flight has landed with what is no record")
	}
	v.soft = false
	v.present(f.head[v.record.headAt:], size, now)
	b := &x.Response.Body
	switch {
	case b.Absent():
		f.desert(leader)
	case inOne:
		f.desert(leader)
		b.SetWhole(whole[v.at : v.at+v.left])
	case v.at == 0 && v.left == size:
		b.SetFlow(nil, f.read(v, leader), size)
	default:
		b.SetFlow(nil, &part{Flow: f.read(v, leader), skip: v.at, left: v.left}, v.left)
	}
	return nil
}

// part is a part of a flow.
type part struct {
	proxy.Flow
	skip, left int64
}

// Read implements proxy.Flow.
func (r *part) Read(p []byte) (int, error) {
	for r.skip > 0 {
		n, err := r.Flow.Read(p[:min(int64(len(p)), r.skip)])
		if r.skip -= int64(n); err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.Flow.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Buffered implements proxy.Flow.
func (r *part) Buffered() int {
	return int(min(max(int64(r.Flow.Buffered())-r.skip, 0), r.left))
}
