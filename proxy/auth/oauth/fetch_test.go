package oauth

import "testing"

func TestCheckURL(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if err := CheckURL(text); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	f("https://id.example/keys", true)
	f("https://id.example:8443/keys?a=b", true)
	f("http://127.0.0.1:8080/keys", true)
	f("http://[::1]/keys", true)
	f("http://localhost/keys", true)
	f("http://id.example/keys", false)
	f("http://127.0.0.1.evil.example/keys", false)
	f("https://user:password@id.example/keys", false)
	f("https://id.example/keys#a", false)
	f("https:id.example", false)
	f("ftp://id.example/", false)
	f("file:///etc/passwd", false)
	f("/keys", false)
	f("", false)
	f("https://", false)
	f("://", false)
}
