package respond

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Static answers every request, whatever its method, with the same status, head and body but for the variables in
// them.
type Static struct {
	status      int
	contentType []byte // nil: no such field
	fields      []field
	fixed       []byte          // the body, if body is nil
	body        *proxy.Template // the body, if a variable is in it
	escape      proxy.Escape
}

// StaticOptions say what Static answers with.
type StaticOptions struct {
	Status int
	// ContentType is that of the body; empty means text/plain in UTF-8 if there is a body. It decides how
	// variables in the body are escaped: for a JSON string in JSON, for text and quoted attributes in HTML and
	// XML, else not at all.
	ContentType string
	Body        *proxy.Template // or nil
	Fixed       []byte          // the body if Body is nil; must not be changed any more
	Headers     []Field         // further fields, in order
}

// Field is a header field of a response.
type Field struct {
	Name  string
	Value *proxy.Template
}

// NewStatic checks and compiles o.
func NewStatic(o StaticOptions) (*Static, error) {
	s := &Static{status: o.Status, fixed: slices.Clip(o.Fixed), body: o.Body}
	if o.Status < 200 || o.Status > 599 {
		return nil, fmt.Errorf("cannot respond with status %d: it must be from 200 to 599", o.Status)
	}
	if s.body != nil {
		if o.Fixed != nil {
			return nil, errors.New("cannot respond with two bodies")
		}
		if text, static := s.body.Static(); static {
			s.fixed, s.body = []byte(text), nil
		}
	}
	hasBody := s.body != nil || len(s.fixed) > 0
	if hasBody && (bodyless(o.Status) || o.Status == 205) {
		return nil, fmt.Errorf("cannot respond with status %d and a body: the status forbids one (RFC 9110 section 15)", o.Status)
	}
	contentType := o.ContentType
	if contentType == "" && hasBody {
		contentType = "text/plain; charset=utf-8"
	}
	if contentType != "" {
		if !isText(contentType) {
			return nil, fmt.Errorf("cannot respond with content type %q: it contains a control byte", contentType)
		}
		s.contentType = []byte(contentType)
	}
	// Media types are written in any case (RFC 9110 section 8.3.1).
	s.escape = escapeFor(strings.ToLower(contentType))
	for _, f := range o.Headers {
		compiled, err := f.compile()
		if err != nil {
			return nil, fmt.Errorf("cannot respond with the header %q: %w", f.Name, err)
		}
		s.fields = append(s.fields, compiled)
	}
	return s, nil
}

// Serve answers.
func (s *Static) Serve(x *proxy.Exchange, _ *proxy.Chain) error {
	r := &x.Response
	r.Status, r.Reason = s.status, nil
	if s.contentType != nil {
		r.Head.Add("Content-Type", s.contentType)
	}
	for i := range s.fields {
		s.fields[i].addTo(&r.Head, x)
	}
	if s.body == nil {
		setBody(x, s.fixed, len(s.fixed))
		return nil
	}
	buf := wire.GetBuf(len(s.body.String()) + valuesRoom)
	body := s.body.Append(buf.B[:0], x, s.escape)
	if x.Request.Method == "HEAD" {
		setBody(x, nil, len(body))
	} else {
		setBody(x, keep(x, body), len(body))
	}
	buf.Free()
	return nil
}

// valuesRoom is for how many bytes of values the buffer has room at first.
const valuesRoom = 1 << 10

// setBody gives the response a body of size bytes if its status and the method allow one. After HEAD its length is
// announced as it would be after GET (RFC 9110 section 9.3.2); 204 must not have a length (section 8.6).
func setBody(x *proxy.Exchange, body []byte, size int) {
	switch {
	case bodyless(x.Response.Status):
		x.Response.Body.SetAbsent(-1)
	case x.Request.Method == "HEAD":
		x.Response.Body.SetAbsent(int64(size))
	default:
		x.Response.Body.SetWhole(body)
	}
}

// bodyless statuses end with their head.
func bodyless(status int) bool { return status == 204 || status == 304 }

// keep copies b to memory that lives as long as the exchange.
func keep(x *proxy.Exchange, b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	dst := x.Scratch()
	if cap(dst) < len(b) {
		// Ask for more than is needed: what is kept here serves the exchanges to come.
		dst = make([]byte, 0, 2*len(b)+valuesRoom)
	}
	return x.KeepScratch(append(dst, b...))
}

// field is a checked Field. fixed is its value if no variable is in it.
type field struct {
	name  string
	fixed []byte
	value *proxy.Template
}

func (f *field) addTo(head *wire.Head, x *proxy.Exchange) {
	if f.value == nil {
		head.Add(f.name, f.fixed)
		return
	}
	// Not in the exchange's scratch: a variable may use that itself while the value is being put together.
	buf := wire.GetBuf(wire.Small)
	head.Add(f.name, f.value.Append(buf.B[:0], x, proxy.Raw))
	buf.Free()
}

func (f *Field) compile() (field, error) {
	if !wire.IsToken(f.Name) {
		return field{}, errors.New("not a field name (RFC 9110 section 5.1)")
	}
	if f.Value == nil {
		return field{}, errors.New("it has no value")
	}
	if isKnown(f.Name, wire.HopByHop) {
		return field{}, errors.New("framing and connection are not the configuration's (RFC 9112 section 6)")
	}
	if isKnown(f.Name, wire.ContentType.Bit()) {
		return field{}, errors.New("the content type is given with the body")
	}
	text, static := f.Value.Static()
	if static {
		return field{name: f.Name, fixed: []byte(text)}, nil
	}
	if strings.EqualFold(f.Name, "Location") {
		return field{}, errors.New("a target with variables needs the care that a redirect takes: use one")
	}
	return field{name: f.Name, value: f.Value}, nil
}

// isKnown reports whether name, in any case, is one of the fields of a mask.
func isKnown(name string, mask uint64) bool {
	var h wire.Head
	h.AddString(name, "")
	h.DelKnown(mask)
	return h.Len() == 0
}

func isText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
