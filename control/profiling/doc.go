// Package profiling takes profiles of the running process: one that somebody asks for, and, if the configuration says
// so, a short one every few minutes and a capture when requests become slow or the cores busy.
//
//	turn.go      who may use the one profiler that a process has
//	take.go      the profiles themselves
//	ring.go      the last profiles on the disk; name.go is what their files are called
//	profiler.go  what runs continuously, and how a reload changes it
//	judge.go     when a capture is worth its cost
//	capture.go   what it consists of
//
// Nothing here may harm the gateway: a full disk, a slow one or a folder that cannot be written costs profiles, a line in
// the log and a count. Off, it costs nothing: there is no goroutine and nothing is counted.
//
// What it costs when it is on is decided by three choices. A CPU profile interrupts every busy core 100 times a second,
// so that it is taken a small part of the time only. Contention is sampled while somebody waits for the answer, and never
// otherwise. And the flight recorder, which writes down every switch between goroutines, runs only between the first look
// that finds a threshold passed and the second.
package profiling
