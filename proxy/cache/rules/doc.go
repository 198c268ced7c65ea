// Package rules is what the RFCs say of caches, as functions of heads and times: it knows no store, no clock and no goroutine, and
// allocates nothing. The policy that asks it is package cache.
//
//	RFC 9111 section                                   here
//	3      storing responses                           Storable, ParseResponse
//	3.2    updating stored header fields               Merge
//	3.5    requests with Authorization                 Storable, Response.HasAuthPermission
//	4      reusing a stored response                   Judge
//	4.1    Vary                                        AppendVary, AppendVariant
//	4.2    freshness                                   Judge, Lifetime
//	4.2.1  lifetime                                    Lifetime
//	4.2.2  heuristics, off unless asked for            Policy.HeuristicPercent
//	4.2.3  age                                         InitialAge; how long it has been kept is added by the caller
//	4.2.4  stale responses                             Judge, MayUseOnError
//	4.3.1  asking the origin                           Ask
//	4.3.2  conditional requests of clients             NotModified, EvaluateRange, Request.Precondition
//	4.3.3  what the origin answers                     Freshens, FailsOver
//	4.3.4  updating by a 304                           Freshens, Merge
//	4.3.5  updating by HEAD                            HeadFreshens, Merge
//	4.4    invalidation                                Invalidates, SameOrigin
//	5.1    Age                                         ParseResponse, InitialAge
//	5.2.1  Cache-Control of requests                   ParseRequest, Judge, OnlyIfCached
//	5.2.2  Cache-Control of responses                  ParseResponse, Storable, Lifetime
//	5.3    Expires                                     ParseResponse, Lifetime
//	5.4    Pragma                                      ParseRequest
//
//	RFC 5861   stale-while-revalidate, stale-if-error  Judge, MayUseOnError
//	RFC 6585   statuses that are never stored          Storable
//	RFC 8246   immutable                               Judge
//	RFC 9110   section 5.6.7, dates                    ParseDate
//	           section 12.5.3, Accept-Encoding         AppendVariant, wire.NegotiateCoding
//	           section 13, conditions                  NotModified, EvaluateRange
//	           section 14, ranges                      EvaluateRange, AppendContentRange, AskPart, IsPart
//	RFC 9211   Cache-Status                            AppendStatus
//	RFC 9213   CDN-Cache-Control                       ParseResponse
//
// Where a field says two things, or what cannot be read, the more careful reading counts: a lifetime that is no number is over, the shorter of
// two lifetimes is the one, and a quotation mark that does not close hides no directive.
//
// The caller has its part. It sets Response.Date when the origin did not; it asks about GET and HEAD only; it evaluates conditions and ranges for
// stored 200s only; it keeps Set-Cookie out of what it stores if Policy.StripSetCookie is set; it asks Storable again about what a 304 has changed.
//
// Package model says the same once more, from the prose, for tests: TestModel compares the two, TestHistory here and in package cache plays random
// histories around a cache and holds what it serves against the model.
package rules
