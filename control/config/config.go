package config

import (
	"maps"
	"slices"
	"time"
)

// Config is one configuration, complete: every default is filled in, every name that it uses exists. It must not be
// changed after Load, and may be read by any number of goroutines.
type Config struct {
	Version  int             `cfg:"version" required:"true" doc:"the version of this format: 1"`
	Include  List[Text]      `cfg:"include" doc:"further files to read; glob patterns, relative to this file"`
	Admin    Admin           `cfg:"admin" doc:"health, metrics and the admin API; off turns it off"`
	State    Path            `cfg:"state" doc:"folder for what Sluice remembers, such as the last good configuration"`
	Stores   Named[Store]    `cfg:"stores" doc:"what is shared across hosts, by name; a limit names the one it uses"`
	Log      Log             `cfg:"log" doc:"the log and the access log"`
	Limits   Limits          `cfg:"limits" doc:"what one client, and all clients together, may use"`
	Cache    Cache           `cfg:"cache" doc:"the memory of the response cache"`
	Listen   Named[Listener] `cfg:"listen" doc:"where clients connect, by name"`
	TLS      Named[TLS]      `cfg:"tls" doc:"certificates and rules of TLS, by name; a listener names the one it uses"`
	Services Named[Service]  `cfg:"services" doc:"where traffic can go, by name"`
	Policies Named[Policy]   `cfg:"policies" doc:"reusable rules, by name; a route runs the ones it names in use"`
	Defaults Defaults        `cfg:"defaults" doc:"what applies to every route unless it says otherwise"`
	Routes   Named[Route]    `cfg:"routes" doc:"which request goes where, by name; their order does not matter"`

	Consumers Named[ConsumerGroup] `cfg:"consumers" doc:"clients that are known by a key or a password of their own, by group and name; stored: true in a group for more, which the admin listener edits"`

	at          map[string]Pos
	substituted map[Pos]bool
	files       []string
	documents   []string
	patterns    []string
	now         time.Time // when it was read
}

// sections is the order of the top-level keys, for Format. It includes those of later builds.
var sections = []string{
	"version", "include", "admin", "state", "stores", "log", "limits", "cache", "listen", "tls", "services",
	"consumers", "policies", "defaults", "routes",
}

// Files returns what the configuration was read from: the file itself first, then includes and the files that
// secrets, bodies and certificates came from. A change of any of them is a change of the configuration.
func (c *Config) Files() []string { return slices.Clone(c.files) }

// Documents returns those of Files that were read as YAML: the file itself first, then what it includes, on every level. All else that was
// read may be a secret.
func (c *Config) Documents() []string { return slices.Clone(c.documents) }

// Patterns returns the glob patterns of include, resolved: a new file that matches one is a change, too.
func (c *Config) Patterns() []string { return slices.Clone(c.patterns) }

// At returns the place of a path such as routes.item.match, or of the nearest part of the path that
// is in a file, or else the beginning of the first file.
func (c *Config) At(path string) Pos {
	for p := path; p != ""; p = parentPath(p) {
		if pos, ok := c.at[p]; ok {
			return pos
		}
	}
	return Pos{c.files[0], 1, 1}
}

// Substituted reports whether ${...} made part of the value at pos: a message must then not repeat the value.
func (c *Config) Substituted(pos Pos) bool { return c.substituted[pos] }

// Problem makes an error about a path, for what only a later step can find.
func (c *Config) Problem(path, message, hint string) Problem {
	return Problem{Pos: c.At(path), Path: path, Message: message, Hint: hint}
}

// JoinPath joins steps to a path, quoting names with dots: Path("routes", "a.b", "match") is routes."a.b".match.
func JoinPath(steps ...string) string {
	path := ""
	for _, step := range steps {
		path = joinPath(path, step)
	}
	return path
}

// RouteWord stands in defaults.use for the route's own list.
const RouteWord = "route"

// Chain returns the policies of a route in the order in which they run: defaults.use without what the route skips,
// with the route's own list in the place of the word route, or at the end.
func (c *Config) Chain(r *Route) []Use {
	var chain []Use
	placed := false
	for _, use := range c.Defaults.Use {
		switch {
		case use.Name == RouteWord:
			chain = append(chain, r.Use...)
			placed = true
		case use.Inline == nil && r.skips(use.Name):
		default:
			chain = append(chain, use)
		}
	}
	if !placed {
		chain = append(chain, r.Use...)
	}
	return chain
}

func (r *Route) skips(name string) bool {
	return slices.ContainsFunc(r.Skip, func(skip Text) bool { return skip.Text == name })
}

// finish hands what the decoder learned to the configuration.
func (c *Config) finish(d *decoder, main string) {
	c.at, c.substituted, c.now = d.at, d.substituted, d.options.Now()
	delete(d.files, main)
	c.files = append([]string{main}, slices.Sorted(maps.Keys(d.files))...)
	c.documents = append([]string{main}, d.included...)
	c.patterns = slices.Sorted(maps.Keys(d.patterns))
}

// inherit fills in what follows from another part of the file, such as the defaults of a route, so that nobody else has
// to know about it.
func (c *Config) inherit() {
	c.inheritProfiling()
	c.inheritECH()
	if c.Defaults.BodyLimit == nil {
		c.Defaults.BodyLimit = &c.Limits.BodyBytes
	}
	for i := range c.Routes {
		r := &c.Routes[i].Value
		if r.Timeout == nil {
			r.Timeout = &c.Defaults.Timeout
		}
		if r.BodyLimit == nil {
			r.BodyLimit = c.Defaults.BodyLimit
		}
		if r.Errors == nil {
			r.Errors = &c.Defaults.Errors
		}
		if r.CORS == nil {
			r.CORS = c.Defaults.CORS
		}
	}
	for i := range c.Services {
		s := &c.Services[i].Value
		if s.Timeout != nil {
			s.Timeouts.Try = s.Timeout
		}
		if s.Timeouts.Try == nil {
			try := tryDefault
			s.Timeouts.Try = &try
		}
		s.Timeout = s.Timeouts.Try
		if h := s.Health; h != nil && h.Timeout == nil {
			limit := min(healthTimeout, h.Every)
			h.Timeout = &limit
		}
	}
}
