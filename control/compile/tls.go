package compile

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/tlsterm"
)

// terminator is a running tlsterm.Terminator. It outlives a reload that does not change its section: its ticket keys and
// the certificates that it watches go on.
type terminator struct {
	*tlsterm.Terminator
	options tlsterm.Options
	stop    context.CancelFunc
	start   func() // once
}

// openTerminator makes one that does nothing by itself yet: certificates are ordered when listeners can prove that they are ours.
func openTerminator(o tlsterm.Options) (*terminator, error) {
	t, err := tlsterm.Open(o)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	return &terminator{Terminator: t, options: o, stop: stop, start: sync.OnceFunc(func() { go t.Run(ctx) })}, nil
}

// startTLS opens what the listeners name. Connections keep what they were made with.
func (b *builder) startTLS() {
	b.plan.terminators = map[string]*terminator{}
	for i := range b.config.Listen {
		l := &b.config.Listen[i]
		name, set, ok := b.config.TLSSet(&l.Value)
		if !ok {
			continue
		}
		path := config.JoinPath("tls", name)
		if set.Pos == l.Value.TLS.Pos { // self-signed: there is no section
			path = config.JoinPath("listen", l.Name, "tls")
		}
		// What is negotiated is the listener's: two of them with different versions of HTTP have a terminator each.
		o := tlsOptions(name, set, &b.plan.Listeners[i].Listening)
		o.Counts = &b.runtime.counts
		if o.Staple = set.OCSP != "off"; o.Staple && b.config.State != "" {
			o.StapleFolder = filepath.Join(string(b.config.State), "ocsp")
		}
		b.orders(path, set, &o)
		key := name + " " + strings.Join(o.ALPN, " ")
		t := b.plan.terminators[key]
		if t == nil {
			if t = b.terminator(path, key, set, o); t == nil {
				continue
			}
			b.plan.terminators[key] = t
		}
		b.plan.Listeners[i].TLS = t.Config()
		if rules := t.NameRules(); rules != nil { // a nil pointer would be rules
			b.plan.Listeners[i].ClientCerts = rules
		}
		if set.HSTS != nil {
			b.plan.Listeners[i].HSTS = set.HSTS.Value()
		}
		if b.plan.Listeners[i].H3 && o.Tickets != nil {
			b.packetKeys(&b.plan.Listeners[i], o.Tickets)
		}
	}
	b.answerChallenges()
}

// packetKeys derives keys that survive a restart from what survives it. Hosts share one of them, as they share sessions; the other
// is a host's own, which its name makes it.
func (b *builder) packetKeys(l *Listener, t *tlsterm.Tickets) {
	host, err := os.Hostname()
	if err != nil {
		b.problems = append(b.problems, b.config.Problem(config.JoinPath("listen", l.Name, "http"), "this host has no name: connections over h3 do not notice its restart: "+err.Error(), ""))
		b.problems[len(b.problems)-1].Warning = true
		host = ""
	}
	if l.TokenKey, err = t.Derive("quic address token"); err == nil && host != "" {
		l.ResetKey, err = t.Derive("quic stateless reset " + host)
	}
	if err != nil {
		b.fail(config.JoinPath("listen", l.Name, "http"), err.Error())
	}
}

func (b *builder) terminator(path, key string, set *config.TLS, o tlsterm.Options) *terminator {
	if running := b.runningTLS[key]; running != nil && reflect.DeepEqual(running.options, o) {
		return running
	}
	failed := false
	for _, p := range tlsterm.Check(o) {
		where := path
		switch p.Part {
		case tlsterm.PartClientCerts:
			if where = path + ".client_certs"; len(set.ClientCerts) > 1 {
				where = fmt.Sprintf("%s[%d]", where, p.Index)
			}
		case tlsterm.PartECH:
			where = path + ".ech"
		}
		if set.Certificates[0].Pos != set.Pos && p.Source >= 0 {
			where = fmt.Sprintf("%s.certificates[%d]", path, p.Source)
		}
		problem := b.config.Problem(where, p.String(), "")
		problem.Warning = p.Warning
		b.problems = append(b.problems, problem)
		failed = failed || !p.Warning
	}
	if failed || b.runtime.options.Dry {
		return nil
	}
	t, err := openTerminator(o)
	if err != nil {
		b.fail(path, err.Error())
		return nil
	}
	return t
}

func tlsOptions(name string, set *config.TLS, l *proxy.Listening) tlsterm.Options {
	o := tlsterm.Options{Name: name}
	if l.H2 {
		o.ALPN = append(o.ALPN, "h2")
	}
	if !l.NoH1 {
		o.ALPN = append(o.ALPN, "http/1.1")
	}
	if set.Preset == "modern" {
		o.Preset = tlsterm.Modern
	}
	switch set.MinVersion {
	case "1.2":
		o.MinVersion = tls.VersionTLS12
	case "1.3":
		o.MinVersion = tls.VersionTLS13
	}
	for _, c := range set.Certificates {
		source := tlsterm.Source{CertFile: string(c.Cert), KeyFile: string(c.Key), Dir: string(c.Dir)}
		for _, host := range c.SelfSigned {
			source.SelfSigned = append(source.SelfSigned, host.Text)
		}
		if c.ACME != nil {
			source.ACME = acmeOptions(&c)
		}
		o.Certificates = append(o.Certificates, source)
	}
	if t := set.SessionTickets; t != nil {
		o.Tickets = &tlsterm.Tickets{Secret: []byte(t.Secret.Reveal()), Rotate: time.Duration(t.Rotate)}
	}
	for _, c := range set.ClientCerts {
		clients := tlsterm.ClientCerts{CAFile: string(c.CA), CRLFile: string(c.CRL), Mode: tlsterm.Require}
		if c.Mode == "request" {
			clients.Mode = tlsterm.Request
		}
		for _, name := range c.Names {
			clients.Names = append(clients.Names, strings.ToLower(name.Text))
		}
		o.ClientCerts = append(o.ClientCerts, clients)
	}
	if e := set.ECH; e != nil {
		o.ECH = &tlsterm.ECH{PublicName: strings.ToLower(e.PublicName.Text), Dir: string(e.Keys), Keep: time.Duration(e.Keep)}
	}
	return o
}
