// Package roster keeps the consumers that the admin listener edits, in a file of bbolt.
//
// A Member is what is kept of one of them; file.go opens the file, edit.go changes it, list.go reads it, and record.go says how a member lies
// in it. What is acknowledged has been synced to the disk; what has failed has changed nothing, or else the file counts as broken. A file that
// is found broken is not used any more: every call returns ErrBroken, and no fault or panic of the library under it gets out.
//
// The package knows nothing of requests: compile makes of a member what a guard looks for.
package roster
