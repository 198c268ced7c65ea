package transform

import (
	"errors"
	"fmt"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Headers edits the fields of the request on its way in and those of the response on its way out.
type Headers struct {
	request, response []edit
}

// Ops are edits in the order in which they are made.
type Ops []Op

// Op is one edit of a head.
type Op struct {
	Verb  Verb
	Name  string          // in any case
	Value *proxy.Template // nil for Remove
}

// Verb is what an Op does.
type Verb uint8

// The verbs.
const (
	Set    Verb = iota // replace every field of this name by one
	Add                // append a field, whatever is there
	Remove             // remove every field of this name
)

// String returns the word that the configuration uses.
func (v Verb) String() string { return [...]string{"set", "add", "remove"}[v] }

// NewHeaders compiles edits. Fields that say how a message is framed or belong to one connection cannot be edited:
// they derive from the body and the connection (RFC 9112 section 6, RFC 9110 section 7.6.1).
func NewHeaders(request, response Ops) (*Headers, error) {
	if len(request) == 0 && len(response) == 0 {
		return nil, errors.New("no header is set, added or removed")
	}
	h := new(Headers)
	var err error
	if h.request, err = compile(request); err != nil {
		return nil, fmt.Errorf("request headers: %w", err)
	}
	for i := range h.request {
		e := &h.request[i]
		e.alike = e.verb != Add && strings.ContainsAny(e.name, "-_")
	}
	if h.response, err = compile(response); err != nil {
		return nil, fmt.Errorf("response headers: %w", err)
	}
	return h, nil
}

// Serve edits the request and hands on. The response is edited when its head is final: that of a later policy's
// refusal is edited, too, and variables have the values of that moment.
func (h *Headers) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	apply(h.request, &x.Request.Head, &x.Request.Decided, x)
	if len(h.response) > 0 {
		x.OnHead(h)
	}
	return next.Serve(x)
}

// EditHead edits the response. It is called by the edge, see proxy.HeadEditor.
func (h *Headers) EditHead(x *proxy.Exchange) {
	apply(h.response, &x.Response.Head, &x.Response.Decided, x)
}

// edit is a checked Op. fixed is its value if no variable is in it.
type edit struct {
	verb  Verb
	name  string
	fixed []byte
	value *proxy.Template
	alike bool // origins may take fields of other names for this one: what is decided about it holds for them
}

func apply(edits []edit, head *wire.Head, decided *[]string, x *proxy.Exchange) {
	for i := range edits {
		e := &edits[i]
		if e.verb != Add {
			*decided = append(*decided, e.name)
		}
		switch {
		case e.verb == Remove:
			head.Del(e.name)
		case e.value == nil:
			e.put(head, e.fixed)
		default:
			// Not in the exchange's scratch: a variable may use that itself while the value is being
			// put together, and the head copies the value anyway.
			buf := wire.GetBuf(wire.Small)
			e.put(head, e.value.Append(buf.B[:0], x, proxy.Raw))
			buf.Free()
		}
		if e.alike {
			head.DelAlike(e.name) // after a value that may be made of one
		}
	}
}

func (e *edit) put(head *wire.Head, value []byte) {
	if e.verb == Set {
		head.Set(e.name, value)
	} else {
		head.Add(e.name, value)
	}
}

func compile(ops Ops) ([]edit, error) {
	var edits []edit
	for _, op := range ops {
		if err := op.check(); err != nil {
			return nil, fmt.Errorf("cannot %s %q: %w", op.Verb, op.Name, err)
		}
		e := edit{verb: op.Verb, name: op.Name, value: op.Value}
		if op.Value != nil {
			if text, static := op.Value.Static(); static {
				e.fixed, e.value = []byte(text), nil
			}
		}
		edits = append(edits, e)
	}
	return edits, nil
}

// nameBytesMax bounds the name of a field that is set. Longer ones serve nobody.
const nameBytesMax = 256

func (op *Op) check() error {
	if op.Verb > Remove {
		panic("BUG: unknown transform.Verb")
	}
	if !wire.IsToken(op.Name) || len(op.Name) > nameBytesMax {
		return errors.New("not a field name (RFC 9110 section 5.1)")
	}
	if isKnown(op.Name, wire.Host.Bit()) {
		return errors.New("the host is not edited as a header but rewritten")
	}
	if isKnown(op.Name, wire.HopByHop) {
		return errors.New("the field belongs to one connection and is never passed on")
	}
	if op.Verb == Remove && op.Value != nil || op.Verb != Remove && op.Value == nil {
		return errors.New("set and add need a value, remove takes none")
	}
	return nil
}

// isKnown reports whether name, in any case, is one of the fields of a mask.
func isKnown(name string, mask uint64) bool {
	var h wire.Head
	h.AddString(name, "")
	h.DelKnown(mask)
	return h.Len() == 0
}
