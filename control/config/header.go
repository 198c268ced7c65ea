package config

import (
	"fmt"
	"strings"
)

// HeaderOps changes header fields: remove first, then set, then add.
type HeaderOps struct {
	Set    Named[Template] `cfg:"set" names:"header" doc:"replaces the field, or adds it"`
	Add    Named[Template] `cfg:"add" names:"header" doc:"adds one more field of that name"`
	Remove List[Text]      `cfg:"remove" doc:"removes every field of that name"`
	Pos    Pos
}

// ownHeaders are the fields that Sluice writes itself: they frame the message or belong to one connection
// (RFC 9110 section 7.6.1, RFC 9112 section 6).
var ownHeaders = map[string]string{
	"host":                "use rewrite.host",
	"content-length":      "it follows from the body",
	"transfer-encoding":   "it follows from the body",
	"trailer":             "it follows from the body",
	"connection":          "it belongs to one connection",
	"keep-alive":          "it belongs to one connection",
	"proxy-connection":    "it belongs to one connection",
	"proxy-authenticate":  "it belongs to one connection",
	"proxy-authorization": "it belongs to one connection",
	"te":                  "it belongs to one connection",
	"upgrade":             "it belongs to one connection",
}

func (v *validator) headerOps(ops *HeaderOps, path string, phase Phase) {
	if ops == nil {
		return
	}
	if len(ops.Set)+len(ops.Add)+len(ops.Remove) == 0 {
		v.fail(path, "changes nothing", "set, add or remove")
	}
	v.headerValues(ops.Set, joinPath(path, "set"), phase)
	v.headerValues(ops.Add, joinPath(path, "add"), phase)
	for i, name := range ops.Remove {
		where := v.item(joinPath(path, "remove"), i)
		v.headerName(name.Text, name.Pos, where)
		for _, set := range ops.Set {
			if strings.EqualFold(set.Name, name.Text) {
				v.failAt(name.Pos, where, "the field is both set and removed", "set replaces what was there")
			}
		}
	}
}

func (v *validator) headerValues(values Named[Template], path string, phase Phase) {
	for _, h := range values {
		where := joinPath(path, h.Name)
		v.ownHeader(h.Name, h.Pos, where)
		v.template(h.Value, where, templateRules{phase: phase, groups: -1, oneLine: true})
	}
}

func (v *validator) headerName(name string, pos Pos, path string) {
	if hint := checkHeaderName(name); hint != "" {
		v.failAt(pos, path, v.show(name, pos)+" is not a valid header name", hint)
		return
	}
	v.ownHeader(name, pos, path)
}

func (v *validator) ownHeader(name string, pos Pos, path string) {
	if why, own := ownHeaders[strings.ToLower(name)]; own {
		v.failAt(pos, path, fmt.Sprintf("the field %s cannot be changed here", name), why)
	}
}
