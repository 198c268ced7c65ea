package rules

import (
	"strings"
	"testing"

	"sluice/proxy/wire"
)

func TestAppendVary(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got, ok := AppendVary([]byte(">"), head(t, text))
		if !ok {
			got = []byte(">none")
		}
		if string(got) != ">"+want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("Vary: ", "")
	f("Vary: Accept", "accept")
	f("Vary: Origin, Accept-Language ,accept|Vary: COOKIE", "accept,accept-language,cookie,origin")
	f("Vary: accept, Accept|Vary: ACCEPT", "accept")
	f("Vary: b, a, ab, aa, B", "a,aa,ab,b")
	f("Vary: *", "none")
	f("Vary: a, *", "none")
	f("Vary: a|Vary: b, *", "none")
	f("Vary: a b", "none")
	f("Vary: a;b", "none")
	f(`Vary: "a"`, "none")
	f("Vary: "+manyNames(VaryMax)+", x-1", "x-0,x-1,x-10,x-11,x-12,x-13,x-14,x-15,x-2,x-3,x-4,x-5,x-6,x-7,x-8,x-9")
	f("Vary: "+manyNames(VaryMax+1), "none")
	f("Vary: a, "+manyNames(VaryMax), "none")
}

func TestAppendVariant(t *testing.T) {
	f := func(names, request, codings, want string) {
		t.Helper()
		var list []string
		if codings != "-" {
			list = strings.Fields(codings)
			if list == nil {
				list = []string{}
			}
		}
		got := string(AppendVariant(nil, []byte(names), head(t, request), list))
		got = strings.ReplaceAll(strings.ReplaceAll(got, "\x00", "<absent>"), "\n", "$")
		if got != want {
			t.Errorf("%q of %q: %q, want %q", names, request, got, want)
		}
	}
	f("", "Accept: x", "-", "")
	f("accept,cookie", "", "-", "<absent>$<absent>$")
	f("accept,cookie", "Accept: |Cookie: ", "-", "$$")
	f("x-a", "X-A:  v 1 ", "-", "v 1$")
	f("x-a", "X-A: V|x-a: w", "-", "V, w$")
	f("cookie", "Cookie: A=b; c=D|Cookie: e=f", "-", "A=b; c=D; e=f$")
	f("x-a,x-b", "X-B: 1", "-", "<absent>$1$")

	// Lists that are negotiated about.
	f("accept-language", "Accept-Language: de-DE, de;q=0.9 , EN;Q=0.80,*;q=0", "-", "de-de,de;q=0.9,en;q=0.8,*;q=0$")
	f("accept-language", "Accept-Language: de|Accept-Language: ,en;q=1.0", "-", "de,en$")
	f("accept-language", "Accept-Language: de;q=0.755;q=x", "-", "de;q=0.755;q=x$")
	f("accept-language", "Accept-Language: en, de", "-", "en,de$") // the order stays
	f("accept-charset", "Accept-Charset: UTF-8;q=0.50", "-", "utf-8;q=0.5$")
	f("accept", "Accept: Text/HTML ; Level=1 ; q=0.70 , */*;q=0.1", "-", "text/html;level=1;q=0.7,*/*;q=0.1$")
	f("accept", "Accept: a/b;Version=\"X, Y; Z\";q=1, C/d", "-", "a/b;version=\"X, Y; Z\",c/d$")
	f("accept", "Accept: a/b;x=\"Q", "-", "a/b;x=\"Q$")
	f("accept", "Accept: a/b;;", "-", "a/b$")
	f("accept", "Accept: ;q=0.5", "-", ";q=0.5$")

	// Accept-Encoding as a set.
	f("accept-encoding", "", "-", "<absent>$")
	f("accept-encoding", "Accept-Encoding: ", "-", "$")
	f("accept-encoding", "Accept-Encoding: gzip, br;q=0.5 ,X-GZIP, Zstd", "-", "br,gzip,zstd$")
	f("accept-encoding", "Accept-Encoding: br|Accept-Encoding: gzip", "-", "br,gzip$")
	f("accept-encoding", "Accept-Encoding: gzip;q=0, deflate;q=0.0, identity", "-", "$")
	f("accept-encoding", "Accept-Encoding: gzip;q=0, gzip, br", "-", "br$")
	f("accept-encoding", "Accept-Encoding: gzip;q=0, *", "-", "*,-gzip$")
	f("accept-encoding", "Accept-Encoding: gzip, *;q=0", "-", "-identity,gzip$")
	f("accept-encoding", "Accept-Encoding: gzip, identity, *;q=0", "-", "gzip$")
	f("accept-encoding", "Accept-Encoding: gzip, identity;q=0", "-", "-identity,gzip$")
	f("accept-encoding", "Accept-Encoding: dcb, gzip;q=x", "-", "dcb$")
	f("accept-encoding", "Accept-Encoding: "+manyNames(codingsMax), "-", "x-0,x-1,x-10,x-11,x-12,x-13,x-14,x-15,x-2,x-3,x-4,x-5,x-6,x-7,x-8,x-9$")
	f("accept-encoding", "Accept-Encoding: "+manyNames(codingsMax+1), "-", "?"+manyNames(codingsMax+1)+"$")

	// Or as what a policy behind the cache makes of it.
	f("accept-encoding", "", "zstd br gzip", "$")
	f("accept-encoding", "Accept-Encoding: gzip, deflate, br", "zstd br gzip", "br$")
	f("accept-encoding", "Accept-Encoding: deflate", "zstd br gzip", "$")
	f("accept-encoding", "Accept-Encoding: deflate, *;q=0", "zstd br gzip", "!$")
	f("accept-encoding", "Accept-Encoding: gzip", "", "$")
	f("accept,accept-encoding", "Accept: a/b|Accept-Encoding: gzip", "gzip", "a/b$gzip$")
}

// What one field says is never taken for what another says.
func FuzzAppendVariant(f *testing.F) {
	f.Add("x-a,x-b,accept,accept-encoding", "v", "w", "gzip;q=0.5, *", "a/b;q=0.1")
	f.Fuzz(func(t *testing.T, names, a, b, encoding, accept string) {
		var h, other wire.Head
		h.AddString("X-A", a)
		h.AddString("X-B", b)
		h.AddString("Accept-Encoding", encoding)
		h.AddString("Accept", accept)
		var vary wire.Head
		vary.AddString("Vary", names)
		list, ok := AppendVary(nil, &vary)
		if !ok {
			return
		}
		if again, ok := AppendVary(nil, headOf("Vary", string(list))); !ok || string(again) != string(list) {
			t.Fatalf("%q is %q, then %q", names, list, again)
		}
		one := AppendVariant(nil, list, &h, nil)
		if got, want := strings.Count(string(one), "\n"), len(wireItems(list)); got != want {
			t.Fatalf("%q: %q has %d values, want %d", list, one, got, want)
		}
		if size := len(names) + len(a) + len(b) + len(encoding) + len(accept); len(one) > 3*size+64 {
			t.Fatalf("%d bytes became %d", size, len(one))
		}
		// White space around what was sent does not tell requests apart; a value does.
		other.AddString("X-A", " "+a+"\t")
		other.AddString("X-B", b)
		other.AddString("Accept-Encoding", strings.ReplaceAll(encoding, ",", " , "))
		other.AddString("Accept", " "+accept+" ")
		if two := AppendVariant(nil, list, &other, nil); string(one) != string(two) && !strings.HasPrefix(string(AppendVariant(nil, []byte("accept-encoding"), &h, nil)), "?") {
			t.Fatalf("%q and %q", one, two)
		}
		other.AddString("X-A", "more")
		if two := AppendVariant(nil, list, &other, nil); (string(one) == string(two)) == strings.Contains(","+string(list)+",", ",x-a,") {
			t.Fatalf("%q and %q by %q", one, two, list)
		}
	})
}

func headOf(name, value string) *wire.Head {
	h := new(wire.Head)
	h.AddString(name, value)
	return h
}

func wireItems(list []byte) (all []string) {
	for item := range wire.Items(list) {
		all = append(all, string(item))
	}
	return all
}
