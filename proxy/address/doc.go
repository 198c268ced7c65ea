// Package address holds the guard that admits clients by their address.
//
// The address it looks at is x.Client.Addr, which the edge took from the connection or from what a trusted proxy
// reports: the guard itself believes no header.
//
// Read guard.go first, then set.go (what a list becomes), index.go (how an address is found in a million of networks) and read.go (lists in
// files).
package address
