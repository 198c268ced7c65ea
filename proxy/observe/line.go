package observe

import (
	"bytes"
	"strconv"
	"time"

	"sluice/proxy"
	"sluice/proxy/wire"
)

// line is one line being rendered. It is pooled.
type line struct {
	log    *AccessLog
	x      *proxy.Exchange
	end    int64 // wire.Now when x ended
	status int
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
	{name: "user_agent", append: func(n *line, dst []byte) []byte { return appendURL(dst, n.x.Request.Head.GetKnown(wire.UserAgent)) }},
	{name: "referer", append: func(n *line, dst []byte) []byte { return appendURL(dst, n.x.Request.Head.GetKnown(wire.Referer)) }},
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
	dst = append(n.log.clock.append(append(dst, `{"time":"`...), n.end), '"')
	dst = appendQuoted(dst, `,"request_id":"`, x.ID)
	dst = appendQuoted(dst, `,"client":"`, x.Client.Text)
	dst = n.appendNonempty(dst, `,"method":"`, n.appendMethod)
	dst = appendQuoted(dst, `,"host":"`, x.Request.Host)
	dst = appendQuoted(dst, `,"sni":"`, x.Client.ServerName)
	if x.Client.ECH {
		dst = n.appendECH(append(dst, `,"ech":`...))
	}
	dst = appendQuoted(dst, `,"tls_fingerprint":"`, x.Client.JA4)
	dst = n.appendNonempty(dst, `,"path":"`, n.appendPath)
	dst = n.appendNonempty(dst, `,"query":"`, n.appendQuery)
	dst = appendQuoted(dst, `,"proto":"`, x.Received.Proto)
	dst = appendInt(append(dst, `,"status":`...), n.status)
	if x.Route != nil {
		dst = appendQuoted(dst, `,"route":"`, x.Route.Name)
	}
	dst = appendQuoted(dst, `,"service":"`, x.Service)
	dst = appendQuoted(dst, `,"endpoint":"`, x.Endpoint)
	if x.UpstreamAt != 0 {
		dst = appendInt(append(dst, `,"attempts":`...), x.Attempts)
	}
	dst = appendInt(append(dst, `,"bytes_in":`...), x.BytesIn)
	dst = appendInt(append(dst, `,"bytes_out":`...), x.BytesOut)
	dst = appendMillis(append(dst, `,"duration_ms":`...), n.end-x.Started)
	if x.UpstreamAt != 0 {
		dst = n.appendUpstream(append(dst, `,"upstream_ms":`...))
	}
	if v := x.Request.Head.GetKnown(wire.UserAgent); len(v) > 0 {
		dst = append(appendURL(append(dst, `,"user_agent":"`...), v), '"')
	}
	if v := x.Request.Head.GetKnown(wire.Referer); len(v) > 0 {
		dst = append(appendURL(append(dst, `,"referer":"`...), v), '"')
	}
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

func (n *line) appendNonempty(dst []byte, key string, value func([]byte) []byte) []byte {
	before := len(dst)
	dst = append(dst, key...)
	start := len(dst)
	if dst = value(dst); len(dst) == start {
		return dst[:before]
	}
	return append(dst, '"')
}

func appendQuoted[V string | []byte](dst []byte, key string, v V) []byte {
	if len(v) == 0 {
		return dst
	}
	return append(appendText(append(dst, key...), v), '"')
}

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
			dst = appendURL(dst, value)
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

// appendPath appends the path that was matched, or that of a request that did not get so far as it was received.
func (n *line) appendPath(dst []byte) []byte {
	switch {
	case n.x.MatchedPath != nil:
		return appendURL(dst, n.x.MatchedPath)
	case n.x.Request.Path != nil:
		return appendURL(dst, n.x.Request.Path)
	}
	path, _, _ := bytes.Cut(n.x.Received.Target, questionMark)
	return appendURL(dst, path)
}

func (n *line) appendQuery(dst []byte) []byte {
	if n.x.Received.Target == nil {
		return appendQuery(dst, n.x.Request.Query)
	}
	_, query, _ := bytes.Cut(n.x.Received.Target, questionMark)
	return appendQuery(dst, query)
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
	return appendURL(dst, []byte(cause.Error()))
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
