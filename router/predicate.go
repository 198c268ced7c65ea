package router

import (
	"bytes"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// Op is what a predicate demands of a value.
type Op uint8

const (
	OpEquals  Op = iota // the value is present and equal, byte by byte
	OpPresent           // the value is present, empty or not
	OpAbsent            // the value is absent
	OpPrefix            // the value is present and begins with Value
	OpRegex             // the value is present and the regex matches somewhere in it; ^ and $ bind it
)

// Predicate demands something of one named value of a request. Where the value comes
// from is said by the list of a Pattern in which the predicate stands.
type Predicate struct {
	Name  string
	Op    Op
	Value string // nothing for OpPresent and OpAbsent
}

// ParsePredicate reads the value of a predicate as the configuration writes it:
// "present", "absent", "prefix X", "regex X", "is X" or a literal. "is X" is for a
// literal that would read as one of the others.
func ParsePredicate(name, value string) (Predicate, error) {
	p := Predicate{Name: name, Op: OpEquals, Value: value}
	word, argument, _ := strings.Cut(value, " ")
	argument = strings.TrimLeft(argument, " ")
	switch word {
	case "present", "absent":
		if value != word {
			return Predicate{}, fmt.Errorf("%s: %q takes no value: write \"is %s\" for this literal", name, word, value)
		}
		p.Op, p.Value = OpPresent, ""
		if word == "absent" {
			p.Op = OpAbsent
		}
	case "prefix", "regex", "is":
		if argument == "" {
			return Predicate{}, fmt.Errorf("%s: %q wants a value: write \"is %s\" for this literal", name, word, word)
		}
		p.Op, p.Value = map[string]Op{"prefix": OpPrefix, "regex": OpRegex, "is": OpEquals}[word], argument
	}
	return p, p.check()
}

// check reports what makes the predicate unusable wherever it stands.
func (p Predicate) check() error {
	switch {
	case p.Name == "":
		return errors.New("a predicate has no name")
	case p.Op > OpRegex:
		return fmt.Errorf("%s: unknown operation %d", p.Name, p.Op)
	case p.Op == OpPrefix && p.Value == "":
		return fmt.Errorf("%s: an empty prefix demands nothing: write \"present\"", p.Name)
	case (p.Op == OpPresent || p.Op == OpAbsent) && p.Value != "":
		return fmt.Errorf("%s: value %q has no meaning here", p.Name, p.Value)
	}
	if p.Op == OpRegex {
		if _, err := regexp.Compile(p.Value); err != nil {
			return fmt.Errorf("%s: cannot compile regex %q: %w", p.Name, p.Value, err)
		}
	}
	return nil
}

// String returns the predicate as the configuration writes it: "Accept: prefix text/".
func (p Predicate) String() string { return p.Name + ": " + p.demand() }

func (p Predicate) demand() string {
	switch p.Op {
	case OpPresent:
		return "present"
	case OpAbsent:
		return "absent"
	case OpPrefix:
		return "prefix " + p.Value
	case OpRegex:
		return "regex " + p.Value
	}
	switch word, _, _ := strings.Cut(p.Value, " "); word {
	case "present", "absent", "prefix", "regex", "is":
		return "is " + p.Value
	}
	return p.Value
}

// source is where a predicate finds its value.
type source uint8

const (
	fromHeader source = iota
	fromQuery
	fromCookie
	fromJSON
)

// String returns a word for messages.
func (s source) String() string {
	return [...]string{"header", "query", "cookie", "json"}[s]
}

// canonicalPredicates returns a checked and sorted copy of one list of a pattern.
func canonicalPredicates(s source, list []Predicate) ([]Predicate, error) {
	list = slices.Clone(list)
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, fmt.Errorf("%s %w", s, err)
		}
		if s == fromHeader {
			if !isToken(list[i].Name) {
				return nil, fmt.Errorf("header %q contains a character that no field name has (RFC 9110 section 5.1)", list[i].Name)
			}
			list[i].Name = textproto.CanonicalMIMEHeaderKey(list[i].Name)
		}
	}
	slices.SortFunc(list, func(a, b Predicate) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(list); i++ {
		if list[i].Name == list[i-1].Name {
			return nil, fmt.Errorf("%s %q has two predicates, one is possible", s, list[i].Name)
		}
	}
	return list, nil
}

// check is a predicate made ready for requests.
type check struct {
	source source
	Predicate
	regex *regexp.Regexp // for OpRegex
}

// newChecks makes the predicates of a canonical pattern ready.
func newChecks(p Pattern) []check {
	var checks []check
	for _, list := range p.predicates() {
		for _, predicate := range list.predicates {
			c := check{source: list.source, Predicate: predicate}
			if c.Op == OpRegex {
				c.regex = regexp.MustCompile(c.Value) // Pattern.canonical compiled it before
			}
			checks = append(checks, c)
		}
	}
	slices.SortStableFunc(checks, func(a, b check) int { return a.cost() - b.cost() })
	return checks
}

// cost orders what all has to hold, the cheap first: a regex costs more than most of a request, and a body has to be read.
func (c *check) cost() int {
	cost := 0
	if c.Op == OpRegex {
		cost++
	}
	if c.source == fromJSON {
		cost += 2
	}
	return cost
}

func (c *check) holds(values Values) bool {
	value, ok := c.find(values)
	switch c.Op {
	case OpEquals:
		return ok && string(value) == c.Value
	case OpPresent:
		return ok
	case OpAbsent:
		return !ok
	case OpPrefix:
		return ok && len(value) >= len(c.Value) && string(value[:len(c.Value)]) == c.Value
	case OpRegex:
		return ok && c.regex.Match(value)
	}
	panic("BUG: unknown router.Op")
}

func (c *check) find(values Values) ([]byte, bool) {
	if values == nil {
		return nil, false
	}
	switch c.source {
	case fromHeader:
		return values.Header(c.Name)
	case fromQuery:
		return values.Query(c.Name)
	case fromCookie:
		return values.Cookie(c.Name)
	}
	return values.JSON(c.Name)
}

// complaint says why the check does not hold.
func (c *check) complaint(values Values) string {
	value, ok := c.find(values)
	switch {
	case !ok && c.Op == OpPresent:
		return fmt.Sprintf("%s %s is absent", c.source, c.Name)
	case !ok:
		return fmt.Sprintf("%s %s is absent, wants %s", c.source, c.Name, c.demand())
	case c.Op == OpAbsent:
		return fmt.Sprintf("%s %s is present, wants it absent", c.source, c.Name)
	}
	return fmt.Sprintf("%s %s is %q, wants %s", c.source, c.Name, bytes.ToValidUTF8(value, []byte("\ufffd")), c.demand())
}

// excludes reports whether c and d provably never hold for the same request.
func (c *check) excludes(d *check) bool {
	if c.source != d.source || c.Name != d.Name {
		return false
	}
	if c.Op == OpAbsent || d.Op == OpAbsent {
		return c.Op != d.Op
	}
	if d.Op == OpEquals {
		c, d = d, c
	}
	switch {
	case c.Op == OpEquals:
		return !d.holdsFor(c.Value)
	case c.Op == OpPrefix && d.Op == OpPrefix:
		return !strings.HasPrefix(c.Value, d.Value) && !strings.HasPrefix(d.Value, c.Value)
	}
	return false
}

// implies reports whether, provably, d holds whenever c holds.
func (c *check) implies(d *check) bool {
	switch {
	case c.source != d.source || c.Name != d.Name:
		return false
	case c.Predicate == d.Predicate:
		return true
	case c.Op == OpAbsent || d.Op == OpAbsent:
		return false
	case d.Op == OpPresent:
		return true
	case c.Op == OpEquals:
		return d.holdsFor(c.Value)
	}
	return c.Op == OpPrefix && d.Op == OpPrefix && strings.HasPrefix(c.Value, d.Value)
}

// holdsFor reports whether c, which does not demand absence, holds for a value.
func (c *check) holdsFor(value string) bool {
	switch c.Op {
	case OpEquals:
		return value == c.Value
	case OpPrefix:
		return strings.HasPrefix(value, c.Value)
	case OpRegex:
		return c.regex.MatchString(value)
	}
	return true
}
