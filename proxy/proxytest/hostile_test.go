package proxytest

import (
	"runtime"
	"strings"
)

// hostileYAML is what the table below is written against. The limits are small so that a request which breaks one is
// still short enough to be sent in two parts at every one of its bytes. No connection to the origin is used twice: a
// recording then begins with one request, and everything behind it is something that Sluice should not have sent.
const hostileYAML = `
limits: { header_bytes: 1KiB, uri_bytes: 128B, headers: 12, body_bytes: 256B }
services:
  origin: { to: ["unix:%s"], pool: { idle: %d } }
routes:
  all: { match: "/**", to: origin }
  local: { match: "/local", respond: { status: 204 } }
`

// hostileCase is a request, or several, as no well-meaning client would send them, and what has to come of it.
type hostileCase struct {
	line    int    // of the table, to name it by
	raw     string // the bytes that the client sends
	answers []int  // the status of every answer, in order
	arrived []string
	// cut is what arrives of a last request whose body breaks off: "METHOD target host" and, behind another space,
	// what the origin may have seen of the body, no more. Empty: there is none.
	cut      string
	ends     bool     // raw only shows its nature by ending: the client has to close its side
	lone     bool     // raw does not end its line, so that anything behind it would be a part of that
	before   int      // recordings that has and not are not about
	has, not []string // what recordings must and must not hold
}

// refused reports whether the last answer is a refusal that has to end the connection by itself.
func (c *hostileCase) refused() bool {
	return !c.ends && len(c.answers) > 0 && c.answers[len(c.answers)-1] >= 400
}

// closes reports whether the gateway has to close without the client having closed its side.
func (c *hostileCase) closes() bool { return c.refused() || c.cut != "" && !c.ends }

// with demands that a recording holds text, without that it does not.
func (c *hostileCase) with(text ...string) *hostileCase    { c.has = append(c.has, text...); return c }
func (c *hostileCase) without(text ...string) *hostileCase { c.not = append(c.not, text...); return c }

const (
	get   = "GET / HTTP/1.1\r\n"
	get10 = "GET / HTTP/1.0\r\n"
	post  = "POST / HTTP/1.1\r\nHost: a\r\n"
	host  = "Host: a\r\n"
	coded = "Transfer-Encoding: chunked\r\n"
	end   = "\r\n"
	last  = "0\r\n\r\n" // of a chunked body

	// smuggled is a request that hides where a body or a head is expected. Where it stands in a case and is not
	// expected to arrive, none of it may.
	smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
)

// hostileCases is the table. What is expected follows RFC 9110 and RFC 9112, and where those leave a choice, the
// strict one: a request that two servers have been seen to read in two ways is refused.
func hostileCases() []*hostileCase {
	var table []*hostileCase
	add := func(c hostileCase) *hostileCase {
		_, _, c.line, _ = runtime.Caller(2)
		table = append(table, &c)
		return &c
	}
	// refused: one answer, the connection closed, and nothing arrives.
	refused := func(status int, raw string) *hostileCase { return add(hostileCase{raw: raw, answers: []int{status}}) }
	// passes: each of these arrives, "METHOD target host" and the body behind another space, and is answered.
	passes := func(raw string, arrived ...string) *hostileCase {
		c := add(hostileCase{raw: raw, arrived: arrived, ends: true})
		for range arrived {
			c.answers = append(c.answers, 200)
		}
		return c
	}
	// then: like passes, with a last request that is refused.
	then := func(status int, raw string, arrived ...string) {
		c := add(hostileCase{raw: raw, arrived: arrived})
		for range arrived {
			c.answers = append(c.answers, 200)
		}
		c.answers = append(c.answers, status)
	}
	// cut: the body turns bad while it flows; breaks: it just ends.
	cut := func(raw, seen string) { add(hostileCase{raw: raw, cut: seen}) }
	breaks := func(raw, seen string) { add(hostileCase{raw: raw, cut: seen, ends: true}) }
	// silent: the head never ends, there is nothing to answer.
	silent := func(raw string) { add(hostileCase{raw: raw, ends: true}) }
	// local: the gateway answers by itself, and goes on with what follows only if it knows where that begins.
	local := func(raw string, answers []int, arrived ...string) {
		add(hostileCase{raw: raw, answers: answers, arrived: arrived, ends: true})
	}

	// Content-Length: one plain decimal number, once.
	refused(400, post+"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc")
	refused(400, post+"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
	refused(400, post+"Content-Length: 0\r\ncontent-length: 38\r\n\r\n"+smuggled)
	refused(400, post+"Content-Length: 38\r\nX: y\r\nCONTENT-LENGTH: 0\r\n\r\n"+smuggled)
	refused(400, post+"Content-Length: 3, 3\r\n\r\nabc")
	refused(400, post+"Content-Length: 3,4\r\n\r\nabcd")
	refused(400, post+"Content-Length: 3,\r\n\r\nabc")
	refused(400, post+"Content-Length: ,3\r\n\r\nabc")
	refused(400, post+"Content-Length: +3\r\n\r\nabc")
	refused(400, post+"Content-Length: -3\r\n\r\nabc")
	refused(400, post+"Content-Length: -0\r\n\r\n")
	refused(400, post+"Content-Length: 0x3\r\n\r\nabc")
	refused(400, post+"Content-Length: 3h\r\n\r\nabc")
	refused(400, post+"Content-Length: a\r\n\r\n0123456789")
	refused(400, post+"Content-Length: 3.0\r\n\r\nabc")
	refused(400, post+"Content-Length: 3e0\r\n\r\nabc")
	refused(400, post+"Content-Length: 1_0\r\n\r\n0123456789")
	refused(400, post+"Content-Length: 3;q=1\r\n\r\nabc")
	refused(400, post+"Content-Length: \"3\"\r\n\r\nabc")
	refused(400, post+"Content-Length: 3 3\r\n\r\nabc")
	refused(400, post+"Content-Length: 3\t4\r\n\r\nabc")
	refused(400, post+"Content-Length: \v3\r\n\r\nabc")
	refused(400, post+"Content-Length: 3\f\r\n\r\nabc")
	refused(400, post+"Content-Length: 3\x00\r\n\r\nabc")
	refused(400, post+"Content-Length: 3\xa0\r\n\r\nabc")
	refused(400, post+"Content-Length: \xef\xbc\x93\r\n\r\nabc") // a full-width 3
	refused(400, post+"Content-Length:\r\n\r\n"+smuggled)
	refused(400, post+"Content-Length: \t \r\n\r\n"+smuggled)
	refused(400, post+"Content-Length: 9223372036854775808\r\n\r\nabc")
	refused(400, post+"Content-Length: 18446744073709551619\r\n\r\nabc") // 3 in 64 bits
	refused(400, post+"Content-Length: 4294967296000000000000000003\r\n\r\nabc")
	refused(413, post+"Content-Length: 999999999999999999\r\n\r\nabc")
	refused(413, post+"Content-Length: 4294967299\r\n\r\nabc") // 3 in 32 bits
	local(post+"Content-Length: 257\r\n\r\nabc", []int{413})
	refused(400, post+"Content-Length : 3\r\n\r\nabc")
	refused(400, post+"Content-Length\t: 3\r\n\r\nabc")
	refused(400, post+" Content-Length: 3\r\n\r\nabc")
	refused(400, post+"Content-Length\x00: 3\r\n\r\nabc")
	refused(400, post+"Content-Length\r\n\r\nabc")
	passes(post+"Content-Length: 003\r\n\r\nabc", "POST / a abc").with("\r\nContent-Length: 3\r\n").without(": 003")
	passes(post+"Content-Length:3\r\n\r\nabc", "POST / a abc")
	passes(post+"Content-Length: \t3 \t\r\n\r\nabc", "POST / a abc")
	passes(post+"cOnTeNt-LeNgTh: 3\r\n\r\nabc", "POST / a abc")
	passes(post+"Content-Length: 000000000000000003\r\n\r\nabc", "POST / a abc")
	passes(post+"Content-Length: 0\r\n\r\n"+smuggled, "POST / a", "GET /smuggled a")
	passes(post+"\r\n"+smuggled, "POST / a", "GET /smuggled a").with("POST / HTTP/1.1\r\nHost: a\r\n", "Content-Length: 0\r\n")
	// With an underscore it is no framing, and what only looks like one of ours to some origins is not passed on.
	passes(post+"Content_Length: 3\r\n\r\n"+smuggled, "POST / a", "GET /smuggled a").with("POST / HTTP/1.1\r\nHost: a\r\n", "Content-Length: 0\r\n").without("Content_Length")
	passes(post+"Content-Length2: 3\r\n\r\n"+smuggled, "POST / a", "GET /smuggled a").with("Content-Length: 0\r\n")

	// A body that is shorter or longer than announced.
	passes(post+"Content-Length: 3\r\n\r\nabc"+smuggled, "POST / a abc", "GET /smuggled a")
	passes(post+"Content-Length: 38\r\n\r\n"+smuggled+"GET", "POST / a "+smuggled+"GET")
	passes(post+"Content-Length: 2\r\n\r\n\r\n"+smuggled, "POST / a \r\n", "GET /smuggled a")
	passes(post+"Content-Length: 3\r\n\r\nabc\r\n"+smuggled, "POST / a abc", "GET /smuggled a")
	passes(post+"Content-Length: 3\r\n\r\nabcdef", "POST / a abc")
	then(400, post+"Content-Length: 3\r\n\r\nabc\n"+smuggled, "POST / a abc")
	then(400, post+"Content-Length: 3\r\n\r\nabc\r"+smuggled, "POST / a abc")
	then(400, post+"Content-Length: 3\r\n\r\nabc\r\n\r\n"+smuggled, "POST / a abc")
	then(400, post+"Content-Length: 3\r\n\r\nabc def\r\n\r\n", "POST / a abc")
	then(400, post+"Content-Length: 1\r\n\r\nabc: d\r\n\r\n", "POST / a a")
	breaks(post+"Content-Length: 30\r\n\r\n", "POST / a")
	breaks(post+"Content-Length: 30\r\n\r\nabc", "POST / a abc")
	breaks(post+"Content-Length: 60\r\n\r\n"+smuggled, "POST / a "+smuggled)
	breaks("PUT / HTTP/1.0\r\nContent-Length: 30\r\n\r\nabc", "PUT / localhost abc")

	// Content-Length and Transfer-Encoding.
	refused(400, post+"Content-Length: 5\r\n"+coded+end+last)
	refused(400, post+coded+"Content-Length: 5\r\n"+end+last)
	refused(400, post+"Content-Length: 0\r\n"+coded+end+last+smuggled)
	refused(400, post+coded+"Content-Length: 43\r\n"+end+last+smuggled)
	refused(400, post+coded+"content-length: 0\r\n"+end+last+smuggled)
	refused(400, post+"Content-Length: 6\r\nTransfer-Encoding: identity\r\n"+end+"abcdef")
	refused(400, post+"Content-Length: 5\r\nTransfer-Encoding:\r\n"+end+last)
	refused(400, "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n"+coded+end+last)
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"+coded+end+last)
	passes(post+"Content-Length: 5\r\nX-Transfer-Encoding: chunked\r\n"+end+last, "POST / a "+last)
	passes(post+"Content-Length: 5\r\nTransfer_Encoding: chunked\r\n"+end+last, "POST / a "+last)
	passes(post+"Content-Length: 5\r\nTransfer-Encodin: chunked\r\n"+end+last, "POST / a "+last)
	passes(post+"Content-Length: 5\r\nTE: chunked\r\n"+end+last, "POST / a "+last).without("TE: chunked")

	// Transfer-Encoding: just "chunked", once, in HTTP/1.1.
	for _, te := range []string{
		"identity", "gzip", "xchunked", "chunkedx", "x-chunked", "chunke", "chunked,", ",chunked", "chunked, identity",
		"identity, chunked", "gzip, chunked", "gzip,chunked", "chunked, chunked", "chunked chunked", "chunked;q=1",
		"chunked;", "\"chunked\"", "'chunked'", "chunked\x00", "\x00chunked", "\vchunked", "chunked\v", "\fchunked",
		"chunked\f", "chunked\x7f", "\xa0chunked", "chunked\xff", "\x85chunked", "ch\tunked", "[chunked]", "chunked()",
		"chun\xc4\xb8ed", "\xe2\x84\xaahunked", "chunked\r", "\rchunked", "chunked\n", "\nchunked", "\n chunked",
		"chunked\n ", "true", "1", "null", "cow", "", " ", "\t",
	} {
		refused(400, post+"Transfer-Encoding: "+te+end+end+last+smuggled)
	}
	refused(400, post+coded+coded+end+last)
	refused(400, post+coded+"Transfer-Encoding: identity\r\n"+end+last)
	refused(400, post+"Transfer-Encoding: identity\r\n"+coded+end+last)
	refused(400, post+coded+"transfer-encoding: cow\r\n"+end+last)
	refused(400, post+coded+"Transfer-Encoding:\r\n"+end+last)
	refused(400, post+"Transfer-Encoding:\r\n chunked\r\n"+end+last)
	refused(400, post+"Transfer-Encoding:\r\n\tchunked\r\n"+end+last)
	refused(400, post+"Transfer-Encoding: chunked\r\n , identity\r\n"+end+last)
	refused(400, post+"X: y\r\n "+coded+end+last)
	refused(400, post+"Transfer-Encoding : chunked\r\n"+end+last)
	refused(400, post+"Transfer-Encoding\t: chunked\r\n"+end+last)
	refused(400, post+" "+coded+end+last)
	refused(400, post+"\t"+coded+end+last)
	refused(400, post+"\x00"+coded+end+last)
	refused(400, post+"\v"+coded+end+last)
	refused(400, post+"Transfer-Encoding\x00: chunked\r\n"+end+last)
	refused(400, post+"Transfer-Encoding\xa0: chunked\r\n"+end+last)
	refused(400, post+"Transfer Encoding: chunked\r\n"+end+last)
	refused(400, post+"Transfer-Encoding chunked\r\n"+end+last)
	refused(400, post+"Transfer-Encoding\r\n: chunked\r\n"+end+last)
	refused(400, post+"X: y\nTransfer-Encoding: chunked\r\n"+end+last)
	refused(400, post+"X: y\rTransfer-Encoding: chunked\r\n"+end+last)
	refused(400, "POST / HTTP/1.0\r\nHost: a\r\n"+coded+end+last)
	refused(400, "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n"+coded+end+last+smuggled)
	passes(post+coded+end+last, "POST / a").with("Transfer-Encoding: chunked\r\n").without("Content-Length")
	passes(post+"Transfer-Encoding:chunked\r\n"+end+last, "POST / a")
	passes(post+"Transfer-Encoding: \t chunked\t \r\n"+end+last+smuggled, "POST / a", "GET /smuggled a")
	passes(post+"tRANSFER-eNCODING: ChunKed\r\n"+end+"3\r\nabc\r\n"+last, "POST / a abc")
	passes("GET / HTTP/1.1\r\nHost: a\r\n"+coded+end+"3\r\nabc\r\n"+last+smuggled, "GET / a abc", "GET /smuggled a")

	// Bodies where few expect them.
	passes("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+smuggled, "GET / a abc", "GET /smuggled a")
	passes("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+smuggled, "HEAD / a abc", "GET /smuggled a")
	passes("HEAD / HTTP/1.1\r\nHost: a\r\n"+coded+end+"3\r\nabc\r\n"+last+smuggled, "HEAD / a abc", "GET /smuggled a")
	passes("DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\n"+smuggled+"abc", "DELETE / a "+smuggled+"abc")
	passes("OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+smuggled, "OPTIONS / a abc", "GET /smuggled a")
	passes("GET / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+smuggled, "GET / a abc") // 1.0 closes
	passes("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"+smuggled, "GET / a abc", "GET /smuggled a")

	// Line ends: CR LF and nothing else.
	refused(400, "GET / HTTP/1.1\nHost: a\n\n")
	refused(400, "GET / HTTP/1.1\nHost: a\r\n\r\n")
	refused(400, "GET / HTTP/1.1\r\nHost: a\n\r\n")
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\n\n"+smuggled)
	refused(400, "GET / HTTP/1.1\r\nHost: a\n\n"+smuggled)
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: z\r\n\r\n")
	refused(400, "GET / HTTP/1.1\rHost: a\r\n\r\n")
	refused(400, "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n")
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n")
	refused(400, "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n")
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n"+smuggled)
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n")
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\nX\r: y\r\n\r\n")
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\nX:\ry\r\n\r\n")
	refused(400, "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\x00\r\n")
	refused(400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	refused(400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	refused(400, "\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	refused(400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	refused(400, "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	refused(400, "\r\n GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	passes("\r\n"+get+host+end, "GET / a") // one empty line is let pass (RFC 9112 section 2.2)
	silent("\r\n")
	silent("\r")
	silent("GET / HTTP/1.1\r\nHost: a\r\n")
	silent("GET / HTTP/1.1\r\nHost: a\r\n\r")
	silent("GET / HTTP/1.1\r\nHost: a\r\nX: y")
	silent("GET / HT")

	// obs-fold.
	refused(400, get+host+" X: y\r\n\r\n")
	refused(400, get+host+"\tX: y\r\n\r\n")
	refused(400, get+" X: y\r\n"+host+end)
	refused(400, get+host+"X: y\r\n z\r\n\r\n")
	refused(400, get+host+"X: y\r\n\tz\r\n\r\n")
	refused(400, get+host+"X: y\r\n \r\n\r\n")
	refused(400, get+host+"X:\r\n y\r\n\r\n")
	refused(400, get+"Host:\r\n a\r\n\r\n")
	refused(400, get+"Host: a\r\n b\r\n\r\n")
	refused(400, post+"Content-Length:\r\n 3\r\n\r\nabc")
	refused(400, post+"Content-Length: 3\r\n 4\r\n\r\nabc")

	// Field names: a token directly followed by a colon.
	for _, name := range []string{
		"", " ", "X ", "X\t", "X Y", "X\x00", "\x00X", "X\x01", "X\x7f", "X\x80", "X\xff", "X\xc3\xa9", "X(", "X)", "X<",
		"X>", "X@", "X,", "X;", "X\\", "X\"", "X/", "X[", "X]", "X?", "X=", "X{", "X}", "X\v", "Host ",
	} {
		refused(400, get+host+name+": y\r\n\r\n")
	}
	refused(400, get+host+"X\r\n\r\n")
	refused(400, get+host+"just words\r\n\r\n")
	refused(400, get+host+"::\r\n\r\n")
	passes(get+host+"!#$%&'*+-.^_`|~09: y\r\n\r\n", "GET / a").with("\r\n!#$%&'*+-.^_`|~09: y\r\n")
	passes(get+host+"X::y\r\n\r\n", "GET / a").with("\r\nX::y\r\n")
	passes(get+host+"X:\r\nY:y\r\n\r\n", "GET / a").with("\r\nX:\r\nY:y\r\n")

	// Control bytes and the upper half in values.
	for _, value := range []string{"\x00", "a\x00b", "\x01", "\x08", "\v", "\f", "\x1b", "\x1f", "\x7f", "a\rb", "a\nb", "a\r"} {
		refused(400, get+host+"X: "+value+"\r\n\r\n")
	}
	passes(get+host+"X: \x80\xff\r\n\r\n", "GET / a").with("\r\nX: \x80\xff\r\n")
	passes(get+host+"X: a\tb\r\n\r\n", "GET / a").with("\r\nX: a\tb\r\n")
	passes(get+host+"X: \xe5\x98\x8a\xe5\x98\x8d"+"Y: z\r\n\r\n", "GET / a") // low bytes CR LF for those who cut to 8 bits
	passes(get+host+"X: %0d%0aContent-Length: 30\r\n\r\n", "GET / a").with("X: %0d%0aContent-Length: 30\r\n")

	// Host.
	refused(400, get+end)
	refused(400, get+"X: y\r\n\r\n")
	refused(400, get+host+host+end)
	refused(400, get+host+"Host: b\r\n\r\n")
	refused(400, get+host+"X: y\r\nhOST: b\r\n\r\n")
	refused(400, get10+host+"Host: b\r\n\r\n")
	refused(400, get+"Host:\r\n"+host+end)
	for _, h := range []string{
		"", " ", "a b", "a,b", "a, a", "u@a", "u:p@a", "a/b", "a?b", "a#b", "a\\b", "http://a", "a:", "a:80:80", "a:8x",
		"a:-1", "a:+80", "a:123456", ":80", "a%00", "a%0d%0a", "a\x00", "a\x80", "a\tb", "[::1", "::1]", "[::1]a", "[]",
		"[::1]:x", "[v1.x]", "[::1%25eth0]", "a;b", "a'b", "\"a\"", "(a)", "*", "a*", "$host", "${x}", "<a>", "a|b",
	} {
		refused(400, get+"Host: "+h+"\r\n\r\n")
	}
	refused(400, get+"Host : a\r\n\r\n")
	refused(400, get+" Host: a\r\n\r\n")
	passes(get+"Host: A.Example:80\r\n\r\n", "GET / a.example:80")
	passes(get+"Host: [2001:db8::1]:8080\r\n\r\n", "GET / [2001:db8::1]:8080")
	passes(get+"Host: a.\r\n\r\n", "GET / a.")
	passes(get+"Host:a \t\r\n\r\n", "GET / a")
	passes(get+"X-Host: b\r\n"+host+"X-Forwarded-Host: c\r\nForwarded: host=d\r\n\r\n", "GET / a").
		with("\r\nX-Host: b\r\n", "\r\nX-Forwarded-Host: a\r\n").without("X-Forwarded-Host: c", "host=d")

	// The forms of the target: only the authority that was sent with it decides, never both.
	passes("GET http://b/x HTTP/1.1\r\n"+host+end, "GET /x b").without("Host: a\r\n")
	passes("GET HTTP://B:8080/x HTTP/1.1\r\n"+host+end, "GET /x b:8080")
	passes("GET https://b/x HTTP/1.1\r\n"+host+end, "GET /x b")
	passes("GET http://b HTTP/1.1\r\n"+host+end, "GET / b")
	passes("GET http://b?q HTTP/1.1\r\n"+host+end, "GET /?q b")
	passes("GET http://b/http://c/ HTTP/1.1\r\n"+host+end, "GET /http://c/ b")
	passes("GET http://b/x HTTP/1.0\r\n\r\n", "GET /x b")
	refused(400, "GET http://b/x HTTP/1.1\r\n\r\n") // no Host
	refused(400, "GET http://u@b/x HTTP/1.1\r\n"+host+end)
	refused(400, "GET http://u:p@b/x HTTP/1.1\r\n"+host+end)
	refused(400, "GET http://@b/x HTTP/1.1\r\n"+host+end)
	refused(400, "GET http:///x HTTP/1.1\r\n"+host+end)
	refused(400, "GET http:// HTTP/1.1\r\n"+host+end)
	refused(400, "GET http:/b/x HTTP/1.1\r\n"+host+end)
	refused(400, "GET http:b HTTP/1.1\r\n"+host+end)
	refused(400, "GET http://b:x/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET http://b#f HTTP/1.1\r\n"+host+end)
	refused(400, "GET http://b\\@c/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET http://b%2f@c/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET http://b\x00/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET ftp://b/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET ws://b/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET file:///etc/passwd HTTP/1.1\r\n"+host+end)
	refused(400, "GET b:80 HTTP/1.1\r\n"+host+end)
	refused(400, "GET x HTTP/1.1\r\n"+host+end)
	refused(400, "GET ../x HTTP/1.1\r\n"+host+end)
	refused(400, "GET ?x HTTP/1.1\r\n"+host+end)
	refused(400, "GET @b/x HTTP/1.1\r\n"+host+end)
	refused(400, "GET * HTTP/1.1\r\n"+host+end)
	refused(400, "OPTIONS *x HTTP/1.1\r\n"+host+end)
	refused(400, "OPTIONS ** HTTP/1.1\r\n"+host+end)
	refused(501, "CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n")
	refused(501, "CONNECT / HTTP/1.1\r\n"+host+end)
	refused(501, "CONNECT http://b/ HTTP/1.1\r\n"+host+end+smuggled)
	passes("connect / HTTP/1.1\r\n"+host+end, "connect / a") // methods have a case: this is an unknown one
	passes("GET //b/x HTTP/1.1\r\n"+host+end, "GET //b/x a")
	passes("GET /http://b/x HTTP/1.1\r\n"+host+end, "GET /http://b/x a")
	passes("GET /@b HTTP/1.1\r\n"+host+end, "GET /@b a")

	// The request line.
	refused(400, " GET / HTTP/1.1\r\n"+host+end)
	refused(400, "GET  / HTTP/1.1\r\n"+host+end)
	refused(400, "GET /  HTTP/1.1\r\n"+host+end)
	refused(400, "GET / HTTP/1.1 \r\n"+host+end)
	refused(400, "GET / HTTP/1.1\t\r\n"+host+end)
	refused(400, "GET\t/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET /\tHTTP/1.1\r\n"+host+end)
	refused(400, "GET\v/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET\xa0/ HTTP/1.1\r\n"+host+end)
	refused(400, "GET /a b HTTP/1.1\r\n"+host+end)
	refused(400, "GET / HTTP/1.1 HTTP/1.1\r\n"+host+end)
	refused(400, "GET /smuggled HTTP/1.1 / HTTP/1.1\r\n"+host+end)
	refused(400, "GET HTTP/1.1\r\n"+host+end)
	refused(400, "GET\r\n"+host+end)
	refused(400, "GET /\r\n")
	refused(400, "GET /\r\n"+host+end)
	refused(400, "GET / \r\n"+host+end)
	refused(400, "/ HTTP/1.1\r\n"+host+end)
	refused(400, "G@T / HTTP/1.1\r\n"+host+end)
	refused(400, "GET: / HTTP/1.1\r\n"+host+end)
	refused(400, "G\x00T / HTTP/1.1\r\n"+host+end)
	refused(400, "\x00GET / HTTP/1.1\r\n"+host+end)
	refused(400, "\xef\xbb\xbfGET / HTTP/1.1\r\n"+host+end)
	refused(400, "\"GET\" / HTTP/1.1\r\n"+host+end)
	refused(400, strings.Repeat("G", 33)+" / HTTP/1.1\r\n"+host+end)
	refused(400, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"+smuggled)
	refused(400, "GET / http/1.1\r\n"+host+end)
	refused(400, "GET / Http/1.1\r\n"+host+end)
	refused(400, "GET / HTTP/1\r\n"+host+end)
	refused(400, "GET / HTTP/1.\r\n"+host+end)
	refused(400, "GET / HTTP/.1\r\n"+host+end)
	refused(400, "GET / HTTP/1,1\r\n"+host+end)
	refused(400, "GET / HTTP/1.10\r\n"+host+end)
	refused(400, "GET / HTTP/01.1\r\n"+host+end)
	refused(400, "GET / HTTP/1.01\r\n"+host+end)
	refused(400, "GET / HTTP/1.1.1\r\n"+host+end)
	refused(400, "GET / HTTP/-1.1\r\n"+host+end)
	refused(400, "GET / HTTP/1.x\r\n"+host+end)
	refused(400, "GET / HTTP 1.1\r\n"+host+end)
	refused(400, "GET / HTTPS/1.1\r\n"+host+end)
	refused(400, "GET / ICAP/1.0\r\n"+host+end)
	refused(505, "GET / HTTP/0.9\r\n"+host+end)
	refused(505, "GET / HTTP/1.2\r\n"+host+end)
	refused(505, "GET / HTTP/2.0\r\n"+host+end)
	refused(505, "GET / HTTP/3.0\r\n"+host+end)
	refused(505, "GET / HTTP/9.9\r\n"+host+end)
	refused(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	refused(400, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"+strings.Repeat("\x5a", 32)) // TLS hello
	refused(400, "\x80\x2e\x01\x03\x01")                                                    // SSL 2 hello
	refused(400, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"+smuggled)
	refused(400, "\r\n\r\n\x00\r\nQUIT\nPROXY v2")
	refused(400, "SSH-2.0-OpenSSH_9\r\n")
	refused(400, "<?xml version=\"1.0\"?>\r\n")
	passes("get / HTTP/1.1\r\n"+host+end, "get / a")
	passes("!#$%&'*+-.^_`|~ / HTTP/1.1\r\n"+host+end, "!#$%&'*+-.^_`|~ / a")
	passes(get10+end, "GET / localhost") // no Host: that of the origin's address

	// The path: one reading of it, both matched and sent.
	for _, target := range []string{
		"/#", "/#f", "/x#f?q", "/x?q#f", "#", "/\\", "/a\\..\\b", "/x?\\", "/\x00", "/\x01", "/\x7f", "/x?\x00", "/x\v", "/x?\x1b",
	} {
		refused(400, "GET "+target+" HTTP/1.1\r\n"+host+end)
	}
	// These are refused, too, but leave no doubt about where the next request begins.
	for _, target := range []string{
		"/%00", "/a%00b", "/%0", "/%", "/%g0", "/%0g", "/%%30%30", "/a%5cb", "/a%5Cb", "/%u0041", "/%c", "/%7f", "/%0d%0a", "/%0a",
		"/%0D", "/a%0d%0aHost:%20b", "/%1f", "/%09", "http://b/%00", "/a%0d%0aContent-Length:%2038?x",
	} {
		local("GET "+target+" HTTP/1.1\r\n"+host+"Content-Length: 3\r\n\r\nabc"+smuggled, []int{400, 200}, "GET /smuggled a")
	}
	passes("GET /a/../b HTTP/1.1\r\n"+host+end, "GET /b a")
	passes("GET /../../b HTTP/1.1\r\n"+host+end, "GET /b a")
	passes("GET /%2e%2e/b HTTP/1.1\r\n"+host+end, "GET /b a")
	passes("GET /a/%2E./b HTTP/1.1\r\n"+host+end, "GET /b a")
	passes("GET /a/.%2e/%2e/b HTTP/1.1\r\n"+host+end, "GET /b a")
	passes("GET /a/%252e%252e/b HTTP/1.1\r\n"+host+end, "GET /a/%252e%252e/b a")
	passes("GET /a/..;/b HTTP/1.1\r\n"+host+end, "GET /a/..;/b a")
	passes("GET /a%2f..%2fb HTTP/1.1\r\n"+host+end, "GET /a%2F..%2Fb a")
	passes("GET /%61%2D%7e HTTP/1.1\r\n"+host+end, "GET /a-~ a")
	passes("GET /%20HTTP/1.1 HTTP/1.1\r\n"+host+end, "GET /%20HTTP/1.1 a")
	passes("GET /a?%0d%0a%00 HTTP/1.1\r\n"+host+end, "GET /a?%0d%0a%00 a")
	passes("GET /a?b=../../c HTTP/1.1\r\n"+host+end, "GET /a?b=../../c a")
	passes("GET /a? HTTP/1.1\r\n"+host+end, "GET /a? a")
	passes("GET /?http://b/ HTTP/1.1\r\n"+host+end, "GET /?http://b/ a")
	passes("GET /a%3fb HTTP/1.1\r\n"+host+end, "GET /a%3Fb a")
	passes("GET /a%23b HTTP/1.1\r\n"+host+end, "GET /a%23b a")
	passes("GET /%c0%ae%c0%ae/ HTTP/1.1\r\n"+host+end, "GET /%C0%AE%C0%AE/ a") // an overlong ".."
	passes("GET /a?\x80\xff HTTP/1.1\r\n"+host+end, "GET /a?\x80\xff a")

	// Too long, too many.
	refused(414, "GET /"+strings.Repeat("x", 128)+" HTTP/1.1\r\n"+host+end)
	refused(414, "GET /"+strings.Repeat("x", 200)).lone = true
	refused(414, "GET http://b/"+strings.Repeat("x", 128)+" HTTP/1.1\r\n"+host+end)
	refused(400, strings.Repeat("x", 64))
	refused(431, get+host+"X: "+strings.Repeat("y", 1000)+"\r\n\r\n")
	refused(431, get+host+strings.Repeat("y", 1024))
	refused(431, get+host+"X: "+strings.Repeat(" ", 1010))
	refused(431, get+host+strings.Repeat("X: y\r\n", 12)+end)
	refused(431, get+host+strings.Repeat("a:\r\n", 300))
	passes(get+host+strings.Repeat("X: y\r\n", 11)+end, "GET / a")
	passes("GET /"+strings.Repeat("x", 127)+" HTTP/1.1\r\n"+host+end, "GET /"+strings.Repeat("x", 127)+" a")

	// Connection may name what belongs to it, and nothing that others decide by.
	passes(post+"Connection: Content-Length\r\nContent-Length: 38\r\n\r\n"+smuggled+"abc", "POST / a "+smuggled+"abc").
		without("\r\nConnection:")
	passes(post+"Connection: close, Content-Length\r\nContent-Length: 3\r\n\r\nabc"+smuggled, "POST / a abc")
	passes(post+"Connection: Transfer-Encoding\r\n"+coded+end+"3\r\nabc\r\n"+last+smuggled, "POST / a abc", "GET /smuggled a")
	passes(get+"Connection: Host\r\n"+host+end, "GET / a")
	passes(get+host+"Connection: Cookie, Authorization\r\nCookie: b=c\r\nAuthorization: d\r\n\r\n", "GET / a").
		with("\r\nCookie: b=c\r\n", "\r\nAuthorization: d\r\n")
	passes(get+host+"Connection: X-Forwarded-For, X-Forwarded-Proto, Via, Forwarded, X-Request-Id, X-Forwarded-Host\r\n\r\n", "GET / a").
		with("\r\nX-Forwarded-For: ", "\r\nX-Forwarded-Proto: http\r\n", "\r\nVia: ", "\r\nForwarded: ", "\r\nX-Request-Id: ", "\r\nX-Forwarded-Host: a\r\n")
	passes(get+host+"Connection: close, X-Hop, y-hop\r\nX-Hop: 1\r\nY-Hop: 2\r\nZ: 3\r\n\r\n"+smuggled, "GET / a").
		with("\r\nZ: 3\r\n").without("-Hop", "\r\nConnection")
	passes(get+host+"Connection: X-Hop\r\nConnection: Y-Hop\r\nX-Hop: 1\r\nY-Hop: 2\r\n\r\n", "GET / a").without("-Hop")
	passes(get+host+"Connection: \"close\", ,,\tX-Hop ,\r\nX-Hop: 1\r\n\r\n", "GET / a").without("X-Hop", "\r\nConnection")
	passes(get+host+"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: b\r\nTE: trailers\r\nTrailer: X\r\n\r\n", "GET / a").
		without("\r\nKeep-Alive", "\r\nProxy-", "\r\nTE", "\r\nTrailer")
	passes(get+host+"X-Forwarded-For: 192.0.2.9\r\nForwarded: for=192.0.2.9\r\nX-Request-Id: 12345678\r\n\r\n", "GET / a").
		without("192.0.2.9", "X-Request-Id: 12345678")

	// Upgrades that would carry requests past the routes.
	passes(get+host+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "GET / a").
		without("\r\nUpgrade", "HTTP2-Settings", "\r\nConnection")
	passes(get+host+"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "GET / a").without("\r\nUpgrade", "HTTP2-Settings")
	passes(get+host+"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", "GET / a").without("\r\nUpgrade", "\r\nConnection")
	passes(get+host+"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", "GET / a").without("\r\nUpgrade", "\r\nConnection")
	passes(get+host+"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n"+smuggled, "GET / a", "GET /smuggled a").without("h2c")
	passes(post+"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc"+smuggled, "POST / a abc", "GET /smuggled a").
		without("\r\nUpgrade", "\r\nConnection")
	passes(get10+host+"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / a").without("\r\nUpgrade", "\r\nConnection")
	passes(get+host+"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+smuggled, "GET / a", "GET /smuggled a") // refused by the origin

	// Expect.
	refused(417, post+"Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc")
	refused(417, post+"Expect: 100-continue, 200-ok\r\nContent-Length: 3\r\n\r\nabc")
	refused(417, post+"Expect: x\r\n\r\n"+smuggled)
	refused(417, post+"Expect:\r\nContent-Length: 3\r\n\r\nabc")
	refused(417, post+"Expect: 100-continue;x\r\n"+coded+end+last)
	refused(400, post+"Expect : 100-continue\r\nContent-Length: 3\r\n\r\nabc")
	passes(post+"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"+smuggled, "POST / a abc", "GET /smuggled a")
	passes(post+"Expect: 100-CONTINUE\r\n"+coded+end+"3\r\nabc\r\n"+last+smuggled, "POST / a abc", "GET /smuggled a")
	passes(post+"Expect: 100-continue\r\n\r\n"+smuggled, "POST / a", "GET /smuggled a").without("Expect")
	passes(get+host+"Expect: 100-continue\r\n\r\n"+smuggled, "GET / a", "GET /smuggled a").without("Expect")
	passes("POST / HTTP/1.0\r\n"+host+"Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc", "POST / a abc").without("Expect")
	breaks(post+"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", "POST / a")
	cut(post+"Expect: 100-continue\r\n"+coded+end+smuggled, "POST / a")

	// Chunks.
	const chunked = post + coded + end
	passes(chunked+"3\r\nabc\r\n"+last+smuggled, "POST / a abc", "GET /smuggled a")
	passes(chunked+"3\r\nabc\r\n2\r\nde\r\n"+last, "POST / a abcde")
	passes(chunked+"0000000003\r\nabc\r\n00\r\n\r\n"+smuggled, "POST / a abc", "GET /smuggled a")
	passes(chunked+"a\r\n0123456789\r\nA\r\n0123456789\r\n"+last, "POST / a 01234567890123456789")
	passes(chunked+"26\r\n"+smuggled+"abc\r\n"+last, "POST / a "+smuggled+"abc")
	passes(chunked+"5\r\n"+last+"\r\n"+last, "POST / a "+last)
	passes(chunked+"0\r\n\r\n\r\n"+smuggled, "POST / a", "GET /smuggled a") // one empty line
	for _, size := range []string{
		"", " ", "-3", "+3", "0x3", "x3", "3h", "g", "3 ", " 3", "3\t", "\t3", "3\v", "3\x00", "\x003", "3\xa0", "3,3", "3 3", "3.0",
		"\"3\"", "3\r", "\r3", "10000000000000003", "fffffffffffffffd", "ffffffffffffffff", "8000000000000003",
		"0000000000000003", "-1", "-0", "3 ;x", "\xef\xbc\x93", "3=x",
	} {
		cut(chunked+size+"\r\nabc\r\n"+last+smuggled, "POST / a")
		cut(chunked+"2\r\nde\r\n"+size+"\r\nabc\r\n"+last+smuggled, "POST / a de")
	}
	cut(chunked+"3\nabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"3\rabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"\n3\r\nabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"\r\n3\r\nabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"3\r\nabc\n"+last+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabc\r"+last+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabc"+last+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabcd\r\n"+last+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabc\r\r\n"+last+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabc \r\n"+last+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabc\x00\r\n"+last+smuggled, "POST / a abc")
	cut(chunked+"2\r\nabc\r\n"+last+smuggled, "POST / a ab")
	cut(chunked+"4\r\nabc\r\n"+last+smuggled, "POST / a abc\r")
	cut(chunked+"5\r\nabc\r\n0\r\n\r\n"+smuggled, "POST / a abc\r\n")
	cut(chunked+smuggled, "POST / a")
	cut(chunked+"0\n\r\n"+smuggled, "POST / a")
	cut(chunked+"0\r\n\n"+smuggled, "POST / a")
	cut(chunked+"0\r\r\n\r\n"+smuggled, "POST / a")
	cut(chunked+"0\r\n\r\r\n"+smuggled, "POST / a")
	cut(chunked+"3\r\nabc\r\n0\n\n"+smuggled, "POST / a abc")
	cut(chunked+"1000000000\r\n"+strings.Repeat("x", 200)+strings.Repeat("y", 100), "POST / a "+strings.Repeat("x", 200)+strings.Repeat("y", 56))
	breaks(chunked, "POST / a")
	breaks(chunked+"3", "POST / a")
	breaks(chunked+"3\r", "POST / a")
	breaks(chunked+"3\r\nab", "POST / a ab")
	breaks(chunked+"3\r\nabc", "POST / a abc")
	breaks(chunked+"3\r\nabc\r", "POST / a abc")
	breaks(chunked+"3\r\nabc\r\n", "POST / a abc")
	breaks(chunked+"3\r\nabc\r\n0", "POST / a abc")
	breaks(chunked+"3\r\nabc\r\n0\r\n", "POST / a abc")
	breaks(chunked+"3\r\nabc\r\n0\r\n\r", "POST / a abc")
	breaks(chunked+"3\r\nabc\r\n0\r\nX: y\r\n", "POST / a abc")
	breaks(chunked+"7ffffffffffffff\r\nabc", "POST / a abc")

	// Chunk extensions are looked away from, but must be what they seem.
	passes(chunked+"3;x\r\nabc\r\n0;y\r\n\r\n"+smuggled, "POST / a abc", "GET /smuggled a").without(";x", ";y")
	passes(chunked+"3;x=\"y;z\"\r\nabc\r\n"+last, "POST / a abc").without(";x")
	passes(chunked+"3;\r\nabc\r\n"+last, "POST / a abc")
	passes(chunked+"3; a = b\t\r\nabc\r\n"+last, "POST / a abc")
	cut(chunked+"3;x\nabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"3;x=\"\n\"\r\nabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"3;x=\"\r\n\"\r\nabc\r\n"+last+smuggled, "POST / a \"\r\n")
	cut(chunked+"3;x=\ry\r\nabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"3;x\x00\r\nabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"0;x\n\r\n"+smuggled, "POST / a")
	cut(chunked+"0;\n\n"+smuggled, "POST / a")
	cut(chunked+"3;"+strings.Repeat("x", 300)+"\r\nabc\r\n"+last+smuggled, "POST / a")
	cut(chunked+"3;"+strings.Repeat("x", 300), "POST / a")

	// Trailers.
	passes(chunked+"3\r\nabc\r\n0\r\nX: y\r\n\r\n"+smuggled, "POST / a abc", "GET /smuggled a").with("0\r\nX: y\r\n\r\n")
	passes(chunked+"0\r\nX:y\r\nZ:\r\n\r\n"+smuggled, "POST / a", "GET /smuggled a")
	for _, field := range []string{
		"Content-Length: 38", "Transfer-Encoding: chunked", "transfer-encoding: identity", "Host: b", "Connection: close",
		"Authorization: b", "Cookie: b=c", "Content-Type: b/c", "Expect: 100-continue", "TE: b", "Trailer: b", "Upgrade: h2c",
		"X-Forwarded-For: 192.0.2.9", "Forwarded: for=192.0.2.9", "Via: b", "X-Request-Id: 12345678", "Keep-Alive: b",
		" X: y", "X : y", "X", ": y", "X: \x00", "X: a\rb", "X: a\nb", "X Y: z", "X\x80: y", "GET /smuggled HTTP/1.1", "\x00",
		"X: " + strings.Repeat("y", 1100),
	} {
		cut(chunked+"3\r\nabc\r\n0\r\n"+field+"\r\n\r\n"+smuggled, "POST / a abc")
	}
	cut(chunked+"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n"+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabc\r\n0\r\nX: y\n\r\n"+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabc\r\n0\r\nX: y\r\n\n"+smuggled, "POST / a abc")
	cut(chunked+"3\r\nabc\r\n0\r\n"+strings.Repeat("X: y\r\n", 13)+end+smuggled, "POST / a abc")

	// What the gateway answers by itself: the body that nobody wanted does not become the next request.
	const local204 = "POST /local HTTP/1.1\r\nHost: a\r\n"
	local(local204+"Content-Length: 3\r\n\r\nabc"+smuggled, []int{204, 200}, "GET /smuggled a")
	local(local204+"Content-Length: 38\r\n\r\n"+smuggled+"abc", []int{204})
	local(local204+coded+end+"3\r\nabc\r\n"+last+smuggled, []int{204, 200}, "GET /smuggled a")
	local(local204+coded+end+"26\r\n"+smuggled+"abc\r\n"+last, []int{204})
	local(local204+coded+end+"x\r\n"+smuggled, []int{204})
	local(local204+coded+end+"3\r\nabc"+last+smuggled, []int{204})
	local(local204+coded+end+"3\r\nabc\r\n0\r\nHost: b\r\n\r\n"+smuggled, []int{204})
	local(local204+coded+end+"0\r\n\n"+smuggled, []int{204})
	local(local204+"Content-Length: 60\r\n\r\n"+smuggled, []int{204})
	local(local204+"Expect: 100-continue\r\nContent-Length: 60\r\n\r\n"+smuggled, []int{204})
	local("HEAD /local HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+smuggled, []int{204, 200}, "GET /smuggled a")
	local("OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+smuggled, []int{204, 200}, "GET /smuggled a")
	return table
}
