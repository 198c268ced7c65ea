package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// restName is the name under which what "**" took can be asked for.
const restName = "rest"

// Pattern says which requests a route takes. The zero value of a field demands
// nothing, except Path, which must be there.
type Pattern struct {
	Methods []string // upper case; none means any
	Host    string   // "" (any), "api.example.com" or "*.example.com"; lower case, no port
	Path    string   // "/a/{id}", "/a/{id:[0-9]+}", "/a/{name}.json", "/a/**"

	// Sorted by name, each name once in its list. New and String sort a copy.
	Headers []Predicate
	Query   []Predicate
	Cookies []Predicate
	JSON    []Predicate // names are dotted paths: "user.type"
}

// ParsePattern reads the short form "[METHOD[|METHOD...] ][host]/path", such as
// "GET api.shop.example/v1/orders/**". The pattern it returns is canonical:
// methods sorted, host in lower case, path escaped as NormalizePath would.
func ParsePattern(s string) (Pattern, error) {
	methods, target := splitMethods(strings.TrimSpace(s))
	slash := strings.IndexByte(target, '/')
	if slash < 0 {
		return Pattern{}, fmt.Errorf("pattern %q has no path: it ends in one, such as \"/\" or \"/**\"", s)
	}
	if strings.HasPrefix(target[slash:], "//") && strings.HasSuffix(target[:slash], ":") {
		return Pattern{}, fmt.Errorf("pattern %q names a scheme: write %q", s, target[slash+2:])
	}
	p := Pattern{Host: target[:slash], Path: target[slash:]}
	if methods != "" {
		p.Methods = strings.Split(methods, "|")
	}
	canonical, _, err := p.canonical()
	if err != nil {
		return Pattern{}, fmt.Errorf("cannot use pattern %q: %w", s, err)
	}
	return canonical, nil
}

// splitMethods cuts off what stands before the first space, unless the path has
// begun by then: a regex may contain a space.
func splitMethods(s string) (methods, target string) {
	i := strings.IndexAny(s, " \t/")
	if i < 0 || s[i] == '/' {
		return "", s
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// String returns the canonical form: the short form, followed by the predicates as
// the configuration writes them:
//
//	GET *.shop.example/search/{kind} [header Accept: prefix application/json, query q: present]
//
// A pattern that is not valid is written as it stands.
func (p Pattern) String() string {
	if canonical, _, err := p.canonical(); err == nil {
		p = canonical
	}
	var b strings.Builder
	if len(p.Methods) > 0 {
		b.WriteString(strings.Join(p.Methods, "|"))
		b.WriteByte(' ')
	}
	b.WriteString(p.Host)
	b.WriteString(p.Path)
	separator := " ["
	for _, list := range p.predicates() {
		for _, predicate := range list.predicates {
			b.WriteString(separator)
			b.WriteString(list.source.String())
			b.WriteByte(' ')
			b.WriteString(predicate.String())
			separator = ", "
		}
	}
	if separator != " [" {
		b.WriteByte(']')
	}
	return b.String()
}

// Params returns the names of the parameters from left to right, "rest" for "**".
// It is empty for a path that is not valid.
func (p Pattern) Params() []string {
	segments, err := parsePath(p.Path)
	if err != nil {
		return nil
	}
	return parameterNames(segments)
}

// Param resolves the name of a parameter ("rest" for what "**" took) to the index
// that Match.Value wants. It parses the path: meant for configuration time.
func (p Pattern) Param(name string) (index int, ok bool) {
	index = slices.Index(p.Params(), name)
	return index, index >= 0
}

// canonical returns a valid copy of p that shares nothing with it, and the parsed
// path.
func (p Pattern) canonical() (Pattern, []segment, error) {
	var err error
	if p.Methods, err = canonicalMethods(p.Methods); err != nil {
		return Pattern{}, nil, err
	}
	if p.Host, err = canonicalHost(p.Host); err != nil {
		return Pattern{}, nil, err
	}
	segments, err := parsePath(p.Path)
	if err != nil {
		return Pattern{}, nil, err
	}
	p.Path = joinPath(segments)
	for _, list := range p.predicates() {
		if *list.field, err = canonicalPredicates(list.source, list.predicates); err != nil {
			return Pattern{}, nil, err
		}
	}
	return p, segments, nil
}

func canonicalMethods(methods []string) ([]string, error) {
	for _, m := range methods {
		if m == "" {
			return nil, errors.New("a method is empty: write \"GET /path\" or \"GET|POST /path\"")
		}
		if strings.ToUpper(m) != m {
			return nil, fmt.Errorf("method %q is not in upper case: write %q", m, strings.ToUpper(m))
		}
		if !isToken(m) {
			return nil, fmt.Errorf("method %q contains a character that no method has (RFC 9110 section 5.6.2)", m)
		}
	}
	sorted := slices.Clone(methods)
	slices.Sort(sorted)
	return slices.Compact(sorted), nil
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2. "|" would be one,
// but it separates our methods.
func isToken(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// predicateList is one of the four lists of a pattern.
type predicateList struct {
	source     source
	predicates []Predicate
	field      *[]Predicate
}

// predicates returns the lists in the order in which they are judged: JSON last,
// because looking at it means waiting for the body.
func (p *Pattern) predicates() [4]predicateList {
	return [4]predicateList{
		{fromHeader, p.Headers, &p.Headers},
		{fromQuery, p.Query, &p.Query},
		{fromCookie, p.Cookies, &p.Cookies},
		{fromJSON, p.JSON, &p.JSON},
	}
}
