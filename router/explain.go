package router

import (
	"fmt"
	"strings"
)

// Candidate is a route whose host and path match a request.
type Candidate struct {
	Index   int    // in New's slice
	Route   string // its name
	Pattern string // its canonical form
	Taken   bool
	Why     string // "taken", "method is POST, wants GET", "header X-Canary is absent", ...
}

func (t *tree) explain(r *Request) []Candidate {
	if len(r.Path) == 0 || r.Path[0] != '/' {
		return nil
	}
	s := search{request: r, methods: anyMethod, purpose: listRoutes}
	var m Match
	t.walk(&s, &m)

	asked := t.methods.asked(r.Method)
	taker := ""
	candidates := make([]Candidate, len(s.visited))
	for i, e := range s.visited {
		route := t.routes[e.route]
		c := Candidate{Index: e.route, Route: route.name, Pattern: route.pattern.String()}
		c.Why = e.complaint(r, asked, route.pattern.Methods)
		switch {
		case c.Why != "":
		case taker != "":
			c.Why = "less specific than " + taker
		default:
			taker = route.name
			c.Taken = true
			c.Why = "taken"
			if string(r.Method) == "HEAD" && e.methods&headBit == 0 {
				c.Why = "taken: a route for GET answers HEAD"
			}
		}
		candidates[i] = c
	}
	return candidates
}

// complaint lists what is missing for the route to take r; it is empty if nothing is.
func (e *entry) complaint(r *Request, asked uint64, methods []string) string {
	var missing []string
	if e.methods&asked == 0 {
		missing = append(missing, fmt.Sprintf("method is %s, wants %s", r.Method, strings.Join(methods, "|")))
	}
	for i := range e.checks {
		if c := &e.checks[i]; !c.holds(r.Values) {
			missing = append(missing, c.complaint(r.Values))
		}
	}
	return strings.Join(missing, "; ")
}
