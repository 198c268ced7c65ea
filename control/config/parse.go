package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of one YAML file. A file of 10,000 routes has about 1 MiB, and a depth of 12.
const (
	fileBytesMax = 8 << 20
	depthMax     = 64
	tokensMax    = 2_000_000
	keysMax      = 20_000  // of one mapping, in one file
	entriesMax   = 100_000 // of one list of several lines
	keyBytesMax  = 1024    // as in YAML 1.2 section 7.4.2; keys become part of every path below them
)

type kind uint8

const (
	nullNode kind = iota
	scalarNode
	mapNode
	listNode
)

// node is one YAML value. Aliases are refused, so a tree is never larger than its file.
type node struct {
	kind kind
	pos  Pos

	text    string // of a scalar: after quotes and escapes, before ${...}; expand replaces it
	plain   bool   // of a scalar: written without quotes and not as a block
	entries []nodeEntry
	items   []*node

	// Set by expand, once.
	expanded bool
	broken   bool   // the substitution failed and was reported
	parts    []part // what text is made of, when something was substituted
}

type nodeEntry struct {
	key   string
	pos   Pos
	value *node
}

// parseYAML reads one file. It returns nil for an empty document, and for a broken one, which it has reported.
func parseYAML(name string, src []byte, r *report) *node {
	if len(src) > fileBytesMax {
		r.fail(Pos{File: name}, "", fmt.Sprintf("the file has %d bytes, more than the limit of 8 MiB", len(src)), "split it with include")
		return nil
	}
	file, ok := parseAST(name, src, r)
	if !ok {
		return nil
	}
	c := converter{name: name, report: r}
	return c.document(file)
}

// parseAST runs the YAML library behind our own checks. The tokens are judged first, because the library's parser
// recurses once per level and once per key of a mapping, takes square time in both, cubic time on empty list entries, and
// cannot be stopped.
func parseAST(name string, src []byte, r *report) (file *ast.File, ok bool) {
	src, ok = readableText(name, src, r)
	if !ok {
		return nil, false
	}
	// The library is fuzzed less than it deserves: should it panic on some input, that input is refused with a
	// message like any other, and a reload keeps the running configuration.
	defer func() {
		if cause := recover(); cause != nil {
			r.fail(Pos{File: name}, "", "this is not YAML that can be read", fmt.Sprintf("the parser stopped with %v", cause))
			file, ok = nil, false
		}
	}()

	tokens := joinPlain(lexer.Tokenize(string(src)))
	if !acceptTokens(name, tokens, r) {
		return nil, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		pos, message := syntaxError(name, err)
		r.fail(pos, "", message, syntaxHint(src, pos, message))
		return nil, false
	}
	return file, true
}

// readableText removes a byte order mark and carriage returns, and refuses what is not text. Control characters are refused here, once:
// YAML 1.2 section 5.1 allows only tab and the line breaks of them.
func readableText(name string, src []byte, r *report) ([]byte, bool) {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	line, column := 1, 1
	for i := 0; i < len(src); {
		c, size := utf8.DecodeRune(src[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			r.fail(Pos{name, line, column}, "", "the file is not UTF-8 text", fmt.Sprintf("byte 0x%02x", src[i]))
			return nil, false
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			r.fail(Pos{name, line, column}, "", fmt.Sprintf("the control character 0x%02x cannot stand in a file", c),
				fmt.Sprintf(`in a quoted value it is written "\x%02x"`, c))
			return nil, false
		case c == '\r' && (i+1 >= len(src) || src[i+1] != '\n'):
			r.fail(Pos{name, line, column}, "", "a carriage return stands alone", "lines end with a line feed")
			return nil, false
		}
		i += size
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
	}
	// YAML 1.2 section 5.4: every line break is read as a line feed. The library reads some of them differently.
	return bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n")), true
}

// joinPlain puts together what the library's lexer takes apart: within { }, even in a list, it ends a key at every colon
// but that of ://, so that { to: [http://10.0.0.1:80] } would hold a mapping. In a list a key ends where a space follows
// (YAML 1.2 section 7.3.3).
func joinPlain(tokens token.Tokens) token.Tokens {
	var open []token.Type
	joined := tokens[:0]
	var last *token.Token
	for i := 0; i < len(tokens); i++ {
		tk := tokens[i]
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			open = append(open, tk.Type)
		case token.MappingEndType, token.SequenceEndType:
			open = open[:max(0, len(open)-1)]
		case token.MappingValueType:
			// last is there: at least the bracket that is open.
			if len(open) == 0 || open[len(open)-1] != token.SequenceStartType || i+1 == len(tokens) || !touching(tk, tokens[i+1]) {
				break
			}
			if last.Indicator == token.QuotedScalarIndicator {
				break // ["key":value] is a mapping
			}
			next := tokens[i+1]
			i++
			tk = token.String(":"+next.Value, tk.Origin+next.Origin, tk.Position)
			if touching(last, tk) && last.Indicator == token.NotIndicator {
				tk = token.String(last.Value+tk.Value, last.Origin+tk.Origin, last.Position)
				joined = joined[:len(joined)-1]
			}
		}
		joined = append(joined, tk)
		last = tk
	}
	for i, tk := range joined {
		tk.Prev, tk.Next = nil, nil
		if i > 0 {
			tk.Prev, joined[i-1].Next = joined[i-1], tk
		}
	}
	return joined
}

// touching reports whether the plain text b begins where a ends.
func touching(a, b *token.Token) bool {
	return b.Indicator == token.NotIndicator && a.Position.Line == b.Position.Line &&
		a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}

// openBlock is a column in which tokens of a block collection begin, and how many keys and dashes stood there.
type openBlock struct{ column, keys, entries int }

// acceptTokens refuses what Sluice does not read, and bounds depth and width before anything recurses.
func acceptTokens(name string, tokens token.Tokens, r *report) bool {
	var (
		ok     = true
		flow   int
		blocks []openBlock
		prev   *token.Token
	)
	refuse := func(tk *token.Token, message, hint string) {
		ok = false
		r.fail(tokenPos(name, tk), "", message, hint)
	}
	if len(tokens) > tokensMax {
		r.fail(Pos{name, 1, 1}, "", fmt.Sprintf("the file has more than %d words and signs", tokensMax), "split it with include")
		return false
	}
	for _, tk := range tokens {
		switch tk.Type {
		case token.AnchorType, token.AliasType:
			refuse(tk, "anchors (&) and aliases (*) are not read", "name a policy once and use it, or put text that starts with & or * in quotes")
		case token.TagType:
			refuse(tk, "tags (!) are not read", "every key knows its type; put text that starts with ! in quotes")
		case token.MergeKeyType:
			refuse(tk, "merge keys (<<) are not read", "what routes share goes into defaults or a policy")
		case token.DirectiveType:
			refuse(tk, "YAML directives (%) are not read", "put text that starts with % in quotes")
		case token.MappingKeyType:
			refuse(tk, "complex keys (?) are not read", "a key is a word, followed by a colon")
		case token.SequenceEntryType:
			if prev != nil && prev.Type == token.SequenceEntryType && prev.Position.Line != tk.Position.Line && prev.Position.Column >= tk.Position.Column {
				refuse(prev, "the list has an empty entry", "write a value after the dash, or remove it")
			}
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.CommentType:
			continue
		}
		if flow == 0 {
			for len(blocks) > 0 && blocks[len(blocks)-1].column > tk.Position.Column {
				blocks = blocks[:len(blocks)-1]
			}
			if len(blocks) == 0 || blocks[len(blocks)-1].column < tk.Position.Column {
				blocks = append(blocks, openBlock{column: tk.Position.Column})
			}
			if tk.Type == token.MappingValueType && prev != nil && countKey(blocks, prev.Position.Column) > keysMax {
				refuse(prev, fmt.Sprintf("the mapping has more than %d keys", keysMax), "split it into several files with include")
				return false
			}
			if tk.Type == token.SequenceEntryType {
				top := &blocks[len(blocks)-1]
				if top.entries++; top.entries > entriesMax {
					refuse(tk, fmt.Sprintf("the list has more than %d entries", entriesMax), "")
					return false
				}
			}
		}
		// A key, its colon and its value on one line count three columns, so blocks runs ahead of the true depth.
		if flow > depthMax || len(blocks) > 3*depthMax {
			refuse(tk, fmt.Sprintf("the file nests deeper than %d levels", depthMax), "")
			return false
		}
		if !ok && len(r.problems) >= problemsMax {
			return false
		}
		prev = tk
	}
	return ok
}

// countKey counts a key in the block of its column and returns how many there are.
func countKey(blocks []openBlock, column int) int {
	for i := len(blocks) - 1; i >= 0; i-- {
		if blocks[i].column == column {
			blocks[i].keys++
			return blocks[i].keys
		}
	}
	return 0
}

// syntaxError takes position and message out of the library's error. Its own text would print the lines around
// the error, and with them perhaps a secret.
func syntaxError(name string, err error) (Pos, string) {
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &located) || located.GetToken() == nil {
		return Pos{File: name}, "this is not YAML that can be read"
	}
	message := located.GetMessage()
	if strings.Contains(message, "found character '\t'") {
		message = tabIndents
	}
	for _, p := range plainer {
		if strings.HasPrefix(message, p.message) {
			message = p.plain + " [" + message + "]"
			break
		}
	}
	return tokenPos(name, located.GetToken()), message
}

const tabIndents = "a tab cannot indent"

// plainer says what the library's messages mean to somebody who has not read the specification of YAML.
var plainer = []struct{ message, plain string }{
	{"',' or '}' must be specified", "a comma or the closing } is missing before this"},
	{"',' or ']' must be specified", "a comma or the closing ] is missing before this"},
	{"could not find flow mapping end token '}'", "the closing } is missing"},
	{"sequence end token ']' not found", "the closing ] is missing"},
	{"could not find '[' character", "this ] closes nothing"},
	{"could not find end character of", "the closing quote is missing"},
	{"could not find flow map content", "the closing } is missing, or what stands here is no key: value"},
	{"found an invalid key for this map", "this cannot be a key"},
	{"non-map value is specified", "this line is no key: value like the lines above it"},
	{"unexpected key name", "this line is no key: value, its colon may be missing"},
	{"mapping value is not allowed in this context", "a key: value cannot stand within a value"},
	{"value is not allowed in this context", "this does not belong here: its indentation differs from the lines above, or the value before it has ended"},
	{"block sequence entries are not allowed", "a list with dashes begins on a line of its own"},
}

// syntaxHint explains the mistakes that newcomers make.
func syntaxHint(src []byte, pos Pos, message string) string {
	if message == tabIndents {
		return "indent with two spaces"
	}
	line := lineOf(src, pos.Line)
	switch {
	case strings.Contains(line, "${") && strings.ContainsAny(line, "{["):
		return `inside { } and [ ] a value with braces needs quotes: "${NAME}"`
	case strings.Count(line, "{") > 1:
		return `inside { } and [ ] a value with braces needs quotes: "/items/{id}"`
	case strings.Contains(message, "mapping value is not allowed"):
		return `text that contains ": " needs quotes; a key begins in the column of the keys beside it`
	}
	return ""
}

func lineOf(src []byte, line int) string {
	for range line - 1 {
		_, rest, ok := bytes.Cut(src, []byte("\n"))
		if !ok {
			return ""
		}
		src = rest
	}
	first, _, _ := bytes.Cut(src, []byte("\n"))
	return string(first)
}

// converter turns the library's tree into nodes.
type converter struct {
	name   string
	report *report
}

func (c *converter) document(file *ast.File) *node {
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case body != nil:
			c.report.fail(c.value(doc.Body, 0).pos, "", "the file holds more than one YAML document", "remove the line ---, or use include")
			return nil
		default:
			body = doc.Body
		}
	}
	if body == nil {
		return nil
	}
	return c.value(body, 0)
}

func (c *converter) value(n ast.Node, depth int) *node {
	if depth > depthMax {
		c.report.fail(c.at(n), "", fmt.Sprintf("the file nests deeper than %d levels", depthMax), "")
		return &node{pos: c.at(n), broken: true}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return c.mapping(n, depth)
	case *ast.MappingValueNode:
		m := &node{kind: mapNode, pos: c.at(n.Key)}
		m.entries = append(m.entries, c.entry(n, depth))
		return m
	case *ast.SequenceNode:
		list := &node{kind: listNode, pos: c.at(n)}
		for _, item := range n.Values {
			list.items = append(list.items, c.value(item, depth+1))
		}
		return list
	case *ast.NullNode:
		return &node{kind: nullNode, pos: c.at(n)}
	case *ast.LiteralNode:
		return &node{kind: scalarNode, pos: c.at(n), text: n.Value.Value}
	case ast.ScalarNode:
		tk := n.GetToken()
		quoted := tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType
		return &node{kind: scalarNode, pos: c.at(n), text: tk.Value, plain: !quoted}
	}
	c.report.fail(c.at(n), "", fmt.Sprintf("a YAML %s cannot stand here", n.Type().YAMLName()), "")
	return &node{pos: c.at(n), broken: true}
}

func (c *converter) mapping(n *ast.MappingNode, depth int) *node {
	m := &node{kind: mapNode, pos: c.at(n)}
	if !n.IsFlowStyle && len(n.Values) > 0 {
		m.pos = c.at(n.Values[0].Key)
	}
	for _, kv := range n.Values {
		m.entries = append(m.entries, c.entry(kv, depth))
	}
	return m
}

func (c *converter) entry(kv *ast.MappingValueNode, depth int) nodeEntry {
	e := nodeEntry{key: kv.Key.GetToken().Value, pos: c.at(kv.Key)}
	if len(e.key) > keyBytesMax {
		c.report.fail(e.pos, "", fmt.Sprintf("the key is longer than %d bytes", keyBytesMax), "")
		e.key = e.key[:keyBytesMax]
	}
	e.value = c.value(kv.Value, depth+1)
	// A block under its key begins at the key, as a reader sees it. So does a value that is not there.
	if isBlock(kv.Value) || e.value.kind == nullNode {
		e.value.pos = e.pos
	}
	return e
}

func isBlock(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.MappingNode:
		return !n.IsFlowStyle
	case *ast.MappingValueNode:
		return true
	case *ast.SequenceNode:
		return !n.IsFlowStyle
	}
	return false
}

func (c *converter) at(n ast.Node) Pos { return tokenPos(c.name, n.GetToken()) }

func tokenPos(name string, tk *token.Token) Pos {
	return Pos{File: name, Line: tk.Position.Line, Column: max(1, tk.Position.Column)}
}
