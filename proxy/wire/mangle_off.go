//go:build !invariants

package wire

// Invariants is true in builds that check what the code promises.
const Invariants = false

func mangle([]byte) {}
