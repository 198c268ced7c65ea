package config

import (
	"crypto/x509"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Service is where traffic can go: endpoints that answer alike.
type Service struct {
	To        List[Origin] `cfg:"to" required:"true" doc:"one address or a list: http://host:port/base, https://..., unix:/path, h2:// or grpcs:// (HTTP/2 with TLS), h2c:// or grpc:// (without), tcp://host:port for connections that are passed on, or { url, weight }"`
	Balance   Balance      `cfg:"balance" default:"round-robin" doc:"how an endpoint is chosen"`
	Timeout   *Duration    `cfg:"timeout" doc:"how long one try may take until the response head is there; 30s by default"`
	Timeouts  Timeouts     `cfg:"timeouts" doc:"the other timeouts"`
	Pool      Pool         `cfg:"pool" doc:"the connections to each endpoint"`
	Proxied   string       `cfg:"proxy_protocol" enum:"v1,v2" doc:"connections to the service begin with a PROXY header that names the client; each is then one client's alone"`
	Host      Text         `cfg:"host" default:"keep" doc:"the Host that the service sees: keep (what the client sent), origin (the host of its address), or a name"`
	Health    *Health      `cfg:"health" doc:"how endpoints are checked: GET /healthz, grpc, grpc shop.Orders, or { get: /healthz, every: 5s }; not at all by default"`
	OriginTLS OriginTLS    `cfg:"origin_tls" doc:"how endpoints of https://, h2:// and grpcs:// are verified"`
	Pos       Pos
	_         struct{} `later:"discover,retry,eject,limit,protos"`
	_         struct{} `later:"tls" hint:"origin_tls says how https:// addresses are verified"`
}

// TCP reports whether connections are passed on to the service, instead of requests.
func (s *Service) TCP() bool {
	return slices.ContainsFunc(s.To, func(o Origin) bool { return o.TCP })
}

// Timeouts are the timeouts of one service. After Load, Try is never nil and Service.Timeout is the same.
type Timeouts struct {
	Connect Duration  `cfg:"connect" default:"2s" doc:"until a connection is there, TLS included"`
	Try     *Duration `cfg:"try" doc:"the same as timeout"`
	Idle    Duration  `cfg:"idle" default:"60s" doc:"silence in the middle of a body"`
	Tunnel  Duration  `cfg:"tunnel" default:"1h" doc:"silence in an upgraded connection, such as a WebSocket, and in one that is passed on"`
}

// tryDefault is Timeouts.Try where neither timeout nor timeouts.try is set.
const tryDefault = Duration(30 * time.Second)

// Pool bounds the connections to one endpoint.
type Pool struct {
	Connections int      `cfg:"connections" default:"1024" off:"true" min:"0" doc:"connections at the same time; 0 is no limit"`
	Idle        int      `cfg:"idle" default:"1024" min:"0" doc:"unused connections that are kept, for idle_for"`
	IdleFor     Duration `cfg:"idle_for" default:"60s" doc:"how long an unused connection is kept"`
	Wait        Duration `cfg:"wait" default:"1s" doc:"how long a request waits for a connection when all are in use"`
}

// OriginTLS says how endpoints with TLS are verified: those of https://, h2:// and grpcs://.
type OriginTLS struct {
	CA         *Content `cfg:"ca" doc:"file of PEM certificates to trust instead of the system's"`
	ServerName string   `cfg:"server_name" doc:"the name that the certificate must have; the host of the address by default"`
	Verify     bool     `cfg:"verify" default:"true" doc:"false accepts any certificate"`
}

// Balance is how an endpoint is chosen.
type Balance struct {
	By  string `cfg:"by" default:"round-robin" enum:"round-robin,least-request,hash" doc:"in turn, the least busy of two, or by a key"`
	On  Key    `cfg:"on" doc:"the key of hash: client, path, header NAME, cookie NAME or query NAME"`
	Pos Pos
	_   struct{} `later:"slow_start"`
}

func (b *Balance) decodeShort(d *decoder, n *node, path string) bool {
	info := d.info(reflect.TypeFor[Balance]())
	by, _ := info.field("by")
	b.By, _ = d.word(n, path, by)
	return true
}

func (s *Service) decodeShort(d *decoder, n *node, path string) bool {
	s.To.decode(d, n, path, field{})
	return true
}

// Key is a part of a request that stands for who is asking: for hash and sticky.
type Key struct {
	By   string // client, path, header, cookie, query; empty when there is no key
	Name string // of the header, cookie or query parameter
	Pos  Pos
}

func (k *Key) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "client, path, header NAME, cookie NAME or query NAME"
	k.Pos = n.pos
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	by, name, named := strings.Cut(text, " ")
	switch {
	case (by == "client" || by == "path") && !named:
	case (by == "header" || by == "cookie") && named && checkHeaderName(name) == "":
	case by == "query" && named && name != "":
	default:
		hint := ""
		if near := nearest(by, []string{"client", "path", "header", "cookie", "query"}); near != "" && near != by && n.parts == nil {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		d.wants(n, path, wanted, hint)
		return
	}
	k.By, k.Name = by, name
}

func (v *validator) services(services Named[Service]) {
	for _, s := range services {
		path := joinPath("services", s.Name)
		v.origins(s.Value, path)
		v.tcp(&s.Value, path)
		v.balance(s.Value, path)
		v.originTLS(s.Value, path)
		v.health(&s.Value, joinPath(path, "health"))
		if s.Value.Timeout != nil && s.Value.Timeouts.Try != nil {
			v.fail(joinPath(path, "timeout"), "timeout and timeouts.try say the same", "keep one of them")
		}
		if p := s.Value.Pool; p.Connections > 0 && p.Idle > p.Connections && v.written(path+".pool.idle") {
			v.fail(path+".pool.idle", "is larger than pool.connections", "")
		}
		if host := s.Value.Host; host.Text != "" && host.Text != "keep" && host.Text != "origin" {
			if _, _, ok := splitAuthority(host.Text); !ok {
				v.failAt(host.Pos, joinPath(path, "host"), "wants keep, origin or a host name, got "+v.show(host.Text, host.Pos), "")
			}
		}
	}
}

func (v *validator) origins(s Service, path string) {
	to := joinPath(path, "to")
	if s.To != nil && len(s.To) == 0 {
		v.fail(to, "names no address", "")
	}
	first := map[string]Pos{}
	for i, o := range s.To {
		if o.Network == "" {
			continue
		}
		id := fmt.Sprint(o.Network, o.TCP, o.TLS, o.H2, o.Address, o.Base)
		if pos, twice := first[id]; twice {
			v.failAt(o.Pos, v.item(to, i), "the address stands here twice", fmt.Sprintf("first at %s; a larger share is written { url: ..., weight: 2 }", pos))
		}
		first[id] = o.Pos
	}
}

// tcp checks that a service that connections are passed on to is nothing else, and has nothing that is for requests.
func (v *validator) tcp(s *Service, path string) {
	if !s.TCP() {
		return
	}
	for i, o := range s.To {
		if !o.TCP && o.Network != "" {
			v.failAt(o.Pos, v.item(joinPath(path, "to"), i), "the service has addresses of tcp://, and this one is for requests", "make two services of it")
		}
	}
	for _, key := range []string{"timeout", "timeouts.try", "timeouts.idle", "pool.idle", "pool.idle_for", "pool.wait", "host", "health", "origin_tls"} {
		if where := path + "." + key; v.written(where) {
			v.fail(where, "is for requests, and the service has addresses of tcp://", "")
		}
	}
	if on := s.Balance.On; on.By != "" && on.By != "client" {
		v.fail(path+".balance.on", "of a connection that is passed on only the client is known", "on: client")
	}
}

func (v *validator) balance(s Service, path string) {
	if s.Balance.On.By != "" && s.Balance.By != "hash" {
		v.fail(path+".balance.on", "only hash has a key", "by: hash")
	}
}

func (v *validator) originTLS(s Service, path string) {
	where := joinPath(path, "origin_tls")
	if !v.written(where) {
		return
	}
	encrypted := false
	for _, o := range s.To {
		encrypted = encrypted || o.TLS
	}
	if !encrypted && !s.TCP() {
		v.fail(where, "no address of the service is https://, h2:// or grpcs://", "")
	}
	if !s.OriginTLS.Verify {
		v.warn(where+".verify", "any certificate is accepted: whoever can reach the network can read and change the traffic", "")
	}
	if name := s.OriginTLS.ServerName; name != "" && !isHost(name) {
		v.fail(where+".server_name", "wants a host name", "")
	}
	v.pem(s.OriginTLS.CA, where+".ca")
}

// pem wants certificates in a file that was read.
func (v *validator) pem(c *Content, path string) {
	if c != nil && c.Name != "" && !x509.NewCertPool().AppendCertsFromPEM(c.Data) {
		v.fail(path, "the file holds no PEM certificate", "")
	}
}
