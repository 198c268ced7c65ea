// Package address holds the guards that admit clients by their address: by lists of networks, or by country.
//
// The address it looks at is x.Client.Addr, which the edge took from the connection or from what a trusted proxy
// reports: the guard itself believes no header.
//
// Read guard.go first, then set.go (what a list becomes), index.go (how an address is found in a million networks), read.go (lists in
// files), countries.go, and database.go (which country an address belongs to, for those who want to know).
package address
