// Package redis has the buckets that hosts share in a Redis, or a Valkey.
//
// A bucket is a key with the time at which it will be full, by that server's clock: those of the hosts may differ. A batch
// of them is charged by one call of a script (store.lua), which is all or nothing. Keys expire by themselves, two seconds after
// their bucket is full, or would be if nothing had been given back. What stands there is the name of a policy and a hash, see limit.Seed: nothing that a client has sent.
//
// One connection is used at a time. Cluster and Sentinel are not spoken.
package redis

import (
	"context"
	"crypto/tls"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"sluice/proxy/limit"
)

// Options say where the server is.
type Options struct {
	Network  string // "tcp" or "unix"
	Address  string // "host:port" or a path
	Database int
	User     string
	Password string
	TLS      *tls.Config // nil: none
	Prefix   string      // of all keys
	Timeout  time.Duration
}

// Store is a limit.Store in a Redis.
type Store struct {
	options Options
	keys    []string
	args    []string

	mu      sync.Mutex     // nobody waits for the server with it
	client  rueidis.Client // nil: not connected
	connect *connecting    // nil: nobody is about to connect
	closed  bool
}

// connecting is an attempt to connect, which goes on when nobody waits for it any more: whoever comes next has the connection.
type connecting struct {
	done   chan struct{}  // closed when the two below are known
	client rueidis.Client // nil: the store was closed meanwhile, or there is an error
	err    error
}

//go:embed store.lua
var source string

var charge = rueidis.NewLuaScript(source)

// New returns a store that connects when it is first used.
func New(o Options) *Store { return &Store{options: o} }

// open returns the client, which there is once the server has answered; nil: the store is closed. It waits no longer than ctx lasts.
func (s *Store) open(ctx context.Context) (rueidis.Client, error) {
	s.mu.Lock()
	if s.client != nil || s.closed {
		defer s.mu.Unlock()
		return s.client, nil
	}
	c := s.connect
	if c == nil {
		c = &connecting{done: make(chan struct{})}
		s.connect = c
		go s.finish(c)
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.client, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("cannot connect: %w", ctx.Err())
	}
}

// finish connects, for as long as the timeouts let it. What comes after the store was closed is closed as well.
func (s *Store) finish(c *connecting) {
	client, err := s.dial()
	s.mu.Lock()
	s.connect = nil
	late := s.closed
	if err == nil && !late {
		s.client = client
		c.client = client
	}
	s.mu.Unlock()
	c.err = err
	close(c.done)
	if err == nil && late {
		client.Close()
	}
}

func (s *Store) dial() (rueidis.Client, error) {
	o := rueidis.ClientOption{
		InitAddress: []string{s.options.Address}, SelectDB: s.options.Database,
		Username: s.options.User, Password: s.options.Password, TLSConfig: s.options.TLS,
		Dialer:            net.Dialer{Timeout: s.options.Timeout, KeepAlive: time.Second},
		ConnWriteTimeout:  s.options.Timeout,
		ForceSingleClient: true, DisableCache: true, DisableRetry: true, AlwaysRESP2: true,
		// A call has a connection to itself: one that does not answer is closed with its call.
		DisableAutoPipelining: true, BlockingPoolSize: 4,
	}
	if s.options.Network == "unix" {
		o.DialCtxFn = func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		}
	}
	client, err := rueidis.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	return client, nil
}

var errClosed = errors.New("the store is not used any more")

// Settle charges the buckets.
func (s *Store) Settle(ctx context.Context, entries []limit.Entry) error {
	client, err := s.open(ctx)
	switch {
	case err != nil:
		return err
	case client == nil:
		return errClosed
	case len(entries) == 0:
		// As much as a batch needs, so that nobody takes a server for well that may only be read from.
		return client.Do(ctx, client.B().Set().Key(s.options.Prefix+":here").Value("1").PxMilliseconds(hereFor).Build()).Error()
	}
	s.keys, s.args = s.keys[:0], s.args[:0]
	for i := range entries {
		e := &entries[i]
		s.keys = append(s.keys, s.key(e))
		merge := "0"
		if e.Merge {
			merge = "1"
		}
		s.args = append(s.args, micros(e.Take), micros(e.Charge), micros(e.View), merge, micros(e.Burst), micros(e.Most()))
	}
	full, err := charge.Exec(ctx, client, s.keys, s.args).ToArray()
	if err != nil {
		return err
	}
	if len(full) != len(entries) {
		return fmt.Errorf("the store answers %d numbers for %d buckets", len(full), len(entries))
	}
	for i := range entries {
		n, err := full[i].ToInt64()
		switch {
		case err != nil:
			return fmt.Errorf("the store answers what is no number: %w", err)
		case n < 0 || n > microsMax:
			return fmt.Errorf("the store says that a bucket is full in %d microseconds", n)
		}
		entries[i].Full = n * int64(time.Microsecond)
	}
	return nil
}

const (
	hereFor   = 10_000
	microsMax = math.MaxInt64 / int64(time.Microsecond)
)

// micros rounds up: nobody gets more for having taken it in small batches.
func micros(ns int64) string {
	n := ns / int64(time.Microsecond)
	if ns%int64(time.Microsecond) > 0 {
		n++
	}
	return strconv.FormatInt(n, 10)
}

func (s *Store) key(e *limit.Entry) string {
	var k [8]byte
	for i := range k {
		k[i] = byte(e.Key >> (56 - 8*i))
	}
	return s.options.Prefix + ":limit:" + e.Policy + ":" + hex.EncodeToString(k[:])
}

// full is the script that fills a bucket. The key stays until no host has another opinion of it: what hosts know is two bursts, or what stood there.
var full = rueidis.NewLuaScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local before = redis.call('GET', KEYS[1])
local at, latest = string.match(before or '', '^(%d+) ?(%d*)$')
latest = math.max(now + ARGV[1], math.min(now + ARGV[2], math.max(tonumber(at or '') or 0, tonumber(latest or '') or 0)))
redis.call('SET', KEYS[1], string.format('%.0f %.0f', now, latest), 'PX', string.format('%.0f', math.ceil((latest - now) / 1000) + 2000))
return before and 1 or 0`)

// Reset fills a bucket.
func (s *Store) Reset(ctx context.Context, e limit.Entry) (bool, error) {
	client, err := s.open(ctx)
	switch {
	case err != nil:
		return false, err
	case client == nil:
		return false, errClosed
	}
	known, err := full.Exec(ctx, client, []string{s.key(&e)}, []string{micros(2 * e.Burst), micros(e.Most())}).AsInt64()
	return known == 1, err
}

// Close ends the connections. One that is being made ends when it is there, or after the timeout.
func (s *Store) Close() {
	s.mu.Lock()
	client := s.client
	s.client, s.closed = nil, true
	s.mu.Unlock()
	if client != nil {
		client.Close()
	}
}
