package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"sluice/proxy/cache/store"
)

var noCache = problem{Status: 404, Code: "no_cache", Detail: "No route uses a cache policy, so that there is no cache."}

// cacheState is the answer of GET /v1/cache.
type cacheState struct {
	Memory    int64 `json:"memory_bytes"`     // that was configured
	Used      int64 `json:"used_bytes"`       // of it
	Taken     int64 `json:"taken_bytes"`      // in truth, with the index
	ObjectMax int64 `json:"object_max_bytes"` // of a body that is stored
	Entries   int64 `json:"entries"`
	Evictions int64 `json:"evictions"`
	Torn      int64 `json:"torn"`
	Purges    int64 `json:"purges"`
	Held      int64 `json:"purges_held"`
	Overflows int64 `json:"purge_overflows"`
}

func (s *Server) cache(ctx *fasthttp.RequestCtx) {
	c := s.gateway.Cache()
	if c == nil {
		fail(ctx, noCache)
		return
	}
	st := c.Stats()
	answer(ctx, 200, cacheState{
		Memory: st.Bytes, Used: st.BytesUsed, Taken: st.BytesTaken, ObjectMax: c.MaxObject(), Entries: st.Entries,
		Evictions: st.Evictions, Torn: st.Torn, Purges: st.Purges, Held: st.PurgesHeld, Overflows: st.Overflows,
	})
}

// purge is what POST /v1/cache/purge is asked to do, and its answer: just one of the first four.
type purge struct {
	URL    string `json:"url,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Tag    string `json:"tag,omitempty"`
	All    bool   `json:"all,omitempty"`
	Soft   bool   `json:"soft"`

	forms []string // of URL or Prefix, as they may stand in a key
}

func (s *Server) purgeCache(ctx *fasthttp.RequestCtx) {
	p, err := readPurge(ctx.URI().QueryString(), ctx.PostBody())
	if err == nil {
		err = p.check()
	}
	if err != nil {
		fail(ctx, problem{Status: 400, Code: "bad_purge", Detail: "Nothing was purged: " + err.Error() + "."})
		return
	}
	if !s.gateway.PurgeCache(p.apply) {
		fail(ctx, noCache)
		return
	}
	answer(ctx, 200, p)
}

func (p *purge) apply(c *store.Store) {
	switch {
	case p.All:
		c.PurgeAll(p.Soft)
	case p.Tag != "":
		c.PurgeTag(p.Tag, p.Soft)
	case p.Prefix != "":
		for _, form := range p.forms {
			c.PurgePrefix(form, p.Soft)
		}
	default:
		for _, form := range p.forms {
			c.PurgeURL(form, p.Soft)
		}
	}
}

// tagMax is the longest tag, in bytes. Of URLs, the form of a key decides.
const tagMax = 1024

// check says what is wrong with a purge, and brings URLs into the form in which they are shown.
func (p *purge) check() (err error) {
	given := 0
	for _, is := range []bool{p.URL != "", p.Prefix != "", p.Tag != "", p.All} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return fmt.Errorf("%d of url, prefix, tag and all=true are given, and just one is wanted", given)
	case len(p.Tag) > tagMax:
		return fmt.Errorf("the tag has %d bytes, and at most %d are possible", len(p.Tag), tagMax)
	case strings.ContainsFunc(p.Tag, isControl):
		return errors.New("the tag holds a control character")
	case p.URL != "":
		p.URL, p.forms, err = purgeURL(p.URL, false)
	case p.Prefix != "":
		p.Prefix, p.forms, err = purgeURL(p.Prefix, true)
	}
	return err
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7F }

// readPurge takes the words from the query, or from a JSON object in the body. Whatever it does not know is an error: a mistyped word
// must not purge something else.
func readPurge(query, body []byte) (*purge, error) {
	switch {
	case len(query) > 0 && len(body) > 0:
		return nil, errors.New("there is a query and a body: use one of them")
	case len(body) > 0:
		return purgeOfJSON(body)
	}
	return purgeOfQuery(string(query))
}

func purgeOfQuery(query string) (*purge, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the query is broken: write % as %25, & as %26 and ; as %3B in values")
	}
	p := new(purge)
	for name, list := range values {
		if len(list) > 1 {
			return nil, fmt.Errorf("%.40q is given %d times: an & in a value is written %%26", name, len(list))
		}
		var value any = list[0]
		if name == "all" || name == "soft" {
			switch list[0] {
			case "true":
				value = true
			case "false":
				value = false
			}
		}
		if err := p.set(name, value); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// purgeOfJSON reads token by token, because json.Unmarshal takes a name twice, and in any case.
func purgeOfJSON(body []byte) (*purge, error) {
	broken := errors.New(`the body is no JSON object such as {"tag": "news", "soft": true}`)
	if !utf8.Valid(body) {
		return nil, broken
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, broken
	}
	p, seen := new(purge), map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, broken
		}
		key, _ := name.(string) // names are strings
		value, err := dec.Token()
		if err != nil {
			return nil, broken
		}
		if seen[key] {
			return nil, fmt.Errorf("%.40q is given twice", key)
		}
		seen[key] = true
		if err := p.set(key, value); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, broken
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the JSON object")
	}
	return p, nil
}

// set takes one word. There are five, so that nothing grows with the input.
func (p *purge) set(name string, value any) error {
	texts := map[string]*string{"url": &p.URL, "prefix": &p.Prefix, "tag": &p.Tag}
	flags := map[string]*bool{"all": &p.All, "soft": &p.Soft}
	switch {
	case texts[name] != nil:
		text, ok := value.(string)
		if !ok || text == "" {
			return fmt.Errorf("%s wants some text", name)
		}
		*texts[name] = text
	case flags[name] != nil:
		flag, ok := value.(bool)
		if !ok {
			return fmt.Errorf("%s wants true or false", name)
		}
		*flags[name] = flag
	default:
		return fmt.Errorf("%.40q is not known: url, prefix, tag, all and soft are", name)
	}
	return nil
}
