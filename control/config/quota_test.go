package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseQuotaAmount(t *testing.T) {
	f := func(text string, most int, unit string, by ...KeyPart) {
		t.Helper()
		got, wrong := parseQuotaAmount(text)
		if want := (QuotaAmount{Text: text, Most: most, Unit: unit, By: by}); wrong != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v", text, got, wrong)
		}
	}
	consumer := KeyPart{Source: "consumer"}
	f("10000/day", 10000, "day", consumer)
	f("10000/d", 10000, "day", consumer)
	f("5/w", 5, "week", consumer)
	f("1000000000000/month per consumer", quotaMax, "month", consumer)
	f("7/month per claim.tenant and consumer", 7, "month", KeyPart{Source: "claim", Name: "tenant"}, consumer)
}

func TestReserveFor(t *testing.T) {
	f := func(reserve, cost, most, want int) {
		t.Helper()
		q := Quota{Reserve: reserve, Cost: Cost{Request: cost}}
		if got := q.ReserveFor(QuotaAmount{Most: most}); got != want {
			t.Errorf("reserve %d, cost %d, of %d: got %d, want %d", reserve, cost, most, got, want)
		}
	}
	f(0, 1, 1, 1)
	f(0, 1, 2, 1)
	f(0, 1, 7, 3)
	f(0, 3, 4, 3)
	f(0, 1, 20, 10)
	f(0, 1, 60, 30)
	f(0, 1, 100, 50)
	f(0, 1, 2000, 50)
	f(0, 1, 10_000, 200)
	f(0, 1, 100_000_000, 10_000)
	f(0, 500, 10_000, 500)
	f(7, 1, 10_000, 7)
	f(7, 1, 5, 5)
}

// FuzzQuotaAmount wants an answer for every text: an amount, or a sentence.
func FuzzQuotaAmount(f *testing.F) {
	for _, s := range []string{"10000/day", "5/month per claim.sub and consumer", "0/day", "-1/w", "1/s", "1/day per ip", "/", "9999999999999/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, wrong := parseQuotaAmount(text)
		if wrong != nil {
			if strings.ContainsAny(wrong.message+wrong.hint, "\n\r\x1b\x00") {
				t.Fatalf("%q: more than a line: %+v", text, wrong)
			}
			return
		}
		if a.Most < 1 || a.Most > quotaMax || IdentityWord(a.By) == "" || len(a.By) > keyPartsMax {
			t.Fatalf("%q is %+v", text, a)
		}
		if again, wrong := parseQuotaAmount(a.Text); wrong != nil || !reflect.DeepEqual(again, a) {
			t.Fatalf("%q is %+v, and %q is %+v", text, a, a.Text, again)
		}
	})
}
