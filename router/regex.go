package router

import (
	"regexp"
	"regexp/syntax"
	"unicode"
)

// maxOverlapPairs bounds the search for a segment that two regexes share. Two
// regexes so large that it does not end within the bound count as overlapping.
const maxOverlapPairs = 1 << 18

// segmentRegex is the regex of a parameter. It must match the whole of what the
// parameter takes.
type segmentRegex struct {
	text    string         // as written
	tree    *syntax.Regexp // of text
	matcher *regexp.Regexp // of the whole, as is program
	program *syntax.Prog
}

// newSegmentRegex compiles the regex of a parameter.
func newSegmentRegex(text string) (*segmentRegex, error) {
	written, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	// Not the text itself: an open \Q in it would swallow the end of ours.
	anchored := `\A(?:` + written.String() + `)\z`
	matcher, err := regexp.Compile(anchored)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(anchored, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	return &segmentRegex{text: text, tree: written.Simplify(), matcher: matcher, program: program}, nil
}

// takesAll reports whether the regex provably matches every segment: it is .+ or the
// like. Path segments hold no line feed, so "." leaves nothing out.
func (r *segmentRegex) takesAll() bool {
	tree := r.tree
	for tree.Op == syntax.OpCapture {
		tree = tree.Sub[0]
	}
	if tree.Op != syntax.OpPlus && tree.Op != syntax.OpStar {
		return false
	}
	switch unit := tree.Sub[0]; unit.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpCharClass:
		// [^/]
		return len(unit.Rune) == 4 && unit.Rune[0] == 0 && unit.Rune[1] == '/'-1 &&
			unit.Rune[2] == '/'+1 && unit.Rune[3] == unicode.MaxRune
	}
	return false
}

// overlaps reports whether some segment may match both regexes. False is a proof.
//
// It walks both programs at once over the segments that both could accept: a pair of
// instructions leads to another pair if one rune satisfies both. Assertions such as
// \b are taken to hold, which can only make it say true too often.
func (r *segmentRegex) overlaps(q *segmentRegex) bool {
	type pair struct{ a, b uint32 }
	seen := map[pair]bool{}
	queue := []pair{}
	// reach adds the pairs that follow a pair of instructions without reading, and
	// reports whether both programs can end there.
	reach := func(a, b uint32) bool {
		ended := false
		as, bs := waiting(r.program, a), waiting(q.program, b)
		for _, a := range as {
			for _, b := range bs {
				if r.program.Inst[a].Op == syntax.InstMatch && q.program.Inst[b].Op == syntax.InstMatch {
					ended = true
				}
				if p := (pair{a, b}); !seen[p] {
					seen[p] = true
					queue = append(queue, p)
				}
			}
		}
		return ended
	}
	// That both match the empty segment is of no interest: no parameter takes one.
	reach(uint32(r.program.Start), uint32(q.program.Start))
	for len(queue) > 0 {
		if len(seen) > maxOverlapPairs {
			return true
		}
		p := queue[0]
		queue = queue[1:]
		a, b := &r.program.Inst[p.a], &q.program.Inst[p.b]
		if shareRune(runeRanges(a), runeRanges(b)) && reach(a.Out, b.Out) {
			return true
		}
	}
	return false
}

// waiting returns the instructions that read a rune or end the match and that can be
// reached from pc without reading.
func waiting(program *syntax.Prog, pc uint32) []uint32 {
	var found []uint32
	seen := map[uint32]bool{}
	stack := []uint32{pc}
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch inst := &program.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
			stack = append(stack, inst.Out)
		case syntax.InstFail:
		default:
			found = append(found, pc)
		}
	}
	return found
}

// runeRanges returns the runes that an instruction reads, as pairs of bounds.
func runeRanges(inst *syntax.Inst) []rune {
	switch inst.Op {
	case syntax.InstMatch:
		return nil
	case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return []rune{0, unicode.MaxRune}
	}
	if len(inst.Rune) != 1 {
		return inst.Rune
	}
	first := inst.Rune[0]
	ranges := []rune{first, first}
	if inst.Op == syntax.InstRune && syntax.Flags(inst.Arg)&syntax.FoldCase != 0 {
		for c := unicode.SimpleFold(first); c != first; c = unicode.SimpleFold(c) {
			ranges = append(ranges, c, c)
		}
	}
	return ranges
}

// shareRune reports whether two lists of ranges share a rune other than the slash,
// which no segment contains.
func shareRune(a, b []rune) bool {
	for i := 0; i < len(a); i += 2 {
		for j := 0; j < len(b); j += 2 {
			low, high := max(a[i], b[j]), min(a[i+1], b[j+1])
			if low < high || low == high && low != '/' {
				return true
			}
		}
	}
	return false
}
