// Package bench holds the Go benchmarks of the whole path: a client's bytes through the edge, the router, a route's
// policies and the upstream to an origin and back. Its child gate compares them, and those of every other package, between
// two commits. This is the tour.
//
// # The benchmarks
//
//		go test ./bench -run '^$' -bench .
//
//	  - BenchmarkServe is the path in memory (proxytest.Memory): one goroutine runs every exchange from the first byte to the last
//	    without ever waiting, and neither a kernel nor a scheduler has a part in it. It is our code and nothing else, the same
//	    from run to run within a percent or two, and small enough that a change of it shows. What it cannot see is what the
//	    gateway does to spare system calls: these connections are used as TLS is.
//	  - BenchmarkLoopback is the path over sockets, with one client that waits for each answer. Client, origin and the kernel's
//	    work for all three are part of it: a change of the gateway shows diluted, one of its system calls shows here alone.
//	  - BenchmarkLoopbackParallel has as many clients as there are cores, and shows what they contend for.
//	  - The pieces of the path have benchmarks in their own packages, in x_timing_test.go: scanning and writing heads, the chunked
//	    coding, routing, choosing an endpoint, each policy, metrics, a line of the log, an error's body.
//
// What their columns mean:
//
//   - cpu-ns/op is what an exchange costs, the CPU time of the whole process; ns/op is how long it takes, which on a busy
//     machine says more about the machine.
//   - allocs/op is the whole process's and has to be 0. proxy/proxytest/x_alloc_test.go asserts it.
//   - B/op above 0 with 0 allocs/op is the growth of pools in the first moments, divided by b.N; or an allocation that not
//     every operation makes.
//
// None of them says how many requests a host can serve: for that the client and the origin need machines of their own. Client
// and origin allocate nothing.
//
// # The gate
//
//	make bench-gate              compares the working tree with the commit in bench/BASE
//	make bench-gate BASE=main~3  or with another one
//	make bench-accept            does so and, if nothing is worse, makes HEAD the base of later changes
//	make bench-gate-selftest     shows that it works; it takes an hour
//
// The base is checked out beside the working tree. Both are built and run in turn, in short processes, on one core, without
// garbage collection. Packages whose binaries are the same, bit by bit, need not be run. A row of the table is a benchmark:
//
//   - base and new are medians of the processes, each with the interval at 95 %. A process counts with the fastest of its runs.
//   - ratio is new to base: 0.95 is faster by 5 %. It lies in the interval beside it with a probability of 99 %.
//   - p is how often the same code would differ so much by chance: the Mann-Whitney test, as in benchstat.
//   - allocs is per operation, 0→1 if it has changed.
//   - The last column is the verdict. SLOWER: by 5 % or more, and by a nanosecond. ALLOCATES: the median of allocs/op has grown, or
//     that of B/op by 16. These two fail the gate. Both are only said of a benchmark that was measured again, from the beginning,
//     after a first look that is easily alarmed (3 % at p < 0.2), and for all of those together at p < 0.01. One that then
//     turned out well is "cleared", or "below limit" if it is slower for certain, but not by 5 %. "faster" is what the first look
//     says, for information.
//
// A change anywhere moves functions elsewhere, and where a loop happens to lie may change a small benchmark by as much as half.
// Each process is therefore linked with its functions in an order of its own: the layout becomes noise, which the test knows how
// to treat, and a benchmark that is sensitive to it shows a wide interval.
//
// The same is written to bin/bench-gate.json, with both looks and everything that is known about the circumstances. history.csv
// has a line per accepted change: the geometric mean of the ratios of the whole path in memory (path) and of all benchmarks
// that were run (all), the worst one, changed allocations, and why it was accepted if the gate was against it. There are only
// ratios in it: a time is that of a machine. Several slow-downs of less than 5 % are a large one: multiply the column.
//
// Numbers from a busy machine are an anecdote. The gate stands other work on the machine, with wider intervals: it then finds
// less, but no more that is not there.
package bench
