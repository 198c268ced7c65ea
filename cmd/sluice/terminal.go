package main

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal is where a command writes: results to out, everything else to err.
type terminal struct {
	out, err io.Writer
	// color says that out is read by a person: colours and aligned tables, else plain text that is stable for scripts.
	color bool
}

// colorful follows https://no-color.org.
func colorful(f *os.File) bool { return os.Getenv("NO_COLOR") == "" && isTerminal(f) }

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// The colours that are used (ECMA-48 section 8.3.117).
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (t *terminal) paint(color, text string) string {
	if !t.color || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// table aligns columns on a terminal. Elsewhere a row is a line with its cells separated by tabs. Cells must not be
// painted yet: colors gives the colour of each column, "" for none.
func (t *terminal) table(colors []string, rows [][]string) string {
	var b strings.Builder
	widths := make([]int, len(colors))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 && t.color {
				b.WriteString("  ")
			} else if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(t.paintIf(colors[i], cell))
			if t.color && i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (t *terminal) paintIf(color, text string) string {
	if color == "" {
		return text
	}
	return t.paint(color, text)
}
