package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"sluice/control/compile"
	"sluice/control/config"
	"sluice/control/roster"
)

// consumersPath is followed by a group and a name, and by keys or passwords, an id, and rotate.
const consumersPath = "/v1/consumers/"

// Bounds of a list of consumers, and of the time for which two keys overlap.
const (
	consumersPage    = 100
	consumersPageMax = 1000
	overlapMax       = 365 * 24 * time.Hour
)

// consumers lists them by group and name: after=GROUP/NAME begins behind one, and limit says how many.
func (s *Server) consumers(ctx *fasthttp.RequestCtx) {
	n, after := consumersPage, string(ctx.QueryArgs().Peek("after"))
	if text := string(ctx.QueryArgs().Peek("limit")); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > consumersPageMax {
			fail(ctx, problem{Status: 400, Code: "bad_page", Detail: "limit wants a number from 1 to " + strconv.Itoa(consumersPageMax) + "."})
			return
		}
	}
	group, name, _ := strings.Cut(after, "/")
	consumers, more, err := s.gateway.Consumers(group, name, n)
	body := map[string]any{"consumers": list(consumers)}
	if more {
		last := consumers[len(consumers)-1]
		body["next"] = last.Group + "/" + last.Name
	}
	if err != nil {
		body["missing"] = "stored consumers: " + err.Error()
	}
	answer(ctx, 200, body)
}

// target is what a path below consumersPath names.
type target struct {
	group, name string
	kind        string // "", keys or passwords
	id          string
	rotate      bool
}

// methods are those that a path takes; none: there is no such path.
func (t *target) methods() []string {
	switch {
	case t.group == "" || t.name == "":
		return nil
	case t.kind == "":
		return []string{"DELETE", "GET", "HEAD", "PATCH", "PUT"}
	case t.kind != "keys" && t.kind != "passwords":
		return nil
	case t.rotate && t.kind == "passwords":
		return nil
	case t.id == "" || t.rotate:
		return posting
	}
	return []string{"DELETE"}
}

func parseTarget(path string) (t target) {
	parts := strings.Split(strings.TrimPrefix(path, consumersPath), "/")
	if len(parts) < 2 || len(parts) > 5 || slices.Contains(parts, "") {
		return t
	}
	if len(parts) == 5 && parts[4] != "rotate" {
		return t
	}
	t.group, t.name, t.rotate = parts[0], parts[1], len(parts) == 5
	if len(parts) > 2 {
		t.kind = parts[2]
	}
	if len(parts) > 3 {
		t.id = parts[3]
	}
	return t
}

// consumer serves what is below consumersPath.
func (s *Server) consumer(ctx *fasthttp.RequestCtx) {
	t := parseTarget(string(ctx.Path()))
	members := s.gateway.Members()
	if members == nil && s.gateway.Status().Generation == 0 {
		fail(ctx, problem{Status: 503, Code: "starting", Detail: "The gateway is starting: the consumers will be there in a moment."})
		return
	}
	now := time.Now().UTC().Truncate(time.Second)
	if ctx.IsGet() || ctx.IsHead() {
		info, err := members.Get(t.group, t.name, now)
		if err != nil {
			failEdit(ctx, err)
			return
		}
		answerConsumer(ctx, 200, info, nil)
		return
	}
	e := edit{ctx: ctx, target: t, members: members, now: now}
	err := e.read()
	if err == nil {
		err = e.run()
	}
	if err != nil {
		failEdit(ctx, err)
		return
	}
	// Whoever is let in may do anything here, so that the address is all that tells one from another.
	attributes := []any{"edit", e.what, "group", t.group, "consumer", t.name, "by", ctx.RemoteAddr().String(), "on", ctx.LocalAddr().String()}
	if e.id != "" {
		attributes = append(attributes, "id", e.id)
	}
	if t.rotate {
		attributes = append(attributes, "instead_of", t.id)
	}
	slog.Info("a stored consumer was edited", attributes...)
}

// edit is one change of a consumer.
type edit struct {
	ctx     *fasthttp.RequestCtx
	target  target
	members *compile.Members
	now     time.Time
	wanted  compile.Wanted
	fields  fields
	what    string // for the log, with the id of the key or password
	id      string
}

// fields are what a body may have; which of them, depends on the path.
type fields struct {
	Plan     *string            `json:"plan"`
	Scopes   *[]string          `json:"scopes"`
	Labels   map[string]*string `json:"labels"`
	Prefix   *string            `json:"prefix"`
	Password *string            `json:"password"`
	Expires  *expiry            `json:"expires"`
	Overlap  *string            `json:"overlap"`
}

// expiry is when something ends, written as in the configuration.
type expiry struct{ time.Time }

func (e *expiry) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	var ok bool
	if e.Time, ok = config.ParseExpiry(text); !ok {
		return errors.New("it is neither a day nor a time")
	}
	return nil
}

func (e *edit) read() error {
	allowed := []string{}
	switch t := &e.target; {
	case e.ctx.IsDelete():
	case t.kind == "":
		allowed = []string{"plan", "scopes", "labels"}
	case t.rotate:
		allowed = []string{"overlap", "expires"}
	case t.kind == "keys":
		allowed = []string{"prefix", "scopes", "expires"}
	default:
		allowed = []string{"password", "scopes", "expires"}
	}
	body := e.ctx.PostBody()
	if len(body) == 0 && e.target.kind == "" && !e.ctx.IsDelete() { // PUT would take everything away, because of a file that was not found
		return &bodyError{"there is no body: {} is one that says nothing"}
	}
	if err := readFields(body, allowed, e.ctx.IsPatch(), &e.fields); err != nil {
		return err
	}
	return e.condition()
}

// condition reads If-Match and If-None-Match (RFC 9110 section 13.1), which have one entity tag or *.
func (e *edit) condition() error {
	h := &e.ctx.Request.Header
	match, none := string(h.Peek("If-Match")), string(h.Peek("If-None-Match"))
	switch {
	case none == "*":
		e.wanted.Absent = true
	case none != "":
		return &compile.FieldError{Field: "If-None-Match", Why: "wants *"}
	}
	switch {
	case match == "":
	case match == "*":
		e.wanted.Present = true
	default:
		text, quoted := strings.CutPrefix(match, `"`)
		text, closed := strings.CutSuffix(text, `"`)
		n, err := strconv.ParseUint(text, 10, 64)
		if !quoted || !closed || err != nil || n == 0 {
			return compile.ErrRevision // of something else, or a weak one, which matches nothing here
		}
		e.wanted.Revision = n
	}
	return nil
}

func (e *edit) run() error {
	t, f, m := &e.target, &e.fields, e.members
	switch {
	case t.kind == "keys":
		return e.runKey()
	case t.kind == "passwords":
		return e.runPassword()
	case e.ctx.IsDelete():
		e.what = "removed"
		if err := m.Delete(t.group, t.name, e.wanted); err != nil {
			return err
		}
		e.ctx.SetStatusCode(http.StatusNoContent)
		return nil
	case e.ctx.IsPatch():
		e.what = "changed"
		info, err := m.Patch(t.group, t.name, e.wanted, compile.MemberPatch{Plan: f.Plan, Scopes: f.Scopes, Labels: f.Labels}, e.now)
		if err != nil {
			return err
		}
		answerConsumer(e.ctx, 200, info, nil)
		return nil
	}
	e.what = "put"
	info, created, err := m.Put(t.group, t.name, e.wanted, compile.MemberFields{Plan: value(f.Plan), Scopes: value(f.Scopes), Labels: f.labels()}, e.now)
	if err != nil {
		return err
	}
	status := 200
	if created {
		status = 201
	}
	answerConsumer(e.ctx, status, info, nil)
	return nil
}

func (e *edit) runKey() (err error) {
	t, f := &e.target, &e.fields
	var info compile.ConsumerInfo
	var key string
	switch {
	case t.rotate:
		e.what = "key rotated"
		overlap, wrong := f.overlap()
		if wrong != nil {
			return wrong
		}
		info, e.id, key, err = e.members.RotateKey(t.group, t.name, t.id, e.wanted, overlap, value(f.Expires).Time, e.now)
	case t.id == "":
		e.what = "key made"
		info, e.id, key, err = e.members.AddKey(t.group, t.name, e.wanted, compile.NewCredential{Prefix: value(f.Prefix), Scopes: value(f.Scopes), Expires: value(f.Expires).Time}, e.now)
	default:
		e.what, e.id = "key revoked", t.id
		info, err = e.members.RevokeKey(t.group, t.name, t.id, e.wanted, e.now)
	}
	if err != nil {
		return err
	}
	if key == "" {
		answerConsumer(e.ctx, 200, info, nil)
		return nil
	}
	answerConsumer(e.ctx, 201, info, map[string]any{"id": e.id, "key": key})
	return nil
}

func (e *edit) runPassword() (err error) {
	t, f := &e.target, &e.fields
	if t.id != "" {
		e.what, e.id = "password removed", t.id
		info, err := e.members.RemovePassword(t.group, t.name, t.id, e.wanted, e.now)
		if err != nil {
			return err
		}
		answerConsumer(e.ctx, 200, info, nil)
		return nil
	}
	e.what = "password made"
	info, id, password, err := e.members.AddPassword(t.group, t.name, e.wanted,
		compile.NewCredential{Password: value(f.Password), Scopes: value(f.Scopes), Expires: value(f.Expires).Time}, e.now)
	if err != nil {
		return err
	}
	e.id = id
	more := map[string]any{"id": id}
	if password != "" {
		more["password"] = password
	}
	answerConsumer(e.ctx, 201, info, more)
	return nil
}

// overlap is how long a key is still good that another replaces: a day, if nothing is said.
func (f *fields) overlap() (time.Duration, error) {
	if f.Overlap == nil {
		return 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(*f.Overlap)
	if err != nil || d < 0 || d > overlapMax {
		return 0, &compile.FieldError{Field: "overlap", Why: "wants a duration such as 24h or 30m, up to 8760h; 0s ends the old key at once"}
	}
	return d, nil
}

func (f *fields) labels() map[string]string {
	var labels map[string]string
	for name, v := range f.Labels {
		if labels == nil {
			labels = make(map[string]string)
		}
		labels[name] = value(v)
	}
	return labels
}

// value is what a pointer leads to, or nothing.
func value[T any](p *T) T {
	if p == nil {
		var none T
		return none
	}
	return *p
}

// bodyError is what is wrong with a body as a whole.
type bodyError struct{ why string }

func (e *bodyError) Error() string { return e.why }

// readFields reads a JSON object that has some of the allowed fields, each once, in the case in which they are written here. An empty body is
// an empty object. null is only for a patch, in which it removes a field.
func readFields(body []byte, allowed []string, patch bool, f *fields) error {
	if len(body) == 0 {
		return nil
	}
	broken := &bodyError{"the body is no JSON object"}
	if !utf8.Valid(body) {
		return broken
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return broken
	}
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return broken
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return broken
		}
		switch {
		case !slices.Contains(allowed, name):
			return &compile.FieldError{Field: strconv.Quote(name[:min(len(name), 40)]), Why: "is not known here: " + known(allowed)}
		case seen[name]:
			return &compile.FieldError{Field: name, Why: "stands there twice"}
		}
		seen[name] = true
		if err := f.set(name, raw, patch); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return broken
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &bodyError{"there is something behind the JSON object"}
	}
	return nil
}

func known(allowed []string) string {
	if len(allowed) == 0 {
		return "nothing is"
	}
	return strings.Join(allowed, ", ") + " are"
}

// set reads one field.
func (f *fields) set(name string, raw json.RawMessage, patch bool) error {
	into := map[string]struct {
		to   any
		want string
	}{
		"plan": {&f.Plan, "text"}, "scopes": {&f.Scopes, "a list of texts"}, "labels": {&f.Labels, "an object of texts"}, "prefix": {&f.Prefix, "text"},
		"password": {&f.Password, "text"}, "expires": {&f.Expires, "a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z"}, "overlap": {&f.Overlap, "a duration such as 24h"},
	}[name]
	wrong := &compile.FieldError{Field: name, Why: "wants " + into.want}
	if string(raw) == "null" {
		if !patch {
			return wrong
		}
		return f.remove(name)
	}
	if err := json.Unmarshal(raw, into.to); err != nil {
		return wrong // what is in it is not repeated: it may be a password
	}
	if name == "labels" {
		return checkLabels(raw, patch, f.Labels, wrong)
	}
	return nil
}

// checkLabels refuses null outside of a patch, and names that stand there twice, of which the last would count.
func checkLabels(raw json.RawMessage, patch bool, labels map[string]*string, wrong error) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	n := 0
	for { // it is an object of texts, which was found out
		t, err := dec.Token()
		if err != nil {
			break
		}
		if _, delimiter := t.(json.Delim); !delimiter {
			n++
		}
	}
	if n != 2*len(labels) {
		return &compile.FieldError{Field: "labels", Why: "has a name twice"}
	}
	for _, v := range labels {
		if v == nil && !patch {
			return wrong
		}
	}
	return nil
}

// remove is what null means in a patch.
func (f *fields) remove(name string) error {
	switch name {
	case "plan":
		f.Plan = new(string)
	case "scopes":
		f.Scopes = new([]string)
	default:
		return &compile.FieldError{Field: name, Why: "cannot be null; name the labels that are to go"}
	}
	return nil
}

// answerConsumer writes a consumer with its entity tag, and what is shown only once.
func answerConsumer(ctx *fasthttp.RequestCtx, status int, info compile.ConsumerInfo, once map[string]any) {
	ctx.Response.Header.Set("ETag", strconv.Quote(strconv.FormatUint(info.Revision, 10)))
	if once == nil {
		answer(ctx, status, info)
		return
	}
	once["consumer"] = info
	answer(ctx, status, once)
}

// failEdit answers what an edit has failed with.
func failEdit(ctx *fasthttp.RequestCtx, err error) {
	var field *compile.FieldError
	var body *bodyError
	switch {
	case errors.As(err, &field):
		fail(ctx, problem{Status: 422, Code: "bad_field", Field: field.Field, Detail: "Nothing was changed: " + field.Error() + "."})
	case errors.As(err, &body):
		fail(ctx, problem{Status: 400, Code: "bad_body", Detail: "Nothing was changed: " + body.why + "."})
	case errors.Is(err, compile.ErrNoMembers):
		fail(ctx, problem{Status: 404, Code: "no_group", Detail: "The configuration has no group of that name with stored: true."})
	case errors.Is(err, compile.ErrNoMember), errors.Is(err, compile.ErrNoCredential):
		fail(ctx, problem{Status: 404, Code: "no_consumer", Detail: "Nothing was changed: " + err.Error() + "."})
	case errors.Is(err, compile.ErrConfigured):
		fail(ctx, problem{Status: 409, Code: "configured_consumer", Detail: "Nothing was changed: " + err.Error() + "."})
	case errors.Is(err, compile.ErrRevision):
		fail(ctx, problem{Status: 412, Code: "changed_meanwhile", Detail: "Nothing was changed: the consumer is not what If-Match or If-None-Match say."})
	case errors.Is(err, roster.ErrFull):
		fail(ctx, problem{Status: 507, Code: "group_full", Detail: "Nothing was changed: " + err.Error() + "."})
	case errors.Is(err, compile.ErrMembersBusy): // which is logged once
		fail(ctx, problem{Status: 503, Code: "consumers_unavailable", Detail: "The stored consumers cannot be read or written: " + err.Error() + "."})
	default:
		slog.Error("the stored consumers cannot be read or written", "error", err)
		fail(ctx, problem{Status: 503, Code: "consumers_unavailable", Detail: "The stored consumers cannot be read or written: " + err.Error() + "."})
	}
}
