package compress

import (
	"errors"
	"fmt"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Options are what a policy is made of. The zero value of each field but Encoders is a good choice.
type Options struct {
	Codings []string // of Codings, the most liked first; empty: all
	Types   []string // media types, see newTypes; empty: DefaultTypes
	MinSize int64    // bodies that are known to be smaller stay as they are
	Level   Level
	// Secrets says that the answers hold secrets of whoever asks: see secrets.go.
	Secrets bool

	Encoders *Encoders
	Counts   *Counts // nil: nobody wants to know
}

// Policy compresses responses. Those that it could have compressed have Vary: Accept-Encoding, whether or not this client wanted it.
type Policy struct {
	codings []string
	lenders []*lender // of the encoders for codings
	light   []*lender // of those for event streams
	types   types
	minSize int64
	secrets bool
	counts  *Counts
}

// New makes a policy.
func New(o Options) (*Policy, error) {
	if o.Encoders == nil {
		return nil, errors.New("there are no encoders to compress with")
	}
	p := &Policy{codings: o.Codings, minSize: o.MinSize, secrets: o.Secrets, counts: o.Counts}
	if len(p.codings) == 0 {
		p.codings = Codings[:]
	}
	if p.counts == nil {
		p.counts = new(Counts)
	}
	for i, coding := range p.codings {
		l := o.Encoders.lender(coding, o.Level)
		if l == nil {
			return nil, fmt.Errorf("there is no coding %q (there are %s)", coding, strings.Join(Codings[:], ", "))
		}
		for _, before := range p.codings[:i] {
			if before == coding {
				return nil, fmt.Errorf("the coding %q stands there twice", coding)
			}
		}
		p.lenders = append(p.lenders, l)
		p.light = append(p.light, o.Encoders.lender(coding, light))
	}
	if len(o.Types) == 0 {
		o.Types = DefaultTypes
	}
	var err error
	p.types, err = newTypes(o.Types)
	return p, err
}

// Codings are those that the policy negotiates, the most liked first: a cache that keeps what it makes keeps one variant for each, and
// one for clients that take none.
func (p *Policy) Codings() []string { return p.codings }

// Serve lets the others answer, then decides. What the client accepts is looked at before: others may change the request for the origin,
// such as take Accept-Encoding away, so that it leaves the work to the gateway.
func (p *Policy) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	chosen := p.negotiate(x)
	if err := next.Serve(x); err != nil {
		return err
	}
	r := &x.Response
	switch {
	case r.Status == 304:
		weakenKnown(x)
		return nil
	case !p.couldCompress(&x.Request, r):
		return nil
	}
	varyByCoding(x)
	if chosen < 0 || r.Status == 206 {
		return nil
	}
	if x.Request.Method == "HEAD" {
		changeHead(x, p.codings[chosen])
		if r.Body.Flowing() {
			r.Body.ForgetSize()
		} else {
			r.Body.SetAbsent(-1)
		}
		return nil
	}
	p.compress(x, chosen)
	return nil
}

// Offer is the coding in which a request would be answered; empty: none. Nothing is compressed for a client that does not accept it, and
// nothing with secrets for requests that another site may have made.
func (p *Policy) Offer(x *proxy.Exchange) string {
	if i := p.negotiate(x); i >= 0 {
		return p.codings[i]
	}
	return ""
}

// negotiate is Offer as an index of codings, -1 for none.
func (p *Policy) negotiate(x *proxy.Exchange) int {
	coding, _ := wire.NegotiateCoding(&x.Request.Head, p.codings)
	if coding == "" || p.secrets && !harmless(x) {
		return -1
	}
	for i, c := range p.codings {
		if c == coding {
			return i
		}
	}
	return -1
}

// couldCompress reports whether the response is one that is compressed for those who accept it. A part of a representation (206) only
// counts as one: it must say that it varies if the whole does (RFC 9110 section 15.3.7), and is left as it is.
func (p *Policy) couldCompress(q *proxy.Request, r *proxy.Response) bool {
	switch r.Status {
	case 204, 205: // nothing follows
		return false
	case 226: // not what the type says (RFC 3229)
		return false
	}
	if r.Status < 200 || r.Tunnel != nil {
		return false
	}
	t := r.Head.GetKnown(wire.ContentType)
	if !p.types.has(t) || isGRPC(t) || q.GRPC() {
		return false
	}
	h := &r.Head
	if size := r.Body.Size(); r.Status != 206 && size >= 0 && size < max(p.minSize, 1) {
		return false
	}
	if h.Has("content-encoding") || r.Status != 206 && h.Has("content-range") {
		return false
	}
	return !noTransform(h) && !noTransform(&q.Head)
}

// isGRPC: calls of gRPC compress each message by themselves.
func isGRPC(contentType []byte) bool {
	const t = "application/grpc"
	return len(contentType) >= len(t) && wire.EqualFold(contentType[:len(t)], t)
}

// noTransform reports whether a message forbids what this policy does (RFC 9110 section 7.7, RFC 9111 sections 5.2.1.6 and 5.2.2.6).
func noTransform(h *wire.Head) bool {
	for value := range h.Values("cache-control") {
		for item := range wire.Items(value) {
			if wire.EqualFold(item, "no-transform") {
				return true
			}
		}
	}
	return false
}
