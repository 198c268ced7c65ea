package router

// maxCaptures is how many parameters a pattern may have, "**" included. A pattern
// with more is Invalid; the number keeps Match a small value without a slice.
const maxCaptures = 16

// Match is where a lookup leaves its result. It may be reused without being reset,
// by one goroutine at a time.
type Match struct {
	// Index is the place of the route in the slice given to New, or -1.
	Index int

	count int
	spans [maxCaptures]span
}

// span is a part of the path: offsets in bytes.
type span struct{ start, end uint32 }

// Value returns what the parameter of the given index (see Pattern.Param) captured,
// as a part of path, which must be the path that was looked up. It is nil if the
// matched route has no parameter of that index.
func (m *Match) Value(path []byte, index int) []byte {
	if index < 0 || index >= m.count {
		return nil
	}
	s := m.spans[index]
	return path[s.start:s.end:s.end]
}
