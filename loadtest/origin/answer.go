package origin

import (
	"bytes"
	"fmt"
)

// Sizes are the bodies that can be asked for, by the last segment of the path.
var Sizes = map[string]int{"100": 100, "1k": 1 << 10, "100k": 100 << 10, "1m": 1 << 20}

// answers are whole responses, made once.
var answers = func() map[string][]byte {
	all := map[string][]byte{}
	for name, size := range Sizes {
		all[name] = answer(200, "application/json; charset=utf-8", Body(size))
	}
	all["page"] = answer(200, "application/json; charset=utf-8", Page)
	return all
}()

// Page is what an API's page of a list looks like to an encoder, and compresses to about a fifth; other bodies compress to nothing.
var Page = func() []byte {
	page := []byte(`{"orders":[`)
	x := uint32(1)
	for range 100 {
		x = x*1664525 + 1013904223
		page = fmt.Appendf(page, `{"id":"%08x","placed":"2026-11-%02dT%02d:%02d:00Z","status":"%s","total":%d.%02d,"currency":"EUR","customer":{"id":%d,"name":"Customer %d"},"items":%d},`,
			x, 1+x>>8%28, x>>16%24, x>>20%60, []string{"open", "paid", "sent", "returned"}[x>>30], x>>12%500, x>>5%100, x>>9%100_000, x>>9%100_000, 1+x>>24%9)
	}
	return append(page[:len(page)-1], "]}"...)
}()

var notFound = answer(404, "text/plain", []byte("the origin of the load test has no such path\n"))

// Body is the body of that size: a JSON string, so that whoever looks into it is content.
func Body(size int) []byte {
	body := bytes.Repeat([]byte("x"), size)
	body[0], body[size-1] = '"', '"'
	return body
}

// answer is a response with the eight fields that an API's responses have, more or less.
func answer(status int, kind string, body []byte) []byte {
	reason := map[int]string{200: "OK", 404: "Not Found"}[status]
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nServer: origin\r\nDate: Mon, 23 Nov 2026 07:14:56 GMT\r\nContent-Type: %s\r\n"+
		"Content-Length: %d\r\nCache-Control: public, max-age=600\r\nETag: \"7f3b1c9a4d5e4f60\"\r\nX-Trace: 7f3b1c9a4d5e4f60\r\n"+
		"Vary: Accept-Encoding\r\n\r\n%s", status, reason, kind, len(body), body)
}
