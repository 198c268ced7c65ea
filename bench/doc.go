// Package bench holds the Go benchmarks of the whole path: a client's bytes through the edge, the router, a route's
// policies and the upstream to an origin and back, over loopback sockets.
//
//	go test ./bench -run '^$' -bench . -count 10 | tee new.txt
//	benchstat old.txt new.txt
//
// How to read them:
//
//   - BenchmarkServe has one client that waits for each answer: ns/op is the time of one exchange, three processes'
//     work in one (client, gateway, origin) and four hops through the kernel included. It says what a change
//     costs a request, not how many requests a host can serve: for that the client and the origin need machines of
//     their own.
//   - BenchmarkServeParallel has as many clients as there are cores, and shows what they contend for.
//   - allocs/op is the whole process's and has to be 0. proxy/proxytest/x_alloc_test.go asserts it.
//   - B/op above 0 with 0 allocs/op is the growth of pools in the first moments, divided by b.N.
//
// Client and origin allocate nothing (proxytest.Repeater and proxytest.Canned). Numbers from a busy machine are an
// anecdote: compare medians of ten runs that were taken in turn, A B A B, on a machine with nothing else to do.
package bench
