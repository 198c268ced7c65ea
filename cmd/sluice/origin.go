package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// stop ends an origin; streams that go on are cut.
func (o *origin) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	// An error says that streams went on, and they end with the process.
	_ = o.http.ShutdownWithContext(ctx)
}

// originHandler answers everything with what it saw, two paths apart.
func originHandler(name string) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/events":
			sendEvents(ctx, name)
		case "/socket":
			echoSocket(ctx)
		default:
			describeRequest(ctx, name)
		}
	}
}

func describeRequest(ctx *fasthttp.RequestCtx, name string) {
	headers := map[string]string{}
	for key, value := range ctx.Request.Header.All() {
		headers[string(key)] = string(value)
	}
	text, err := json.MarshalIndent(map[string]any{
		"origin": name, "method": string(ctx.Method()), "uri": string(ctx.RequestURI()), "headers": headers,
	}, "", "  ")
	if err != nil {
		ctx.Error("cannot describe the request: "+err.Error(), 500)
		return
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(append(text, '\n'))
}

// sendEvents sends an event per second (WHATWG HTML section 9.2) until the client goes away, an hour at most.
func sendEvents(ctx *fasthttp.RequestCtx, name string) {
	ctx.SetContentType("text/event-stream")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		for n := 1; n <= 3600; n++ {
			// The writer keeps its first error for Flush.
			_, _ = fmt.Fprintf(w, "id: %d\ndata: {\"origin\":%q,\"time\":%q}\n\n", n, name, time.Now().Format(time.RFC3339))
			if w.Flush() != nil {
				return // the client went away
			}
			time.Sleep(time.Second)
		}
	})
}
