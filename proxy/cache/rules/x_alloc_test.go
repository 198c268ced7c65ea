//go:build !race

package rules

import (
	"testing"

	"sluice/proxy/wire"
)

func TestAllocates(t *testing.T) {
	request := head(t, `Accept: text/html, */*;q=0.8|Accept-Encoding: gzip;q=0.9, br, *;q=0.1|Accept-Language: de-DE, en;q=0.50|Cookie: a=b|Cookie: c=d|`+
		`Cache-Control: max-age=5, max-stale|Pragma: no-cache|If-None-Match: W/"x", "y"|If-Modified-Since: `+date(0)+`|Range: bytes=0-9|If-Range: "y"`+
		`|X-With-A-Name-That-Is-Longer-Than-Thirty-Two-Bytes: z`)
	response := head(t, `Date: `+date(0)+`|ETag: "y"|Last-Modified: `+date(-1000)+`|Expires: `+date(60)+`|Age: 5|Vary: Accept, Accept-Encoding, Cookie, Accept-Language, `+
		`X-With-A-Name-That-Is-Longer-Than-Thirty-Two-Bytes|Cache-Control: max-age=60, s-maxage="30", ext="a,b", stale-while-revalidate=9|Content-Type: x`)
	targeted := head(t, `CDN-Cache-Control: max-age=60;a="b", x=(a b), stale-if-error=5|Cache-Control: no-store`)
	fresh := head(t, `Date: `+date(10)+`|ETag: "y"|X-With-A-Name-That-Is-Longer-Than-Thirty-Two-Bytes: z`)
	policy := &Policy{For: 10, ByStatus: []StatusFor{{404, 1}}, HeuristicPercent: 10, HeuristicMax: 60}
	codings := []string{"zstd", "br", "gzip"}
	buf := make([]byte, 0, 4096)
	var merged wire.Head
	var asked wire.Head
	f := func(name string, what func()) {
		t.Helper()
		what()
		if n := testing.AllocsPerRun(100, what); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
	req, resp := ParseRequest(request), ParseResponse(response)
	life := Lifetime(200, &resp, policy)
	f("ParseRequest", func() { req = ParseRequest(request) })
	f("ParseResponse", func() { resp = ParseResponse(response) })
	f("ParseResponse targeted", func() { ParseResponse(targeted) })
	f("Storable", func() { Storable(200, &req, &resp, policy) })
	f("Lifetime", func() { life = Lifetime(200, &resp, policy) })
	f("Judge", func() { Judge(InitialAge(&resp, epoch, epoch+1), &life, &req, policy) })
	names, ok := AppendVary(nil, response)
	if !ok {
		t.Fatal("nothing to vary by")
	}
	f("AppendVary", func() { buf, _ = AppendVary(buf[:0], response) })
	f("AppendVariant", func() { buf = AppendVariant(buf[:0], names, request, nil) })
	f("AppendVariant with codings", func() { buf = AppendVariant(buf[:0], names, request, codings) })
	f("NotModified", func() { NotModified(request, response.Get("etag"), resp.LastModified) })
	f("EvaluateRange", func() { EvaluateRange(request, response.Get("etag"), resp.LastModified, resp.Date, 100) })
	f("Freshens", func() { Freshens(fresh, response); HeadFreshens(fresh, response) })
	f("Merge", func() { merged.Reset(); Merge(&merged, response, fresh) })
	f("Ask", func() { asked.Reset(); Ask(&asked, response) })
	f("AppendStatus", func() {
		buf = AppendStatus(buf[:0], &Status{Forward: ForwardStale, FwdStatus: 304, TTL: 60, HasTTL: true, Stored: true, Detail: "x y"})
	})
	location, host := []byte("https://x.example:443/a"), []byte("x.example")
	f("SameOrigin", func() { SameOrigin(location, "https", host); Invalidates("POST", 200) })
}
