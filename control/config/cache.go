package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// CachePolicy is the policy that keeps answers and gives them to whoever asks the same.
type CachePolicy struct {
	For       Duration        `cfg:"for" doc:"how long an answer is fresh whose origin does not say; without it only what the origin allows is kept"`
	Override  bool            `cfg:"override" default:"false" doc:"for counts, whatever the origin says about freshness; its no-store, private and no-cache still count"`
	Statuses  Named[Duration] `cfg:"statuses" names:"kept" doc:"for, by status: { 404: 10s, 5xx: 1s }"`
	Heuristic Percent         `cfg:"heuristic" doc:"fresh for this share of the time since Last-Modified, for a day at most, where neither the origin nor for says anything"`
	Stale     *CacheStale     `cfg:"stale" doc:"how long an answer may be served after it was fresh, while it is asked for anew and if that fails, where the origin does not say: 5m, or { while_revalidate: 1m, if_error: 1h }"`
	Vary      List[Text]      `cfg:"vary" doc:"request fields that belong to the key, beside those that origins name in Vary"`
	Key       CacheKey        `cfg:"key" doc:"what else belongs to the key, and what of the query"`
	Share     bool            `cfg:"share" default:"false" doc:"one copy for all clients, even where a policy before this one has found out who they are"`
	SetCookie string          `cfg:"set_cookie" default:"refuse" enum:"refuse,strip" doc:"answers that set cookies are not kept, or kept without them"`
	Requests  string          `cfg:"requests" default:"ignore" enum:"ignore,honour" doc:"whether Cache-Control of requests counts: a client that may say no-cache may make the origin work"`
	Tags      Text            `cfg:"tags" doc:"the response field with the words that an answer can be purged by, such as Surrogate-Key; clients do not see it"`
	MaxObject Size            `cfg:"max_object" default:"16MiB" min:"1KiB" doc:"larger bodies are not kept"`
	Wait      Duration        `cfg:"wait" default:"5s" off:"alone" doc:"how long a request waits for the answer to another one for the same; off: everybody asks by himself"`
	Pos       Pos
}

// CacheStale says how long answers may be served that are no longer fresh.
type CacheStale struct {
	WhileRevalidate Duration `cfg:"while_revalidate" doc:"while it is asked for anew in the background"`
	IfError         Duration `cfg:"if_error" doc:"if the origin cannot be reached, or answers 500, 502, 503 or 504"`
	Pos             Pos
}

func (s *CacheStale) decodeShort(d *decoder, n *node, path string) bool {
	var span Duration
	span.decode(d, n, path, field{})
	s.WhileRevalidate, s.IfError = span, span
	return true
}

// CacheKey says what tells answers apart.
type CacheKey struct {
	Query   *CacheQuery `cfg:"query" doc:"the query as it is sent (all, the default), nothing of it (none), or a list of parameters"`
	Cookies List[Text]  `cfg:"cookies" doc:"names of cookies"`
	Claims  List[Text]  `cfg:"claims" doc:"claims of whoever a policy before this one has found the client to be"`
	_       struct{}    `instead:"headers" hint:"request fields that belong to the key stand in vary, beside key: vary: [Accept-Language]"`
}

// CacheQuery is which parameters belong to the key, if not all of them do.
type CacheQuery struct {
	All   bool
	Names List[Text]
}

func (q *CacheQuery) decode(d *decoder, n *node, path string, f field) {
	if n.kind == listNode && len(n.items) == 0 {
		d.wants(n, path, "all, none or a list of parameters", "none is the word for no parameter")
		return
	}
	if n.kind == listNode {
		q.Names.decode(d, n, path, f)
		return
	}
	switch text, ok := d.scalar(n, path, "all, none or a list of parameters"); {
	case !ok, text == "none":
	case text == "all":
		q.All = true
	default:
		d.wants(n, path, "all, none or a list of parameters", "")
	}
}

func (*CacheQuery) schema(w *schemaWriter, f field) object {
	return object{"anyOf": []any{object{"enum": []any{"all", "none"}}, object{"type": "array", "items": object{"type": "string"}}}}
}

// cacheNamesMax bounds the fields, cookies, parameters and claims of a key, of each kind.
const cacheNamesMax = 16

const (
	cacheShare     = 16 // one body may take this part of the memory
	cacheMemoryMax = 1 << 40
)

// inKiB writes a size, rounded up to KiB.
func inKiB(s Size) string {
	if s%(1<<20) == 0 {
		return fmt.Sprintf("%dMiB", s>>20)
	}
	return fmt.Sprintf("%dKiB", (s+1023)>>10)
}

func (v *validator) cache(c *CachePolicy, path string) {
	if c == nil {
		return
	}
	if c.Override && c.For == 0 {
		v.fail(path+".override", "for takes the place of what the origin says, and there is none", "for: 30s")
	}
	v.cacheNames(c.Vary, path+".vary", true)
	for i, name := range c.Vary {
		if name.Text == "*" {
			v.failAt(name.Pos, v.item(path+".vary", i), "wants the name of a request field: with all of them in the key nothing would ever be found", "vary: [Accept-Language]")
		}
	}
	v.cacheNames(c.Key.Cookies, path+".key.cookies", false)
	v.cacheNames(c.Key.Claims, path+".key.claims", false)
	if q := c.Key.Query; q != nil {
		v.cacheNames(q.Names, path+".key.query", false)
		for i, name := range q.Names {
			if strings.ContainsAny(name.Text, "=&?") {
				v.failAt(name.Pos, v.item(path+".key.query", i), "wants the name of a parameter, got "+v.show(name.Text, name.Pos), "all its values belong to the key: query: [page, sort]")
			}
		}
	}
	if t := c.Tags; t.Text != "" && checkHeaderName(t.Text) != "" {
		v.failAt(t.Pos, path+".tags", "wants the name of a header field, got "+v.show(t.Text, t.Pos), "Surrogate-Key or Cache-Tag, for example")
	}
	if most := v.config.Cache.Memory / cacheShare; c.MaxObject > most && most > 0 && v.written(path+".max_object") {
		hint := ""
		if c.MaxObject <= cacheMemoryMax/cacheShare {
			hint = "cache: { memory: " + inKiB(c.MaxObject*cacheShare) + " }"
		}
		v.warn(path+".max_object", fmt.Sprintf("is more than 1/%d of cache.memory: bodies over %s are not kept", cacheShare, inKiB(most)), hint)
	}
	if c.Stale != nil && c.Stale.WhileRevalidate == 0 && c.Stale.IfError == 0 {
		v.fail(path+".stale", "allows nothing", "while_revalidate: ... or if_error: ...")
	}
}

func (v *validator) cacheNames(names List[Text], path string, header bool) {
	if len(names) > cacheNamesMax {
		v.fail(path, fmt.Sprintf("has more than %d names", cacheNamesMax), "")
	}
	for i, name := range names {
		where := v.item(path, i)
		switch {
		case name.Text == "" || header && checkHeaderName(name.Text) != "":
			v.failAt(name.Pos, where, "wants a name, got "+v.show(name.Text, name.Pos), "")
		case slices.ContainsFunc(names[:i], func(n Text) bool { return n.Text == name.Text || header && strings.EqualFold(n.Text, name.Text) }):
			v.failAt(name.Pos, where, v.show(name.Text, name.Pos)+" stands here twice", "")
		}
	}
}

// ParseStatuses reads 404, 5xx or 500-504 as a range of statuses whose answers a cache can keep.
func ParseStatuses(text string) (r StatusRange, ok bool) {
	from, to, ranged := strings.Cut(text, "-")
	if class, ok := strings.CutSuffix(text, "xx"); ok {
		from, to, ranged = class+"00", class+"99", true
	}
	if !ranged {
		to = from
	}
	for _, status := range []string{from, to} {
		if len(status) != 3 || !isDigits(status) || status < "200" || status > "599" || status == "206" || status == "304" {
			return r, false
		}
	}
	r.From, r.To = mustInt(from), mustInt(to)
	return r, r.From <= r.To
}

// StaleWhileRevalidate and StaleIfError are what stale says, 0 for nothing.
func (c *CachePolicy) StaleWhileRevalidate() time.Duration {
	if c.Stale == nil {
		return 0
	}
	return time.Duration(c.Stale.WhileRevalidate)
}

// StaleIfError is how long an answer may be served if the origin fails.
func (c *CachePolicy) StaleIfError() time.Duration {
	if c.Stale == nil {
		return 0
	}
	return time.Duration(c.Stale.IfError)
}

func checkKeptStatus(s string) string {
	if _, ok := ParseStatuses(s); !ok {
		return "404, 5xx or 500-504; 206 and 304 are never kept"
	}
	return ""
}

func (*CacheStale) shortSchema(g *schemaWriter) object {
	return g.value(reflect.TypeFor[Duration](), field{})
}
