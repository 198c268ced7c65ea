// Package recall remembers what was found out about requests and those who send them, in memory of a bounded size: tokens that were verified,
// what somebody else has decided or answered. It is read without a lock, and what is new makes room for itself.
//
// A Table is that for entries of any kind, whose owner compares them. Answers is one whose entries are found by the Sum of a secret and end at
// a time.
package recall
