package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Policy is a rule that routes can use: exactly one kind is set.
type Policy struct {
	Headers         *Headers         `cfg:"headers" doc:"changes header fields"`
	Addresses       *Addresses       `cfg:"addresses" doc:"admits clients by their address"`
	ClientCert      *ClientCert      `cfg:"client_cert" doc:"admits clients by the certificate that they have shown"`
	JWT             *JWT             `cfg:"jwt" doc:"admits clients by a signed token that they bring"`
	Introspection   *Introspection   `cfg:"introspection" doc:"admits clients by a token that its issuer is asked about"`
	OIDC            *OIDC            `cfg:"oidc" doc:"lets people sign in with a browser at an OpenID provider"`
	UpstreamToken   *UpstreamToken   `cfg:"upstream_token" doc:"shows the service an access token that the gateway gets for it"`
	RateLimit       *RateLimit       `cfg:"rate_limit" doc:"limits how often requests come"`
	Concurrent      *Concurrent      `cfg:"concurrency" doc:"limits how many requests are under way at the same time"`
	Quota           *Quota           `cfg:"quota" doc:"limits how much a client uses in a day, a week or a month, over restarts"`
	Cache           *CachePolicy     `cfg:"cache" doc:"keeps answers and gives them to whoever asks the same"`
	Compress        *Compress        `cfg:"compress" doc:"compresses responses"`
	APIKey          *APIKey          `cfg:"api_key" doc:"admits consumers by a key that they bring"`
	BasicAuth       *BasicAuth       `cfg:"basic_auth" doc:"admits consumers by their name and a password"`
	Signature       *Signature       `cfg:"signature" doc:"admits consumers who sign their requests (RFC 9421)"`
	Countries       *Countries       `cfg:"countries" doc:"admits clients by the country of their address"`
	SecurityHeaders *SecurityHeaders `cfg:"security_headers" doc:"tells browsers to be careful"`
	Cookies         *Cookies         `cfg:"cookies" doc:"completes the cookies of origins that forget Secure, HttpOnly or SameSite"`
	ForwardAuth     *ForwardAuth     `cfg:"forward_auth" doc:"admits what another service admits that is asked"`
	Authorize       *Authorize       `cfg:"authorize" doc:"admits requests that an expression is true for"`
	CSRF            *CSRF            `cfg:"csrf" doc:"refuses requests that pages of other sites make browsers send"`
	Pos             Pos
	_               struct{} `later:"waf,anomalies,ip_reputation,validate"`
}

// Headers is the policy that changes header fields.
type Headers struct {
	Request  *HeaderOps `cfg:"request" doc:"before the request goes on"`
	Response *HeaderOps `cfg:"response" doc:"before the response goes back"`
}

// Addresses is the policy that admits clients by address. An address in Deny is refused; when something is allowed, so is
// every address that is not. What is in a file is as if it stood in the list.
type Addresses struct {
	Allow     List[Prefix] `cfg:"allow" doc:"networks or addresses; when present, all others are refused"`
	Deny      List[Prefix] `cfg:"deny" doc:"networks or addresses that are refused, even if allowed"`
	AllowFile *Networks    `cfg:"allow_file" doc:"a file with more of them, one in a line, up to 64 MiB"`
	DenyFile  *Networks    `cfg:"deny_file" doc:"a file with more of them, one in a line, up to 64 MiB"`
	Mode      string       `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
}

// ClientCert is the policy that admits clients by the certificate that a listener has asked them for and verified: one that has
// one of the names and one of the keys, where there are any.
type ClientCert struct {
	SAN  List[Text] `cfg:"san" doc:"subject alternative names: DNS names, *.example.com, addresses, URIs, mail addresses; any by default"`
	SPKI List[Text] `cfg:"spki" doc:"the SHA-256 of public keys, in base64; any by default"`
	Mode string     `cfg:"mode" default:"enforce" enum:"enforce,report,off" doc:"report only counts and logs what would be refused"`
}

// Use is one step of a list of policies: a name, or a policy written in place.
type Use struct {
	Name   string
	Inline *Policy
	Pos    Pos
}

func (u *Use) decode(d *decoder, n *node, path string, f field) {
	u.Pos = n.pos
	if n.kind != mapNode {
		u.Name, _ = d.scalar(n, path, "the name of a policy, or a policy")
		return
	}
	d.value(n, path, reflect.ValueOf(&u.Inline).Elem(), f)
}

// Kind names the kind that is set, or "" when none is.
func (p Policy) Kind() string {
	if kinds := p.kinds(); len(kinds) > 0 {
		return kinds[0]
	}
	return ""
}

// Enforced reports whether the policy does what it says: one that is tried out, or switched off, refuses nobody.
func (p Policy) Enforced() bool {
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			if mode := f.Elem().FieldByName("Mode"); mode.IsValid() && mode.String() != "enforce" {
				return false
			}
		}
	}
	return true
}

func (p Policy) kinds() []string {
	var kinds []string
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		if key := v.Type().Field(i).Tag.Get("cfg"); key != "" && !v.Field(i).IsNil() {
			kinds = append(kinds, key)
		}
	}
	return kinds
}

// policyKinds are all that there are.
func policyKinds() []string {
	var kinds []string
	t := reflect.TypeFor[Policy]()
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("cfg"); key != "" {
			kinds = append(kinds, key)
		}
	}
	return kinds
}

func (v *validator) policies(policies Named[Policy]) {
	for _, p := range policies {
		path := joinPath("policies", p.Name)
		if p.Name == RouteWord {
			v.failAt(p.Pos, path, "a policy cannot be called route", "in defaults.use the word stands for the route's own list")
		}
		v.policy(p.Value, path)
	}
}

func (v *validator) policy(p Policy, path string) {
	switch kinds := p.kinds(); len(kinds) {
	case 0:
		v.fail(path, "the policy has no kind", strings.Join(policyKinds(), ": ... or ")+": ...")
	case 1:
	default:
		v.fail(path, "a policy has exactly one kind, this one has "+strings.Join(kinds, " and "), "make several policies of it")
	}
	if h := p.Headers; h != nil {
		where := joinPath(path, "headers")
		if h.Request == nil && h.Response == nil {
			v.fail(where, "changes nothing", "request: ... or response: ...")
		}
		v.headerOps(h.Request, joinPath(where, "request"), PhaseRequest)
		v.headerOps(h.Response, joinPath(where, "response"), PhaseResponse)
	}
	v.cache(p.Cache, joinPath(path, "cache"))
	if c := p.ClientCert; c != nil {
		v.unenforced(c.Mode, joinPath(path, "client_cert"))
	}
	v.jwt(p.JWT, path)
	v.introspection(p.Introspection, path)
	v.oidc(p.OIDC, path)
	v.upstreamToken(p.UpstreamToken, path)
	if a := p.Addresses; a != nil && len(a.Allow)+len(a.Deny) == 0 && a.AllowFile == nil && a.DenyFile == nil {
		v.fail(joinPath(path, "addresses"), "names no address", "allow: [...] or deny: [...]")
	}
	v.compress(p.Compress, joinPath(path, "compress"))
	v.rateLimit(p.RateLimit, path)
	v.concurrent(p.Concurrent, path)
	v.quota(p.Quota, path)
	v.apiKey(p.APIKey, path)
	v.basicAuth(p.BasicAuth, path)
	v.signature(p.Signature, path)
	v.securityHeaders(p.SecurityHeaders, joinPath(path, "security_headers"))
	v.cookies(p.Cookies, joinPath(path, "cookies"))
	v.countries(p.Countries, joinPath(path, "countries"))
	v.csrf(p.CSRF, joinPath(path, "csrf"))
	v.forwardAuth(p.ForwardAuth, joinPath(path, "forward_auth"))
	v.authorize(p.Authorize, joinPath(path, "authorize"))
}

// uses checks a list of policies. A default list may hold the word route, once.
func (v *validator) uses(uses []Use, path string, isDefault bool) {
	first := map[string]Pos{}
	for i, use := range uses {
		where := v.item(path, i)
		switch {
		case use.Inline != nil:
			v.policy(*use.Inline, where)
			continue
		case use.Name == "":
			v.failAt(use.Pos, where, "names no policy", "")
			continue
		case use.Name == RouteWord && !isDefault:
			v.failAt(use.Pos, where, "the word route belongs into defaults.use", "")
		case use.Name == RouteWord:
		default:
			v.policyName(Text{use.Name, use.Pos}, where)
		}
		if pos, twice := first[use.Name]; twice {
			v.failAt(use.Pos, where, v.show(use.Name, use.Pos)+" stands here twice", fmt.Sprintf("first at %s", pos))
		}
		first[use.Name] = use.Pos
	}
}

func (v *validator) policyName(name Text, path string) {
	if _, ok := v.policyUsed[name.Text]; !ok {
		v.unknown("policy", "policies", name, path, v.config.Policies.Names())
		return
	}
	v.policyUsed[name.Text] = true
}

// eachPolicy calls f with all policies, those that no route uses as well, and where they stand.
func (c *Config) eachPolicy(f func(p *Policy, path string)) {
	inline := func(uses []Use, path string) {
		for i, u := range uses {
			if u.Inline != nil {
				f(u.Inline, indexPath(path, i))
			}
		}
	}
	for i := range c.Policies {
		f(&c.Policies[i].Value, JoinPath("policies", c.Policies[i].Name))
	}
	inline(c.Defaults.Use, "defaults.use")
	for i := range c.Routes {
		inline(c.Routes[i].Value.Use, JoinPath("routes", c.Routes[i].Name, "use"))
	}
}
