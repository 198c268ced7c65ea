package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Limits of the admin listener. It has few callers, and none of them sends much.
const (
	connectionsMax  = 256
	headBytesMax    = 16 << 10
	bodyBytesMax    = 64 << 10
	readTimeout     = 10 * time.Second // of a whole request
	writeTimeout    = 30 * time.Second // of a whole response, once it is there
	keepAliveFor    = 60 * time.Second
	connectionUses  = 10_000      // requests
	shutdownPolling = time.Second // fasthttp forgets new connections only after a while: Close does not wait longer
)

// Options say who is let in. Set changes them while the server runs.
type Options struct {
	// Token is what a caller sends as Authorization: Bearer. Empty: no token, which only a private address may do.
	Token string
	// Private says that nobody but this machine can connect: a loopback address or a unix socket.
	Private bool
	// Host is the host that the configured address names, if it names one. It may stand in Host fields.
	Host string
}

// Server answers admin requests on any number of listeners. All methods are safe for concurrent use.
type Server struct {
	gateway Gateway
	http    *fasthttp.Server
	options atomic.Pointer[Options]
	serving sync.WaitGroup
}

// New returns a server for g that listens nowhere yet.
func New(g Gateway, o Options) *Server {
	s := &Server{gateway: g}
	s.Set(o)
	s.http = &fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 refuseBroken,
		NoDefaultServerHeader:        true,
		Concurrency:                  connectionsMax,
		ReadBufferSize:               headBytesMax,
		MaxRequestBodySize:           bodyBytesMax,
		MaxRequestsPerConn:           connectionUses,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  keepAliveFor,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		Logger:                       quiet{},
	}
	return s
}

// Set replaces the options for requests that begin from now on.
func (s *Server) Set(o Options) { s.options.Store(&o) }

// Listen serves what nl accepts, in the background, until the returned function is called. That closes nl; connections
// which nl accepted before go on.
func (s *Server) Listen(nl net.Listener) (stop func()) {
	l := &listener{Listener: nl}
	s.serving.Go(func() {
		if err := s.http.Serve(l); err != nil && !l.closed.Load() {
			slog.Error("the admin listener ended", "address", nl.Addr().String(), "error", err)
		}
	})
	return func() {
		// A listener that cannot be closed is closed already.
		_ = l.Close()
	}
}

// Close stops accepting, lets requests under way end until ctx does, and ends idle connections.
func (s *Server) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownPolling)
	defer cancel()
	err := s.http.ShutdownWithContext(ctx)
	s.serving.Wait()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("cannot close the admin listener: %w", err)
	}
	return nil
}

// handle is the way of a request: who asks, for what, how.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("BUG: panic in the admin listener", "path", string(ctx.Path()), "panic", p, "stack", string(debug.Stack()))
			ctx.Response.Reset()
			setCommonFields(ctx)
			fail(ctx, problem{Status: 500, Code: "internal", Detail: "The gateway failed to handle this request."})
		}
	}()
	setCommonFields(ctx)
	path := string(ctx.Path())
	page, known := find(path)
	switch refusal, ok := s.admit(ctx, page.public); {
	case !ok:
		fail(ctx, refusal)
	case !known:
		fail(ctx, problem{Status: 404, Code: "not_found", Detail: "The admin API has no such path."})
	case !page.takes(string(ctx.Method())):
		ctx.Response.Header.Set("Allow", page.allow())
		fail(ctx, problem{Status: 405, Code: "method_not_allowed", Detail: "This path takes " + page.allow() + "."})
	default:
		page.serve(s, ctx)
	}
}

func setCommonFields(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
}

// refuseBroken answers what fasthttp could not read.
func refuseBroken(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	p := problem{Status: 400, Code: "bad_request", Detail: "The request is not valid HTTP/1.1."}
	switch {
	case errors.As(err, &small):
		p = problem{Status: 431, Code: "head_too_large", Detail: "The head of the request is too large."}
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		p = problem{Status: 413, Code: "body_too_large", Detail: "The admin API needs no body of this size."}
	case errors.As(err, &network) && network.Timeout():
		p = problem{Status: 408, Code: "slow_request", Detail: "The request did not arrive in time."}
	}
	fail(ctx, p)
	ctx.SetConnectionClose()
}

// listener may be closed twice: by whoever moved the address, and by fasthttp, which remembers every listener.
type listener struct {
	net.Listener
	closed atomic.Bool
}

func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.Listener.Close()
}

// quiet drops what fasthttp logs: broken requests of others, which are answered and are nobody's trouble.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
