package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"sluice/proxy"
	"sluice/proxy/auth/consumer"
)

// The keys of RFC 9421 appendix B.1.
const (
	rsaPSSKey = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----
`
	ed25519Key = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----
`
	eccKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----
`
	sharedSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)

// created is when the messages of RFC 9421 were signed.
const created = 1618884473

// rfcKeys are those of the RFC, of one consumer.
func rfcKeys(t testing.TB) *Keys {
	t.Helper()
	c := &consumer.Consumer{Name: "acme", Plan: "gold", Scopes: []string{"read"}}
	secret, err := base64.StdEncoding.DecodeString(sharedSecret)
	if err != nil {
		t.Fatal(err)
	}
	list := []Key{{ID: "test-shared-secret", Algorithm: HMAC, Secret: secret, Consumer: c}}
	for id, text := range map[string]string{"test-key-rsa-pss": rsaPSSKey, "test-key-ed25519": ed25519Key, "test-key-ecc-p256": eccKey} {
		public, algorithm, err := ParsePublicKey([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Key{ID: id, Algorithm: algorithm, Public: public, Consumer: c})
	}
	list = append(list, Key{ID: "ended", Algorithm: HMAC, Secret: secret, Consumer: c, Expires: time.Unix(created-100, 0)})
	keys, err := NewKeys("partners", list)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// newGuard makes one for which the time is that of the RFC's messages.
func newGuard(t testing.TB, o Options) *Guard {
	t.Helper()
	if o.Keys == nil {
		o.Keys = rfcKeys(t)
	}
	if o.MaxAge == 0 {
		o.MaxAge, o.Leeway = 5*time.Minute, 10*time.Second
	}
	if o.BodyMax == 0 {
		o.BodyMax = 1 << 20
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.now = func() time.Time { return time.Unix(created+10, 0) }
	return g
}

// request is a message as it stands in RFCs: a line, fields, an empty line, a body.
func request(t testing.TB, message string) *proxy.Exchange {
	t.Helper()
	head, body, _ := strings.Cut(message, "\n\n")
	lines := strings.Split(head, "\n")
	words := strings.Fields(lines[0])
	x := proxy.Acquire()
	r := &x.Request
	x.Received.Target, x.Received.Origin = []byte(words[1]), []byte(words[1])
	r.Method, r.Scheme = words[0], "http"
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("%q is no field", line)
		}
		if value = strings.TrimSpace(value); name == "Host" {
			r.Host = []byte(strings.ToLower(value))
			continue
		}
		r.Head.AddString(name, value)
	}
	r.Body.SetWhole([]byte(body))
	return x
}

// rfcRequest is test-request of appendix B.2, with what follows its fields.
func rfcRequest(t testing.TB, fields ...string) *proxy.Exchange {
	t.Helper()
	return request(t, `POST /foo?param=Value&Pet=dog HTTP/1.1
Host: example.com
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Type: application/json
Content-Digest: sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
Content-Length: 18`+strings.Join(append([]string{""}, fields...), "\n")+`

{"hello": "world"}`)
}

// sign adds a signature by the shared secret over what the input says.
func sign(t testing.TB, x *proxy.Exchange, input string) {
	t.Helper()
	var in signed
	if !parseInput(&in, []byte(input)) {
		t.Fatalf("%q is no input", input)
	}
	base, ok := appendBase(nil, x, &in)
	if !ok {
		t.Fatalf("%q has no base", input)
	}
	secret, err := base64.StdEncoding.DecodeString(sharedSecret)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(base)
	x.Request.Head.AddString("Signature-Input", "s="+input)
	x.Request.Head.AddString("Signature", "s=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
}

// signed is input, where that is a text.
type signed = input
