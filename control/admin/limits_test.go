package admin

import (
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	address, _ := serve(t, &fake{}, Options{Private: true})
	f := func(method, path string, want int, holds string) {
		t.Helper()
		status, _, body := ask(t, address, method, path)
		if status != want || !strings.Contains(body, holds) {
			t.Errorf("%s %s: got %d %s, want %d with %q", method, path, status, body, want, holds)
		}
	}
	f("GET", "/v1/limits", 200, `"key": "192.0.2.7"`)
	f("GET", "/v1/limits?policy=plan&key=a", 200, `"limit": "a"`)
	f("GET", "/v1/limits?policy=other&key=a", 404, "There is nothing to list: no policy of this name has quotas.")
	f("POST", "/v1/limits", 405, "GET, HEAD")
	f("GET", "/v1/limits/reset?policy=fair-use&id=0-f00", 405, "DELETE, POST")
	f("POST", "/v1/limits/reset?policy=fair-use&id=0-f00", 200, `"reset": true`)
	f("DELETE", "/v1/limits/reset?policy=fair-use&key=192.0.2.7", 200, `"reset": true`)
	f("POST", "/v1/limits/reset?policy=fair-use&key=192.0.2.8", 404, "unknown_key")
	f("POST", "/v1/limits/reset?policy=fair-use&key=192.0.2.9", 503, "store_down")
	f("POST", "/v1/limits/reset?policy=fair-use&key=a&key=b", 400, "so many values")
	f("POST", "/v1/limits/reset?policy=other&id=0-f00", 404, "no_limit")
	f("POST", "/v1/limits/reset?policy=web&id=0-f00", 404, "There is nothing to reset: no policy of this name, and no listener (listen.NAME), limits anything.")
	f("POST", "/v1/limits/reset?policy=fair-use", 400, "bad_key")
	f("POST", "/v1/limits/reset?policy=fair-use&id=0-f00&key=a", 400, "bad_key")
	f("POST", "/v1/limits/reset?policy=fair-use&id=0-f00&id=0-f01", 400, "bad_key")
	f("POST", "/v1/limits/reset?id=0-f00", 400, "bad_key")
}
