//go:build invariants

package wire

// Invariants is true in builds that check what the code promises.
const Invariants = true

// mangle overwrites bytes that nobody may use any more.
func mangle(b []byte) {
	for i := range b {
		b[i] = 0xCC
	}
}
