package config

import (
	"strings"
)

// Respond is an answer that Sluice gives itself. The body is sent as it is written; only header values are templates.
type Respond struct {
	Status  int             `cfg:"status" default:"200" min:"200" max:"599" doc:"the status"`
	Text    *string         `cfg:"text" doc:"a body of plain text"`
	JSON    *JSON           `cfg:"json" doc:"a body of JSON, written as YAML"`
	HTML    *string         `cfg:"html" doc:"a body of HTML"`
	Body    *string         `cfg:"body" doc:"a body of the media type in type"`
	File    *Content        `cfg:"file" doc:"a body out of a file, at most 8 MiB"`
	Type    string          `cfg:"type" doc:"the media type of body or file"`
	Headers Named[Template] `cfg:"headers" names:"header" doc:"further header fields"`
	Pos     Pos
}

// Content returns the body and its media type; both are empty when there is no body.
func (r *Respond) Content() (mediaType string, body []byte) {
	switch {
	case r.Text != nil:
		return "text/plain; charset=utf-8", []byte(*r.Text)
	case r.JSON != nil:
		return "application/json", r.JSON.Data
	case r.HTML != nil:
		return "text/html; charset=utf-8", []byte(*r.HTML)
	case r.Body != nil:
		return r.Type, []byte(*r.Body)
	case r.File != nil && r.Type != "":
		return r.Type, r.File.Data
	case r.File != nil:
		known, _ := mediaTypeOf(r.File.Name)
		return known, r.File.Data
	}
	return "", nil
}

func (v *validator) respond(r *Respond, path string) {
	if r == nil {
		return
	}
	var bodies []string
	for _, b := range []struct {
		key string
		set bool
	}{{"text", r.Text != nil}, {"json", r.JSON != nil}, {"html", r.HTML != nil}, {"body", r.Body != nil}, {"file", r.File != nil}} {
		if b.set {
			bodies = append(bodies, b.key)
		}
	}
	mediaType, _ := r.Content()
	typed := r.Body != nil || r.File != nil
	switch {
	case len(bodies) > 1:
		v.fail(joinPath(path, bodies[1]), "an answer has one body, this one has "+strings.Join(bodies, " and "), "")
	case len(bodies) == 1 && (r.Status == 204 || r.Status == 205 || r.Status == 304):
		v.fail(joinPath(path, bodies[0]), "an answer of this status has no body (RFC 9110 section 15)", "")
	case r.Type != "" && !typed:
		v.fail(path+".type", "belongs to body or file", "text, json and html have a type of their own")
	case typed && mediaType == "" && (r.File == nil || r.File.Name != ""):
		v.fail(path, "has no media type", "type: text/css, for example")
	case typed && mediaType != "" && !isMediaType(mediaType):
		v.fail(path+".type", "is not a media type", "text/css, for example")
	}
	v.headerValues(r.Headers, path+".headers", PhaseRequest)
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, "content-type") && len(bodies) > 0 {
			v.failAt(h.Pos, joinPath(path+".headers", h.Name), "the body has a type already", "body and file take another one in type")
		}
	}
}

// Redirect sends the client elsewhere.
type Redirect struct {
	To     Template `cfg:"to" required:"true" doc:"a URL or a path, which may hold $variables"`
	Status int      `cfg:"status" default:"308" enum:"301,302,303,307,308" doc:"307 and 308 keep method and body; 301 and 308 are remembered by clients"`
	Pos    Pos
}

func (r *Redirect) decodeShort(d *decoder, n *node, path string) bool {
	r.To.decode(d, n, path, field{})
	return true
}

func (v *validator) redirect(r *Redirect, path string) {
	if r == nil || r.To.Pos.Line == 0 {
		return
	}
	where := v.redirectPath(path)
	v.template(r.To, where, templateRules{groups: -1, oneLine: true, required: true})
	to := r.To.Text
	if to != "" && to[0] != '/' && to[0] != '$' && !strings.HasPrefix(to, "https://") && !strings.HasPrefix(to, "http://") {
		v.fail(where, "wants a path that begins with /, or a URL", "https://$request.host/new, for example")
	}
}

// redirectPath is where the target of a redirect stands: in the long form or the short one.
func (v *validator) redirectPath(path string) string {
	if long := path + ".to"; v.written(long) {
		return long
	}
	return path
}
