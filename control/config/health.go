package config

import (
	"fmt"
	"strings"
	"time"
)

// Health says how the endpoints of a service are asked whether they are well. In a file it is `GET /healthz`, `grpc`, `grpc shop.Orders` or a
// mapping with get or grpc. Exactly one of them is set after Load, by its place; Timeout is never nil.
type Health struct {
	Get            Text              `cfg:"get" doc:"the path that is asked for by GET, below that of the endpoint's address"`
	GRPC           Text              `cfg:"grpc" doc:"the service that grpc.health.v1.Health/Check is asked about; \"\" is the server as a whole"`
	Every          Duration          `cfg:"every" default:"5s" doc:"from check to check"`
	Timeout        *Duration         `cfg:"timeout" doc:"how long a check may take; 1s by default, or every if that is less"`
	HealthyAfter   int               `cfg:"healthy_after" default:"2" min:"1" max:"100" doc:"checks in a row that an unhealthy endpoint must pass"`
	UnhealthyAfter int               `cfg:"unhealthy_after" default:"3" min:"1" max:"100" doc:"checks in a row that a healthy endpoint must fail; of a new one, one"`
	Host           Text              `cfg:"host" doc:"the Host of checks; by default as host of the service says, and the host of its address for keep"`
	Status         List[StatusRange] `cfg:"status" doc:"the statuses of HTTP that are good: 204, 2xx or 200-399; 2xx by default"`
	Pos            Pos
}

// IsGRPC reports whether checks are calls of gRPC.
func (h *Health) IsGRPC() bool { return h.GRPC.Pos.Line > 0 }

func (h *Health) decodeShort(d *decoder, n *node, path string) bool {
	const wanted = "GET /healthz, grpc, grpc NAME or a mapping"
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return true
	}
	verb, rest, more := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case verb == "GET" && rest != "":
		h.Get = Text{rest, n.pos}
	case verb == "grpc" && (rest != "" || !more):
		h.GRPC = Text{rest, n.pos}
	case strings.HasPrefix(text, "/") && n.parts == nil:
		d.wants(n, path, wanted, "write GET "+clip(text))
	default:
		d.wants(n, path, wanted, "")
	}
	return true
}

func (*Health) shortSchema(*schemaWriter) object { return pattern(`^(GET +/.*|grpc( +[^ ]+)?)$`) }

// StatusRange is a range of statuses of HTTP, ends included.
type StatusRange struct{ From, To int }

func (s *StatusRange) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "a status such as 204, 2xx or 200-399"
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	from, to, ranged := strings.Cut(text, "-")
	if class, ok := strings.CutSuffix(text, "xx"); ok {
		from, to, ranged = class+"00", class+"99", true
	}
	if !ranged {
		to = from
	}
	for _, status := range []string{from, to} {
		if len(status) != 3 || !isDigits(status) || status < "200" || status > "599" {
			d.wants(n, path, wanted, "")
			return
		}
	}
	if from > to {
		d.wants(n, path, wanted, "the range has no status")
		return
	}
	s.From, s.To = mustInt(from), mustInt(to)
}

func (*StatusRange) schema(*schemaWriter, field) object {
	return object{"anyOf": []any{
		object{"type": "integer", "minimum": 200, "maximum": 599}, pattern(`^([2-5]xx|[2-5][0-9][0-9](-[2-5][0-9][0-9])?)$`),
	}}
}

const (
	healthTimeout  = Duration(time.Second)
	healthEveryMin = Duration(100 * time.Millisecond)
	// healthNameMax bounds the name of a service.
	healthNameMax = 256
)

func (v *validator) health(s *Service, path string) {
	h := s.Health
	if h == nil {
		return
	}
	get, grpc := h.Get.Pos.Line > 0, h.IsGRPC()
	switch {
	case v.report.touched[path]:
		return
	case get && grpc:
		v.fail(path+".grpc", "a check is either get or grpc", "")
	case !get && !grpc:
		v.fail(path, "says nothing to ask for", "get: /healthz, or grpc: shop.Orders")
	case get:
		target, query, _ := strings.Cut(h.Get.Text, "?")
		if !isCleanPath(target) || !isCleanQuery(query) {
			v.failAt(h.Get.Pos, path+".get", "wants a path, got "+v.show(h.Get.Text, h.Get.Pos), "it begins with /, has no . or .. segments, and escapes as %XX")
		}
	default:
		if !s.speaksH2() {
			v.failAt(h.GRPC.Pos, path+".grpc", "the service has an address that does not speak HTTP/2, which gRPC needs", "grpc://, grpcs://, h2c:// or h2://")
		}
		if name := h.GRPC.Text; len(name) > healthNameMax || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
			v.failAt(h.GRPC.Pos, path+".grpc", "wants the name of a service, got "+v.show(name, h.GRPC.Pos), "shop.Orders, for example")
		}
		if len(h.Status) > 0 {
			v.fail(path+".status", "a check of gRPC is good if the server says SERVING", "remove the key")
		}
	}
	if h.Every < healthEveryMin {
		v.fail(path+".every", fmt.Sprintf("wants at least %s", time.Duration(healthEveryMin)), "")
	}
	if host := h.Host; host.Text != "" {
		if _, _, ok := splitAuthority(host.Text); !ok {
			v.failAt(host.Pos, path+".host", "wants a host name, got "+v.show(host.Text, host.Pos), "")
		}
	}
}

// isCleanQuery reports whether a query can be sent as it is.
func isCleanQuery(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' })
}
