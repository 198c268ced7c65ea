package admin

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"sluice/control/config"
)

// page is one path of the admin API.
type page struct {
	methods []string // in alphabetical order; HEAD goes with GET
	public  bool     // needs no token
	serve   func(*Server, *fasthttp.RequestCtx)
}

var (
	reading = []string{"GET", "HEAD"}
	posting = []string{"POST"}
)

var pages = map[string]page{
	"/healthz":     {methods: reading, public: true, serve: (*Server).healthz},
	"/readyz":      {methods: reading, public: true, serve: (*Server).readyz},
	"/metrics":     {methods: reading, serve: (*Server).metrics},
	"/v1/status":   {methods: reading, serve: (*Server).status},
	"/v1/routes":   {methods: reading, serve: (*Server).routes},
	"/v1/services": {methods: reading, serve: (*Server).services},
	"/v1/limits":   {methods: reading, serve: (*Server).limits},
	"/v1/profiles": {methods: reading, serve: (*Server).profiles},
	"/v1/reload":   {methods: posting, serve: (*Server).reload},

	"/v1/cache":        {methods: reading, serve: (*Server).cache},
	"/v1/cache/purge":  {methods: posting, serve: (*Server).purgeCache},
	"/v1/cache/warm":   {methods: posting, serve: (*Server).warmCache},
	"/v1/limits/reset": {methods: []string{"DELETE", "POST"}, serve: (*Server).resetLimit},
	"/v1/consumers":    {methods: reading, serve: (*Server).consumers},
}

func find(path string) (page, bool) {
	if strings.HasPrefix(path, profilesPath) {
		return page{methods: reading, serve: (*Server).profile}, true
	}
	if strings.HasPrefix(path, storedPath) {
		return page{methods: reading, serve: (*Server).storedProfile}, true
	}
	if strings.HasPrefix(path, consumersPath) {
		t := parseTarget(path)
		methods := t.methods()
		return page{methods: methods, serve: (*Server).consumer}, len(methods) > 0
	}
	p, ok := pages[path]
	return p, ok
}

func (p page) takes(method string) bool { return slices.Contains(p.methods, method) }

func (p page) allow() string { return strings.Join(p.methods, ", ") }

func (s *Server) healthz(ctx *fasthttp.RequestCtx) { text(ctx, 200, "ok\n") }

func (s *Server) readyz(ctx *fasthttp.RequestCtx) {
	if why := s.gateway.Unready(); why != "" {
		text(ctx, 503, why+"\n")
		return
	}
	text(ctx, 200, "ok\n")
}

func (s *Server) metrics(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	if err := s.gateway.WriteMetrics(ctx.Response.BodyWriter()); err != nil {
		// The writer is memory, so the error is the gateway's own.
		panic("BUG: metrics cannot be written: " + err.Error())
	}
}

func (s *Server) status(ctx *fasthttp.RequestCtx) { answer(ctx, 200, s.gateway.Status()) }

func (s *Server) routes(ctx *fasthttp.RequestCtx) {
	answer(ctx, 200, map[string]any{"routes": list(s.gateway.Routes())})
}

func (s *Server) services(ctx *fasthttp.RequestCtx) {
	answer(ctx, 200, map[string]any{"services": list(s.gateway.Services())})
}

func (s *Server) reload(ctx *fasthttp.RequestCtx) {
	done, err := s.gateway.Reload()
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		fail(ctx, problem{
			Status: 422, Code: "broken_configuration", Problems: findings(problems),
			Detail: "The configuration has errors and was not loaded; the running one goes on.",
		})
	case err != nil:
		fail(ctx, problem{Status: 503, Code: "reload_failed", Detail: "The running configuration goes on: " + err.Error() + "."})
	default:
		answer(ctx, 200, reloaded{Generation: done.Generation, Warnings: findings(done.Warnings)})
	}
}

// reloaded is the answer of POST /v1/reload.
type reloaded struct {
	Generation uint64    `json:"generation"`
	Warnings   []finding `json:"warnings"`
}

// finding is a config.Problem for other programs.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning,omitempty"`
}

func findings(problems config.Problems) []finding {
	found := make([]finding, len(problems))
	for i, p := range problems {
		found[i] = finding{
			File: p.Pos.File, Line: p.Pos.Line, Column: p.Pos.Column,
			Path: p.Path, Message: p.Message, Hint: p.Hint, Warning: p.Warning,
		}
	}
	return found
}

// list makes an empty list of nil, which would be null in JSON.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func text(ctx *fasthttp.RequestCtx, status int, body string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(body)
}

// problem is an error as RFC 9457 writes it.
type problem struct {
	Type     string    `json:"type"`
	Title    string    `json:"title"`
	Status   int       `json:"status"`
	Detail   string    `json:"detail"`
	Field    string    `json:"field,omitempty"` // of what was sent, that is wrong
	Problems []finding `json:"problems,omitempty"`
	Code     string    `json:"-"` // ends Type
}

func fail(ctx *fasthttp.RequestCtx, p problem) {
	p.Type, p.Title = "urn:sluice:problem:"+p.Code, http.StatusText(p.Status)
	answer(ctx, p.Status, p)
	ctx.SetContentType("application/problem+json")
}
