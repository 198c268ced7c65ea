package observe

import (
	"bytes"
	"strconv"
	"time"
	"unsafe"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// line is one line being rendered. It is pooled.
type line struct {
	log    *AccessLog
	x      *proxy.Exchange
	end    int64 // wire.Now when x ended
	status int
	also   Secrets
	text   []byte
}

// field is one thing to know about an exchange: a key in JSON, a variable in a format.
type field struct {
	name   string
	number bool // or true and false: written without quotes
	// failure says that there is a value only where failed says so.
	failure bool
	// append appends the value, safe inside a JSON string, or nothing if there is none.
	append func(n *line, dst []byte) []byte

	key string // `,"name":`, with the quote that begins the value
}

// fields lists them in the order of a JSON line, which leaves out those without a value: service, endpoint, attempts
// and upstream_ms where no service was asked, error to would_refuse where nothing went wrong.
//
// Path and query are what the client sent, whatever a rewrite made of them; time is when the exchange ended.
var fields = [...]field{
	{name: "time", append: func(n *line, dst []byte) []byte { return n.log.clock.append(dst, n.end) }},
	{name: "request_id", append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.ID) }},
	{name: "client", append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.Client.Text) }},
	{name: "method", append: (*line).appendMethod},
	{name: "host", append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.Request.Host) }},
	{name: "sni", append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.Client.ServerName) }},
	{name: "ech", number: true, append: (*line).appendECH},
	{name: "tls_fingerprint", append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.Client.JA4) }},
	{name: "path", append: (*line).appendPath},
	{name: "query", append: (*line).appendQuery},
	{name: "proto", append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.Received.Proto) }},
	{name: "status", number: true, append: func(n *line, dst []byte) []byte { return appendInt(dst, n.status) }},
	{name: "route", append: (*line).appendRoute},
	{name: "service", append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.Service) }},
	{name: "endpoint", append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.Endpoint) }},
	{name: "attempts", number: true, append: (*line).appendAttempts},
	{name: "bytes_in", number: true, append: func(n *line, dst []byte) []byte { return appendInt(dst, n.x.BytesIn) }},
	{name: "bytes_out", number: true, append: func(n *line, dst []byte) []byte { return appendInt(dst, n.x.BytesOut) }},
	{name: "duration_ms", number: true, append: func(n *line, dst []byte) []byte { return appendMillis(dst, n.end-n.x.Started) }},
	{name: "upstream_ms", number: true, append: (*line).appendUpstream},
	{name: "cache", append: func(n *line, dst []byte) []byte { return append(dst, n.x.Cache...) }},
	{name: "user_agent", append: func(n *line, dst []byte) []byte {
		return appendURL(dst, n.x.Request.Head.GetKnown(wire.UserAgent), n.also)
	}},
	{name: "referer", append: func(n *line, dst []byte) []byte {
		return appendURL(dst, n.x.Request.Head.GetKnown(wire.Referer), n.also)
	}},
	{name: "error", failure: true, append: (*line).appendError},
	{name: "cause", failure: true, append: (*line).appendCause},
	{name: "policy", failure: true, append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.FailedAt) }},
	{name: "aborted", number: true, failure: true, append: (*line).appendAborted},
	{name: "would_refuse", failure: true, append: func(n *line, dst []byte) []byte { return appendText(dst, n.x.WouldRefuse) }},
}

func init() {
	for i := range fields {
		fields[i].key = `,"` + fields[i].name + `":`
		if !fields[i].number {
			fields[i].key += `"`
		}
	}
}

// appendJSON appends a JSON object and a line feed: fields, in their order, written out. Called one by one through the table they
// take a good deal longer; TestJSONIsTheTable compares the two.
func (n *line) appendJSON(dst []byte, headers []loggedHeader) []byte {
	x := n.x
	method := x.Request.Method
	if method == "" {
		method = view(x.Received.Method)
	}
	dst = append(n.log.clock.append(append(dst, `{"time":"`...), n.end), '"')
	dst = appendQuoted(dst, `,"request_id":"`, view(x.ID))
	dst = appendQuoted(dst, `,"client":"`, view(x.Client.Text))
	dst = appendQuoted(dst, `,"method":"`, method)
	dst = appendQuoted(dst, `,"host":"`, view(x.Request.Host))
	dst = appendQuoted(dst, `,"sni":"`, x.Client.ServerName)
	if x.Client.ECH {
		dst = n.appendECH(append(dst, `,"ech":`...))
	}
	dst = appendQuoted(dst, `,"tls_fingerprint":"`, x.Client.JA4)
	dst = appendQuotedURL(dst, `,"path":"`, n.path(), n.also)
	if query := n.query(); len(query) > 0 {
		dst = append(appendQuery(append(dst, `,"query":"`...), query, n.also), '"')
	}
	dst = appendQuoted(dst, `,"proto":"`, x.Received.Proto)
	dst = appendNumber(dst, `,"status":`, int64(n.status))
	if x.Route != nil {
		dst = appendQuoted(dst, `,"route":"`, x.Route.Name)
	}
	dst = appendQuoted(dst, `,"service":"`, x.Service)
	dst = appendQuoted(dst, `,"endpoint":"`, x.Endpoint)
	if x.UpstreamAt != 0 {
		dst = appendNumber(dst, `,"attempts":`, int64(x.Attempts))
	}
	dst = appendNumber(dst, `,"bytes_in":`, x.BytesIn)
	dst = appendNumber(dst, `,"bytes_out":`, x.BytesOut)
	dst = appendMillis(append(dst, `,"duration_ms":`...), n.end-x.Started)
	if x.UpstreamAt != 0 {
		dst = n.appendUpstream(append(dst, `,"upstream_ms":`...))
	}
	if x.Cache != "" {
		dst = appendQuoted(dst, `,"cache":"`, x.Cache)
	}
	dst = appendQuotedURL(dst, `,"user_agent":"`, x.Request.Head.GetKnown(wire.UserAgent), n.also)
	dst = appendQuotedURL(dst, `,"referer":"`, x.Request.Head.GetKnown(wire.Referer), n.also)
	if n.failed() {
		dst = n.appendFailure(dst)
	}
	return append(n.appendHeaders(dst, headers), '}', '\n')
}

func (n *line) appendECH(dst []byte) []byte {
	if n.x.Client.ECH {
		dst = append(dst, "true"...)
	}
	return dst
}

// appendQuoted appends a key, a value as appendText does, and a quote, or nothing if there is no value. It is not inlined, nor
// are those below: of a line's cost in a busy gateway, fetching the code is a good part, and they are called a dozen times.
//
//go:noinline
func appendQuoted(dst []byte, key, v string) []byte {
	if v == "" {
		return dst
	}
	dst = append(dst, key...)
	if to := quickly(dst, len(v)); to != nil && copyPlain(to, v) {
		to[len(v)] = '"'
		return dst[:len(dst)+len(to)]
	}
	return append(appendText(dst, v), '"')
}

// appendQuotedURL appends a key, a value as appendURL does, and a quote.
//
//go:noinline
func appendQuotedURL(dst []byte, key string, v []byte, also Secrets) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = append(dst, key...)
	// Without these two there is nothing in it that could be a secret.
	if bytes.IndexByte(v, '=') < 0 && bytes.IndexByte(v, '@') < 0 {
		if to := quickly(dst, len(v)); to != nil && copyPlain(to, view(v)) {
			to[len(v)] = '"'
			return dst[:len(dst)+len(to)]
		}
	}
	return append(appendURL(dst, v, also), '"')
}

//go:noinline
func appendNumber(dst []byte, key string, v int64) []byte { return appendInt(append(dst, key...), v) }

// quickly returns the place behind dst of a value of n bytes and its quote, or nil if there is none yet, or if the value may
// be too long for the line.
func quickly(dst []byte, n int) []byte {
	const longest = 1 << 10
	if cap(dst)-len(dst) <= n || n > longest || len(dst) > lineMax-longest*expansionMax {
		return nil
	}
	return dst[len(dst) : len(dst)+n+1]
}

// view is b as a string that is valid as long as b is and does not change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// appendFailure appends what there is to say of a failure, through the table: failures may take their time.
func (n *line) appendFailure(dst []byte) []byte {
	for i := range fields {
		f := &fields[i]
		if !f.failure {
			continue
		}
		before := len(dst)
		dst = append(dst, f.key...)
		value := len(dst)
		dst = f.append(n, dst)
		switch {
		case len(dst) == value:
			dst = dst[:before]
		case !f.number:
			dst = append(dst, '"')
		}
	}
	return dst
}

// failed reports whether there is anything to say about a failure.
func (n *line) failed() bool {
	return n.x.Err != nil || n.x.ErrCause != nil || n.x.FailedAt != "" || n.x.Aborted || n.x.WouldRefuse != ""
}

// appendHeaders appends the fields that are present as an object.
func (n *line) appendHeaders(dst []byte, headers []loggedHeader) []byte {
	const open = `,"headers":{`
	before := len(dst)
	dst = append(dst, open...)
	first := len(dst)
	for i := range headers {
		h := &headers[i]
		value, ok := n.x.Header(h.name)
		if !ok {
			continue
		}
		if len(dst) > first {
			dst = append(dst, ',')
		}
		dst = append(dst, h.key...)
		dst = append(dst, '"')
		if h.secret {
			dst = append(dst, redacted...)
		} else {
			dst = appendURL(dst, value, n.also)
		}
		dst = append(dst, '"')
	}
	if len(dst) == first {
		return dst[:before]
	}
	return append(dst, '}')
}

func (n *line) appendMethod(dst []byte) []byte {
	if n.x.Request.Method != "" {
		return appendText(dst, n.x.Request.Method)
	}
	return appendText(dst, n.x.Received.Method)
}

func (n *line) appendPath(dst []byte) []byte { return appendURL(dst, n.path(), n.also) }

// path is the path that was matched, or that of a request that did not get so far as it was received.
func (n *line) path() []byte {
	switch {
	case n.x.MatchedPath != nil:
		return n.x.MatchedPath
	case n.x.Request.Path != nil:
		return n.x.Request.Path
	}
	path, _, _ := bytes.Cut(n.x.Received.Target, questionMark)
	return path
}

func (n *line) appendQuery(dst []byte) []byte { return appendQuery(dst, n.query(), n.also) }

func (n *line) query() []byte {
	if n.x.Received.Target == nil {
		return n.x.Request.Query
	}
	_, query, _ := bytes.Cut(n.x.Received.Target, questionMark)
	return query
}

var questionMark = []byte("?")

func (n *line) appendRoute(dst []byte) []byte {
	if n.x.Route == nil {
		return dst
	}
	return appendText(dst, n.x.Route.Name)
}

func (n *line) appendAttempts(dst []byte) []byte {
	if n.x.UpstreamAt == 0 {
		return dst
	}
	return appendInt(dst, n.x.Attempts)
}

// appendUpstream appends the time from the last try to the response head, to the end if there was no head.
func (n *line) appendUpstream(dst []byte) []byte {
	at, head := n.x.UpstreamAt, n.x.HeadAt
	if at == 0 {
		return dst
	}
	if head < at {
		head = n.end
	}
	return appendMillis(dst, head-at)
}

func (n *line) appendError(dst []byte) []byte {
	if n.x.Err == nil {
		return dst
	}
	return appendText(dst, n.x.Err.Code)
}

// appendCause appends why, in the words of whatever failed. It allocates: for failures, not for refusals.
func (n *line) appendCause(dst []byte) []byte {
	cause := n.x.ErrCause
	if cause == nil && n.x.Err != nil {
		cause = n.x.Err.Cause
	}
	if cause == nil {
		return dst
	}
	return appendURL(dst, []byte(cause.Error()), n.also)
}

func (n *line) appendAborted(dst []byte) []byte {
	if !n.x.Aborted {
		return dst
	}
	return append(dst, "true"...)
}

func appendInt[N int | int64](dst []byte, v N) []byte { return strconv.AppendInt(dst, int64(v), 10) }

// appendMillis appends a duration in nanoseconds as milliseconds with three decimals.
func appendMillis(dst []byte, ns int64) []byte {
	us := max(ns, 0) / int64(time.Microsecond)
	dst = wire.AppendUint(dst, uint64(us/1000))
	return append(dst, '.', byte('0'+us/100%10), byte('0'+us/10%10), byte('0'+us%10))
}
