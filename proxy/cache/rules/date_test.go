package rules

import (
	"net/http"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	f := func(text string, want int64, wantOK bool) {
		t.Helper()
		got, ok := ParseDate([]byte(text))
		if got != want || ok != wantOK {
			t.Errorf("%q is %d, %t, want %d, %t", text, got, ok, want, wantOK)
		}
	}
	f("Sun, 06 Nov 1994 08:49:37 GMT", epoch, true)
	f("Sunday, 06-Nov-94 08:49:37 GMT", epoch, true)
	f("Sun Nov  6 08:49:37 1994", epoch, true)
	f("Sun Nov 06 08:49:37 1994", epoch, true)
	f("sun, 06 nov 1994 08:49:37 gmt", epoch, true)
	f("SUNDAY, 06-NOV-94 08:49:37 GMT", epoch, true)
	f("Mon, 06 Nov 1994 08:49:37 GMT", epoch, true) // not a Monday

	f("Thu, 01 Jan 1970 00:00:00 GMT", 0, true)
	f("Wed, 31 Dec 1969 23:59:59 GMT", -1, true)
	f("Thu, 29 Feb 2024 12:00:00 GMT", 1709208000, true)
	f("Thu, 29 Feb 2023 12:00:00 GMT", 0, false)
	f("Tue, 29 Feb 2000 00:00:00 GMT", 951782400, true)
	f("Mon, 29 Feb 1900 00:00:00 GMT", 0, false)
	f("Sat, 01 Jan 0000 00:00:00 GMT", -62167219200, true)
	f("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799, true)
	f("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800, true) // a leap second
	f("Friday, 01-Jan-76 00:00:00 GMT", 3345062400, true)
	f("Saturday, 01-Jan-77 00:00:00 GMT", 220924800, true)

	for _, text := range []string{
		"", "0", "-1", "now", "1994-11-06T08:49:37Z",
		"Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 EST", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 +0000",
		"Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "Xyz, 06 Nov 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun, 06  Nov 1994 08:49:37 GMT", "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06 Nov 1994 08.49.37 GMT", "Sun, 06 Nov 1994 08:49:37 GMTx",
		"Sun, 06 Nov 199x 08:49:37 GMT", "Sun,  6 Nov 1994 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT",
		"Monday, 06-Nov-94 08:49:37", "Mond, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 EST", ", 06 Nov 1994 08:49:37 GMT",
		"Sun Nov  0 08:49:37 1994", "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 199 ", "Sun Nov  6 08:49:37  994",
		"06 Nov 1994 08:49:37 GMT",
	} {
		f(text, 0, false)
	}
}

// What the standard library writes and reads is read the same here.
func TestParseDateAgrees(t *testing.T) {
	for at := int64(-3e9); at < 5e9; at += 86400*3 + 12345 {
		for _, form := range []string{http.TimeFormat, time.RFC850, time.ANSIC} {
			if form == time.RFC850 && (at < 220924800 || at > 3376684800-1) {
				continue // two digits do not say which century
			}
			text := time.Unix(at, 0).In(gmt).Format(form)
			if got, ok := ParseDate([]byte(text)); !ok || got != at {
				t.Fatalf("%q is %d, %t, want %d", text, got, ok, at)
			}
		}
	}
}

var gmt = time.FixedZone("GMT", 0)

func FuzzParseDate(f *testing.F) {
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT")
	f.Add("Sunday, 06-Nov-94 08:49:37 GMT")
	f.Add("Sun Nov  6 08:49:37 1994")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := ParseDate([]byte(text))
		if !ok {
			if got != 0 {
				t.Fatalf("%q is no date, but %d", text, got)
			}
			return
		}
		// It is the same moment when it is written anew.
		again := time.Unix(got, 0).UTC().Format(http.TimeFormat)
		if back, ok := ParseDate([]byte(again)); !ok || back != got {
			t.Fatalf("%q is %d, but %q is %d, %t", text, got, again, back, ok)
		}
	})
}
