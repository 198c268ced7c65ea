package respond

import (
	"bytes"
	"strconv"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Format is the form of an error answer.
type Format uint8

// The formats.
const (
	Auto        Format = iota // problem+json, unless the client prefers HTML or plain text
	ProblemJSON               // RFC 9457
	PlainText
	HTMLPage
)

// ErrorBody is a body of one's own for some errors. Variables in it are escaped as its type demands.
type ErrorBody struct {
	ContentType string
	Template    *proxy.Template
	Fixed       []byte // sent as it is, if Template is nil
}

// Problems renders the errors of a route: with a body of its own where one is given, else as a problem of RFC 9457, a
// small HTML page or a line of text. Calls of gRPC get its statuses instead, see grpc.go. It is immutable and allocates nothing.
type Problems struct {
	format Format
	bodies map[string]*errorBody
}

type errorBody struct {
	ErrorBody
	escape proxy.Escape
}

// NewProblems returns a renderer. The keys of bodies are an error's code, a status ("404") or a class ("5xx"); the most
// specific one is taken.
func NewProblems(f Format, bodies map[string]ErrorBody) *Problems {
	p := &Problems{format: f, bodies: make(map[string]*errorBody, len(bodies))}
	for key, b := range bodies {
		p.bodies[key] = &errorBody{b, escapeFor(strings.ToLower(b.ContentType))}
	}
	return p
}

// escapeFor tells how variables are made safe inside a body of a media type, given in lower case.
func escapeFor(contentType string) proxy.Escape {
	switch {
	case strings.Contains(contentType, "json"):
		return proxy.JSON
	case strings.Contains(contentType, "html"), strings.Contains(contentType, "xml"):
		return proxy.HTML
	}
	return proxy.Raw
}

// Render sets Content-Type and body of x's response for err. A call of gRPC is told a status of gRPC, whatever the format and
// bodies are, but for the 421 that sends it to another connection: that is for the client's HTTP.
func (p *Problems) Render(x *proxy.Exchange, err *proxy.Error) {
	if x.ClientGRPC() != proxy.NotGRPC && err != proxy.ErrMisdirected {
		renderGRPC(x, err)
		return
	}
	if b := p.own(err); b != nil {
		body := b.Fixed
		if b.Template != nil {
			body = x.KeepScratch(b.Template.Append(x.Scratch(), x, b.escape))
		}
		set(x, b.ContentType, body)
		return
	}
	format := p.format
	if format == Auto {
		format = negotiate(x.Request.Head.GetKnown(wire.Accept))
	}
	dst := x.Scratch()
	switch format {
	case HTMLPage:
		set(x, "text/html; charset=utf-8", x.KeepScratch(appendHTML(dst, x, err)))
	case PlainText:
		set(x, "text/plain; charset=utf-8", x.KeepScratch(appendText(dst, x, err)))
	default:
		set(x, "application/problem+json", x.KeepScratch(appendJSON(dst, x, err)))
	}
}

func set(x *proxy.Exchange, contentType string, body []byte) {
	x.Response.Head.AddString("Content-Type", contentType)
	x.Response.Body.SetWhole(body)
}

func (p *Problems) own(err *proxy.Error) *errorBody {
	if len(p.bodies) == 0 {
		return nil
	}
	if b := p.bodies[err.Code]; b != nil {
		return b
	}
	var key [8]byte
	status := strconv.AppendInt(key[:0], int64(err.Status), 10)
	if b := p.bodies[string(status)]; b != nil {
		return b
	}
	return p.bodies[string(append(status[:1], "xx"...))]
}

func appendJSON(dst []byte, x *proxy.Exchange, err *proxy.Error) []byte {
	dst = append(dst, `{"type":"urn:sluice:problem:`...)
	dst = append(dst, err.Code...)
	dst = append(dst, `","title":"`...)
	dst = append(dst, proxy.StatusText(err.Status)...)
	dst = append(dst, `","status":`...)
	dst = wire.AppendUint(dst, uint64(err.Status))
	dst = appendMember(dst, "code", err.Code)
	dst = appendMember(dst, "detail", err.Detail)
	if x.Route != nil && x.Route.Configured() {
		dst = appendMember(dst, "route", x.Route.Name)
	}
	dst = appendMember(dst, "policy", x.FailedAt)
	dst = append(dst, `,"request_id":"`...)
	dst = proxy.AppendEscaped(dst, x.ID, proxy.JSON)
	return append(dst, "\"}\n"...)
}

func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, `":"`...)
	dst = proxy.AppendEscaped(dst, value, proxy.JSON)
	return append(dst, '"')
}

func appendHTML(dst []byte, x *proxy.Exchange, err *proxy.Error) []byte {
	dst = append(dst, "<!doctype html><html lang=en><meta charset=utf-8><title>"...)
	dst = wire.AppendUint(dst, uint64(err.Status))
	dst = append(dst, ' ')
	dst = append(dst, proxy.StatusText(err.Status)...)
	dst = append(dst, "</title><h1>"...)
	dst = append(dst, proxy.StatusText(err.Status)...)
	dst = append(dst, "</h1><p>"...)
	dst = proxy.AppendEscaped(dst, err.Detail, proxy.HTML)
	dst = append(dst, "</p><p><small>"...)
	dst = append(dst, err.Code...)
	dst = append(dst, " &middot; request "...)
	dst = proxy.AppendEscaped(dst, x.ID, proxy.HTML)
	return append(dst, "</small></p></html>\n"...)
}

func appendText(dst []byte, x *proxy.Exchange, err *proxy.Error) []byte {
	dst = wire.AppendUint(dst, uint64(err.Status))
	dst = append(dst, ' ')
	dst = append(dst, proxy.StatusText(err.Status)...)
	dst = append(dst, ": "...)
	dst = append(dst, err.Detail...)
	dst = append(dst, " ("...)
	dst = append(dst, err.Code...)
	dst = append(dst, ", request "...)
	dst = append(dst, x.ID...)
	return append(dst, ")\n"...)
}

// negotiate picks the format that Accept likes best (RFC 9110 section 12.5.1); JSON where it is indifferent.
func negotiate(accept []byte) Format {
	if len(accept) == 0 {
		return ProblemJSON
	}
	json := max(quality(accept, "application/problem+json", "application/*"), quality(accept, "application/json", "application/*"))
	html := quality(accept, "text/html", "text/*")
	text := quality(accept, "text/plain", "text/*")
	switch {
	case json >= html && json >= text:
		return ProblemJSON
	case html >= text:
		return HTMLPage
	}
	return PlainText
}

// quality returns the weight of a media type in thousandths: of the type itself if named, else of its range, else of
// "*/*".
func quality(accept []byte, exact, family string) int {
	q, rank := 0, 0
	for item := range wire.Items(accept) {
		name, params, _ := bytes.Cut(item, []byte(";"))
		name = bytes.TrimSpace(name)
		r := 0
		switch {
		case wire.EqualFold(name, exact):
			r = 3
		case wire.EqualFold(name, family):
			r = 2
		case wire.EqualFold(name, "*/*"):
			r = 1
		}
		if r > rank {
			q, rank = weight(params), r
		}
	}
	return q
}

// weight reads ";q=0.8" as 800. What it cannot read counts as 1000.
func weight(params []byte) int {
	for len(params) > 0 {
		var p []byte
		p, params, _ = bytes.Cut(params, []byte(";"))
		p = bytes.TrimSpace(p)
		if len(p) < 3 || p[0]|0x20 != 'q' || p[1] != '=' {
			continue
		}
		q, unit := 0, 1000
		for i, c := range p[2:] {
			switch {
			case c == '.' && i == 1:
				continue
			case c < '0' || c > '9' || i > 4:
				return 1000
			}
			q += int(c-'0') * unit
			unit /= 10
		}
		return min(q, 1000)
	}
	return 1000
}
