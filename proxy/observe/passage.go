package observe

import (
	"sync/atomic"

	"sluice/proxy"
)

// PassageMetrics counts the connections that one listener passes on to one service, or refuses to pass on anywhere. It outlives
// reloads. Safe for concurrent use.
type PassageMetrics struct {
	way     passageWay
	open    atomic.Int64
	in, out atomic.Uint64
	ended   codes // by proxy.Ending
}

// passageWay is what such metrics are of. The service of connections that are passed on nowhere is empty.
type passageWay struct{ listener, service string }

// Passage returns the metrics of the connections that a listener passes on to a service, the same ones for as long as nobody forgets
// them.
func (m *Metrics) Passage(listener, service string) *PassageMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	way := passageWay{listener, service}
	p := m.passages[way]
	if p == nil {
		p = &PassageMetrics{way: way}
		m.passages[way] = p
	}
	return p
}

// KeepPassages drops the metrics of all passages but these. Connections that still run count on, where nobody looks any more.
func (m *Metrics) KeepPassages(kept ...*PassageMetrics) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.passages)
	for _, p := range kept {
		m.passages[p.way] = p
	}
}

// PassageObserver is the proxy.PassageObserver of one listener. It is immutable.
type PassageObserver struct {
	services map[string]*PassageMetrics
	log      *AccessLog
}

// NewPassageObserver makes the observer of a listener that passes connections on to the services that these metrics are of. A nil
// log costs nothing.
func NewPassageObserver(log *AccessLog, services ...*PassageMetrics) *PassageObserver {
	o := &PassageObserver{services: make(map[string]*PassageMetrics, len(services)), log: log}
	for _, m := range services {
		o.services[m.way.service] = m
	}
	return o
}

// Begin counts p as open.
func (o *PassageObserver) Begin(p *proxy.Passage) {
	if m := o.services[p.Service]; m != nil {
		m.open.Add(1)
	}
}

// Moved counts bytes.
func (o *PassageObserver) Moved(p *proxy.Passage, in, out int64) {
	if m := o.services[p.Service]; m != nil {
		m.in.Add(uint64(in))
		m.out.Add(uint64(out))
	}
}

// Finish counts and logs p, which is over.
func (o *PassageObserver) Finish(p *proxy.Passage) {
	if m := o.services[p.Service]; m != nil {
		m.open.Add(-1)
		m.ended.get(string(p.Ended)).Add(1)
	}
	if o.log != nil {
		o.log.recordPassage(p)
	}
}

func writePassages(e *exposition, passages []*PassageMetrics) {
	labels := func(p *PassageMetrics, more ...string) string {
		return Labels(append([]string{"listener", p.way.listener, "service", p.way.service}, more...)...)
	}
	e.family(namePassages, "counter", "Connections passed on to a service as they are, or refused, by how they ended.")
	for _, p := range passages {
		p.ended.each(func(ended string, n uint64) { e.uint(namePassages, labels(p, "ended", ended), n) })
	}
	e.family(namePassagesOpen, "gauge", "Connections that are passed on to a service now.")
	for _, p := range passages {
		if p.way.service != "" {
			e.uint(namePassagesOpen, labels(p), uint64(max(p.open.Load(), 0)))
		}
	}
	e.family(namePassageBytes, "counter", "Bytes of connections that are passed on: in is from clients. They are counted within seconds.")
	for _, p := range passages {
		if p.way.service != "" {
			e.uint(namePassageBytes, labels(p, "direction", "in"), p.in.Load())
			e.uint(namePassageBytes, labels(p, "direction", "out"), p.out.Load())
		}
	}
}

// recordPassage logs p, which is over. Its line in JSON has the keys of an exchange's for what is the same, and a kind, which those
// have not. A format shows what an exchange would have: the rest of it is empty.
func (l *AccessLog) recordPassage(p *proxy.Passage) {
	s := l.settings.Load()
	if !s.sampled() {
		return
	}
	n := l.lines.Get().(*line)
	n.end = p.EndedAt
	if s.format == nil {
		n.text = n.appendPassage(n.text[:0], p)
	} else {
		x := proxy.Exchange{
			Client: p.Client, Service: p.Service, Endpoint: p.Endpoint, Attempts: p.Attempts,
			Started: p.Started, EndedAt: p.EndedAt, BytesIn: p.BytesIn.Load(), BytesOut: p.BytesOut.Load(),
			Received: proxy.Received{Proto: passageProto(p)},
		}
		n.x, n.status = &x, 0
		n.text = n.appendFormat(n.text[:0], s.format)
		n.x = nil
	}
	l.blocks.put(n.text)
	if cap(n.text) > lineKeepMax {
		n.text = nil
	}
	l.lines.Put(n)
}

// passageProto is what is passed on, as far as anybody has looked.
func passageProto(p *proxy.Passage) string {
	if p.Client.JA4 != "" {
		return "TLS"
	}
	return "TCP"
}

func (n *line) appendPassage(dst []byte, p *proxy.Passage) []byte {
	dst = append(n.log.clock.append(append(dst, `{"time":"`...), n.end), '"')
	dst = append(dst, `,"kind":"passage"`...)
	dst = appendQuoted(dst, `,"listener":"`, p.Listener)
	dst = appendQuoted(dst, `,"client":"`, view(p.Client.Text))
	dst = appendQuoted(dst, `,"sni":"`, p.Client.ServerName)
	dst = appendQuoted(dst, `,"tls_fingerprint":"`, p.Client.JA4)
	dst = appendQuoted(dst, `,"proto":"`, passageProto(p))
	dst = appendQuoted(dst, `,"service":"`, p.Service)
	dst = appendQuoted(dst, `,"endpoint":"`, p.Endpoint)
	if p.Attempts > 0 {
		dst = appendInt(append(dst, `,"attempts":`...), p.Attempts)
	}
	dst = appendInt(append(dst, `,"bytes_in":`...), p.BytesIn.Load())
	dst = appendInt(append(dst, `,"bytes_out":`...), p.BytesOut.Load())
	dst = appendMillis(append(dst, `,"duration_ms":`...), p.EndedAt-p.Started)
	if p.ConnectedAt != 0 {
		dst = appendMillis(append(dst, `,"connect_ms":`...), p.ConnectedAt-p.Started)
	}
	dst = appendQuoted(dst, `,"ended":"`, string(p.Ended))
	if p.Err != nil {
		dst = append(appendURL(append(dst, `,"cause":"`...), []byte(p.Err.Error()), nil), '"')
	}
	return append(dst, '}', '\n')
}
