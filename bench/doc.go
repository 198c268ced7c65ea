// Package bench holds the Go benchmarks of the whole path: a client's bytes through the edge, the router, a route's
// policies and the upstream to an origin and back.
//
//	go test ./bench -run '^$' -bench . -count 10 | tee new.txt
//	benchstat old.txt new.txt
//
// How to read them:
//
//   - BenchmarkServe is the path in memory (proxytest.Memory): one goroutine runs every exchange from the first byte to the last
//     without ever waiting, and neither a kernel nor a scheduler has a part in it. It is our code and nothing else, the same
//     from run to run within a percent or two, and small enough that a change of it shows. What it cannot see is what the
//     gateway does to spare system calls: these connections are used as TLS is.
//   - BenchmarkLoopback is the path over sockets, with one client that waits for each answer. Client, origin and the kernel's
//     work for all three are part of it: a change of the gateway shows diluted, one of its system calls shows here alone.
//   - BenchmarkLoopbackParallel has as many clients as there are cores, and shows what they contend for.
//   - cpu-ns/op is what an exchange costs, the CPU time of the whole process; ns/op is how long it takes, which on a busy
//     machine says more about the machine.
//   - allocs/op is the whole process's and has to be 0. proxy/proxytest/x_alloc_test.go asserts it.
//   - B/op above 0 with 0 allocs/op is the growth of pools in the first moments, divided by b.N.
//
// None of them says how many requests a host can serve: for that the client and the origin need machines of their own. Client
// and origin allocate nothing. The pieces of the path have benchmarks in their own packages, in x_timing_test.go.
package bench
