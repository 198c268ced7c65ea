package config

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Consumer is a client that is known by a key or a password of its own.
type Consumer struct {
	Keys      List[ConsumerKey]      `cfg:"keys" doc:"what its keys hash to; several may overlap, for a new one to be handed out before the old one ends"`
	Passwords List[ConsumerPassword] `cfg:"passwords" doc:"what its passwords hash to, for basic_auth"`
	Plan      Text                   `cfg:"plan" doc:"the plan that it is on, such as gold"`
	Scopes    List[Text]             `cfg:"scopes" doc:"what it may do, such as orders.read"`
	Labels    Named[Text]            `cfg:"labels" names:"label" doc:"anything else that services are to know of it: $consumer.NAME"`

	SigningKeys Named[SigningKey] `cfg:"signing_keys" names:"keyid" doc:"what it signs requests with, by the keyid that it sends"`
	Pos         Pos
}

// ConsumerKey is what a key hashes to; the key itself is nowhere.
type ConsumerKey struct {
	Hash    KeyHash    `cfg:"hash" required:"true" doc:"sha256:HEX or hmac-sha256:HEX of the key; sluice keys new makes one"`
	Prefix  Text       `cfg:"prefix" doc:"what the key begins with, to tell keys apart"`
	Expires Expiry     `cfg:"expires" doc:"when it ends: a day, which it is still good on, or a time such as 2027-01-31T12:00:00Z"`
	Scopes  List[Text] `cfg:"scopes" doc:"in the place of the consumer's"`
	Pos     Pos
}

// ConsumerPassword is what a password hashes to.
type ConsumerPassword struct {
	Hash    PasswordHash `cfg:"hash" required:"true" doc:"$argon2id$..., or sha256:HEX of one that is as random as a key; sluice keys password makes one"`
	Expires Expiry       `cfg:"expires" doc:"when it ends, as for keys"`
	Scopes  List[Text]   `cfg:"scopes" doc:"in the place of the consumer's"`
	Pos     Pos
}

func (k *ConsumerKey) decodeShort(d *decoder, n *node, path string) bool {
	k.Hash.decode(d, n, path, field{})
	return true
}

func (*ConsumerKey) shortSchema(g *schemaWriter) object {
	return g.value(reflect.TypeFor[KeyHash](), field{})
}

func (p *ConsumerPassword) decodeShort(d *decoder, n *node, path string) bool {
	p.Hash.decode(d, n, path, field{})
	return true
}

func (*ConsumerPassword) shortSchema(g *schemaWriter) object {
	return g.value(reflect.TypeFor[PasswordHash](), field{})
}

// KeyHash is the SHA-256 of a key, or its HMAC with a pepper. It is never shown: who has it can try keys against it.
type KeyHash struct {
	Sum   [32]byte
	Keyed bool
	Pos   Pos
}

func (h *KeyHash) decode(d *decoder, n *node, path string, _ field) {
	h.Pos = n.pos
	const wanted = "sha256: or hmac-sha256: and 64 hexadecimal digits"
	text, ok := d.hash(n, path, wanted)
	if !ok {
		return
	}
	digits, plain := strings.CutPrefix(text, "sha256:")
	if !plain {
		digits, h.Keyed = strings.CutPrefix(text, "hmac-sha256:")
	}
	h.Sum, ok = parseSum(digits)
	if !plain && !h.Keyed || !ok {
		d.report.fail(n.pos, path, "wants "+wanted+hashLength(digits, plain || h.Keyed), "sluice keys hash")
	}
}

// PasswordHash is what argon2id makes of a password, or the SHA-256 of one that is as random as a key. It is never shown.
type PasswordHash struct {
	Sum    [32]byte
	Argon2 *Argon2 // nil: Sum counts
	Pos    Pos
}

// Argon2 are the parts of a PHC string of argon2id (RFC 9106).
type Argon2 struct {
	Memory  int // KiB
	Time    int
	Threads int
	Salt    []byte
	Sum     []byte
}

func (h *PasswordHash) decode(d *decoder, n *node, path string, _ field) {
	h.Pos = n.pos
	const wanted = "$argon2id$v=19$m=...,t=...,p=...$salt$hash, or sha256: and 64 hexadecimal digits"
	text, ok := d.hash(n, path, wanted)
	if !ok {
		return
	}
	if digits, plain := strings.CutPrefix(text, "sha256:"); plain {
		if h.Sum, ok = parseSum(digits); !ok {
			d.report.fail(n.pos, path, "wants "+wanted+hashLength(digits, true), "sluice keys hash")
		}
		return
	}
	a, why := parseArgon2(text)
	if why != "" {
		d.report.fail(n.pos, path, why, "sluice keys password")
		return
	}
	h.Argon2 = a
}

func (*KeyHash) schema(*schemaWriter, field) object      { return plainText() }
func (*PasswordHash) schema(*schemaWriter, field) object { return plainText() }

// hash gives the text of a hash; a message about it never repeats it.
func (d *decoder) hash(n *node, path, wanted string) (string, bool) {
	if n.broken {
		return "", false
	}
	if n.kind != scalarNode {
		d.report.fail(n.pos, path, "wants "+wanted, "")
		return "", false
	}
	return n.textAfter(d, path)
}

// textAfter is the text of a scalar after substitution.
func (n *node) textAfter(d *decoder, path string) (string, bool) {
	if !d.expand(n, path) {
		return "", false
	}
	return n.text, true
}

func parseSum(digits string) (sum [32]byte, ok bool) {
	if len(digits) != 2*len(sum) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(digits))
	return sum, err == nil
}

// hashLength says what is wrong with digits, if that is how many there are.
func hashLength(digits string, known bool) string {
	if !known || len(digits) == 64 {
		return ""
	}
	return fmt.Sprintf("; there are %d", len(digits))
}

// Bounds of what argon2id may cost. A request that brings a password takes that memory and time.
const (
	argon2MemoryMax = 256 << 10 // KiB
	argon2TimeMax   = 16
	argon2LanesMax  = 16
)

var phc = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,8}),t=([1-9][0-9]{0,4}),p=([1-9][0-9]{0,4})\$([A-Za-z0-9+/]{1,128})\$([A-Za-z0-9+/]{1,128})$`)

// parseArgon2 reads a PHC string. It returns what is wrong, without the text.
func parseArgon2(text string) (*Argon2, string) {
	parts := phc.FindStringSubmatch(text)
	if parts == nil {
		return nil, "wants $argon2id$v=19$m=...,t=...,p=...$salt$hash, or sha256: and 64 hexadecimal digits"
	}
	a := &Argon2{Memory: mustInt(parts[1]), Time: mustInt(parts[2]), Threads: mustInt(parts[3])}
	var err, err2 error
	a.Salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	a.Sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	switch {
	case a.Memory > argon2MemoryMax || a.Time > argon2TimeMax || a.Threads > argon2LanesMax:
		return nil, fmt.Sprintf("costs more than is allowed: m=%d, t=%d and p=%d at most", argon2MemoryMax, argon2TimeMax, argon2LanesMax)
	case a.Memory < 8*a.Threads:
		return nil, "wants at least m=8 for each of p"
	case err != nil || err2 != nil || len(a.Salt) < 8 || len(a.Sum) < 16 || len(a.Salt) > 64 || len(a.Sum) > 64:
		return nil, "wants a salt of 8 to 64 bytes and a hash of 16 to 64, in base64 without ="
	}
	return a, ""
}

// Expiry is a moment at which something ends. The zero value is never.
type Expiry struct{ time.Time }

func (e *Expiry) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z"
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	if e.Time, ok = ParseExpiry(text); !ok {
		d.wants(n, path, wanted, "")
	}
}

// ParseExpiry reads a day, on which what has it is good still, or a time.
func ParseExpiry(text string) (time.Time, bool) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), true
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, false
	}
	return at.UTC(), true
}

func (*Expiry) schema(*schemaWriter, field) object { return plainText() }

// APIKey is the policy that admits consumers by their keys.
type APIKey struct {
	Consumers Text                 `cfg:"consumers" required:"true" doc:"the group of consumers whose keys are good"`
	Header    *Text                `cfg:"header" doc:"the field that the key is in; X-Api-Key, if nothing says where it is"`
	Query     *Text                `cfg:"query" doc:"the parameter that the key is in; prefer a header, as addresses end up in logs and histories"`
	Cookie    *Text                `cfg:"cookie" doc:"the cookie that the key is in"`
	Pepper    Secret               `cfg:"pepper" doc:"the secret of keys that are hashed with hmac-sha256, 16 bytes or more"`
	Keep      bool                 `cfg:"keep" default:"false" doc:"the service gets the key, too"`
	Require   *ConsumerRequirement `cfg:"require" doc:"what else it takes"`
	Mode      string               `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
}

// HeaderName is where the key may be, beside the query and a cookie; empty: only there.
func (a *APIKey) HeaderName() string {
	switch {
	case a.Header != nil:
		return a.Header.Text
	case a.Query == nil && a.Cookie == nil:
		return "X-Api-Key"
	}
	return ""
}

// BasicAuth is the policy that admits consumers by their name and a password.
type BasicAuth struct {
	Consumers Text                 `cfg:"consumers" required:"true" doc:"the group of consumers whose passwords are good"`
	Keep      bool                 `cfg:"keep" default:"false" doc:"the service gets name and password, too"`
	Require   *ConsumerRequirement `cfg:"require" doc:"what else it takes"`
	Mode      string               `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
}

// ConsumerRequirement is what a consumer has to be allowed.
type ConsumerRequirement struct {
	Scope List[Text] `cfg:"scope" doc:"every scope that is needed, with spaces between them; or a list, of which one does"`
	Plan  List[Text] `cfg:"plan" doc:"the plan, or a list of which one does"`
	Pos   Pos
}

// Scopes are the sets of which a consumer has to have one.
func (r *ConsumerRequirement) Scopes() [][]string {
	var sets [][]string
	for _, s := range r.Scope {
		sets = append(sets, strings.Fields(s.Text))
	}
	return sets
}

const (
	labelsMax     = 32
	consumerText  = 256 // bytes of a plan or a label
	secretsMax    = 16  // keys, or passwords, of one consumer
	scopesMax     = 64
	scopeBytesMax = 128
	// expiresSoon is how long before a key ends the configuration is warned about.
	expiresSoon = 30 * 24 * time.Hour
	// argon2MemoryLow is what OWASP calls the least, in KiB.
	argon2MemoryLow = 7 << 10
)

// PepperBytesMin is what the pepper of keys has at least.
const PepperBytesMin = 16

var keyPrefix = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,32}$`)

func checkLabelName(s string) string {
	switch {
	case s == "plan" || s == "scope" || s == "group":
		return "every consumer has that already"
	case s == "" || len(s) > nameBytesMax || strings.ContainsFunc(s, func(c rune) bool { return c > 0x7f || !isNameByte(byte(c)) }):
		return "it is made of letters, digits, - and _, 64 at most"
	}
	return ""
}

func (v *validator) consumers(groups Named[ConsumerGroup]) {
	keys := map[KeyHash]Pos{}
	for _, group := range groups {
		path := joinPath("consumers", group.Name)
		v.storedGroup(&group.Value, path)
		var first *Argon2
		same := true
		for i := range group.Value.List {
			c := &group.Value.List[i]
			where := joinPath(path, c.Name)
			v.consumer(&c.Value, where)
			for i, k := range c.Value.Keys {
				at := v.item(where+".keys", i)
				v.consumerKey(&k, at)
				id := KeyHash{Sum: k.Hash.Sum, Keyed: k.Hash.Keyed}
				if id.Sum == ([32]byte{}) {
					continue // it was not understood
				}
				if pos, twice := keys[id]; twice {
					v.failAt(k.Hash.Pos, at+".hash", "this key stands here twice", fmt.Sprintf("first at %s", pos))
					continue
				}
				keys[id] = k.Hash.Pos
			}
			for i, p := range c.Value.Passwords {
				at := v.item(where+".passwords", i)
				v.expires(p.Expires, "password", at)
				v.scopes(p.Scopes, at+".scopes")
				a := p.Hash.Argon2
				if a == nil {
					continue
				}
				if a.Memory < argon2MemoryLow {
					v.warn(at, fmt.Sprintf("is hashed with m=%d, which is little: whoever gets hold of the file tries passwords quickly", a.Memory), "sluice keys password")
				}
				if first == nil {
					first = a
				}
				same = same && a.Memory == first.Memory && a.Time == first.Time && a.Threads == first.Threads
			}
		}
		if !same {
			v.warn(path, "not all passwords are hashed at the same cost: how long a refusal takes tells names that are there from others", "sluice keys password")
		}
	}
}

func (v *validator) consumer(c *Consumer, path string) {
	if len(c.Keys) > secretsMax || len(c.Passwords) > secretsMax {
		v.fail(path, fmt.Sprintf("has more than %d keys or passwords", secretsMax), "several are for the time in which one replaces another")
	}
	if len(c.Labels) > labelsMax {
		v.fail(path+".labels", fmt.Sprintf("has more than %d labels", labelsMax), "")
	}
	v.scopes(c.Scopes, path+".scopes")
	v.consumerText(c.Plan, path+".plan")
	for _, l := range c.Labels {
		v.consumerText(l.Value, joinPath(path+".labels", l.Name))
	}
	v.signingKeys(c, path)
	if len(c.Keys)+len(c.Passwords)+len(c.SigningKeys) == 0 && v.written(path) && !v.report.touched[path+".keys"] && !v.report.touched[path+".passwords"] {
		v.warn(path, "has neither keys nor passwords: nobody can be this consumer", "keys: [{ hash: ... }]")
	}
}

// consumerText wants what may stand in a header field.
func (v *validator) consumerText(t Text, path string) {
	if !isConsumerText(t.Text) {
		v.failAt(t.Pos, path, fmt.Sprintf("wants a line of %d bytes at most", consumerText), "")
	}
}

func isConsumerText(s string) bool {
	return len(s) <= consumerText && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

func (v *validator) consumerKey(k *ConsumerKey, path string) {
	v.expires(k.Expires, "key", path)
	v.scopes(k.Scopes, path+".scopes")
	switch {
	case k.Prefix.Text == "":
		v.warn(path, "has no prefix: nobody can tell which key this is", "prefix: what the key begins with")
	case !keyPrefix.MatchString(k.Prefix.Text):
		// It is not repeated: whoever puts a whole key here has made it known enough.
		v.failAt(k.Prefix.Pos, path+".prefix", "wants 1 to 32 letters, digits, _ . or -", "not the key itself: a few characters that it begins with")
	}
}

// scopes wants words of RFC 6749 section 3.3.
func (v *validator) scopes(scopes List[Text], path string) {
	if len(scopes) > scopesMax {
		v.fail(path, fmt.Sprintf("has more than %d scopes", scopesMax), "")
	}
	for i, s := range scopes {
		if !isScope(s.Text) {
			v.failAt(s.Pos, v.item(path, i), "is no scope: "+v.show(s.Text, s.Pos), "a word such as orders.read, without spaces")
		}
	}
}

func isScope(s string) bool {
	return s != "" && len(s) <= scopeBytesMax && !strings.ContainsFunc(s, func(c rune) bool { return c < 0x21 || c > 0x7e || c == '"' || c == '\\' })
}

// expires warns of what has ended, or ends soon.
func (v *validator) expires(e Expiry, what, path string) {
	if e.IsZero() {
		return
	}
	left := e.Sub(v.config.now)
	switch {
	case left <= 0:
		v.warn(path, fmt.Sprintf("the %s has expired", what), "remove it")
	case left < expiresSoon:
		v.warn(path, fmt.Sprintf("the %s expires on %s", what, e.Format(time.DateTime)), "give the consumer a new one beside it")
	}
}

func (v *validator) apiKey(a *APIKey, path string) {
	if a == nil {
		return
	}
	path = joinPath(path, "api_key")
	v.unenforced(a.Mode, path)
	group := v.consumerGroup(a.Consumers, path)
	v.requirement(a.Require, path)
	if h := a.Header; h != nil {
		where := path + ".header"
		switch {
		case checkHeaderName(h.Text) != "":
			v.failAt(h.Pos, where, "wants the name of a header field, got "+v.show(h.Text, h.Pos), "X-Api-Key, for example")
		case slices.Contains(notForKeys, strings.ToLower(h.Text)):
			v.failAt(h.Pos, where, "a key cannot be in "+h.Text, "X-Api-Key or Authorization; for a cookie, cookie: NAME")
		}
	}
	for _, p := range []struct {
		key  string
		name *Text
	}{{"query", a.Query}, {"cookie", a.Cookie}} {
		if p.name != nil && checkHeaderName(p.name.Text) != "" {
			v.failAt(p.name.Pos, joinPath(path, p.key), "wants a name, got "+v.show(p.name.Text, p.name.Pos), "letters, digits, - and _")
		}
	}
	keyed, any := false, false
	if group != nil {
		any = group.Stored
		for _, c := range group.List {
			for _, k := range c.Value.Keys {
				any = true
				keyed = keyed || k.Hash.Keyed
			}
		}
	}
	switch pepper := a.Pepper.Reveal(); {
	case pepper != "" && len(pepper) < PepperBytesMin:
		v.fail(path+".pepper", fmt.Sprintf("is shorter than %d bytes", PepperBytesMin), "openssl rand -hex 32")
	case pepper == "" && keyed && !v.report.touched[path+".pepper"]:
		v.fail(path, "keys of "+strconv.Quote(a.Consumers.Text)+" are hashed with a pepper (hmac-sha256), and there is none", "pepper: ${file:...}")
	}
	if group != nil && !any {
		v.warn(path, "no consumer of the group has a key: everybody is refused", "")
	}
}

// notForKeys are fields that mean something else, to the gateway itself.
var notForKeys = []string{"host", "cookie", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive",
	"proxy-connection", "proxy-authorization", "proxy-authenticate", "expect", "content-type", "forwarded", "x-forwarded-for", "x-forwarded-host",
	"x-forwarded-proto", "x-real-ip", "x-request-id", "via", "client-cert", "client-cert-chain", "http2-settings"}

func (v *validator) basicAuth(a *BasicAuth, path string) {
	if a == nil {
		return
	}
	path = joinPath(path, "basic_auth")
	v.unenforced(a.Mode, path)
	v.requirement(a.Require, path)
	group := v.consumerGroup(a.Consumers, path)
	if group != nil && !group.Stored && !slices.ContainsFunc(group.List, func(c Entry[Consumer]) bool { return len(c.Value.Passwords) > 0 }) {
		v.warn(path, "no consumer of the group has a password: everybody is refused", "")
	}
}

func (v *validator) consumerGroup(name Text, path string) *ConsumerGroup {
	if name.Text == "" {
		return nil // reported
	}
	group, ok := v.config.Consumers.Get(name.Text)
	if !ok {
		v.unknown("group of consumers", "consumers", name, path+".consumers", v.config.Consumers.Names())
		return nil
	}
	v.groupUsed[name.Text] = true
	return group
}

func (v *validator) requirement(r *ConsumerRequirement, path string) {
	if r == nil {
		return
	}
	path += ".require"
	if len(r.Scope)+len(r.Plan) == 0 {
		v.fail(path, "requires nothing", "scope: ... or plan: ...")
	}
	for i, s := range r.Scope {
		words := strings.Fields(s.Text)
		if len(words) == 0 || slices.ContainsFunc(words, func(w string) bool { return !isScope(w) }) {
			v.failAt(s.Pos, v.item(path+".scope", i), "wants scopes, got "+v.show(s.Text, s.Pos), "words such as orders.read, with spaces between them")
		}
	}
	for i, p := range r.Plan {
		if p.Text == "" {
			v.failAt(p.Pos, v.item(path+".plan", i), "names no plan", "")
		}
	}
}

// SecretNames are the names of header fields, query parameters and cookies that hold a key, in lower case.
func (c *Config) SecretNames() []string {
	var names []string
	c.eachPolicy(func(p *Policy, _ string) {
		if p.APIKey == nil {
			return
		}
		names = append(names, strings.ToLower(p.APIKey.HeaderName()))
		for _, name := range []*Text{p.APIKey.Query, p.APIKey.Cookie} {
			if name != nil {
				names = append(names, strings.ToLower(name.Text))
			}
		}
	})
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}
