//go:build !race && !invariants

package proxytest

import (
	"fmt"
	"strings"
	"testing"
)

// TestCompressedAllocates: a response that is compressed costs no allocation, if it is whole, or in gzip; nor does one that is left as it is.
func TestCompressedAllocates(t *testing.T) {
	page := strings.Repeat("<li>one item after the other</li>\n", 200)
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"0123456789abcdef\"\r\nVary: Origin\r\n"
	whole := Canned(t, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(page), page))
	chunked := Canned(t, fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(page), page))
	large := Canned(t, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, 100*len(page), strings.Repeat(page, 100)))
	gw := Start(t, fmt.Sprintf(`
services:
  whole: { to: ["http://%s"] }
  chunked: { to: ["http://%s"] }
  large: { to: ["http://%s"] }
policies:
  all: { compress: { secrets: true } }
routes:
  whole: { match: "/whole", to: whole, use: [all] }
  chunked: { match: "/chunked", to: chunked, use: [all] }
  large: { match: "/large", to: large, use: [all] }
`, whole, chunked, large))
	f := func(path, accept, want string) {
		t.Helper()
		checkAllocations(t, gw, 200, want, "GET "+path+" HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nSec-Fetch-Site: same-origin\r\nAccept-Encoding: "+accept+"\r\n\r\n")
	}
	for _, coding := range []string{"gzip", "zstd", "br"} {
		f("/whole", "deflate, "+coding, "\r\nContent-Encoding: "+coding+"\r\n")
		f("/chunked", coding, "\r\nContent-Encoding: "+coding+"\r\n")
	}
	f("/whole", "identity", "\r\nVary: Origin, Accept-Encoding\r\n")
	f("/large", "gzip", "\r\nContent-Encoding: gzip\r\n")
}
