package config

import (
	"regexp"
	"strings"
)

// Rewrite changes a request on its way to the service. At most one of Path, Strip, Replace and Regex is set; all of
// them work on the path without the query.
type Rewrite struct {
	Path     *Template    `cfg:"path" doc:"the new path; {name} and $path.name are path parameters"`
	Strip    *Text        `cfg:"strip" doc:"takes this prefix away"`
	Replace  *Replace     `cfg:"replace" doc:"puts one prefix in the place of another"`
	Regex    *RegexChange `cfg:"regex" doc:"replaces what an expression matches"`
	Host     *Template    `cfg:"host" doc:"the Host that the service sees"`
	Headers  *HeaderOps   `cfg:"headers" doc:"changes header fields of the request"`
	Response *HeaderOps   `cfg:"response" doc:"changes header fields of the response"`
	Pos      Pos
}

// Replace puts one path prefix in the place of another.
type Replace struct {
	From Text `cfg:"from" required:"true" doc:"the prefix to take away"`
	To   Text `cfg:"to" required:"true" doc:"the prefix to put there"`
}

// RegexChange replaces what an expression matches in the path.
type RegexChange struct {
	Match Text     `cfg:"match" required:"true" doc:"an expression (RE2)"`
	To    Template `cfg:"to" required:"true" doc:"what to put there; $1 is the first group"`
}

func (v *validator) rewrite(w *Rewrite, path string) {
	if w == nil {
		return
	}
	var ways []string
	for _, way := range []struct {
		key string
		set bool
	}{{"path", w.Path != nil}, {"strip", w.Strip != nil}, {"replace", w.Replace != nil}, {"regex", w.Regex != nil}} {
		if way.set {
			ways = append(ways, way.key)
		}
	}
	if len(ways) > 1 {
		v.fail(joinPath(path, ways[1]), "a path is rewritten one way, this one has "+strings.Join(ways, " and "), "")
	}
	if len(ways) == 0 && w.Host == nil && w.Headers == nil && w.Response == nil {
		v.fail(path, "changes nothing", "path, strip, replace, regex, host, headers or response")
	}
	if w.Path != nil && v.template(*w.Path, path+".path", templateRules{groups: -1, braces: true, oneLine: true, required: true}) != nil {
		v.rewrittenPath(w.Path.Text, path+".path")
	}
	if w.Strip != nil {
		v.prefix(*w.Strip, path+".strip", false)
	}
	if w.Replace != nil {
		v.prefix(w.Replace.From, path+".replace.from", false)
		v.prefix(w.Replace.To, path+".replace.to", true)
	}
	v.regexChange(w.Regex, path+".regex")
	if w.Host != nil {
		v.template(*w.Host, path+".host", templateRules{groups: -1, oneLine: true, required: true})
	}
	v.headerOps(w.Headers, path+".headers", PhaseRequest)
	v.headerOps(w.Response, path+".response", PhaseResponse)
}

// prefixes warns of a prefix that no path of the match has.
func (v *validator) prefixes(r *Route, path string) {
	if r.Rewrite == nil {
		return
	}
	check := func(prefix Text, where string) {
		if isCleanPath(prefix.Text) && !strings.HasSuffix(prefix.Text, "/") && !r.Match.mayHavePrefix(prefix.Text) {
			v.warn(where, "never applies: no path that the match takes begins with "+v.show(prefix.Text, prefix.Pos), "")
		}
	}
	if r.Rewrite.Strip != nil {
		check(*r.Rewrite.Strip, path+".strip")
	}
	if r.Rewrite.Replace != nil {
		check(r.Rewrite.Replace.From, path+".replace.from")
	}
}

func (v *validator) rewrittenPath(text, path string) {
	if text[0] != '/' && text[0] != '$' {
		v.fail(path, "a path begins with /", "")
	}
	if strings.ContainsAny(text, "?#") {
		v.fail(path, "the query cannot be rewritten here", "it goes on as it came")
	}
}

// prefix checks a path prefix: whole segments, without a slash at the end. The prefix to put in may be / itself.
func (v *validator) prefix(prefix Text, path string, rootAllowed bool) {
	switch {
	case prefix.Pos.Line == 0: // absent, reported
	case prefix.Text == "/" && rootAllowed:
	case !isCleanPath(prefix.Text), strings.HasSuffix(prefix.Text, "/"):
		v.failAt(prefix.Pos, path, "wants a path prefix such as /legacy", "it begins with /, does not end with one, and has no . or .. segments")
	}
}

func (v *validator) regexChange(r *RegexChange, path string) {
	if r == nil || r.Match.Pos.Line == 0 || r.To.Pos.Line == 0 {
		return
	}
	expression, err := regexp.Compile(r.Match.Text)
	if err != nil || r.Match.Text == "" || len(r.Match.Text) > predicateBytesMax {
		hint := ""
		if err != nil && !v.config.Substituted(r.Match.Pos) {
			hint = clip(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		v.fail(path+".match", "is not a regular expression (RE2)", hint)
		return
	}
	v.template(r.To, path+".to", templateRules{groups: expression.NumSubexp(), oneLine: true})
}
