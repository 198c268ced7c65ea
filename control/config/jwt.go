package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// JWT is the policy that admits clients by a signed token that they bring. The keys are at JWKS, or Secret is the key, or they are found by
// discovery from Issuer.
type JWT struct {
	Issuer     Text                    `cfg:"issuer" doc:"who makes the tokens, to the letter; its keys are found by discovery (OpenID Connect) if nothing else says where they are"`
	Audience   List[Text]              `cfg:"audience" doc:"whom tokens are for: one of these; anybody by default"`
	JWKS       *KeySource              `cfg:"jwks" doc:"where the issuer's public keys are: a URL of https, or a file with a JWK Set"`
	Secret     Secret                  `cfg:"secret" doc:"the key of tokens that are signed with HMAC, 32 bytes or more, in the place of public keys"`
	CA         *Content                `cfg:"ca" doc:"file of PEM certificates to trust as the issuer's server, instead of the system's"`
	Algorithms List[Text]              `cfg:"algorithms" enum:"RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA,Ed25519,Ed448,ML-DSA-44,ML-DSA-65,ML-DSA-87,HS256,HS384,HS512" doc:"the algorithms that are accepted; by default all that suit the keys"`
	Type       List[Text]              `cfg:"typ" doc:"the types of token that are accepted; by default JWT, at+jwt, or none at all"`
	Require    Named[List[ClaimValue]] `cfg:"require" names:"any" doc:"what claims have to be: a value, or a list of which one does; scope names every scope that is needed"`
	DPoP       *DPoP                   `cfg:"dpop" doc:"tokens that are bound to a key (RFC 9449): required, or allowed beside others; refused by default"`
	Leeway     Duration                `cfg:"leeway" default:"30s" off:"true" doc:"how far clocks may be apart"`
	From       *TokenFrom              `cfg:"from" doc:"where the token is; in Authorization, as Bearer, by default"`
	Strip      bool                    `cfg:"strip" default:"false" doc:"the token does not go on to the service"`
	Forward    Named[Text]             `cfg:"forward" names:"header" doc:"header fields that tell the service a claim: X-User: sub; what clients send under these names goes"`
	Revoked    Path                    `cfg:"revoked" doc:"a file of tokens and subjects that count no more, looked at every second: lines of jti: or sub: and the SHA-256 of the claim"`
	Remember   int                     `cfg:"remember" default:"10000" off:"true" min:"1" max:"10000000" doc:"how many verified tokens are remembered, so that they need not be verified again"`
	Mode       string                  `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
}

// TokenFrom is where a token is, if not in Authorization: one of the two.
type TokenFrom struct {
	Cookie *Text `cfg:"cookie" doc:"the name of a cookie"`
	Header *Text `cfg:"header" doc:"the name of a header field"`
}

// KeySource is a URL, or a file that is read with the configuration.
type KeySource struct {
	URL  string // empty: File
	File Content
	Pos  Pos
}

func (k *KeySource) decode(d *decoder, n *node, path string, f field) {
	k.Pos = n.pos
	text, ok := d.scalar(n, path, "a URL or a file")
	switch {
	case !ok:
	case strings.Contains(text, "://"):
		k.URL = text
	default:
		k.File.decode(d, n, path, f)
	}
}

// ClaimValue is a value that a claim has to be. Kinds do not mix: unquoted true and 5 are a truth value and a number, "true" and "5" are
// text.
type ClaimValue struct {
	Kind ClaimKind
	Text string
	Pos  Pos
}

// ClaimKind is what a value of JSON is.
type ClaimKind uint8

// The kinds.
const (
	ClaimText ClaimKind = iota
	ClaimNumber
	ClaimBool
)

var claimNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func (c *ClaimValue) decode(d *decoder, n *node, path string, _ field) {
	c.Pos = n.pos
	text, ok := d.scalar(n, path, "text, a number, true or false")
	if !ok {
		return
	}
	c.Text = text
	switch {
	case !n.plain: // in quotes
	case text == "true" || text == "false":
		c.Kind = ClaimBool
	case claimNumber.MatchString(text):
		c.Kind = ClaimNumber
	}
	if text == "" || len(text) > predicateBytesMax {
		d.report.fail(n.pos, path, fmt.Sprintf("has between 1 and %d bytes", predicateBytesMax), "")
	}
}

func (*KeySource) schema(*schemaWriter, field) object  { return plainText() }
func (*ClaimValue) schema(*schemaWriter, field) object { return plainText() }

// Identified reports whether one of the first n policies of a chain proves who the client is.
func (c *Config) Identified(chain []Use, n int) bool {
	return slices.ContainsFunc(chain[:n], func(u Use) bool {
		p := u.Inline
		if p == nil {
			p, _ = c.Policies.Get(u.Name)
		}
		return p != nil && p.Identifies()
	})
}

// unenforced warns of a policy that is there to keep clients out, and does not.
func (v *validator) unenforced(mode, path string) {
	if mode != "enforce" && mode != "" {
		v.warn(joinPath(path, "mode"), "EVERYBODY IS ADMITTED: in the mode "+mode+" the policy refuses nobody, whoever they are", "mode: enforce")
	}
}

// leewayMax is more than clocks that are set at all are apart.
const leewayMax = Duration(10 * time.Minute)

func (v *validator) jwt(j *JWT, path string) {
	if j == nil {
		return
	}
	path = joinPath(path, "jwt")
	v.unenforced(j.Mode, path)
	v.jwtKeys(j, path)
	if j.Issuer.Text == "" && (j.JWKS != nil || !j.Secret.IsZero()) {
		v.warn(path, "names no issuer: a token that somebody else has made with the same key is accepted, too", "issuer: https://id.example.com")
	}
	if len(j.Audience) == 0 {
		v.warn(path, "names no audience: tokens that were made for another service are accepted, too", "audience: the name that the issuer knows this API by")
	}
	if j.Leeway > leewayMax {
		v.fail(joinPath(path, "leeway"), "is longer than 10m", "it is there for clocks that are a little off; who makes tokens decides how long they last")
	}
	v.dpop(j.DPoP, j.From, path)
	v.tokenFrom(j.From, joinPath(path, "from"))
	v.claims(j.Require, j.Forward, path)
}

// claims wants that what claims have to be, and where they go, makes sense.
func (v *validator) claims(require Named[List[ClaimValue]], forward Named[Text], path string) {
	for _, r := range require {
		where := joinPath(path+".require", r.Name)
		if len(r.Value) == 0 {
			v.fail(where, "says nothing about what the claim has to be", "a value, or a list of values")
		}
	}
	for _, f := range forward {
		where := joinPath(path+".forward", f.Name)
		v.ownHeader(f.Name, f.Pos, where)
		if f.Value.Text == "" {
			v.fail(where, "names no claim", "sub, for example")
		}
	}
}

// jwtKeys wants that it is clear what tokens are verified with, and by whom it is told.
func (v *validator) jwtKeys(j *JWT, path string) {
	secret := !j.Secret.IsZero()
	fetched := !secret && (j.JWKS == nil || j.JWKS.URL != "")
	switch {
	case secret && j.JWKS != nil:
		v.fail(joinPath(path, "secret"), "stands beside jwks", "tokens are signed with the one or with the other; make two policies of it")
	case secret && len(j.Secret.Reveal()) < 32:
		v.fail(joinPath(path, "secret"), "has fewer than 32 bytes", "it can be guessed from one token; openssl rand -base64 48 makes one")
	case secret:
	case j.JWKS != nil && j.JWKS.URL != "":
		v.keysURL(j.JWKS.URL, j.JWKS.Pos, joinPath(path, "jwks"))
	case j.JWKS == nil && j.Issuer.Text == "":
		v.fail(path, "says not where keys are", "issuer: ..., from which they are found, jwks: ... or secret: ...")
	case j.JWKS == nil:
		v.keysURL(j.Issuer.Text, j.Issuer.Pos, joinPath(path, "issuer"))
	}
	if j.CA != nil && !fetched {
		v.fail(joinPath(path, "ca"), "is for keys that are fetched, and these are not", "remove it")
	}
	v.pem(j.CA, joinPath(path, "ca"))
	for i, a := range j.Algorithms {
		if hmac := strings.HasPrefix(a.Text, "HS"); hmac != secret {
			hint := "public keys verify no HMAC"
			if secret {
				hint = "a secret is for HS256, HS384 and HS512"
			}
			v.failAt(a.Pos, v.item(joinPath(path, "algorithms"), i), v.show(a.Text, a.Pos)+" is not for these keys", hint)
		}
	}
}

// keysURL wants a URL that keys can be trusted from.
func (v *validator) keysURL(text string, pos Pos, path string) {
	v.trustedURL(text, pos, path, "keys are fetched over https, unless they are on this machine", "over a network anybody could answer with keys of their own")
}

// issuerURL wants a URL where what is answered about clients can be trusted.
func (v *validator) issuerURL(text string, pos Pos, path string) {
	v.trustedURL(text, pos, path, "an issuer is asked over https, unless it is on this machine", "over a network anybody could answer in its place")
}

func (v *validator) trustedURL(text string, pos Pos, path, plain, hint string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		v.failAt(pos, path, v.show(text, pos)+" is no URL of https", "")
	case u.User != nil:
		v.failAt(pos, path, "the URL holds a user name", "remove it")
	case u.Fragment != "":
		v.failAt(pos, path, "the URL holds a fragment, which no server is asked for", "remove what begins with #")
	case u.Scheme == "http" && !isThisMachine(u.Hostname()):
		v.failAt(pos, path, plain, hint)
	}
}

func isThisMachine(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (v *validator) tokenFrom(f *TokenFrom, path string) {
	switch {
	case f == nil:
	case (f.Cookie == nil) == (f.Header == nil):
		v.fail(path, "names exactly one place", "cookie: NAME or header: NAME")
	case f.Cookie != nil:
		if hint := checkHeaderName(f.Cookie.Text); hint != "" {
			v.failAt(f.Cookie.Pos, joinPath(path, "cookie"), v.show(f.Cookie.Text, f.Cookie.Pos)+" is not a valid cookie name", hint)
		}
	case strings.EqualFold(f.Header.Text, "Authorization"):
		v.failAt(f.Header.Pos, joinPath(path, "header"), "is where tokens are anyway, after the word Bearer", "remove from")
	default:
		v.headerName(f.Header.Text, f.Header.Pos, joinPath(path, "header"))
	}
}
