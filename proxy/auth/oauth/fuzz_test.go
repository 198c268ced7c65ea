package oauth

import (
	"testing"
	"time"
)

// FuzzToken reads what a token endpoint may say.
func FuzzToken(f *testing.F) {
	for _, text := range []string{`{"access_token":"a","expires_in":60}`, `{"access_token":"a","expires_in":"1e9"}`, `{}`, `[]`, `{"access_token":"a","expires_in":"\"\""}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		token, err := parseToken(text)
		if err == nil && (token.Access == "" || token.Expires < 0 || token.Expires > 366*24*time.Hour) {
			t.Errorf("%+v", token)
		}
	})
}
