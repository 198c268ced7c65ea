// Package limit says how often, and how much: guards that limit the rate of requests, and how many are under way at the same time, by
// whatever a request can be counted by; and what clients use in a day or a month, over restarts.
//
// Read rate.go for the way of a request through a policy of rates, concurrency.go for that through one of concurrency, and quota.go for that
// through one of quotas, which package ledger keeps. door.go is for connections, which come before there are requests.
// shared.go, fleet.go and link.go are for rates that hosts share; package redis is where they do.
// bitmap.go is the set of buckets that the store is to be told of.
// window.go is what a rate is, key.go what is counted by, seed.go the secret that it is hashed with, tokens.go the algorithm, table.go where
// the state of keys is kept, fields.go what clients are told, heavy.go and status.go what operators are.
//
// The state of a key is one 64-bit number, which is compared and swapped: a decision on a key that is known waits for nobody. It
// lies in a table of a fixed size that the garbage collector does not see. A key that is as good as new (its bucket is full, it
// has no request under way) makes room for others. One that is not never does: when only such are left in the places where a
// new key could be, that key shares a bucket with all others that found none, and the metrics say so. Nobody gets past a limit by
// flooding it with keys: a key that later finds a place has, at most, had what this one bucket gives to all of them.
//
// Tokens is the seam for tokens that come from elsewhere: a window asks it and does not know the table.
//
// # Across hosts
//
// Hosts may share the buckets of a policy, in a Store. None of them ever waits for it: each decides by what it knows of a bucket, takes tokens
// ahead, and has the bucket charged with what it took since, in a batch. The answer tells it what the others have taken. How much it may
// have taken that the store does not know of is its lease: a quarter of the burst, or what comes in 20 ms if that is more, and at
// least what one request costs (Window.Lease). A host that has used its lease up before the store has answered refuses, which
// is counted. A batch follows its cause at once, and the one before by 5 ms: a key may go through a lease in each round.
//
// What a fleet of h hosts lets through of one key, between any two moments t apart, is
//
//	at most   burst + rate × t + h × lease
//
// What is let through too much is owed: the bucket is charged with it, and what follows is less by as much, so that over time it is the
// rate, and not more. Nothing is lost on the way: a lease takes nothing from a bucket before it is used, and a key that moves from one host to another
// finds there what it has not used. What a host knows is late by the way to the store and back, so that up to rate × that time
// of a bucket is used later than it could be.
//
// A store that answers with an error, with nonsense, or not within the timeout (250 ms) is down: hosts know at the latest when they have something
// to tell it, and the timeout has passed. They ask it four times a second whether it is back. While it is down, for a time d from when it went
// until hosts have noticed that it is back, each host applies the whole limit by itself, from what it knows on (IfDown says what else
// it may do), so that there may be
//
//	at most   (h - 1) × (burst + rate × d)
//
// beyond the above, the burst only for keys that the others do not know as spent. What each has given by itself is not added up later. What
// hosts know of buckets they tell a store that is back, for two seconds, and at any time one that does not know a bucket: that it was restarted and
// has lost everything gives nobody another burst, as long as one host that knows better is asked. In these two seconds what was given back or reset
// may be undone, by a host that has not heard of it.
//
// When hosts are told another way to their store (Fleet.Move), they go by the former one until the new one has answered, and go on with what they know:
// if it leads to another store, they tell that one as they do one that has lost everything.
//
// A reset is known here at once, and on a host where the key is refused within half a second, with the next request.
//
// The shared bucket that keys without a place spill into is each host's own, and so are limits of concurrency.
//
// What is promised, and where it is proven:
//
//   - No bucket ever gives more than its burst and what has come since: tokens_test.go, against an exact model, and with many goroutines.
//   - A request that is refused takes nothing: rate_test.go.
//   - A key whose bucket is not full is never forgotten: table_test.go.
//   - A slot is given back whatever becomes of the request: concurrency_test.go, and proxy/proxytest.
//   - A fleet gives what is said above, at the most and at the least, and gets over a store that fails: shared_synctest_test.go,
//     against a model in memory, redis/store_test.go and cmd/sluice against redis-server.
//   - A quota outlives restarts and crashes, and is never more: ledger/ledger_test.go, and cmd/sluice.
//   - A decision allocates nothing: x_alloc_test.go.
//   - What it costs: x_timing_test.go.
package limit
