package compile

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/respond"
	"sluice/tlsterm"
	"sluice/tlsterm/acme"
)

func acmeOptions(c *config.Certificate) *acme.Options {
	a := c.ACME
	o := &acme.Options{
		Email: a.Email.Text, Directory: a.Directory.Text, CAFile: string(a.CA), RSA: a.Key == "rsa", Folder: string(a.Storage),
	}
	for _, host := range c.Hosts {
		o.Hosts = append(o.Hosts, strings.ToLower(host.Text))
	}
	if a.Account != nil {
		o.KeyID, o.MACKey = a.Account.KeyID.Text, []byte(a.Account.Secret.Reveal())
	}
	for _, challenge := range a.Challenges {
		o.HTTP01 = o.HTTP01 || challenge.Text == "http-01"
		o.TLSALPN01 = o.TLSALPN01 || challenge.Text == "tls-alpn-01"
	}
	return o
}

// orders completes what a set orders with what stands elsewhere in the configuration: the folder, and which challenges listeners can
// answer.
func (b *builder) orders(path string, set *config.TLS, o *tlsterm.Options) {
	for i := range o.Certificates {
		order := o.Certificates[i].ACME
		if order == nil {
			continue
		}
		if order.Folder == "" {
			order.Folder = filepath.Join(string(b.config.State), "acme")
		}
		switch chosen := order.HTTP01 || order.TLSALPN01; {
		case !chosen:
			order.HTTP01, order.TLSALPN01 = b.hasPlain(), true
		case order.HTTP01 && !b.hasPlain():
			where := fmt.Sprintf("%s.certificates[%d].acme.challenges", path, i)
			problem := b.config.Problem(where, "http-01 needs a listener without TLS, and there is none",
				`listen: { plain: { address: ":80", redirect: https } }`)
			if !slices.Contains(b.problems, problem) { // for another listener
				b.problems = append(b.problems, problem)
			}
		}
	}
}

func (b *builder) hasPlain() bool {
	return slices.ContainsFunc(b.config.Listen, func(l config.Entry[config.Listener]) bool { return isPlain(&l.Value) })
}

// isPlain tells listeners that speak HTTP/1.1, as authorities do, without TLS.
func isPlain(l *config.Listener) bool {
	h1, _, _ := versions(l)
	return h1 && l.TLS.Text == "" && l.TakesRequests()
}

// acmeRoute is the name of what answers authorities; like noRoute it cannot be configured.
const acmeRoute = "-acme"

// answerChallenges lets listeners without TLS answer the authorities that ask over HTTP (RFC 8555 section 8.3), before any route and
// any redirect is looked at. A request for a token that no order is under way for is a request like any other: a client of ACME behind the
// gateway may be meant.
func (b *builder) answerChallenges() {
	var folders []acme.Challenges
	for _, t := range b.plan.terminators {
		for _, source := range t.options.Certificates {
			if source.ACME != nil && source.ACME.HTTP01 {
				folders = append(folders, acme.Challenges{Folder: source.ACME.Folder})
			}
		}
	}
	if len(folders) == 0 {
		return
	}
	slices.SortFunc(folders, func(a, b acme.Challenges) int { return strings.Compare(a.Folder, b.Folder) })
	folders = slices.Compact(folders)
	route := &proxy.Route{Name: acmeRoute, Errors: b.fallback.Errors, Timeout: time.Minute}
	b.extra = append(b.extra, route)
	ahead := func(x *proxy.Exchange) *proxy.Route {
		token, is := bytes.CutPrefix(x.Request.Path, challengePath)
		if !is || x.Request.Method != "GET" {
			return nil
		}
		for _, f := range folders {
			if answer, ok := f.KeyAuthorization(string(token)); ok {
				return answering(route, answer)
			}
		}
		return nil
	}
	for i := range b.plan.Listeners {
		if isPlain(&b.config.Listen[i].Value) {
			b.plan.Listeners[i].Ahead = ahead
		}
	}
}

var challengePath = []byte(acme.HTTP01Path)

// answering returns a route for one request. There are few of them.
func answering(route *proxy.Route, answer []byte) *proxy.Route {
	policy, err := respond.NewStatic(respond.StaticOptions{Status: 200, ContentType: "application/octet-stream", Fixed: answer})
	if err != nil {
		return nil
	}
	once := *route
	once.Chain = proxy.NewChain(proxy.Link{Name: "acme", Policy: policy})
	return &once
}
