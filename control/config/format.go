package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// Format lays a configuration out the one way: the sections in the order of the documentation, blocks indented by two
// spaces, at most one empty line in a row and one around every section of several lines. Comments, quotes, ${...} and
// the spaces within a line stay as they are. Values never change: the result is read again and compared, and anything
// that is not the same is an error. Formatting twice changes nothing more.
//
// The error is of type Problems when the text is not YAML that Sluice reads.
func Format(src []byte) ([]byte, error) {
	const name = "input"
	r := newReport()
	file, ok := parseAST(name, src, r)
	if !ok {
		return nil, r.sorted()
	}
	c := converter{name: name, report: r}
	before := c.document(file)
	if r.errors {
		return nil, r.sorted()
	}

	text := strings.ReplaceAll(strings.TrimPrefix(string(src), "\ufeff"), "\r\n", "\n")
	for range formatRoundsMax {
		out := layOut(text, file)
		if file, ok = parseAST(name, []byte(out), r); !ok || !sameValue(before, c.document(file), true) {
			break
		}
		if out == text {
			return []byte(out), nil
		}
		text = out
	}
	return nil, errors.New("cannot format this file without changing a value; please write it in a simpler way")
}

// formatRoundsMax bounds how often the layout is laid out again until it stays as it is. One round does it, and a second
// one sees that, but for comments and empty lines at the edges of odd blocks.
const formatRoundsMax = 5

// sameValue compares two trees; the order of the keys at the top does not count.
func sameValue(a, b *node, top bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.kind != b.kind || a.text != b.text || a.plain != b.plain || len(a.entries) != len(b.entries) || len(a.items) != len(b.items) {
		return false
	}
	if top {
		a, b = inSectionOrder(a), inSectionOrder(b)
	}
	for i := range a.entries {
		if a.entries[i].key != b.entries[i].key || !sameValue(a.entries[i].value, b.entries[i].value, false) {
			return false
		}
	}
	for i := range a.items {
		if !sameValue(a.items[i], b.items[i], false) {
			return false
		}
	}
	return true
}

func inSectionOrder(n *node) *node {
	n = &node{entries: slices.Clone(n.entries)}
	slices.SortStableFunc(n.entries, func(a, b nodeEntry) int { return sectionRank(a.key) - sectionRank(b.key) })
	return n
}

func sectionRank(key string) int {
	if i := slices.Index(sections, key); i >= 0 {
		return i
	}
	return len(sections)
}

// line is one line of the file and what is known about it.
type line struct {
	raw     string // as it was
	text    string // without indentation and the spaces at its end
	column  int    // where its first token began, from 1
	indent  int    // the new indentation; -1 while it is not known
	comment bool   // nothing but a comment
	literal bool   // the content of a block scalar (| or >): not trimmed, not collapsed
	kept    bool   // the last line of a block scalar to whose value empty lines after it would belong (|+)
	folded  bool   // the continuation of a scalar of several lines: empty lines count
	section string // a top-level key begins here
}

func (l line) blank() bool { return l.text == "" && !l.literal && !l.folded }

// layOut writes the lines anew. It works on lines instead of writing the tree, so that what it does not understand
// stays as it was.
func layOut(text string, file *ast.File) string {
	tokens := lexer.Tokenize(text)
	l := layout{lines: splitLines(text)}
	l.markScalars(tokens)
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			l.block(doc.Body, 0)
			l.markSections(doc.Body)
		}
	}
	l.indentFlow(tokens)
	l.indentComments()
	return join(l.chunks())
}

type layout struct {
	lines []line
}

func splitLines(text string) []line {
	texts := strings.Split(strings.TrimRight(text, "\n"), "\n")
	lines := make([]line, len(texts))
	for i, t := range texts {
		trimmed := strings.TrimLeft(t, " \t")
		lines[i] = line{
			raw: t, text: strings.TrimRight(trimmed, " \t"), column: len(t) - len(trimmed) + 1, indent: -1,
			comment: strings.HasPrefix(trimmed, "#"),
		}
	}
	return lines
}

// at gives the line with a number that counts from 1. The library miscounts the lines of some quoted scalars: a number
// without a line gives one that is not written. What that breaks, the comparison at the end of Format finds.
func (l *layout) at(number int) *line {
	if number < 1 || number > len(l.lines) {
		return &line{}
	}
	return &l.lines[number-1]
}

// markScalars finds the lines that belong to a scalar which began on an earlier line.
func (l *layout) markScalars(tokens token.Tokens) {
	starts := map[int]bool{} // lines that begin with a token
	for _, tk := range tokens {
		if p := tk.Position; p.Line <= len(l.lines) && p.Column == l.at(p.Line).column {
			starts[p.Line] = true
		}
	}
	for i, tk := range tokens {
		next := len(l.lines) + 1
		if tk.Type == token.LiteralType || tk.Type == token.FoldedType {
			// The token after the header is the content itself.
			if i+2 < len(tokens) {
				next = tokens[i+2].Position.Line
			}
			l.literal(tk, next)
			continue
		}
		if i+1 < len(tokens) {
			next = tokens[i+1].Position.Line
		}
		if tk.Type != token.StringType && tk.Type != token.SingleQuoteType && tk.Type != token.DoubleQuoteType || l.inLiteral(tk) {
			continue
		}
		last := tk.Position.Line
		for n := tk.Position.Line + 1; n <= min(next, len(l.lines)); n++ {
			if l.at(n).text != "" && !starts[n] {
				last = n
			}
		}
		for n := tk.Position.Line + 1; n <= last; n++ {
			l.at(n).folded, l.at(n).comment = true, false
		}
	}
}

func (l *layout) inLiteral(tk *token.Token) bool {
	return tk.Position.Line > len(l.lines) || l.at(tk.Position.Line).literal
}

// literal marks the content of a block scalar: the lines after its header, up to the line next.
func (l *layout) literal(header *token.Token, next int) {
	first, last := header.Position.Line+1, min(next-1, len(l.lines))
	keep := strings.Contains(header.Value, "+") // |+ keeps empty lines at the end
	for last >= first && l.at(last).text == "" && !keep {
		last--
	}
	for n := first; n <= last; n++ {
		l.at(n).literal, l.at(n).comment = true, false
	}
	if keep && last >= first {
		l.at(last).kept = true
	}
}

// block gives the lines of a block collection their new indentation.
func (l *layout) block(n ast.Node, indent int) {
	switch n := n.(type) {
	case *ast.MappingNode:
		if n.IsFlowStyle {
			return
		}
		for _, kv := range n.Values {
			l.entry(kv, indent)
		}
	case *ast.MappingValueNode:
		l.entry(n, indent)
	case *ast.SequenceNode:
		if n.IsFlowStyle {
			return
		}
		for i, item := range n.Values {
			l.item(n, i, item, indent)
		}
	}
}

func (l *layout) entry(kv *ast.MappingValueNode, indent int) {
	key := kv.Key.GetToken().Position
	l.begin(key, indent)
	l.inside(kv.Value, key.Line, indent+2)
}

func (l *layout) item(list *ast.SequenceNode, i int, item ast.Node, indent int) {
	dash := list.Start.Position
	if i < len(list.Entries) && list.Entries[i].Start != nil {
		dash = list.Entries[i].Start.Position
	}
	l.begin(dash, indent)
	if ln := l.at(dash.Line); dash.Column == ln.column {
		ln.text = tightenDashes(ln.text)
	}
	l.inside(item, dash.Line, indent+2)
}

// tightenDashes leaves one space after each dash, so that the item begins where its further lines are indented to.
func tightenDashes(text string) string {
	dashes := ""
	for strings.HasPrefix(text, "- ") {
		dashes += "- "
		text = strings.TrimLeft(text[2:], " ")
	}
	return dashes + text
}

// begin sets the indentation of the line that begins with the token at p. Within a line, as for the second dash of
// "- - a", there is nothing to do.
func (l *layout) begin(p *token.Position, indent int) {
	if ln := l.at(p.Line); p.Column == ln.column && !ln.literal && !ln.folded {
		ln.indent = indent
	}
}

// inside lays out the value of an entry or item that began on the line start.
func (l *layout) inside(value ast.Node, start, indent int) {
	if isBlock(value) {
		l.block(value, indent)
		return
	}
	first := value.GetToken().Position.Line
	if value.Type() != ast.NullType && first <= len(l.lines) && first > start {
		l.begin(value.GetToken().Position, indent)
	}
	if block, ok := value.(*ast.LiteralNode); ok {
		l.indentLiteral(block.Start.Position.Line+1, indent)
		return
	}
	for n := first + 1; n <= len(l.lines) && l.at(n).folded; n++ {
		l.at(n).indent = indent
	}
}

// indentLiteral moves the content of a block scalar as a whole.
func (l *layout) indentLiteral(first, indent int) {
	column := 0
	for n := first; n <= len(l.lines) && l.at(n).literal; n++ {
		if ln := l.at(n); ln.text != "" && column == 0 {
			column = ln.column
		}
	}
	for n := first; n <= len(l.lines) && l.at(n).literal; n++ {
		ln := l.at(n)
		ln.indent, ln.text = indent, ln.raw[min(len(ln.raw), max(0, column-1)):]
	}
}

func (l *layout) markSections(body ast.Node) {
	switch n := body.(type) {
	case *ast.MappingNode:
		if n.IsFlowStyle {
			return
		}
		for _, kv := range n.Values {
			l.at(kv.Key.GetToken().Position.Line).section = kv.Key.GetToken().Value
		}
	case *ast.MappingValueNode:
		l.at(n.Key.GetToken().Position.Line).section = n.Key.GetToken().Value
	}
}

// indentFlow indents the further lines of { } and [ ] by two for every bracket that is open.
func (l *layout) indentFlow(tokens token.Tokens) {
	depth, base := 0, 0
	for _, tk := range tokens {
		p := tk.Position
		if p.Line > len(l.lines) {
			continue
		}
		ln := l.at(p.Line)
		starts := p.Column == ln.column && !ln.folded && !ln.literal
		closes := tk.Type == token.MappingEndType || tk.Type == token.SequenceEndType
		if closes {
			depth = max(0, depth-1)
		}
		if starts && ln.indent < 0 && (depth > 0 || closes) {
			ln.indent = base + 2*depth
			ln.comment = false
		}
		if tk.Type == token.MappingStartType || tk.Type == token.SequenceStartType {
			if depth == 0 {
				base = max(0, ln.indent)
			}
			depth++
		}
	}
	// A continuation inside brackets was not reached by block: under the line that it continues.
	for i := range l.lines {
		if ln := &l.lines[i]; ln.folded && ln.indent < 0 && i > 0 {
			ln.indent = max(0, l.lines[i-1].indent)
			if !l.lines[i-1].folded {
				ln.indent += 2
			}
		}
	}
}

// indentComments puts a comment where the block is that it was written for: that of the next line if they began in
// the same column, else that of an earlier line in its column, else that of the next line.
func (l *layout) indentComments() {
	moved := map[int]int{} // columns of the open blocks, old → new
	for i := range l.lines {
		ln := &l.lines[i]
		switch {
		case ln.comment && ln.indent < 0:
			ln.indent = l.commentIndent(i, moved)
		case ln.text != "" && !ln.literal && !ln.folded && ln.indent >= 0:
			for column := range moved {
				if column > ln.column {
					delete(moved, column)
				}
			}
			moved[ln.column] = ln.indent
		}
	}
}

func (l *layout) commentIndent(i int, moved map[int]int) int {
	column := l.lines[i].column
	next := slices.IndexFunc(l.lines[i:], func(ln line) bool { return ln.text != "" && !ln.comment })
	if next >= 0 && l.lines[i+next].column == column {
		return max(0, l.lines[i+next].indent)
	}
	if column == 1 {
		return 0
	}
	if indent, ok := moved[column]; ok {
		return indent
	}
	if next >= 0 && l.lines[i+next].section == "" {
		return max(0, l.lines[i+next].indent)
	}
	// After the last line of a section: in the deepest block that begins left of it.
	best, indent := 0, 0
	for c, in := range moved {
		if c < column && c > best {
			best, indent = c, in+2
		}
	}
	return indent
}

// chunk is a top-level section with the comments in front of it.
type chunk struct {
	section string
	lines   []line
	spaced  bool // an empty line was in front of it
}

// chunks cuts the file into sections, in their order. Comments at the left edge belong to the section that follows
// them; those in front of the first section, up to an empty line, head the file; those after the last end it.
func (l *layout) chunks() []chunk {
	var starts []int
	for i := range l.lines {
		if l.lines[i].section != "" {
			starts = append(starts, l.commentsAbove(i))
		}
	}
	if len(starts) == 0 {
		return []chunk{{lines: l.lines}}
	}
	head := starts[0]
	end := l.footer()
	var chunks []chunk
	if head > 0 {
		chunks = append(chunks, chunk{lines: l.lines[:head]})
	}
	first := len(chunks)
	for i, start := range starts {
		stop := end
		if i+1 < len(starts) {
			stop = starts[i+1]
		}
		c := chunk{lines: l.lines[start:stop], spaced: start > 0 && l.lines[start-1].blank()}
		for _, ln := range c.lines {
			if ln.section != "" {
				c.section = ln.section
			}
		}
		chunks = append(chunks, c)
	}
	slices.SortStableFunc(chunks[first:], func(a, b chunk) int { return sectionRank(a.section) - sectionRank(b.section) })
	if end < len(l.lines) {
		chunks = append(chunks, chunk{lines: l.lines[end:], spaced: l.lines[end-1].blank()})
	}
	return chunks
}

// commentsAbove is the first line of the comments that belong to the section at line i.
func (l *layout) commentsAbove(i int) int {
	first := i
	for j := i - 1; j >= 0; j-- {
		ln := l.lines[j]
		switch {
		case ln.comment && ln.indent == 0 && !isModeline(ln.text):
			first = j
			continue
		case ln.blank() && !l.headOfFile(j):
			continue
		}
		break
	}
	return first
}

// isModeline tells the comment that names the schema to editors; it stays at the top.
func isModeline(text string) bool {
	return strings.HasPrefix(text, "# yaml-language-server:")
}

// headOfFile reports whether nothing but comments and empty lines stand above line j.
func (l *layout) headOfFile(j int) bool {
	return !slices.ContainsFunc(l.lines[:j], func(ln line) bool { return ln.text != "" && !ln.comment })
}

// footer is where the comments begin that follow the last section.
func (l *layout) footer() int {
	end := len(l.lines)
	for j := end - 1; j >= 0; j-- {
		ln := l.lines[j]
		if ln.comment && ln.indent == 0 {
			end = j
			continue
		}
		if !ln.blank() {
			break
		}
	}
	return end
}

// join writes the chunks with their empty lines.
func join(chunks []chunk) string {
	var b strings.Builder
	var before *chunk
	for i := range chunks {
		c := &chunks[i]
		c.lines = trimBlank(c.lines)
		if len(c.lines) == 0 {
			continue
		}
		if before != nil && separated(*before, *c) {
			b.WriteByte('\n')
		}
		writeLines(&b, c.lines)
		before = c
	}
	return b.String()
}

// separated says whether an empty line stands between two chunks.
func separated(a, b chunk) bool {
	if a.section == "" { // the head of the file
		return !isModeline(a.lines[len(a.lines)-1].text)
	}
	if a.lines[len(a.lines)-1].kept {
		return false
	}
	return b.spaced || len(a.lines) > 1 || len(b.lines) > 1
}

func trimBlank(lines []line) []line {
	for len(lines) > 0 && lines[0].blank() {
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[len(lines)-1].blank() {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func writeLines(b *strings.Builder, lines []line) {
	for i, ln := range lines {
		if ln.text == "" {
			if ln.blank() && i > 0 && lines[i-1].blank() {
				continue
			}
			b.WriteByte('\n')
			continue
		}
		fmt.Fprintf(b, "%*s%s\n", max(0, ln.indent), "", ln.text)
	}
}
