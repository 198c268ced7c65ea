package signature

import (
	"bytes"
	"testing"
)

// FuzzFields reads whatever there is: what is accepted has one form, which is read as itself.
func FuzzFields(f *testing.F) {
	for _, seed := range []string{"a=1, b=?1;x=2.50, c=(a  \"b\" :AAA=:);d", "1;a=tok/en", "@1659578233", `"a\"b"`, "-0.0, -00012, ?0", "(", "a=1,", ":AB==:", "*a=*b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, s := range []shape{isItem, isList, isDictionary} {
			r := reader{in: in}
			one, ok := r.field(nil, s)
			if !ok {
				continue
			}
			again := reader{in: one}
			two, ok := again.field(nil, s)
			if !ok || !bytes.Equal(one, two) {
				t.Errorf("%q is %q, and that is %q, %v", in, one, two, ok)
			}
			if len(one) > 2*len(in)+2 {
				t.Errorf("%q grows to %q", in, one)
			}
		}
	})
}

// FuzzInput reads what a client says of its signature: what is accepted is read as itself, and leads to a base or to none.
func FuzzInput(f *testing.F) {
	for _, seed := range []string{
		`("date" "@method" "@query-param";name="a" "x";key="y" "priority";sf "cookie";bs);created=1;expires=2;keyid="k";alg="a";nonce="n";tag="t"`, `();created=1`, `("a"  "b" )`, `("a";req)`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var one, two input
		if !parseInput(&one, raw) {
			return
		}
		if !parseInput(&two, one.text) || !bytes.Equal(one.text, two.text) || one.n != two.n || one.created != two.created || !bytes.Equal(one.keyID, two.keyID) {
			t.Errorf("%q is %q, and that is %q", raw, one.text, two.text)
		}
		for i := range one.n {
			if !bytes.Equal(one.id(i), two.id(i)) || !one.covers(two.id(i)) {
				t.Errorf("%q covers %q", raw, one.id(i))
			}
		}
		x := rfcRequest(t, "Priority: u=1", "X: y=1, z=2", "Cookie: a=b")
		defer x.Release()
		if base, ok := appendBase(nil, x, &one); ok && !bytes.HasSuffix(base, append([]byte(`"@signature-params": `), one.text...)) {
			t.Errorf("%q has the base %q", raw, base)
		}
	})
}

// FuzzDigest compares a body with whatever is said of it.
func FuzzDigest(f *testing.F) {
	f.Add([]byte("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"), []byte(`{"hello": "world"}`))
	f.Fuzz(func(t *testing.T, field, body []byte) {
		if digestMatches(field, body, nil) && digestMatches(field, append(body, 'x'), nil) {
			t.Errorf("%q is the digest of two bodies", field)
		}
	})
}
