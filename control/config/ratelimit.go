package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RateLimit is the policy that limits how often requests come, by whatever they can be counted by.
type RateLimit struct {
	Allow  List[Allowance] `cfg:"allow" required:"true" doc:"rates such as 100/min, 20/s burst 40, 20/s per ip, 5/s per header X-Api-Key and path.tenant; all of them hold"`
	Cost   Cost            `cfg:"cost" doc:"how much of the rates a request takes; 1 by default"`
	Keys   int             `cfg:"keys" default:"1000000" min:"1" max:"100000000" doc:"how many clients, or whatever is counted by, are told apart at the same time, for each rate; 32 bytes each, 96 with across"`
	Fields string          `cfg:"headers" default:"on" enum:"on,off" doc:"tell clients what is left, in RateLimit and RateLimit-Policy"`
	Mode   string          `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
	Across Text            `cfg:"across" doc:"the store of the one budget that all hosts share; by default each host has its own"`
	IfDown string          `cfg:"if_store_down" default:"local" enum:"local,allow,deny" doc:"while that does not answer: local applies the whole limit on each host, allow lets everything through, deny refuses everything"`
	Pos    Pos
}

// Cost is how much of a rate a request takes. A mapping says more than a number: what a route or a response costs.
type Cost struct {
	Request int        `cfg:"request" default:"1" min:"1" max:"1000000" doc:"what a request takes when it comes"`
	Routes  Named[int] `cfg:"routes" doc:"the same on some routes, by name"`
	Status  Named[int] `cfg:"status" names:"answer" doc:"what it costs in all, by the status or class of the response: 401: 10, 5xx: 0"`
	Header  Text       `cfg:"header" doc:"a field of the response that says what it costs in all"`
	Size    Size       `cfg:"size" min:"1B" doc:"1 more for each so many bytes of the response's body that went to the client, such as 64KiB; when it has ended"`
	Pos     Pos
}

func (c *Cost) decodeShort(d *decoder, n *node, path string) bool {
	info := d.info(reflect.TypeFor[Cost]())
	request, _ := info.field("request")
	c.Request, _ = d.integer(n, path, request)
	return true
}

// Concurrent is the policy that limits how many requests are under way at the same time.
type Concurrent struct {
	Max    List[Ceiling] `cfg:"max" required:"true" doc:"numbers such as 500, 10 per ip, 2 per header X-Api-Key; all of them hold"`
	Status int           `cfg:"status" default:"503" enum:"429,503" doc:"what a request is refused with: 503, or 429 to say that it is the client's doing"`
	Keys   int           `cfg:"keys" default:"1000000" min:"1" max:"100000000" doc:"how many clients, or whatever is counted by, are told apart at the same time, for each number; 32 bytes each"`
	Mode   string        `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
	Pos    Pos
}

// Allowance is a rate and what it is counted by: 20/s burst 40 per ip.
type Allowance struct {
	Text  string
	Count int
	Per   time.Duration
	Burst int // Count if nothing else is written
	By    []KeyPart
	Pos   Pos
}

// Ceiling is a number of requests and what it is counted by: 10 per ip.
type Ceiling struct {
	Text string
	Max  int
	By   []KeyPart
	Pos  Pos
}

// KeyPart is one value of a request that is counted by.
type KeyPart struct {
	Source string // a word of keySources
	Name   string // of a header field, cookie, parameter
	V4, V6 int    // of ip: the lengths of prefixes that count as one client
}

// keySource is what a key expression may name. A new one is a line here, and one in proxy/limit.
type keySource struct {
	word     string
	dotted   bool // path.NAME
	named    bool // header NAME
	identity bool // it is only known once a policy has found out who is asking
}

var keySources = []keySource{
	{word: "ip"},
	{word: "header", named: true},
	{word: "cookie", named: true},
	{word: "query", named: true},
	{word: "path", dotted: true},
	{word: "host"},
	{word: "route"},
	{word: "consumer", identity: true},
	{word: "claim", dotted: true, identity: true},
}

const keyHint = "per ip, ip/24, header NAME, cookie NAME, query NAME, path.NAME, host, route, consumer or claim.NAME, several joined by and"

// IdentityWord returns the part of one key that is only known once a policy has found out who is asking, or "".
func IdentityWord(key []KeyPart) string {
	for _, part := range key {
		at := slices.IndexFunc(keySources, func(s keySource) bool { return s.word == part.Source })
		if keySources[at].identity {
			return part.Source
		}
	}
	return ""
}

// NeedsIdentity returns the part of the policy's keys that is only known once another policy has found out who is asking, or "".
func (p Policy) NeedsIdentity() string {
	var parts []KeyPart
	if p.RateLimit != nil {
		for _, a := range p.RateLimit.Allow {
			parts = append(parts, a.By...)
		}
	}
	if p.Concurrent != nil {
		for _, m := range p.Concurrent.Max {
			parts = append(parts, m.By...)
		}
	}
	if p.Quota != nil {
		for _, a := range p.Quota.Amounts() {
			parts = append(parts, a.By...)
		}
	}
	return IdentityWord(parts)
}

// Bounds of limits.
const (
	allowancesMax     = 8
	keyPartsMax       = 4
	limitBytesMax     = 512 // of the text of one
	allowanceMax      = 1_000_000_000
	concurrentMax     = 1_000_000_000
	rateIntervalMin   = time.Microsecond
	rateBurstMax      = 10 * 365 * 24 * time.Hour
	v4BitsMin         = 8
	v6BitsMin         = 16
	v4Bits, v6Bits    = 32, 128
	v6ClientBits      = 64 // what one client has at the least, see RFC 6177
	allowanceExamples = "a rate such as 100/min, 20/s burst 40 or 20/s per ip"
)

func (a *Allowance) decode(d *decoder, n *node, path string, _ field) {
	decodeLimit(d, n, path, allowanceExamples, a, parseAllowance)
	a.Pos = n.pos
}

const ceilingExamples = "a number such as 500 or 10 per ip"

func (c *Ceiling) decode(d *decoder, n *node, path string, _ field) {
	decodeLimit(d, n, path, ceilingExamples, c, parseCeiling)
	c.Pos = n.pos
}

// decodeLimit reads a limit, or reports what is wrong with it.
func decodeLimit[T any](d *decoder, n *node, path, examples string, to *T, parse func(text string) (T, *limitProblem)) {
	text, ok := d.scalar(n, path, examples)
	if !ok {
		return
	}
	parsed, wrong := parse(text)
	if wrong != nil {
		d.limitError(n, path, examples, wrong)
		return
	}
	*to = parsed
}

// limitError reports what is wrong with a limit: with a sentence of its own if there is one.
func (d *decoder) limitError(n *node, path, wanted string, wrong *limitProblem) {
	switch {
	case n.parts != nil:
		d.wants(n, path, wanted, "")
	case wrong.message == "":
		d.wants(n, path, wanted, wrong.hint)
	default:
		d.report.fail(n.pos, path, wrong.message, wrong.hint)
	}
}

// limitProblem is why a text is no limit. Without a message it is another thing altogether.
type limitProblem struct{ message, hint string }

func parseAllowance(text string) (Allowance, *limitProblem) {
	if len(text) > limitBytesMax {
		return Allowance{}, &limitProblem{fmt.Sprintf("is longer than %d bytes", limitBytesMax), ""}
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return Allowance{}, &limitProblem{}
	}
	a := Allowance{Text: strings.Join(words, " ")}
	var wrong *limitProblem
	if a.Count, a.Per, wrong = parseRate(words[0]); wrong != nil {
		return Allowance{}, wrong
	}
	a.Burst = a.Count
	words = words[1:]
	if len(words) > 0 && words[0] == "burst" {
		if len(words) == 1 {
			return Allowance{}, &limitProblem{"burst needs a number", "20/s burst 40"}
		}
		if a.Burst, wrong = parseCount(words[1], "a burst", allowanceMax); wrong != nil {
			if wrong.message == "" {
				wrong = &limitProblem{"burst needs a number", "20/s burst 40"}
			}
			return Allowance{}, wrong
		}
		words = words[2:]
	}
	if a.By, wrong = parseBy(words); wrong != nil {
		return Allowance{}, wrong
	}
	return a, a.bounds()
}

// bounds checks what can be kept: time is counted in nanoseconds.
func (a *Allowance) bounds() *limitProblem {
	interval := a.Per / time.Duration(a.Count)
	switch {
	case interval < rateIntervalMin:
		return &limitProblem{"is more than 1,000,000 in a second", ""}
	case time.Duration(a.Burst) > rateBurstMax/(interval+1):
		return &limitProblem{"takes longer than 10 years to come back", "a smaller burst"}
	}
	return nil
}

// rateUnits are the times that a rate may name, beside those that are durations such as 10s.
var rateUnits = map[string]time.Duration{
	"sec": time.Second, "min": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
}

// parseRate reads 100/min, 20/s and 5/10s.
func parseRate(s string) (int, time.Duration, *limitProblem) {
	number, per, found := strings.Cut(s, "/")
	if !found {
		return 0, 0, &limitProblem{}
	}
	count, wrong := parseCount(number, "a rate", allowanceMax)
	if wrong != nil {
		return 0, 0, wrong
	}
	span, ok := rateUnits[per]
	if !ok {
		if _, unit := durationUnits[per]; unit {
			per = "1" + per
		}
		span, ok = parseDuration(per)
	}
	switch {
	case !ok:
		hint := "s, min, h, d, or a time such as 10s"
		if near := nearest(per, []string{"s", "min", "h", "d", "sec", "hour", "day"}); near != "" {
			hint = fmt.Sprintf("did you mean %s/%s?", number, near)
		}
		return 0, 0, &limitProblem{fmt.Sprintf("%s is no time that a rate can have", clip(strconv.Quote(per))), hint}
	case span == 0:
		return 0, 0, &limitProblem{"the time of a rate is above 0", ""}
	case span > durationMax:
		return 0, 0, &limitProblem{"the time of a rate is at most 365d", ""}
	}
	return count, span, nil
}

// parseCount reads a number of requests.
func parseCount(s, what string, most int) (int, *limitProblem) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case strings.HasPrefix(s, "-") && isDigits(s[1:]), isDigits(s) && strings.Trim(s, "0") == "":
		return 0, &limitProblem{what + " is a number above 0", "to let nothing through, deny it: addresses: { deny: ... }"}
	case isDigits(s) && (err != nil || n > int64(most)):
		return 0, &limitProblem{fmt.Sprintf("%s is at most %d", what, most), ""}
	case !isDigits(s):
		return 0, &limitProblem{}
	}
	return int(n), nil
}

func parseCeiling(text string) (Ceiling, *limitProblem) {
	if len(text) > limitBytesMax {
		return Ceiling{}, &limitProblem{fmt.Sprintf("is longer than %d bytes", limitBytesMax), ""}
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return Ceiling{}, &limitProblem{}
	}
	c := Ceiling{Text: strings.Join(words, " ")}
	if strings.Contains(words[0], "/") {
		return Ceiling{}, &limitProblem{"is a rate, and this is about what is under way at the same time", "rate_limit: { allow: " + clip(c.Text) + " }"}
	}
	var wrong *limitProblem
	if c.Max, wrong = parseCount(words[0], "a limit", concurrentMax); wrong != nil {
		return Ceiling{}, wrong
	}
	c.By, wrong = parseBy(words[1:])
	return c, wrong
}

// parseBy reads "per KEY and KEY", or nothing.
func parseBy(words []string) ([]KeyPart, *limitProblem) {
	if len(words) == 0 {
		return nil, nil
	}
	if words[0] != "per" {
		hint := keyHint
		if words[0] == "burst" {
			hint = "burst stands before per: 20/s burst 40 per ip"
		}
		return nil, &limitProblem{"does not go on with " + clip(strconv.Quote(words[0])), hint}
	}
	var parts []KeyPart
	for words = words[1:]; ; words = words[1:] {
		part, rest, wrong := parseKeyPart(words)
		if wrong != nil {
			return nil, wrong
		}
		if slices.Contains(parts, part) {
			return nil, &limitProblem{"counts by the same thing twice", ""}
		}
		if parts = append(parts, part); len(parts) > keyPartsMax {
			return nil, &limitProblem{fmt.Sprintf("counts by more than %d things", keyPartsMax), ""}
		}
		if words = rest; len(words) == 0 {
			return parts, nil
		}
		if words[0] != "and" {
			hint := "several keys are joined by and: per ip and path.tenant"
			if words[0] == "burst" {
				hint = "burst stands before per: 20/s burst 40 per ip"
			}
			return nil, &limitProblem{"does not go on with " + clip(strconv.Quote(words[0])), hint}
		}
	}
}

// parseKeyPart reads a key off the front of words.
func parseKeyPart(words []string) (KeyPart, []string, *limitProblem) {
	if len(words) == 0 {
		return KeyPart{}, nil, &limitProblem{"does not say what it counts by", keyHint}
	}
	word, name, dotted := strings.Cut(words[0], ".")
	word, bits, sliced := strings.Cut(word, "/")
	at := slices.IndexFunc(keySources, func(s keySource) bool { return s.word == word })
	switch {
	case at < 0:
		hint := keyHint
		if near := nearest(word, keyWords()); near != "" {
			hint = fmt.Sprintf("did you mean %s? %s", near, keyHint)
		}
		return KeyPart{}, nil, &limitProblem{"cannot count by " + clip(strconv.Quote(words[0])), hint}
	}
	s, p := keySources[at], KeyPart{Source: word}
	rest := words[1:]
	switch {
	case s.dotted && (!dotted || name == "" || sliced):
		return KeyPart{}, nil, &limitProblem{word + " needs the name of a parameter", word + ".NAME"}
	case dotted && !s.dotted:
		return KeyPart{}, nil, &limitProblem{word + " is not followed by a dot", keyHint}
	case sliced && word != "ip":
		return KeyPart{}, nil, &limitProblem{"only ip has a prefix", keyHint}
	case s.named && (len(rest) == 0 || rest[0] == "and"):
		return KeyPart{}, nil, &limitProblem{word + " needs a name", word + " NAME"}
	case s.named:
		if name, rest = rest[0], rest[1:]; word != "query" && checkHeaderName(name) != "" || len(name) > headerNameBytesMax {
			return KeyPart{}, nil, &limitProblem{clip(strconv.Quote(name)) + " is no name of a " + word, ""}
		}
	}
	p.Name = name
	if word == "ip" {
		var ok bool
		if p.V4, p.V6, ok = parsePrefixes(bits, sliced); !ok {
			return KeyPart{}, nil, &limitProblem{clip(strconv.Quote(words[0])) + " is no prefix of addresses",
				fmt.Sprintf("ip/24 for IPv4 (%d to %d), ip/56 for IPv6 (33 to %d), ip/24/56 for both (IPv6: %d to %d)", v4BitsMin, v4Bits, v6Bits, v6BitsMin, v6Bits)}
		}
	}
	return p, rest, nil
}

func keyWords() []string {
	var words []string
	for _, s := range keySources {
		words = append(words, s.word)
	}
	return words
}

// parsePrefixes reads 24, 56 and 24/56. A number above 32 is about IPv6, where a client counts by its /64 otherwise, as connections
// do: the rest of the address it gives itself.
func parsePrefixes(s string, given bool) (v4, v6 int, ok bool) {
	v4, v6 = v4Bits, v6ClientBits
	if !given {
		return v4, v6, true
	}
	first, second, both := strings.Cut(s, "/")
	n, ok := parseBits(first)
	switch {
	case !ok:
		return 0, 0, false
	case n <= v4Bits:
		v4 = n
	case !both:
		v6 = n
	default:
		return 0, 0, false
	}
	if both {
		if v6, ok = parseBits(second); !ok {
			return 0, 0, false
		}
	}
	return v4, v6, v4 >= v4BitsMin && v6 >= v6BitsMin && v6 <= v6Bits
}

func parseBits(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && s == strconv.Itoa(n) && n >= 0
}

func (v *validator) rateLimit(r *RateLimit, path string) {
	if r == nil {
		return
	}
	path = joinPath(path, "rate_limit")
	allow := path + ".allow"
	if r.Allow != nil && len(r.Allow) == 0 {
		v.fail(allow, "allows nothing in particular", allowanceExamples)
	}
	if len(r.Allow) > allowancesMax {
		v.fail(allow, fmt.Sprintf("has more than %d rates", allowancesMax), "make several policies of it")
	}
	v.across(r, path)
	cost := r.Cost.most(v, path+".cost")
	for i, a := range r.Allow {
		where := v.item(allow, i)
		if a.Count > 0 && cost > a.Burst {
			v.failAt(a.Pos, where, fmt.Sprintf("never has more than %d, and a request may cost %d", a.Burst, cost), "a larger burst")
		}
		for _, b := range r.Allow[:i] {
			if a.Count > 0 && a.Text == b.Text {
				v.failAt(a.Pos, where, "the rate stands here twice", "")
			}
		}
	}
}

// most is the most that a request takes when it comes.
func (c *Cost) most(v *validator, path string) int {
	most := c.Request
	for _, r := range c.Routes {
		where := joinPath(path+".routes", r.Name)
		if _, ok := v.config.Routes.Get(r.Name); !ok {
			v.unknown("route", "routes", Text{r.Name, r.Pos}, where, v.config.Routes.Names())
		}
		if r.Value < 1 {
			v.fail(where, "a request costs at least 1", "a route that shall cost nothing leaves the policy out: skip: [...]")
		}
		most = max(most, r.Value)
	}
	for _, s := range c.Status {
		if s.Value < 0 {
			v.fail(joinPath(path+".status", s.Name), "a cost is not below 0", "")
		}
	}
	if c.Header.Text != "" {
		if hint := checkHeaderName(c.Header.Text); hint != "" {
			v.failAt(c.Header.Pos, path+".header", v.show(c.Header.Text, c.Header.Pos)+" is not a valid header name", hint)
		}
	}
	return most
}

func (v *validator) concurrent(c *Concurrent, path string) {
	if c == nil {
		return
	}
	where := joinPath(path, "concurrency") + ".max"
	if c.Max != nil && len(c.Max) == 0 {
		v.fail(where, "names no limit", ceilingExamples)
	}
	if len(c.Max) > allowancesMax {
		v.fail(where, fmt.Sprintf("has more than %d limits", allowancesMax), "make several policies of it")
	}
}

// checkAnswerStatus wants a status or a class of them.
func checkAnswerStatus(s string) string {
	if len(s) == 3 && s[0] >= '1' && s[0] <= '5' && (s[1:] == "xx" || isDigit(s[1]) && isDigit(s[2])) {
		return ""
	}
	return "write a status such as 404, or a class such as 5xx"
}
