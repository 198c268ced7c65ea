package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Store is where hosts keep what they share.
type Store struct {
	URL      Text     `cfg:"url" required:"true" doc:"redis://host:port, rediss://host:port (TLS) or unix:/path; a Valkey is one, too; /1 at the end is a database"`
	User     Text     `cfg:"user" doc:"who Sluice is to the store; the default user by default"`
	Password Secret   `cfg:"password" doc:"what that proves it with"`
	Secret   Secret   `cfg:"secret" doc:"the same on all hosts, 16 bytes or more: what clients are known by is hashed with it; the password by default"`
	Prefix   Text     `cfg:"prefix" default:"sluice" doc:"what the names of all keys begin with, so that two fleets can use one store"`
	CA       *Content `cfg:"ca" doc:"file of PEM certificates to trust as the store, instead of the system's; for rediss://"`
	Timeout  Duration `cfg:"timeout" default:"250ms" doc:"how long an answer may take before the store is taken to be down; no request waits for it"`
	Pos      Pos
}

func (s *Store) decodeShort(d *decoder, n *node, path string) bool {
	text, ok := d.scalar(n, path, "a URL such as redis://host:6379")
	if ok {
		s.URL = Text{text, n.pos}
	}
	return true
}

// StoreAddress is where a store is.
type StoreAddress struct {
	Network  string // "tcp" or "unix"
	Address  string // "host:port" or a path
	Host     string // that a certificate is for
	TLS      bool
	Database int
}

// databasesMax is more than any server has.
const databasesMax = 1 << 20

// Address takes the URL apart. A second result that is not empty says what is wrong with it, the third what it should be.
func (s *Store) Address() (StoreAddress, string, string) {
	const hint = "redis://host:6379, rediss://host:6379 or unix:/path"
	if path, ok := strings.CutPrefix(s.URL.Text, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || len(path) > socketPathMax {
			return StoreAddress{}, fmt.Sprintf("names no absolute path of at most %d bytes", socketPathMax), "unix:/run/redis.sock"
		}
		return StoreAddress{Network: "unix", Address: path}, "", ""
	}
	u, err := url.Parse(s.URL.Text)
	schemes := []string{"redis", "rediss", "valkey", "valkeys"}
	switch {
	case err != nil || !slices.Contains(schemes, u.Scheme) || u.Opaque != "":
		return StoreAddress{}, "is no URL of a store", hint
	case u.User != nil:
		return StoreAddress{}, "the URL holds a user or a password, which others are shown", "user: ... and password: ${REDIS_PASSWORD}"
	case u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		return StoreAddress{}, "is no URL of a store", hint
	}
	a := StoreAddress{Network: "tcp", Host: u.Hostname(), TLS: u.Scheme == "rediss" || u.Scheme == "valkeys"}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return StoreAddress{}, "has no port between 1 and 65535", hint
	}
	a.Address = net.JoinHostPort(a.Host, port)
	if number := strings.TrimPrefix(u.Path, "/"); number != "" {
		if a.Database, err = strconv.Atoi(number); err != nil || a.Database < 0 || a.Database > databasesMax || !isDigits(number) {
			return StoreAddress{}, "the path of the URL is no number of a database", "redis://host:6379/1"
		}
	}
	return a, "", ""
}

// The bounds of what stores may be.
const (
	socketPathMax   = 107 // bytes, what the kernel takes
	storeSecretMin  = 16  // bytes
	storePrefixMax  = 64  // bytes
	storeTimeoutMin = Duration(5 * time.Millisecond)
	storeTimeoutMax = Duration(2 * time.Second)
)

func (v *validator) stores(stores Named[Store]) {
	for i := range stores {
		s, path := &stores[i].Value, joinPath("stores", stores[i].Name)
		a, wrong, hint := s.Address()
		if s.URL.Text != "" && wrong != "" {
			where := path
			if v.written(path + ".url") {
				where += ".url"
			}
			v.failAt(s.URL.Pos, where, wrong, hint)
			continue
		}
		if s.CA != nil && !a.TLS {
			v.fail(path+".ca", "is for a store with TLS", "rediss://")
		} else {
			v.pem(s.CA, path+".ca")
		}
		if s.User.Text != "" && s.Password.IsZero() {
			v.fail(path+".user", "has no password", "password: ${REDIS_PASSWORD}")
		}
		if !s.Secret.IsZero() && len(s.Secret.Reveal()) < storeSecretMin {
			v.fail(path+".secret", fmt.Sprintf("has fewer than %d bytes", storeSecretMin), "openssl rand -base64 32 makes one")
		}
		if s.Prefix.Text == "" || len(s.Prefix.Text) > storePrefixMax || strings.ContainsFunc(s.Prefix.Text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			v.failAt(s.Prefix.Pos, path+".prefix", fmt.Sprintf("is no text of 1 to %d characters without spaces", storePrefixMax), "sluice")
		}
		if s.Timeout < storeTimeoutMin || s.Timeout > storeTimeoutMax {
			v.fail(path+".timeout", "is not between 5ms and 2s", "250ms")
		}
	}
}

// across checks what hosts share.
func (v *validator) across(r *RateLimit, path string) {
	switch {
	case r.Across.Text == "" && v.written(path+".if_store_down"):
		v.fail(path+".if_store_down", "is for a limit that hosts share", "across: the name of a store")
	case r.Across.Text == "":
	default:
		if _, ok := v.storeUsed[r.Across.Text]; !ok {
			v.unknown("store", "stores", r.Across, path+".across", v.config.Stores.Names())
			return
		}
		v.storeUsed[r.Across.Text] = true
	}
}
