package jose

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzParse: whatever is parsed is what was sent, to the letter, and reads the same when it is read again.
func FuzzParse(f *testing.F) {
	for _, a := range []Algorithm{"ES256", "EdDSA", "HS256"} {
		f.Add(token(`{"alg":"`+string(a)+`","kid":"r","typ":"JWT"}`, someClaims, a, private()[kinds[a]]))
	}
	f.Add([]byte("eyJhbGciOiJub25lIn0.e30."))
	f.Add([]byte("a.b.c.d.e"))
	f.Add([]byte(b64([]byte(`{"alg":"RS256","crit":[]}`)) + ".e30.AA"))
	f.Fuzz(func(t *testing.T, compact []byte) {
		tok, err := Parse(compact)
		if err != nil {
			return
		}
		if got := string(tok.signed) + "." + b64(tok.signature); got != string(compact) {
			t.Fatalf("%q is read as %q", compact, got)
		}
		if !tok.Algorithm.known() || len(compact) > TokenBytesMax {
			t.Fatalf("%q is accepted", compact)
		}
		if claims, err := tok.Claims(); err == nil && len(claims) > valuesMax {
			t.Fatalf("there are %d claims", len(claims))
		}
	})
}

// FuzzParseObject compares with the standard library: what is accepted means the same there, as far as it can say.
func FuzzParseObject(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,{"c":null}]},"d":"\u00e9","e":-1.5e3}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := parseObject(text)
		if err != nil {
			return
		}
		var want map[string]any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q is accepted: %v", text, err)
		}
		for name, value := range want {
			v := values.Get(name)
			if value == nil {
				continue // a claim in another one may have the path
			}
			if v == nil {
				t.Fatalf("%q: %q is missing", text, name)
			}
			if s, ok := value.(string); ok && (v.Kind != String || string(v.Text) != s) {
				t.Fatalf("%q: %q is %q", text, name, v.Text)
			}
			if n, ok := value.(json.Number); ok && (v.Kind != Number || string(v.Text) != n.String()) {
				t.Fatalf("%q: %q is %q", text, name, v.Text)
			}
			if v.Kind == Object || v.Kind == Array {
				if !json.Valid(v.Text) {
					t.Fatalf("%q: %q is %q", text, name, v.Text)
				}
			}
			v.Elements()
		}
	})
}

// FuzzParseSet: no set has keys that verify what nobody has signed, nor errors that repeat what it holds.
func FuzzParseSet(f *testing.F) {
	for _, key := range private() {
		if _, ok := key.([]byte); !ok {
			f.Add(set(with(jwk(key), "kid", "a")))
		}
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"}]}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"","y":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSet(text)
		if err != nil {
			return
		}
		if s.Len() == 0 || s.Len() > keysMax {
			t.Fatalf("%q has %d keys", text, s.Len())
		}
		for _, k := range s.keys {
			for _, a := range k.algorithms {
				if strings.HasPrefix(string(a), "HS") || k.Verify(a, []byte("a.b"), make([]byte, 64)) {
					t.Fatalf("%q verifies anything as %s", text, a)
				}
			}
		}
	})
}
