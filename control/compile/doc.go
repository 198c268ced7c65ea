// Package compile turns a configuration into what the data plane runs. It is the only package that knows both planes:
// configuration structs stay inert, runtime types carry no tags, and the boring lines between them are here, one file
// per kind of thing.
//
// Compile changes nothing that is running. What holds state (services with their connections, keys and verified tokens, the access log, metrics)
// lives in the Runtime and outlives a change as long as its own definition is the same.
// The one thing that it does for what runs is to look again after a file of stored consumers that is closed or broken, as nobody else does if it is broken.
//
// The way of a configuration is Compile; Prepare, which lets what is new stand; the publication of its snapshot; and Commit, which ends what is no
// longer used. One that is not published is discarded.
package compile
