package transform

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// Regex replaces what a regular expression matches in the path, wherever and as often as it does: an expression
// that means the whole path says so with "^" and "$". A path that it does not match stays as it is.
type Regex struct {
	expression *regexp.Regexp
	once       bool // it matches at the start of the path only
	captures   bool // the replacement refers to a group
	parts      []regexPart
}

// regexPart is literal text, or the group of that number if text is empty.
type regexPart struct {
	text  string
	group int
}

// NewRegex compiles a rewrite of what match (RE2 syntax) finds into to, in which $1, ${1}, $name and ${name} are
// groups, $0 is all that was matched, and $$ is a dollar sign. The query is not looked at and stays.
//
// The path that is matched is a normal one, so "%2F" is three characters. A request whose rewritten path is not
// normal is refused with ErrBadPath.
func NewRegex(match, to string) (*Regex, error) {
	expression, err := regexp.Compile(match)
	if err != nil {
		return nil, fmt.Errorf("cannot compile the regex %q: %w", match, err)
	}
	r := &Regex{expression: expression}
	if r.once, err = matchesAtStartOnly(match); err != nil {
		return nil, fmt.Errorf("cannot compile the regex %q: %w", match, err)
	}
	if r.parts, err = parseReplacement(to, expression); err != nil {
		return nil, fmt.Errorf("cannot replace by %q: %w", to, err)
	}
	for _, p := range r.parts {
		r.captures = r.captures || p.text == "" && p.group > 0
	}
	return r, nil
}

// Serve rewrites the path and hands on, or refuses with ErrBadPath.
//
// It costs one allocation of 16 bytes for each group and 16 more, which the standard library makes for the places
// of what an anchored expression matched, and a few more for one that may match in several places. It costs none
// if the path does not match, or if the expression is anchored and the replacement refers to no group.
func (r *Regex) Serve(x *proxy.Exchange, next *proxy.Chain) error {
	if err := r.rewrite(x); err != nil {
		return err
	}
	return next.Serve(x)
}

func (r *Regex) rewrite(x *proxy.Exchange) error {
	path := x.Request.Path
	if isAsterisk(path) {
		return nil
	}
	buf := wire.GetBuf(wire.Small)
	defer buf.Free()
	rewritten, matched := r.appendReplaced(buf.B[:0], path)
	if !matched {
		return nil
	}
	if !isNormal(rewritten) {
		return ErrBadPath
	}
	x.Request.Path = keep(x, rewritten)
	return nil
}

func (r *Regex) appendReplaced(dst, path []byte) ([]byte, bool) {
	switch {
	case r.once && !r.captures:
		// Find keeps its places on the stack. The match begins at the start.
		found := r.expression.Find(path)
		if found == nil {
			return dst, false
		}
		whole := [2]int{0, len(found)}
		dst = r.appendParts(dst, path, whole[:])
		return append(dst, path[len(found):]...), true
	case r.once:
		places := r.expression.FindSubmatchIndex(path)
		if places == nil {
			return dst, false
		}
		dst = r.appendParts(dst, path, places)
		return append(dst, path[places[1]:]...), true
	case !r.expression.Match(path):
		return dst, false
	}
	done := 0
	for _, places := range r.expression.FindAllSubmatchIndex(path, -1) {
		dst = append(dst, path[done:places[0]]...)
		dst = r.appendParts(dst, path, places)
		done = places[1]
	}
	return append(dst, path[done:]...), true
}

func (r *Regex) appendParts(dst, path []byte, places []int) []byte {
	for _, p := range r.parts {
		if p.text != "" {
			dst = append(dst, p.text...)
		} else if start := places[2*p.group]; start >= 0 {
			dst = append(dst, path[start:places[2*p.group+1]]...)
		}
	}
	return dst
}

// matchesAtStartOnly reports whether every match begins at the start of the text.
func matchesAtStartOnly(expression string) (bool, error) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return false, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return false, err
	}
	// The condition is ^uint8(0) for an expression that matches nothing; it holds the bit as well.
	return program.StartCond()&syntax.EmptyBeginText != 0, nil
}

// parseReplacement does at configuration time what regexp.Expand does at each call, and says what Expand would
// silently take for an empty group: $1x, say, which is the group called "1x".
func parseReplacement(to string, expression *regexp.Regexp) ([]regexPart, error) {
	var parts []regexPart
	for to != "" {
		text, rest, more := strings.Cut(to, "$")
		if text != "" {
			if err := checkReplacementText(text); err != nil {
				return nil, err
			}
			parts = append(parts, regexPart{text: text})
		}
		if !more {
			break
		}
		if strings.HasPrefix(rest, "$") {
			parts = append(parts, regexPart{text: "$"})
			to = rest[1:]
			continue
		}
		name, length := groupName(rest)
		if name == "" {
			return nil, errors.New("a $ begins no group; write $$ for a dollar sign")
		}
		group := groupIndex(name, expression)
		if group < 0 {
			return nil, fmt.Errorf("the regex has no group %q; braces end a name: ${1}x", name)
		}
		parts = append(parts, regexPart{group: group})
		to = rest[length:]
	}
	return parts, nil
}

// groupName returns the name of a group that s begins with, in braces or not, and how many bytes it takes.
func groupName(s string) (name string, length int) {
	if strings.HasPrefix(s, "{") {
		name, _, ok := strings.Cut(s[1:], "}")
		if !ok {
			return "", 0
		}
		return name, len(name) + 2
	}
	n := 0
	for n < len(s) && (proxy.IsAlphanumeric(s[n]) || s[n] == '_') {
		n++
	}
	return s[:n], n
}

// groupIndex returns the number of a group given by number or name, or -1.
func groupIndex(name string, expression *regexp.Regexp) int {
	number := 0
	for i := range len(name) {
		if name[i] < '0' || name[i] > '9' {
			return expression.SubexpIndex(name)
		}
		if number = number*10 + int(name[i]-'0'); number > expression.NumSubexp() {
			return -1
		}
	}
	return number
}

func checkReplacementText(text string) error {
	for i := range len(text) {
		switch c := text[i]; {
		case c == '?':
			return errors.New("a regex rewrites the path only: set the query with a path template")
		case c <= ' ' || c == '#' || c == '\\' || c >= 0x7f:
			return fmt.Errorf("percent-encode the character %q", c)
		}
	}
	return nil
}
