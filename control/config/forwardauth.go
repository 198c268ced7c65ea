package config

import (
	"slices"
	"strings"
	"time"
)

// ForwardAuth is the policy that asks a service whether a request may go on. Send and Cookies are what clients have shown, and always tell
// one decision from another; Key says what else does.
type ForwardAuth struct {
	Service         Text       `cfg:"service" required:"true" doc:"the service that is asked: 2xx admits, 401, 403 and redirects are the client's answer"`
	Path            Text       `cfg:"path" default:"/" doc:"what it is asked for: a path, with a query or without"`
	Method          string     `cfg:"method" default:"GET" enum:"GET,HEAD,POST,request" doc:"how; request: as the client has asked"`
	Send            List[Text] `cfg:"send" doc:"request fields that it gets, beside X-Forwarded-For, -Proto, -Host, -Method and -Uri; Authorization and Cookie by default"`
	Cookies         List[Text] `cfg:"cookies" doc:"the cookies that it gets, in the place of all"`
	Forward         List[Text] `cfg:"forward" doc:"fields of its answer that go on with the request; what clients send under these names goes"`
	Respond         List[Text] `cfg:"respond" doc:"fields of an answer that admits which the client gets, such as Set-Cookie"`
	Identity        Text       `cfg:"identity" doc:"the field of its answer that says who the client is, for limits and caches behind the policy"`
	Timeout         Duration   `cfg:"timeout" default:"5s" doc:"how long an answer may take; then, as if it is down, requests get 503"`
	IfDown          string     `cfg:"if_down" default:"deny" enum:"deny" doc:"what becomes of requests while it is down; there is nothing else"`
	Remember        Duration   `cfg:"remember" off:"true" default:"off" doc:"for how long a decision holds for requests that show and want the same"`
	RememberRefused *Duration  `cfg:"remember_refused" off:"true" doc:"the same of one that refuses; 5s by default, and no longer than remember"`
	Key             List[Text] `cfg:"key" enum:"method,scheme,host,path,query,ip" doc:"what of a request makes it want something else, beside what it shows; all of that by default"`
	Decisions       int        `cfg:"decisions" default:"10000" min:"1" max:"1000000" doc:"how many are remembered"`
	Mode            string     `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
	Pos             Pos
}

// rememberMax is for how long nobody finds out that somebody is no longer admitted.
const rememberMax = Duration(time.Hour)

// refusedDefault is for how long a refusal is remembered, if nothing is said.
const refusedDefault = Duration(5 * time.Second)

// Refused is for how long a decision that refuses holds.
func (f *ForwardAuth) Refused() time.Duration {
	if f.RememberRefused != nil {
		return time.Duration(*f.RememberRefused)
	}
	return time.Duration(min(f.Remember, refusedDefault))
}

// Sent are the request fields and the cookies that the service gets.
func (f *ForwardAuth) Sent() (fields, cookies []string) {
	for _, t := range f.Send {
		fields = append(fields, t.Text)
	}
	if f.Send == nil {
		fields = []string{"Authorization", "Cookie"}
	}
	for _, t := range f.Cookies {
		cookies = append(cookies, t.Text)
	}
	if f.Cookies != nil {
		fields = slices.DeleteFunc(fields, isCookieField)
	}
	return fields, cookies
}

func isCookieField(name string) bool { return strings.EqualFold(name, "Cookie") }

// forwardedOwn are the fields that the service gets anyway.
var forwardedOwn = []string{"X-Request-Id", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Method", "X-Forwarded-Uri", "Via"}

func (v *validator) forwardAuth(f *ForwardAuth, path string) {
	if f == nil {
		return
	}
	v.unenforced(f.Mode, path)
	if f.Service.Text != "" {
		v.askedService(f.Service, joinPath(path, "service"), "service")
	}
	if !isAskedTarget(f.Path.Text) {
		v.failAt(f.Path.Pos, joinPath(path, "path"), "wants a path, got "+v.show(f.Path.Text, f.Path.Pos), "such as /verify or /verify?for=shop: printable, and without a fragment")
	}
	v.forwardedFields(f, path)
	switch refused := f.RememberRefused; {
	case f.Timeout < Duration(time.Millisecond) || f.Timeout > Duration(time.Minute):
		v.fail(joinPath(path, "timeout"), "wants between 1ms and 1m", "every request waits for the answer")
	case f.Remember > rememberMax:
		v.fail(joinPath(path, "remember"), "is longer than 1h", "who is no longer admitted is, for that long")
	case refused != nil && *refused > f.Remember:
		v.fail(joinPath(path, "remember_refused"), "is longer than remember", "who has just been given a right is to get it")
	}
	if fields, cookies := f.Sent(); f.Remember > 0 && f.Key != nil && len(f.Key)+len(fields)+len(cookies) == 0 {
		v.fail(joinPath(path, "key"), "holds nothing, and nothing is sent: the first decision would be everybody's", "key: [ip], for example")
	}
	if f.Remember == 0 {
		for _, key := range []string{"key", "decisions"} {
			if v.written(joinPath(path, key)) {
				v.fail(joinPath(path, key), "is about decisions that are remembered, and none is", "remember: 30s")
			}
		}
	}
}

// isAskedTarget wants path and query as they stand in a request.
func isAskedTarget(s string) bool {
	return strings.HasPrefix(s, "/") && len(s) <= 2<<10 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' || c == '\\' })
}

func (v *validator) forwardedFields(f *ForwardAuth, path string) {
	for i, t := range f.Cookies {
		if hint := checkHeaderName(t.Text); hint != "" {
			v.failAt(t.Pos, v.item(path+".cookies", i), v.show(t.Text, t.Pos)+" is not a valid cookie name", hint)
		}
	}
	for _, list := range []struct {
		key   string
		names List[Text]
	}{{"send", f.Send}, {"forward", f.Forward}, {"respond", f.Respond}} {
		for i, t := range list.names {
			where := v.item(joinPath(path, list.key), i)
			v.headerName(t.Text, t.Pos, where)
			if slices.ContainsFunc(list.names[:i], func(before Text) bool { return strings.EqualFold(before.Text, t.Text) }) {
				v.failAt(t.Pos, where, v.show(t.Text, t.Pos)+" stands here twice", "")
			}
			switch {
			case list.key == "send" && slices.ContainsFunc(forwardedOwn, func(own string) bool { return strings.EqualFold(own, t.Text) }):
				v.failAt(t.Pos, where, "the service gets "+v.show(t.Text, t.Pos)+" anyway", "remove it")
			case list.key == "send" && f.Cookies != nil && isCookieField(t.Text):
				v.failAt(t.Pos, where, "stands beside cookies", "all of Cookie is sent, or the cookies that are named there")
			}
		}
	}
	if t := f.Identity; t.Text != "" {
		v.headerName(t.Text, t.Pos, joinPath(path, "identity"))
	}
}
