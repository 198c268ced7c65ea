package admin

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

const profilesPath = "/debug/pprof/"

// profiles are the handlers of net/http/pprof; what is not here is a profile by name, which Index knows.
var profiles = map[string]fasthttp.RequestHandler{
	"cmdline": adapt(pprof.Cmdline),
	"profile": adapt(pprof.Profile),
	"symbol":  adapt(pprof.Symbol),
	"trace":   adapt(pprof.Trace),
}

var namedProfiles = adapt(pprof.Index)

func adapt(h http.HandlerFunc) fasthttp.RequestHandler { return fasthttpadaptor.NewFastHTTPHandler(h) }

// profile serves /debug/pprof/. What takes time is limited: the process can take one profile at once, and nobody
// watches whether the caller is still there.
func (s *Server) profile(ctx *fasthttp.RequestCtx) {
	name := strings.TrimPrefix(string(ctx.Path()), profilesPath)
	seconds := string(ctx.QueryArgs().Peek("seconds"))
	if seconds != "" {
		n, err := strconv.ParseFloat(seconds, 64)
		if err != nil || !(n > 0 && n <= profileTimeMax.Seconds()) {
			fail(ctx, problem{Status: 400, Code: "bad_seconds", Detail: fmt.Sprintf("seconds is a number above 0 and at most %v.", profileTimeMax.Seconds())})
			return
		}
	}
	if seconds != "" || name == "profile" || name == "trace" {
		select {
		case s.profiling <- struct{}{}:
			defer func() { <-s.profiling }()
		default:
			ctx.Response.Header.Set("Retry-After", "10")
			fail(ctx, problem{Status: 503, Code: "profile_running", Detail: "Another profile is being taken; one at a time."})
			return
		}
	}
	serve, ok := profiles[name]
	if !ok {
		serve = namedProfiles
	}
	serve(ctx)
}
