package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// segment is one part of a pattern's path, between slashes.
type segment struct {
	kind   segmentKind
	prefix string // the whole text of a literal, in canonical escapes
	suffix string
	name   string
	regex  string // as written, without anchors; "" takes anything
}

type segmentKind uint8

const (
	literal   segmentKind = iota // prefix
	parameter                    // prefix{name:regex}suffix
	rest                         // **
)

// parsePath reads the path of a pattern.
func parsePath(path string) ([]segment, error) {
	if path == "" || path[0] != '/' {
		return nil, fmt.Errorf("path %q does not begin with \"/\"", path)
	}
	texts, err := splitSegments(path[1:])
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", path, err)
	}
	segments := make([]segment, len(texts))
	for i, text := range texts {
		if text == "**" {
			if i < len(texts)-1 {
				return nil, fmt.Errorf("path %q: \"**\" stands only at the end", path)
			}
			segments[i] = segment{kind: rest, name: restName}
			continue
		}
		if segments[i], err = parseSegment(text); err != nil {
			return nil, fmt.Errorf("path %q: segment %q: %w", path, text, err)
		}
	}
	names := parameterNames(segments)
	if len(names) > maxCaptures {
		return nil, fmt.Errorf("path %q has %d parameters, at most %d are possible", path, len(names), maxCaptures)
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("path %q has two parameters named %q (\"**\" is named %q)", path, name, restName)
		}
	}
	return segments, nil
}

// splitSegments splits at the slashes outside of braces: a regex may contain one.
func splitSegments(path string) ([]string, error) {
	var texts []string
	for {
		end := 0
		for end < len(path) && path[end] != '/' {
			if path[end] != '{' {
				end++
				continue
			}
			length := braceLength(path[end:])
			if length == 0 {
				return nil, fmt.Errorf("%q is not closed by \"}\"", path[end:])
			}
			end += length
		}
		texts = append(texts, path[:end])
		if end == len(path) {
			return texts, nil
		}
		path = path[end+1:]
	}
}

// braceLength returns the length of the {...} that s begins with, 0 if it does not
// end. Braces inside must be balanced, as in [0-9]{4}, or escaped with a backslash.
func braceLength(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

func parseSegment(text string) (segment, error) {
	open := strings.IndexByte(text, '{')
	if open < 0 {
		return parseLiteral(text)
	}
	end := open + braceLength(text[open:])
	if strings.IndexByte(text[end:], '{') >= 0 {
		return segment{}, errors.New("a segment has room for one parameter")
	}
	prefix, err := canonicalLiteral(text[:open])
	if err != nil {
		return segment{}, err
	}
	suffix, err := canonicalLiteral(text[end:])
	if err != nil {
		return segment{}, err
	}
	name, regex, hasRegex := strings.Cut(text[open+1:end-1], ":")
	if !isName(name) {
		return segment{}, fmt.Errorf("%q is no name for a parameter: use letters, digits and \"_\", a digit not first", name)
	}
	if hasRegex && regex == "" {
		return segment{}, fmt.Errorf("the regex is empty: write {%s} for anything", name)
	}
	if hasRegex {
		if _, err := newSegmentRegex(regex); err != nil {
			return segment{}, fmt.Errorf("cannot compile its regex: %w", err)
		}
	}
	return segment{kind: parameter, prefix: prefix, suffix: suffix, name: name, regex: regex}, nil
}

func parseLiteral(text string) (segment, error) {
	if text == "*" {
		return segment{}, errors.New("\"*\" is no wildcard: write {name} for one segment, or \"**\" at the end for the rest")
	}
	text, err := canonicalLiteral(text)
	if err != nil {
		return segment{}, err
	}
	if text == "." || text == ".." {
		return segment{}, errors.New("dot segments are resolved before routes are looked up, so this could never match")
	}
	return segment{kind: literal, prefix: text}, nil
}

// canonicalLiteral brings the literal text of a pattern into the form that
// NormalizePath gives to requests. Text outside ASCII becomes what a client sends
// for it, percent-encoded UTF-8 (RFC 3987 section 3.1).
func canonicalLiteral(text string) (string, error) {
	if strings.Contains(text, "**") {
		return "", errors.New("\"**\" must be a segment of its own")
	}
	if strings.IndexByte(text, '}') >= 0 {
		return "", errors.New("\"}\" without \"{\"")
	}
	var out []byte
	raw := []byte(text)
	for i := 0; i < len(raw); {
		if raw[i] >= 0x80 {
			out = append(out, '%', upperHex[raw[i]>>4], upperHex[raw[i]&15])
			i++
			continue
		}
		var err error
		if out, i, err = appendNormal(out, raw, i); err != nil {
			return "", err
		}
	}
	return string(out), nil
}

func isName(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '_' {
			return false
		}
	}
	return s != "" && (s[0] < '0' || s[0] > '9')
}

func parameterNames(segments []segment) []string {
	var names []string
	for _, s := range segments {
		if s.kind != literal {
			names = append(names, s.name)
		}
	}
	return names
}

func joinPath(segments []segment) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(s.String())
	}
	return b.String()
}

// String returns the segment as a pattern writes it.
func (s segment) String() string {
	switch s.kind {
	case literal:
		return s.prefix
	case rest:
		return "**"
	}
	if s.regex == "" {
		return s.prefix + "{" + s.name + "}" + s.suffix
	}
	return s.prefix + "{" + s.name + ":" + s.regex + "}" + s.suffix
}
