package admin

import (
	"strings"
	"testing"
)

// FuzzReadFields reads whatever is sent: what is accepted has only the fields that it may have, and none of them is null but in a patch.
func FuzzReadFields(f *testing.F) {
	for _, seed := range []string{`{"plan": "gold", "scopes": ["a"], "labels": {"a": "b", "c": null}}`, `{"plan": null}`, `{"plan": "a", "plan": "b"}`, `{} {}`, `[`, `{"labels": {"a": {"b": 1}}}`} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, patch bool) {
		var got fields
		if err := readFields(body, []string{"plan", "scopes", "labels"}, patch, &got); err != nil {
			if len(err.Error()) > 400 {
				t.Errorf("%q: the error is long: %v", body, err)
			}
			return
		}
		if got.Prefix != nil || got.Password != nil || got.Expires != nil || got.Overlap != nil {
			t.Errorf("%q has %+v", body, got)
		}
		for name, v := range got.Labels {
			if v == nil && !patch {
				t.Errorf("%q has no %q", body, name)
			}
		}
		if got.Plan != nil && *got.Plan != "" && !strings.Contains(string(body), "plan") {
			t.Errorf("%q has the plan %q", body, *got.Plan)
		}
	})
}
