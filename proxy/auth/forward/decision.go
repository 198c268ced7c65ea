package forward

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"sluice/proxy"
	"sluice/proxy/auth/recall"
	"sluice/proxy/wire"
)

// decision is what a service has said. Immutable once it is remembered or told.
type decision struct {
	key     recall.Sum
	admits  bool
	shared  bool // it holds for everybody with this key
	cookies bool // it sets some, which are for one client
	leads   bool // it refuses, and leads to another place, which often names the one that was asked for

	identity *proxy.Identity
	forward  []field // for the request
	respond  []field // for the response

	// Of one that refuses.
	status int
	head   []byte // lines
	body   []byte
}

// field is a header field.
type field struct {
	name  string
	value []byte
}

const (
	// bodyMax bounds the body of a refusal: a page at which people log in is smaller. Without its body a refusal is still one.
	bodyMax = 64 << 10
	// identityMax bounds the name of a client.
	identityMax = 1 << 10
)

// read makes a decision of the answer in c. Whatever is neither a yes nor a no is an error.
func (g *Guard) read(c *proxy.Exchange, key recall.Sum) (*decision, error) {
	r := &c.Response
	d := &decision{key: key, status: r.Status, cookies: r.Head.HasKnown(wire.SetCookie)}
	switch {
	case r.Status >= 200 && r.Status < 300:
		d.admits = true
		err := g.readAdmission(d, c)
		// It is read so that the connection can be used again, and means nothing: also one that breaks off says no more than its head.
		_, _ = c.Gather(&r.Body, bodyMax)
		return d, err
	case r.Status == 401, r.Status == 403, isRedirect(r.Status) && r.Head.Has("Location"):
		return d, g.readRefusal(d, c)
	}
	return nil, fmt.Errorf("the service answers with status %d, which is no decision", r.Status)
}

// isRedirect: what a client is to ask for instead (RFC 9110 section 15.4).
func isRedirect(status int) bool { return slices.Contains([]int{301, 302, 303, 307, 308}, status) }

func (g *Guard) readAdmission(d *decision, c *proxy.Exchange) error {
	h := &c.Response.Head
	var claims []proxy.Claim
	var distinct [][]byte
	for _, name := range g.options.Forward {
		for v := range h.Values(name) {
			d.forward = append(d.forward, field{name, bytes.Clone(v)})
		}
		value := bytes.Join(slices.Collect(h.Values(name)), []byte(", "))
		if len(value) > 0 {
			claims = append(claims, proxy.Claim{Path: strings.ToLower(name), Value: value})
		}
		distinct = append(distinct, []byte(name), value)
	}
	for _, name := range g.options.Respond {
		for v := range h.Values(name) {
			d.respond = append(d.respond, field{name, bytes.Clone(v)})
		}
	}
	subject := ""
	if name := g.options.Identity; name != "" {
		values := slices.Collect(h.Values(name))
		if len(values) != 1 || len(values[0]) == 0 || len(values[0]) > identityMax {
			return errIdentity
		}
		subject = string(values[0])
	} else {
		// Nobody has said who it is. What an origin answers may still depend on what the service was told: who has shown something else is
		// somebody else.
		distinct = append(distinct, d.key[:])
	}
	d.identity = proxy.NewIdentity("forward_auth", g.options.Name, subject, claims, distinct...)
	return nil
}

// notTold are the fields of a refusal that clients do not get: they are about the exchange with the service, or about the gateway.
var notTold = []string{"X-Request-Id", "Alt-Svc", "Strict-Transport-Security", "Server", "Date"}

func (g *Guard) readRefusal(d *decision, c *proxy.Exchange) error {
	h := &c.Response.Head
	for _, name := range slices.Concat(notTold, g.spoken()) {
		h.Del(name)
	}
	d.leads = h.Has("Location") || h.Has("Refresh")
	if !h.Has("Cache-Control") {
		h.AddString("Cache-Control", "no-store") // who has logged in is not to be sent there again
	}
	d.head = h.AppendTo(nil) // before the body: with the end of that the connection takes its memory back
	switch body, err := c.Gather(&c.Response.Body, bodyMax); {
	case err == proxy.ErrBodyTooLarge:
		d.dropBody()
	case err != nil:
		return err
	default:
		d.body = bytes.Clone(body)
	}
	return nil
}

// dropBody takes what is about a body out of the head.
func (d *decision) dropBody() {
	var h wire.Head
	h.Load(d.head)
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language", "ETag", "Last-Modified"} {
		h.Del(name)
	}
	d.head = h.AppendTo(nil)
}

// placeFacts are what the address of a request is made of.
const placeFacts = Scheme | Host | Path | Query

// mayBeKept reports whether a decision is for whoever asks the same, by these facts. To a login that leads back to where somebody wanted to
// go, nobody else is led: that may be a place that the first one has chosen for the others.
func (d *decision) mayBeKept(by Facts) bool {
	return !d.cookies && (!d.leads || by&placeFacts == placeFacts) && d.size() <= decisionBytesMax
}

// size is about how much memory a decision takes, beside what package recall adds for each answer.
func (d *decision) size() int {
	const fixed = 384
	n := fixed + len(d.head) + len(d.body)
	for _, list := range [][]field{d.forward, d.respond} {
		for i := range list {
			n += 3 * (len(list[i].name) + len(list[i].value)) // as a claim, too
		}
	}
	return n
}

// apply lets the request go on as the service wants it. An identity that somebody before has proven stays, unless the service has proven
// another; what was decided about tells clients apart all the same.
func (d *decision) apply(x *proxy.Exchange, identifies bool) {
	for i := range d.forward {
		x.Request.Head.Add(d.forward[i].name, d.forward[i].value)
	}
	if identifies {
		x.Identify(d.identity, false)
	} else {
		x.IdentifyToo(d.identity)
	}
	if len(d.respond) > 0 {
		x.OnHead(d)
	}
}

// EditHead implements proxy.HeadEditor.
func (d *decision) EditHead(x *proxy.Exchange) {
	for i := range d.respond {
		x.Response.Head.Add(d.respond[i].name, d.respond[i].value)
	}
}

// Error implements error.
func (d *decision) Error() string { return fmt.Sprintf("the service refuses with status %d", d.status) }

// The refusals of calls, whose clients know no other answers.
var (
	errUnauthenticated = &proxy.Error{Status: 401, Code: "auth_required", Side: proxy.ByClient, Detail: "The call does not show who makes it."}
	errForbidden       = &proxy.Error{Status: 403, Code: "auth_refused", Side: proxy.ByClient, Detail: "The call is not allowed."}
)

// Answer implements proxy.Answer.
func (d *decision) Answer(x *proxy.Exchange) error {
	if x.ClientGRPC() != proxy.NotGRPC {
		if d.status == 403 {
			return errForbidden
		}
		return errUnauthenticated
	}
	r := &x.Response
	r.Status, r.Reason, r.Via = d.status, nil, ""
	r.Head.Load(d.head)
	if x.Request.Method == "HEAD" {
		r.Body.SetAbsent(int64(len(d.body)))
		return nil
	}
	r.Body.SetWhole(d.body)
	return nil
}
