package servicetoken

import (
	"strings"
	"testing"
	"time"

	"sluice/proxy/auth/oauth"
)

// TestHold is the table of answers, good and hostile. Nothing of a token is in an error.
func TestHold(t *testing.T) {
	f := func(kind, access string, life time.Duration, want string) {
		t.Helper()
		h, err := hold(&oauth.Token{Access: access, Kind: kind, Expires: life}, 1000)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = string(h.field)
			if h.until <= h.renew || h.renew <= 1000 || h.until > 1000+int64(max(life, lifeUnknown)) {
				t.Errorf("of %s: renewed after %d, good for %d", life, h.renew-1000, h.until-1000)
			}
		}
		if got != want || err != nil && strings.Contains(got, "planted") {
			t.Errorf("%q %.50q: got %q, want %q", kind, access, got, want)
		}
	}
	f("Bearer", "planted", time.Hour, "Bearer planted")
	f("bearer", "a.b-c_d~e+f/g=", time.Minute, "Bearer a.b-c_d~e+f/g=")
	f("BEARER", "a", 0, "Bearer a")
	f("Bearer", "a", 400*24*time.Hour, "Bearer a")

	f("", "planted", time.Hour, errKind.Error())
	f("DPoP", "planted", time.Hour, errKind.Error())
	f("N_A", "planted", time.Hour, errKind.Error()) // RFC 8693 section 2.2.1: it is no access token
	f("mac", "planted", time.Hour, errKind.Error())
	f("Bearer", "", time.Hour, errText.Error())
	f("Bearer", "planted token", time.Hour, errText.Error())
	f("Bearer", "planted\r\nX-Admin: yes", time.Hour, errText.Error())
	f("Bearer", "planted\x00", time.Hour, errText.Error())
	f("Bearer", "plantedü", time.Hour, errText.Error())
	f("Bearer", strings.Repeat("planted", 4000), time.Hour, errText.Error())
}
