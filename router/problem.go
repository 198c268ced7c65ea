package router

// maxProblems is how many problems New reports. Whoever has more than a hundred has
// made one mistake many times; the report ends there.
const maxProblems = 100

// ProblemKind says how bad a problem is.
type ProblemKind uint8

const (
	// Invalid: the pattern cannot be understood or exceeds a limit. An error.
	Invalid ProblemKind = iota
	// Conflict: one request may match both routes and neither is more specific. An
	// error.
	Conflict
	// Shadowed: the route can provably never be reached. A warning; what cannot be
	// proven is not reported.
	Shadowed
)

// String returns a word for messages.
func (k ProblemKind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case Conflict:
		return "conflict"
	case Shadowed:
		return "shadowed"
	}
	panic("BUG: unknown router.ProblemKind")
}

// Problem is something that New found wrong with a route.
type Problem struct {
	Kind    ProblemKind
	Index   int    // of Route in New's slice
	Route   string // name of the route
	Other   string // name of the earlier route of a Conflict, or of the one that shadows; may be empty
	Message string // a sentence that names both patterns
}
