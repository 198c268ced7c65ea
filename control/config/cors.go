package config

import (
	"strings"
)

// CORS says which pages of other origins may call. On a route `off` undoes what the defaults say.
type CORS struct {
	Off            bool       // cors: off
	Origins        List[Text] `cfg:"origins" doc:"pages that may call: https://shop.example, https://*.shop.example; \"*\" admits all"`
	Methods        List[Text] `cfg:"methods" doc:"methods that they may use; those that the route takes by default"`
	Headers        List[Text] `cfg:"headers" doc:"request fields that they may send; whatever they ask for by default"`
	Expose         List[Text] `cfg:"expose" doc:"response fields that they may read, beside Content-Type and a few that they always may"`
	Credentials    bool       `cfg:"credentials" default:"false" doc:"calls carry cookies and client certificates"`
	MaxAge         Duration   `cfg:"max_age" default:"10m" doc:"how long a browser remembers that a page may call"`
	PrivateNetwork bool       `cfg:"private_network" default:"false" doc:"pages of the internet may call although the gateway is in a private network"`
	Pos            Pos
}

func (c *CORS) decodeShort(d *decoder, n *node, path string) bool {
	const wanted = "origins, or off"
	text, ok := d.scalar(n, path, wanted)
	if ok && text != "off" {
		d.wants(n, path, wanted, "cors: { origins: [https://shop.example] }")
	}
	c.Off = text == "off"
	return true
}

func (*CORS) shortSchema(*schemaWriter) object { return object{"const": "off"} }

// corsNamesMax bounds each list of a CORS: what is looked through for a request, or sent in every response.
const corsNamesMax = 200

func (v *validator) cors(c *CORS, path string) {
	if c == nil || c.Off {
		return
	}
	if len(c.Origins) == 0 {
		v.fail(path, "names no origins", "origins: [https://shop.example]; cors: off lets no page of another origin call")
	}
	v.webOrigins(c.Origins, c.Credentials, path+".origins")
	v.corsNames(c.Methods, path+".methods", "those that the route takes may be used, without this key", false)
	v.corsNames(c.Headers, path+".headers", "without this key all may be sent", false)
	v.corsNames(c.Expose, path+".expose", "with credentials, fields are named one by one", !c.Credentials)
}

// corsNames checks methods or the names of fields.
func (v *validator) corsNames(names List[Text], path, insteadOfAll string, all bool) {
	if len(names) > corsNamesMax {
		v.fail(path, "has more than 200 names", "")
	}
	for i, name := range names {
		switch where := v.item(path, i); {
		case name.Text == "*" && !all:
			v.failAt(name.Pos, where, "* is no name", insteadOfAll)
		case name.Text != "*" && checkHeaderName(name.Text) != "":
			v.failAt(name.Pos, where, "wants a name, got "+v.show(name.Text, name.Pos), "")
		}
	}
}

// webOrigins checks origins of pages.
func (v *validator) webOrigins(origins List[Text], credentials bool, path string) {
	if len(origins) > corsNamesMax {
		v.fail(path, "has more than 200 origins", "https://*.shop.example stands for all below a domain")
	}
	for i, origin := range origins {
		where := v.item(path, i)
		switch {
		case origin.Text == "*" && len(origins) > 1:
			v.failAt(origin.Pos, where, "* admits all pages: the other origins say nothing", "")
		case origin.Text == "*" && credentials:
			v.failAt(origin.Pos, where, "* does not go with credentials: any page could act for whoever looks at it", "name the origins")
		case origin.Text != "*" && !isWebOrigin(strings.Replace(origin.Text, "://*.", "://", 1)):
			v.failAt(origin.Pos, where, "wants an origin as browsers send it, got "+v.show(origin.Text, origin.Pos), "https://shop.example or https://*.shop.example, in lower case, without a path or the standard port")
		}
	}
}
