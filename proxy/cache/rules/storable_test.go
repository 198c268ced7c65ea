package rules

import "testing"

func TestStorable(t *testing.T) {
	policy := &Policy{}
	f := func(status int, request, response, want string) {
		t.Helper()
		req, resp := ParseRequest(head(t, request)), ParseResponse(head(t, response))
		if got := Storable(status, &req, &resp, policy).String(); got != want {
			t.Errorf("%d %q to %q: %q, want %q", status, response, request, got, want)
		}
	}
	const fresh = "Cache-Control: max-age=60"
	f(200, "", fresh, "")
	f(200, "", "", "no-lifetime")
	f(200, "", "Cache-Control: public", "no-lifetime")
	f(200, "", "Cache-Control: s-maxage=60", "")
	f(200, "", "Expires: "+date(60)+"|Date: "+date(0), "")
	f(200, "", "Expires: "+date(60), "no-lifetime") // nobody said when it was made
	f(200, "", "CDN-Cache-Control: max-age=60|Cache-Control: no-store", "")
	f(200, "", "CDN-Cache-Control: private|"+fresh, "private")

	// Never fresh, but the origin can be asked, or it may be used stale.
	f(200, "", "Cache-Control: max-age=0", "no-lifetime")
	f(200, "", "Cache-Control: no-cache, max-age=60", "no-lifetime")
	f(200, "", `Cache-Control: no-cache|ETag: "x"`, "")
	f(200, "", "Cache-Control: max-age=0|Last-Modified: "+date(0), "")
	f(200, "", "Cache-Control: max-age=0, stale-while-revalidate=5", "")
	f(200, "", "Cache-Control: max-age=0, stale-if-error=5", "")
	f(200, "", "Cache-Control: max-age=0, stale-if-error=5, must-revalidate", "no-lifetime")
	f(200, "", "Cache-Control: no-cache, stale-if-error=5", "no-lifetime")
	f(200, "", `ETag: "x"`, "no-lifetime")

	f(200, "", fresh+", no-store", "no-store")
	f(200, "", fresh+", private", "private")
	f(200, "Cache-Control: no-store", fresh, "request-no-store")
	f(200, "", fresh+"|Set-Cookie: a=b", "set-cookie")
	f(200, "", fresh+"|Vary: *", "vary")
	f(200, "", fresh+"|Vary: Accept", "")

	// RFC 9111 section 3.5.
	f(200, "Authorization: x", fresh, "authorization")
	f(200, "Authorization: x", fresh+", public", "")
	f(200, "Authorization: x", fresh+", must-revalidate", "")
	f(200, "Authorization: x", "Cache-Control: s-maxage=5", "")
	f(200, "Authorization: x", "Cache-Control: public, private, max-age=5", "private")

	// RFC 9111 section 5.2.2.3: who understands the status may let no-store be.
	f(200, "", fresh+", must-understand, no-store", "")
	f(302, "", fresh+", must-understand, no-store", "")
	f(299, "", fresh+", must-understand, no-store", "status")
	f(299, "", fresh+", must-understand", "status")
	f(299, "", fresh, "")

	// Statuses: with a lifetime of the origin's own.
	for _, status := range []int{200, 201, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 451, 501} {
		f(status, "", fresh, "")
	}
	f(206, "", fresh, "partial")
	for _, status := range []int{0, 100, 101, 103, 226, 304, 407, 408, 412, 416, 421, 425, 426, 428, 429, 431, 500, 502, 503, 504, 511, 600, 999} {
		f(status, "", fresh, "status")
	}
	// And with one of the operator's.
	policy = &Policy{For: 10}
	for _, status := range []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501} {
		f(status, "", "", "")
	}
	for _, status := range []int{201, 302, 303, 307, 400, 401, 403, 500, 502, 503, 504} {
		f(status, "", "", "status")
	}
	f(206, "", "", "partial")
	f(429, "", "", "status")
	f(302, "", "Cache-Control: public", "")
	f(200, "", "Cache-Control: no-store", "no-store")
	f(200, "", "Cache-Control: max-age=0", "no-lifetime")
	f(200, "", "Cache-Control: no-cache", "no-lifetime")

	policy = &Policy{For: 10, ByStatus: []StatusFor{{404, 0}, {503, 5}, {302, 5}, {429, 5}, {206, 5}, {502, 0}}}
	f(200, "", "", "")
	f(404, "", "", "no-lifetime")
	f(404, "", fresh, "")
	f(503, "", "", "")
	f(503, "", "Cache-Control: no-store", "no-store")
	f(502, "", fresh, "status")
	f(302, "", "", "")
	f(429, "", fresh, "status")
	f(206, "", fresh, "partial")

	policy = &Policy{For: 10, Override: true}
	f(200, "", "", "")
	f(200, "", "Cache-Control: no-cache", "no-lifetime")
	f(200, "", "Cache-Control: max-age=0, must-revalidate", "")
	f(200, "", "Cache-Control: no-store", "no-store")
	f(200, "", "Cache-Control: private", "private")
	f(200, "Authorization: x", "", "authorization")
	f(200, "", "Set-Cookie: a=b", "set-cookie")

	policy = &Policy{StripSetCookie: true, ByIdentity: true, IgnoreRequest: true}
	f(200, "Cache-Control: no-store", fresh, "")
	f(200, "Authorization: x", fresh, "")
	f(200, "", fresh+"|Set-Cookie: a=b", "")

	policy = &Policy{HeuristicPercent: 10, HeuristicMax: 3600}
	f(200, "", "Date: "+date(0)+"|Last-Modified: "+date(-1000), "")
	f(200, "", "Date: "+date(0)+"|Last-Modified: "+date(0), "no-lifetime")
	f(201, "", "Date: "+date(0)+"|Last-Modified: "+date(-1000), "status")
}
