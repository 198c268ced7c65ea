package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sluice/proxy"
	"sluice/proxy/auth/consumer"
)

// TestRFC holds the messages of RFC 9421 appendix B.2 that are requests, and that of B.4. What they cover is checked by the base, which is in
// the RFC, too, and stands for itself: with another one the signature would be wrong.
func TestRFC(t *testing.T) {
	f := func(o Options, input, signature string, want error) {
		t.Helper()
		g := newGuard(t, o)
		x := rfcRequest(t, "Signature-Input: "+input, "Signature: "+signature)
		defer x.Release()
		err := g.Check(x)
		if !errors.Is(err, want) && err != want {
			t.Errorf("%s: got %v, want %v", input, err, want)
		}
		if err == nil && (x.Identity.Subject() != "acme" || x.Identity.Kind() != "signature" || x.Identity.Issuer() != "partners" || string(x.Identity.Claim("plan")) != "gold") {
			t.Errorf("%s: the client is %s", input, x.Identity.Name())
		}
	}
	any := Options{AnyBody: true}
	b21 := `sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"`
	b21s := `sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:`
	f(any, b21, b21s, nil)
	f(Options{}, b21, b21s, ErrUnsignedBody)
	f(Options{AnyBody: true, Components: []string{"@method"}}, b21, b21s, ErrUncovered)

	b22 := `sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"`
	b22s := `sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:`
	f(Options{Components: []string{`@query-param;name="Pet"`, "content-digest"}, Tag: "header-example"}, b22, b22s, nil)
	f(Options{Tag: "other"}, b22, b22s, errTag)

	b23 := `sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss"`
	b23s := `sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:`
	f(Options{}, b23, b23s, nil)
	f(Options{}, strings.Replace(b23, "test-key-rsa-pss", "test-key-ed25519", 1), b23s, errUnknown)
	f(Options{}, strings.Replace(b23, "test-key-rsa-pss", "nobody", 1), b23s, errUnknown)
	f(Options{}, strings.Replace(b23, "1618884473", "1618884474", 1), b23s, errUnknown)
	f(Options{}, strings.Replace(b23, `"date" "@method"`, `"@method" "date"`, 1), b23s, errUnknown)
	f(Options{}, b23, strings.Replace(b23s, "bbN8", "bbN9", 1), errUnknown)

	b25 := `sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`
	b25s := `sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:`
	f(any, b25, b25s, nil)
	f(any, b25, "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE4=:", errUnknown)
	f(any, b25, "sig-b25=::", errUnknown)
	f(any, b25, "other=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:", ErrMalformed)

	b26 := `sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`
	b26s := `sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:`
	f(any, b26, b26s, nil)
	f(Options{AnyBody: true, Label: "sig-b26"}, b25+", "+b26, b25s+", "+b26s, nil)
	f(Options{AnyBody: true, Label: "sig-b25"}, b25+", "+b26, b25s+", "+b26s, nil)
	f(Options{AnyBody: true, Label: "sig-b24"}, b25+", "+b26, b25s+", "+b26s, errNoLabel)
	f(any, b25+", "+b26, b25s+", "+b26s, errMany)
	f(any, b25+", "+b25, b25s, ErrMalformed)
	f(any, "", "", ErrNone)
	f(any, b25, "", ErrNone)
	f(any, "", b25s, ErrNone)

	// B.4, of which a proxy has changed what is not covered.
	const transformed = `transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"`
	const transformedBy = `transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:`
	b4 := func(message string, want error) {
		t.Helper()
		x := request(t, message+"\nSignature-Input: "+transformed+"\nSignature: "+transformedBy)
		defer x.Release()
		if err := newGuard(t, Options{}).Check(x); err != want {
			t.Errorf("%s: got %v, want %v", message, err, want)
		}
	}
	b4("GET /demo?name1=Value1&Name2=value2 HTTP/1.1\nHost: example.org\nDate: Fri, 15 Jul 2022 14:24:55 GMT\nAccept: application/json\nAccept: */*", nil)
	b4("GET /demo?name1=Value1&Name2=value2&param=added HTTP/1.1\nHost: example.org:80\nAccept: application/json, */*\nAccept-Language: en", nil)
	b4("POST /demo?name1=Value1 HTTP/1.1\nHost: example.com\nAccept: application/json\nAccept: */*", errUnknown)
	b4("GET /demo?name1=Value1 HTTP/1.1\nHost: example.org\nAccept: */*\nAccept: application/json", errUnknown)
	b4("GET /demo HTTP/1.1\nHost: example.org", errAbsent)
}

// TestECDSA verifies the response of B.2.4 and the request of B.3 by their bases.
func TestECDSA(t *testing.T) {
	f := func(base, signature string, want bool) {
		t.Helper()
		key, problem := rfcKeys(t).find(&input{keyID: []byte("test-key-ecc-p256")})
		if problem != nil {
			t.Fatal("there is no such key")
		}
		raw, err := strict.DecodeString(signature)
		if err != nil {
			t.Fatal(err)
		}
		if got := key.verify([]byte(base), raw, nil); got != want {
			t.Errorf("%s: %v, want %v", signature, got, want)
		}
	}
	const b24 = `"@status": 200
"content-type": application/json
"content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
"content-length": 23
"@signature-params": ("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256"`
	f(b24, "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==", true)
	f(b24+" ", "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==", false)
	f(b24, "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiaswAA", false)
	f(b24, "", false)
}

// TestBase checks what is signed, against the examples of RFC 9421 section 2.
func TestBase(t *testing.T) {
	const empty = " " // a value without bytes, where "" means that there is no base
	f := func(message, component, want string) {
		t.Helper()
		x := request(t, message)
		defer x.Release()
		var in input
		ok := parseInput(&in, []byte("("+component+");created=1"))
		got := ""
		if ok {
			var base []byte
			if base, ok = appendBase(nil, x, &in); ok {
				got, _, _ = strings.Cut(string(base), "\n\"@signature-params\"")
			}
		}
		if want != "" {
			want = component + ": " + strings.TrimPrefix(want, empty)
		}
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, want %q", component, got, want)
		}
	}
	const fields = `GET /path HTTP/1.1
Host: www.Example.com
Date: Tue, 20 Apr 2021 02:07:56 GMT
X-OWS-Header:   Leading and trailing whitespace.
Cache-Control: max-age=60
Cache-Control:    must-revalidate
X-Empty-Header:
Example-Dict:  a=1,    b=2;x=1;y=2,   c=(a   b   c)
Example-Header: value, with, lots
Example-Header: of, commas`
	f(fields, `"host"`, "www.example.com")
	f(fields, `"x-ows-header"`, "Leading and trailing whitespace.")
	f(fields, `"cache-control"`, "max-age=60, must-revalidate")
	f(fields, `"x-empty-header"`, empty)
	f(fields, `"example-dict"`, "a=1,    b=2;x=1;y=2,   c=(a   b   c)")
	f(fields, `"example-dict";key="a"`, "1")
	f(fields, `"example-dict";key="b"`, "2;x=1;y=2")
	f(fields, `"example-dict";key="c"`, "(a b c)")
	f(fields, `"example-dict";key="d"`, "")
	f(fields, `"example-dict";sf`, "") // what it is, is not known
	f(fields, `"example-header";bs`, ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:")
	f(fields, `"example-header";key="a"`, "")
	f(fields, `"missing"`, "")
	f(fields, `"Date"`, "")
	f(fields, `"date";req`, "")
	f(fields, `"date";tr`, "")
	f(fields, `"date";sf;bs`, "")
	f(fields, `"date";name="a"`, "")
	f(fields, `"@status"`, "")
	f(fields, `"@method";req`, "")
	f(fields, `"@unknown"`, "")
	f(fields, `"@signature-params"`, "")
	f(fields, `"@method" "@method"`, "")
	f("GET / HTTP/1.1\nPriority: u=1,   i", `"priority";sf`, "u=1, i")
	f("GET / HTTP/1.1\nPriority: u=01, i=?1;a", `"priority";sf`, "u=1, i;a")
	f("GET / HTTP/1.1\nPriority: u=1 i", `"priority";sf`, "")

	const target = "POST /path?param=value HTTP/1.1\nHost: www.example.com"
	f(target, `"@method"`, "POST")
	f(target, `"@target-uri"`, "http://www.example.com/path?param=value")
	f(target, `"@authority"`, "www.example.com")
	f(target, `"@scheme"`, "http")
	f(target, `"@request-target"`, "/path?param=value")
	f(target, `"@path"`, "/path")
	f(target, `"@query"`, "?param=value")
	f("GET /path HTTP/1.1\nHost: a:80", `"@query"`, "?")
	f("GET /path HTTP/1.1\nHost: a:80", `"@authority"`, "a")
	f("GET /path HTTP/1.1\nHost: a:8080", `"@authority"`, "a:8080")
	f("GET http://www.example.com/path?a HTTP/1.1\nHost: www.example.com", `"@request-target"`, "http://www.example.com/path?a")
	f("OPTIONS * HTTP/1.1\nHost: www.example.com", `"@request-target"`, "*")

	const query = "GET /parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&qux= HTTP/1.1\nHost: a"
	f(query, `"@query-param";name="var"`, "this%20is%20a%20big%0Amultiline%20value")
	f(query, `"@query-param";name="bar"`, "with%20plus%20whitespace")
	f(query, `"@query-param";name="fa%C3%A7ade%22%3A%20"`, "something")
	f(query, `"@query-param";name="qux"`, empty)
	f(query, `"@query-param";name="none"`, "")
	f(query, `"@query-param"`, "")
	f("GET /?a=1&b&a=2 HTTP/1.1\nHost: a", `"@query-param";name="a"`, "")
	f("GET /?a=1&b&a=2 HTTP/1.1\nHost: a", `"@query-param";name="b"`, empty)
	f("GET / HTTP/1.1\nHost: a", `"@query-param";name="b"`, "")
}

// TestTimes tries when a signature is good.
func TestTimes(t *testing.T) {
	f := func(parameters string, want error) {
		t.Helper()
		x := request(t, "GET / HTTP/1.1\nHost: a")
		defer x.Release()
		sign(t, x, `("@method")`+parameters)
		if err := newGuard(t, Options{}).Check(x); err != want { // at created + 10
			t.Errorf("%s: got %v, want %v", parameters, err, want)
		}
	}
	const key = `;keyid="test-shared-secret"`
	at := func(seconds int) string { return fmt.Sprint(";created=", created+seconds) + key }
	f(at(0), nil)
	f(at(20), nil)
	f(at(21), errEarly)
	f(at(-300), nil)
	f(at(-301), errOld)
	f(at(0)+fmt.Sprint(";expires=", created+1), nil)
	f(at(0)+fmt.Sprint(";expires=", created), errExpired)
	f(key, errNoTime)
	f(fmt.Sprint(";created=", created), errNoKeyID)
	f(at(0)+`;alg="hmac-sha256"`, nil)
	f(at(0)+`;alg="ed25519"`, errAlgorithm)
	f(at(0)+`;alg="none"`, errAlgorithm)
	f(fmt.Sprint(";created=", created)+`;keyid="ended"`, errKeyEnded)
	f(at(0)+`;unknown=7`, nil)
}

func TestBodies(t *testing.T) {
	const input = `("@method" "content-digest");created=1618884473;keyid="test-shared-secret"`
	f := func(digest, body string, o Options, want error) {
		t.Helper()
		x := request(t, "POST / HTTP/1.1\nHost: a\nContent-Digest: "+digest+"\n\n"+body)
		defer x.Release()
		sign(t, x, input)
		if err := newGuard(t, o).Check(x); err != want {
			t.Errorf("%s: got %v, want %v", digest, err, want)
		}
	}
	const right = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	const wrong = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPA=:"
	const right512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
	const body = `{"hello": "world"}`
	f(right, body, Options{}, nil)
	f(right512, body, Options{}, nil)
	f(right+", "+right512, body, Options{}, nil)
	f("md5=:AAAA:, "+right, body, Options{}, nil)
	f(wrong, body, Options{}, ErrDigest)
	f(wrong+", "+right512, body, Options{}, ErrDigest)
	f(right, body+" ", Options{}, ErrDigest)
	f(right, "", Options{}, ErrDigest)
	f("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "", Options{}, nil)
	f("md5=:AAAA:", body, Options{}, ErrDigest)
	f("sha-256=X48E", body, Options{}, ErrDigest)
	f(right+", "+right, body, Options{}, ErrDigest)
	f("", body, Options{}, ErrDigest)
	f(right, body, Options{BodyMax: 10}, proxy.ErrBodyTooLarge)
	f(wrong, body, Options{AnyBody: true}, ErrDigest)
}

func TestNonces(t *testing.T) {
	g := newGuard(t, Options{Nonces: NewNonces(1000, 320)})
	f := func(nonce string, want error) {
		t.Helper()
		x := request(t, "GET / HTTP/1.1\nHost: a")
		defer x.Release()
		sign(t, x, `("@method");created=1618884473;keyid="test-shared-secret"`+nonce)
		if err := g.Check(x); err != want {
			t.Errorf("%s: got %v, want %v", nonce, err, want)
		}
	}
	f("", errNoNonce)
	f(`;nonce=""`, errNoNonce)
	f(`;nonce="a"`, nil)
	f(`;nonce="a"`, ErrReplayed)
	f(`;nonce="b"`, nil)

	// Nothing is forgotten before its time.
	n := NewNonces(2, 100)
	add := func(n *Nonces, i int, who string, consumers int, now int64, want error) {
		t.Helper()
		if err := n.add(nonce{byte(i), byte(i >> 8)}, who, consumers, now); err != want {
			t.Errorf("%d of %s at %d: got %v, want %v", i, who, now, err, want)
		}
	}
	one := func(i int, now int64, want error) {
		t.Helper()
		add(n, i, "a", 1, now, want)
	}
	one(0, 1000, nil)
	one(0, 1099, ErrReplayed)
	one(32, 1099, ErrNonces)
	one(0, 1100, ErrReplayed)
	one(32, 1100, nil)
	one(0, 1199, ErrReplayed)
	one(32, 1200, ErrReplayed)
	one(0, 1200, nil)
	one(0, 1150, ErrReplayed) // the clock was set back
	one(32, 1300, nil)
	one(32, 1600, nil)

	// Whoever takes all that there is gets a share, and others find room.
	share := func(consumers, want int) {
		t.Helper()
		n := NewNonces(1600, 100)
		for i := range want {
			add(n, i, "greedy", consumers, 1000, nil)
		}
		full := ErrNonceShare
		if want == 800 {
			full = ErrNonces
		}
		add(n, 5000, "greedy", consumers, 1000, full)
		add(n, 0, "greedy", consumers, 1000, ErrReplayed)
		others := min(consumers, sharesMax) - 1
		for other := range others {
			for i := range want {
				add(n, 10000+other*want+i, fmt.Sprint("other ", other), consumers, 1050, nil)
			}
		}
		add(n, 5000, "greedy", consumers, 1100, nil)
	}
	share(1, 800)
	share(2, 400)
	share(8, 100)
	share(500, 100)
}

// TestNonceShares: a consumer with two keys has one share, and the others theirs.
func TestNonceShares(t *testing.T) {
	secret, err := base64.StdEncoding.DecodeString(sharedSecret)
	if err != nil {
		t.Fatal(err)
	}
	a, b := &consumer.Consumer{Name: "a"}, &consumer.Consumer{Name: "b"}
	keys, err := NewKeys("partners", []Key{
		{ID: "a1", Algorithm: HMAC, Secret: secret, Consumer: a}, {ID: "a2", Algorithm: HMAC, Secret: secret, Consumer: a},
		{ID: "b", Algorithm: HMAC, Secret: secret, Consumer: b},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(t, Options{Keys: keys, Nonces: NewNonces(8, 320)}) // of which four are for now
	f := func(key, nonce string, want error) {
		t.Helper()
		x := request(t, "GET / HTTP/1.1\nHost: a")
		defer x.Release()
		sign(t, x, `("@method");created=1618884473;keyid="`+key+`";nonce="`+nonce+`"`)
		if err := g.Check(x); err != want {
			t.Errorf("%s of %s: got %v, want %v", nonce, key, err, want)
		}
	}
	f("a1", "1", nil)
	f("a2", "2", nil)
	f("a1", "3", ErrNonceShare)
	f("a2", "3", ErrNonceShare)
	f("b", "3", nil)
	f("b", "4", nil)
	f("b", "5", ErrNonces)
}

func TestRequirements(t *testing.T) {
	f := func(r consumer.Requirement, want error) {
		t.Helper()
		x := request(t, "GET / HTTP/1.1\nHost: a")
		defer x.Release()
		sign(t, x, `("@method");created=1618884473;keyid="test-shared-secret"`)
		if err := newGuard(t, Options{Require: r}).Check(x); err != want || x.Identity.Subject() != "acme" {
			t.Errorf("%v: got %v for %q, want %v", r, err, x.Identity.Subject(), want)
		}
	}
	f(consumer.Requirement{Scopes: [][]string{{"read"}}, Plans: []string{"gold"}}, nil)
	f(consumer.Requirement{Scopes: [][]string{{"write"}}}, ErrInsufficient)
	f(consumer.Requirement{Plans: []string{"free"}}, ErrInsufficient)
}

func TestAccept(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		if got := newGuard(t, o).accept; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(Options{}, `sig1=("content-digest");created`)
	f(Options{AnyBody: true}, `sig1=();created`)
	f(Options{Components: []string{"@method", `@query-param;name="a"`}, Label: "x", Tag: "t"}, `x=("@method" "@query-param";name="a" "content-digest");created;tag="t"`)
	f(Options{Components: []string{"content-digest", "@method"}}, `sig1=("content-digest" "@method");created`)
	for _, wrong := range []string{"", "@status", "@query-param", "Date", "date;req", "date;x", `da"te`, "@signature-params", "a b"} {
		if err := CheckComponent(wrong); err == nil {
			t.Errorf("%q can be signed", wrong)
		}
	}
}

func TestKeys(t *testing.T) {
	c := &consumer.Consumer{Name: "acme"}
	public, _, err := ParsePublicKey([]byte(ed25519Key))
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte(strings.Repeat("s", 32))
	f := func(want string, list ...Key) {
		t.Helper()
		if _, err := NewKeys("g", list); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ssss") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("no key of ed25519", Key{ID: "a", Algorithm: Ed25519, Secret: secret, Consumer: c})
	f("no key of hmac-sha256", Key{ID: "a", Algorithm: HMAC, Public: public, Consumer: c})
	f("no key of ecdsa", Key{ID: "a", Algorithm: ECDSA, Public: public, Consumer: c})
	f("fewer than 32", Key{ID: "a", Algorithm: HMAC, Secret: secret[:31], Consumer: c})
	f(`have the id "a"`, Key{ID: "a", Algorithm: HMAC, Secret: secret, Consumer: c}, Key{ID: "a", Algorithm: HMAC, Secret: secret, Consumer: c})
	for _, text := range []string{"", "nothing", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, _, err := ParsePublicKey([]byte(text)); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
}

// TestDecoys: what is computed does not depend on whether an id is known. Where an algorithm is named it is that one, and where none is, or
// one that no key of the group is for, any of the group's.
func TestDecoys(t *testing.T) {
	keys := rfcKeys(t)
	ids := []string{"test-shared-secret", "test-key-rsa-pss", "test-key-ed25519", "test-key-ecc-p256"}
	known := len(ids)
	for i := range 200 {
		ids = append(ids, fmt.Sprint("nobody-", i))
	}
	f := func(in input, want string, algorithms int) {
		t.Helper()
		seen := map[string]bool{}
		for i, id := range ids {
			in.keyID = []byte(id)
			key, problem := keys.find(&in)
			if again, _ := keys.find(&in); again != key {
				t.Errorf("%s %s: a second time it is another key", id, in.alg)
			}
			if want != "" && key.algorithm != want {
				t.Errorf("%s %s: %s is computed, want %s", id, in.alg, key.algorithm, want)
			}
			switch own := keys.known[id]; {
			case i >= known && problem != errUnknown, i < known && in.hasAlg && own.algorithm != string(in.alg) && problem != errAlgorithm:
				t.Errorf("%s %s: got %v", id, in.alg, problem)
			case problem == nil && key != own:
				t.Errorf("%s %s: it is the key of somebody else", id, in.alg)
			}
			if i >= known {
				seen[key.algorithm] = true
			}
		}
		if len(seen) != algorithms {
			t.Errorf("%q: got %v, want %d algorithms", in.alg, seen, algorithms)
		}
	}
	for _, algorithm := range []string{HMAC, RSAPSS, Ed25519, ECDSA} {
		f(input{alg: []byte(algorithm), hasAlg: true}, algorithm, 1)
	}
	f(input{}, "", 4)
	f(input{alg: []byte(RSA15), hasAlg: true}, "", 4)
	f(input{hasAlg: true}, "", 4)

	empty, err := NewKeys("g", nil)
	if err != nil {
		t.Fatal(err)
	}
	if key, problem := empty.find(&input{keyID: []byte("a")}); key == nil || problem != errUnknown {
		t.Errorf("got %v, %v", key, problem)
	}
}
