package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a file. Lines and columns count from 1; columns count characters, not bytes.
// A Pos without a line means the file as a whole.
type Pos struct {
	File         string
	Line, Column int
}

// String returns "file:line:column".
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one thing that is wrong, or odd, in a configuration.
type Problem struct {
	Pos     Pos
	Path    string // the key it is about, such as routes.item.match; empty for the file as a whole
	Message string // what is wrong
	Hint    string // what would be valid, or the nearest known word; may be empty
	Warning bool   // the configuration works all the same
}

// String returns the problem in one line: "file:line:column: path: message (hint)".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Pos.String())
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (")
		b.WriteString(p.Hint)
		b.WriteString(")")
	}
	return b.String()
}

// Problems is everything that was found, sorted by file and position. It is an error when it is not empty, but
// it may hold warnings only: ask HasErrors.
type Problems []Problem

// Error returns one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// HasErrors reports whether at least one problem is more than a warning.
func (ps Problems) HasErrors() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return !p.Warning })
}

// problemsMax bounds a report: a file that is not a Sluice file at all would otherwise fill the terminal.
const problemsMax = 500

// report collects problems while a configuration is read.
type report struct {
	problems Problems
	seen     map[Problem]bool
	touched  map[string]bool // paths at or below which an error was found
	errors   bool
	dropped  int
}

func newReport() *report {
	return &report{seen: map[Problem]bool{}, touched: map[string]bool{}}
}

func (r *report) fail(pos Pos, path, message, hint string) {
	r.errors = true
	for p := path; p != "" && !r.touched[p]; p = parentPath(p) {
		r.touched[p] = true
	}
	r.add(Problem{Pos: pos, Path: path, Message: message, Hint: hint})
}

func (r *report) warn(pos Pos, path, message, hint string) {
	r.add(Problem{Pos: pos, Path: path, Message: message, Hint: hint, Warning: true})
}

func (r *report) add(p Problem) {
	switch {
	case r.seen[p]:
	case len(r.problems) >= problemsMax:
		r.dropped++
	default:
		r.seen[p] = true
		r.problems = append(r.problems, p)
	}
}

// sorted returns what was collected, by file and position.
func (r *report) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
		)
	})
	if r.dropped > 0 && len(r.problems) > 0 {
		last := r.problems[len(r.problems)-1]
		r.problems = append(r.problems, Problem{
			Pos:     Pos{File: last.Pos.File},
			Message: fmt.Sprintf("%d more problems are not shown", r.dropped),
			Warning: !r.errors,
		})
	}
	return r.problems
}
