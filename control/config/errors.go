package config

import (
	"reflect"
	"strings"
)

// Errors is the form of the answers that Sluice gives itself when it refuses or fails (RFC 9457).
type Errors struct {
	Format string           `cfg:"format" default:"auto" enum:"auto,problem+json,text,html" doc:"auto: problem+json, unless the client prefers HTML or plain text"`
	Bodies Named[ErrorBody] `cfg:"bodies" names:"status" doc:"own bodies, by status (404), class (5xx) or error code (upstream_timeout)"`
	Pos    Pos
}

// ErrorBody replaces the body of an error: a template, or a file that is sent as it is.
type ErrorBody struct {
	Type string    `cfg:"type" doc:"the media type; plain text for a body, and for a file it follows from its name"`
	Body *Template `cfg:"body" doc:"text, which may hold $error.code, $error.status, $error.title, $request.id ..."`
	File *Content  `cfg:"file" doc:"a file, sent as it is"`
	Pos  Pos
}

func (e *Errors) decodeShort(d *decoder, n *node, path string) bool {
	info := d.info(reflect.TypeFor[Errors]())
	format, _ := info.field("format")
	e.Format, _ = d.word(n, path, format)
	return true
}

// MediaType is the type of the body, given or known from the name of the file. It is empty for a template without a
// type, which is plain text.
func (b ErrorBody) MediaType() string {
	if b.Type == "" && b.File != nil {
		known, _ := mediaTypeOf(b.File.Name)
		return known
	}
	return b.Type
}

func (v *validator) errors(e *Errors, path string) {
	if e == nil {
		return
	}
	for _, b := range e.Bodies {
		where := joinPath(joinPath(path, "bodies"), b.Name)
		switch {
		case (b.Value.Body == nil) == (b.Value.File == nil):
			v.fail(where, "wants exactly one of body and file", "")
		case b.Value.File != nil && b.Value.File.Name == "": // reported
		case b.Value.MediaType() == "" && b.Value.Body != nil: // plain text
		case b.Value.MediaType() == "":
			v.fail(where, "has no type", "type: text/html, for example")
		case !isMediaType(b.Value.MediaType()):
			v.fail(where+".type", "is not a media type", "text/html, for example")
		}
		if b.Value.Body != nil {
			v.template(*b.Value.Body, where+".body", templateRules{phase: PhaseError, groups: -1})
		}
	}
}

// isMediaType wants type/subtype, with parameters or without (RFC 9110 section 8.3.1).
func isMediaType(s string) bool {
	essence, parameters, _ := strings.Cut(s, ";")
	kind, subtype, ok := strings.Cut(strings.TrimRight(essence, " "), "/")
	for _, c := range []byte(parameters) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return ok && checkHeaderName(kind) == "" && checkHeaderName(subtype) == ""
}
