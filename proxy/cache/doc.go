// Package cache is the policy that keeps answers and gives them to whoever asks the same. What may be kept, and for whom and how long it may
// be used, says package rules; where it lies, package store.
//
//   - A visit is what one exchange has to do with the cache (cache.go): it looks into the store, and answers from there (answer.go), or
//     asks the origin (ask.go).
//   - A flight is one request to the origin (flight.go). Whoever has begun it leads; who wants the same meanwhile follows, and reads the
//     answer as it arrives.
//   - A body of which something was evicted while a slow client read it goes on from the origin, or is cut (resume.go).
//   - Whom a leader has left without an answer goes by itself, in turns (turns.go).
//   - What lies in the store under a key (key.go) is a record, the head and the body (record.go). What a 304 or the answer to a HEAD says
//     changes the record (update.go); a request that may have changed the resource removes it (invalidate.go).
//
// What a leader's answer means for those who follow:
//
//	an answer that may be kept            theirs, too
//	304 about what is kept                they look into the store again
//	one that is nobody else's             each asks by itself, in turns: 8 at first, and two more for each answer; nobody waits for
//	                                      its turn for longer than Options.Wait
//	4xx that is not to be kept            may be about the leader alone: one of them leads, the others follow that one. After three such
//	                                      leaders (leadersMax) each asks by itself, in turns
//	5xx that is not to be kept, or none   the same, but after three all of them get the error: 503 service_failing in place of a 5xx,
//	                                      which is not theirs to see. So ten thousand who miss the same cost an origin that is
//	                                      down three requests
//	none within Options.Wait              they ask by themselves, in turns, of which eight more come with each further wait, and go on
//	                                      waiting: whatever comes first, from the leader or from one who had a turn, is theirs, too, as are
//	                                      three failures in a row
//
// A follower that may use what is stale if the origin fails does so at the first failure.
package cache
