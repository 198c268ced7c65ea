// Package limit says how often: guards that limit the rate of requests, and how many are under way at the same time, by whatever
// a request can be counted by.
//
// Read rate.go for the way of a request through a policy of rates, and concurrency.go for that through one of concurrency.
// window.go is what a rate is, key.go what is counted by, tokens.go the algorithm, table.go where the state of keys is kept,
// fields.go what clients are told, heavy.go and status.go what operators are.
//
// The state of a key is one 64-bit number, which is compared and swapped: a decision on a key that is known waits for nobody. It
// lies in a table of a fixed size that the garbage collector does not see. A key that is as good as new (its bucket is full, it
// has no request under way) makes room for others. One that is not never does: when only such are left in the places where a
// new key could be, that key shares a bucket with all others that found none, and the metrics say so. Nobody gets past a limit by
// flooding it with keys: a key that later finds a place has, at most, had what this one bucket gives to all of them.
//
// Tokens is the seam for tokens that come from elsewhere: a window asks it and does not know the table.
//
// What is promised, and where it is proven:
//
//   - No bucket ever gives more than its burst and what has come since: tokens_test.go, against an exact model, and with many goroutines.
//   - A request that is refused takes nothing: rate_test.go.
//   - A key whose bucket is not full is never forgotten: table_test.go.
//   - A slot is given back whatever becomes of the request: concurrency_test.go, and proxy/proxytest.
//   - A decision allocates nothing: x_alloc_test.go.
//   - What it costs: x_timing_test.go.
package limit
