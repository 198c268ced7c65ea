// Package store is the memory of the response cache: bytes by key, in a space of fixed size that evicts and never grows. It
// knows nothing of HTTP.
//
//   - The bytes lie in freecache: 256 rings, each under a lock of its own, without a pointer for the garbage collector to follow.
//   - What does not fit in one of its entries is cut: the entry holds the beginning, chunks the rest.
//   - A purge is a mark (marks.go): it touches no entry, and is judged when an entry is looked at.
//   - What the lurker has judged (lurker.go) need not be remembered.
//   - The heap that freecache takes does not let the rest of the heap grow with it (gcpace.go).
package store
