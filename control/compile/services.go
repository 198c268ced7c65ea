package compile

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/upstream"
	"sluice/proxy/wire"
)

// service is a running service with the definition it was started from.
type service struct {
	definition string
	policy     proxy.Policy
	running    *upstream.Service // nil in a dry run
}

func (s *service) retire() {
	if s.running != nil {
		s.running.Retire()
	}
}

// Response heads of origins are bounded generously: they are the operator's own.
var responseLimits = wire.Limits{HeadBytes: 256 << 10, TargetBytes: 1, Fields: 1000}

// startServices starts what is new, keeps what is unchanged, and puts both in their places in the chains. New ones start
// side by side: each may wait for the DNS.
func (b *builder) startServices() {
	b.plan.services = make(map[string]*service)
	used := make(map[string]bool)
	for _, u := range b.uses {
		used[u.service] = true
	}
	var starting sync.WaitGroup
	for i := range b.config.Services {
		e := &b.config.Services[i]
		options, definition := serviceOptions(e.Name, &e.Value, used[e.Name])
		if old := b.running[e.Name]; old != nil && old.definition == definition {
			b.plan.services[e.Name] = old
			continue
		}
		s := &service{definition: definition}
		b.plan.services[e.Name] = s
		if b.runtime.options.Dry {
			s.policy = dryService{e.Name, commonBase(options.Targets), options.Host}
			continue
		}
		options.Sweeper, options.Dial = b.runtime.options.Sweeper, b.runtime.options.Dial
		starting.Go(func() {
			s.running = upstream.New(options)
			s.policy = s.running
		})
	}
	starting.Wait()
	for _, u := range b.uses {
		u.place.to = b.plan.services[u.service].policy
	}
}

// serviceOptions returns the options, and a text that is the same exactly if they are. A service that no route uses is not checked: it
// starts anew, checks and all, when one does.
func serviceOptions(name string, s *config.Service, used bool) (upstream.Options, string) {
	o := upstream.Options{
		Name: name, Balance: balances[s.Balance.By], HashOn: hashKey(s.Balance.On),
		Try: duration(s.Timeouts.Try), Connect: time.Duration(s.Timeouts.Connect), Idle: time.Duration(s.Timeouts.Idle),
		Tunnel: time.Duration(s.Timeouts.Tunnel), MaxConns: s.Pool.Connections, MaxIdle: s.Pool.Idle,
		IdleFor: time.Duration(s.Pool.IdleFor), Wait: time.Duration(s.Pool.Wait), Host: originHost(s.Host.Text),
		Limits: responseLimits, Proxied: proxyVersions[s.Proxied],
	}
	if used {
		o.Health = health(s.Health)
	}
	encrypted := false
	for _, origin := range s.To {
		o.Targets = append(o.Targets, target(origin))
		encrypted = encrypted || origin.TLS
	}
	definition := fmt.Sprintf("%+v %+v", o, s.OriginTLS.Verify)
	if encrypted {
		o.TLS = &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, ServerName: s.OriginTLS.ServerName,
			InsecureSkipVerify: !s.OriginTLS.Verify, ClientSessionCache: tls.NewLRUClientSessionCache(64),
		}
		definition += " " + s.OriginTLS.ServerName
		if ca := s.OriginTLS.CA; ca != nil {
			o.TLS.RootCAs = x509.NewCertPool()
			o.TLS.RootCAs.AppendCertsFromPEM(ca.Data) // Validate has seen that it holds a certificate
			definition += fmt.Sprintf(" %x", sha256.Sum256(ca.Data))
		}
	}
	return o, definition
}

var proxyVersions = map[string]int{"v1": 1, "v2": 2}

func health(h *config.Health) upstream.Health {
	if h == nil {
		return upstream.Health{}
	}
	o := upstream.Health{
		Kind: upstream.HealthHTTP, Path: h.Get.Text, Host: h.Host.Text, Every: time.Duration(h.Every), Timeout: duration(h.Timeout),
		HealthyAfter: h.HealthyAfter, UnhealthyAfter: h.UnhealthyAfter,
	}
	if h.IsGRPC() {
		o.Kind, o.Service = upstream.HealthGRPC, h.GRPC.Text
		return o
	}
	for _, r := range h.Status {
		o.Statuses = append(o.Statuses, upstream.StatusRange{From: r.From, To: r.To})
	}
	if len(o.Statuses) == 0 {
		o.Statuses = []upstream.StatusRange{{From: 200, To: 299}}
	}
	return o
}

var balances = map[string]upstream.Balance{"round-robin": upstream.RoundRobin, "least-request": upstream.LeastRequest, "hash": upstream.Hash}

func hashKey(k config.Key) upstream.Key {
	kinds := map[string]upstream.KeyKind{"path": upstream.ByPath, "header": upstream.ByHeader, "cookie": upstream.ByCookie, "query": upstream.ByQuery}
	return upstream.Key{Kind: kinds[k.By], Name: k.Name} // anything else is the client
}

func originHost(text string) string {
	if text == "keep" {
		return ""
	}
	return text
}

func target(o config.Origin) upstream.Target {
	t := upstream.Target{Network: o.Network, Host: o.Address, TCP: o.TCP, TLS: o.TLS, H2: o.H2, Base: o.Base, Weight: o.Weight}
	scheme := map[[2]bool]string{{false, false}: "http://", {true, false}: "https://", {false, true}: "h2c://", {true, true}: "h2://"}[[2]bool{o.TLS, o.H2}]
	if o.TCP {
		scheme = "tcp://"
	}
	if o.Network == "unix" {
		t.URL = "unix:" + o.Address + o.Base
		return t
	}
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		panic("BUG: an origin's address without a port passed validation: " + err.Error())
	}
	t.Host, t.Port, t.URL = host, port, scheme+o.Address+o.Base
	return t
}

// commonBase is the path that every address puts in front of a request's, or "" if they differ.
func commonBase(targets []upstream.Target) string {
	for _, t := range targets[1:] {
		if t.Base != targets[0].Base {
			return ""
		}
	}
	return targets[0].Base
}

func statuses(services map[string]*service) []upstream.Status {
	var list []upstream.Status
	for _, s := range services {
		if s.running != nil {
			list = append(list, s.running.Status())
		}
	}
	slices.SortFunc(list, func(a, b upstream.Status) int { return strings.Compare(a.Name, b.Name) })
	return list
}
