package admin

import (
	"context"
	"io"
	"time"

	"sluice/control/compile"
	"sluice/control/config"
	"sluice/control/profiling"
	"sluice/proxy/cache/store"
	"sluice/proxy/limit"
	"sluice/proxy/server"
	"sluice/proxy/upstream"
)

// Gateway is what the admin listener shows and does. All methods are called by several goroutines at once.
type Gateway interface {
	// Unready says in a word why no traffic should come here, such as "draining"; empty when all is well.
	Unready() string
	Status() Status
	Routes() []compile.RouteInfo
	Services() []upstream.Status
	// Limits returns the policies that limit, with the keys that use them most.
	Limits() []compile.LimitStatus
	// QuotaUsage returns what one key has used of the quotas of a policy: the one with these values.
	QuotaUsage(policy string, values []string) ([]limit.QuotaUsage, error)
	// ResetLimit fills the bucket of one key of a policy: of the one with this id, or with these values.
	ResetLimit(policy, id string, values []string) error
	// Consumers returns up to n consumers by group and name that follow one; more says that there are others. An error says why stored
	// ones are missing.
	Consumers(afterGroup, afterName string, n int) (list []compile.ConsumerInfo, more bool, err error)
	// Members are the stored consumers, or nil if no group has any.
	Members() *compile.Members
	// Reload reads the configuration again and serves from it. A configuration with errors changes nothing, and the
	// error is a config.Problems; any other error is about this machine, such as an address that is in use.
	Reload() (Reloaded, error)
	WriteMetrics(w io.Writer) error
	// Profiles is where continuous profiling writes to, or nil while it is off.
	Profiles() *profiling.Ring
	// Cache is the store of the response cache, or nil if no route uses it.
	Cache() *store.Store
	// PurgeCache calls purge with that store, while no reload replaces it, and reports whether there is one.
	PurgeCache(purge func(*store.Store)) bool
	// Ask serves a request of the gateway's own.
	Ask(ctx context.Context, q server.Question) (server.Answer, error)
}

// Status is what a gateway is and since when.
type Status struct {
	Version    string   `json:"version"`
	Generation uint64   `json:"generation"`
	Files      []string `json:"files"` // the configuration and what it includes; empty without a file
	// LastGood says that the file was broken at the start, and that an earlier configuration is served.
	LastGood bool      `json:"last_good"`
	Started  time.Time `json:"started"`
	Uptime   float64   `json:"uptime_seconds"`
	Listen   []string  `json:"listen"` // addresses, ports resolved
}

// Reloaded is the outcome of a reload that worked.
type Reloaded struct {
	Generation uint64
	Warnings   config.Problems
}
