package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"sluice/control/profiling"
)

const profilesPath = "/debug/pprof/"

// Limits of what is taken. It is held in memory until it is sent, so that a slow caller does not make it longer.
const (
	profileTimeMax = 60 * time.Second
	traceBytesMax  = 32 << 20 // then a trace ends early
)

// timed says how long a profile takes if the caller does not. What is not here takes no time: it is what the runtime
// has counted since the start, unless the caller asks for the difference over some seconds.
var timed = map[string]time.Duration{"profile": 30 * time.Second, "trace": time.Second, "mutex": contentionTime, "block": contentionTime}

const contentionTime = 10 * time.Second

var (
	cmdline       = adapt(pprof.Cmdline)
	symbol        = adapt(pprof.Symbol)
	namedProfiles = adapt(pprof.Index)
)

func adapt(h http.HandlerFunc) fasthttp.RequestHandler { return fasthttpadaptor.NewFastHTTPHandler(h) }

// profile serves /debug/pprof/, the way that net/http/pprof does, so that `go tool pprof` can be pointed at it. What
// takes time is limited and taken one at a time, and nobody watches whether the caller is still there.
func (s *Server) profile(ctx *fasthttp.RequestCtx) {
	name := strings.TrimPrefix(string(ctx.Path()), profilesPath)
	d, refusal := profileTime(ctx, name)
	if refusal != nil {
		fail(ctx, *refusal)
		return
	}
	if d > 0 {
		takeTimed(ctx, name, d)
		return
	}
	switch name {
	case "cmdline":
		cmdline(ctx)
	case "symbol":
		symbol(ctx)
	default:
		namedTurn.Lock()
		defer namedTurn.Unlock()
		namedProfiles(ctx)
	}
}

// namedTurn lets profiles that take no time in one after the other: each stops the world, and may be large in memory.
var namedTurn sync.Mutex

// profileTime is how long the profile takes; 0 for one that takes no time.
func profileTime(ctx *fasthttp.RequestCtx, name string) (time.Duration, *problem) {
	text := string(ctx.QueryArgs().Peek("seconds"))
	if text == "" {
		if ctx.QueryArgs().GetUintOrZero("debug") > 0 {
			return 0, nil // the text form of what was sampled so far
		}
		return timed[name], nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds > 0 && seconds <= profileTimeMax.Seconds()) {
		return 0, &problem{Status: 400, Code: "bad_seconds", Detail: fmt.Sprintf("seconds is a number above 0 and at most %v.", profileTimeMax.Seconds())}
	}
	if whole := name != "profile" && name != "trace"; whole && seconds != math.Trunc(seconds) {
		return 0, &problem{Status: 400, Code: "bad_seconds", Detail: "seconds is a whole number: this profile is the difference between two."}
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// takeTimed takes a profile of some length, if nobody else does.
func takeTimed(ctx *fasthttp.RequestCtx, name string, d time.Duration) {
	end, err := profiling.Begin(d)
	if err != nil {
		refuseBusy(ctx, err)
		return
	}
	defer end()
	switch name {
	case "profile":
		collect(ctx, name, func(b *bytes.Buffer) error { return profiling.CPU(ctx, b, d) })
	case "trace":
		collect(ctx, name, func(b *bytes.Buffer) error { return profiling.Trace(ctx, b, d, traceBytesMax) })
	default:
		defer profiling.SampleContention(name)()
		args := ctx.URI().QueryArgs()
		args.Set("seconds", strconv.Itoa(int(d/time.Second)))
		ctx.Request.SetRequestURIBytes(ctx.URI().RequestURI())
		namedProfiles(ctx)
	}
}

// collect sends what take writes.
func collect(ctx *fasthttp.RequestCtx, name string, take func(b *bytes.Buffer) error) {
	var b bytes.Buffer
	if err := take(&b); err != nil {
		refuseBusy(ctx, err)
		return
	}
	ctx.SetContentType("application/octet-stream")
	ctx.Response.Header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	ctx.Response.SetBodyRaw(b.Bytes())
}

// refuseBusy says when to come again: a continuous profile is over soon.
func refuseBusy(ctx *fasthttp.RequestCtx, err error) {
	retry := 10 * time.Second
	var busy *profiling.Running
	if errors.As(err, &busy) && busy.Left > 0 {
		retry = busy.Left
	}
	ctx.Response.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(retry.Seconds()))))
	fail(ctx, problem{Status: 503, Code: "profile_running", Detail: "One at a time: " + err.Error() + "."})
}

var _ context.Context = (*fasthttp.RequestCtx)(nil) // done when the admin listener closes, which ends a profile early
