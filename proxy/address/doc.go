// Package address holds the guard that admits clients by their address.
//
// The address it looks at is x.Client.Addr, which the edge took from the connection or from what a trusted proxy
// reports: the guard itself believes no header.
package address
