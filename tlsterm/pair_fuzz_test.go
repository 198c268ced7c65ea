package tlsterm

import (
	"strings"
	"testing"
)

// FuzzPair: whatever two files hold, reading them ends, in an error or in a pair that can be served.
func FuzzPair(f *testing.F) {
	a := newAuthority(f, "ca")
	good, rsa := a.server(f, "a.test *.b.test 10.0.0.1"), a.issue(f, order{names: "a.test", key: "rsa"})
	for _, certs := range []string{good.certs, rsa.certs, good.certs + a.pem(), good.both(), "", "text", good.certs[:100]} {
		for _, keys := range []string{good.keys, rsa.keys, strings.ToLower(good.keys), "", "text", good.keys[:100]} {
			f.Add([]byte(certs), []byte(keys))
		}
	}
	f.Add([]byte(block("CERTIFICATE", nil)), []byte(block("PRIVATE KEY", nil)))
	f.Fuzz(func(t *testing.T, certs, keys []byte) {
		chain, err := parseChain(certs)
		if err == nil && len(chain) == 0 || len(chain) > chainMax {
			t.Fatalf("%d certificates (%v)", len(chain), err)
		}
		key, keyErr := parseKey(keys)
		if (keyErr == nil) != (key != nil) {
			t.Fatalf("a key %v (%v)", key != nil, keyErr)
		}
		if err != nil || keyErr != nil || !belongs(key, chain[0]) {
			return
		}
		p := newPair(chain, key, "fuzz")
		_ = p.doubts(epoch)
		_ = p.disorder()
	})
}
