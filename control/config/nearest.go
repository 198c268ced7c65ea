package config

import (
	"fmt"
	"slices"
	"strings"
)

// nearest returns the known word that is closest to what was written, or "" when none is close enough to be
// what was meant: at most a third of its letters may differ, or it is an
// abbreviation.
func nearest(written string, known []string) string {
	best, bestDistance := "", 1<<30
	w := strings.ToLower(written)
	if w == "" || len(w) > 64 {
		return ""
	}
	for _, k := range known {
		if strings.HasSuffix(w, "y") && w[:len(w)-1]+"ies" == k { // policy, policies
			return k
		}
		d := distance(w, strings.ToLower(k))
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" || bestDistance > max(1, max(len(w), len(best))/3) {
		return abbreviated(w, known)
	}
	return best
}

// abbreviated returns the one known word that w leaves letters out of, such as addresses for addrs, or "".
func abbreviated(w string, known []string) string {
	found := ""
	for _, k := range known {
		rest := w
		for _, c := range []byte(strings.ToLower(k)) {
			if rest != "" && rest[0] == c {
				rest = rest[1:]
			}
		}
		if rest == "" && len(w) >= 3 && 2*len(w) >= len(k) && w[0] == strings.ToLower(k)[0] {
			if found != "" {
				return ""
			}
			found = k
		}
	}
	return found
}

// knownListedMax bounds the list of valid words in a hint: a file may define thousands of services.
const knownListedMax = 32

// didYouMean makes the hint of an unknown word: the nearest known one, and what would be valid.
func didYouMean(written, kind string, known []string) string {
	var parts []string
	if n := nearest(written, known); n != "" {
		parts = append(parts, fmt.Sprintf("did you mean %s?", n))
	}
	switch {
	case len(known) == 0:
	case len(known) > knownListedMax:
		parts = append(parts, fmt.Sprintf("there are %d %s", len(known), kind))
	default:
		parts = append(parts, kind+": "+strings.Join(known, ", "))
	}
	return strings.Join(parts, " ")
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b
// (optimal string alignment).
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

// oneOf writes a list of words the way a sentence does: "a, b or c".
func oneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func sortedCopy(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return words
}
