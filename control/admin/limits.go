package admin

import (
	"errors"

	"github.com/valyala/fasthttp"

	"sluice/control/compile"
	"sluice/proxy/limit"
)

// limits lists the policies and listeners that limit; with policy and key, one for each value that is counted by, what that key has used of its quotas.
func (s *Server) limits(ctx *fasthttp.RequestCtx) {
	if args := ctx.QueryArgs(); args.Has("key") {
		var values []string
		for _, v := range args.PeekMulti("key") {
			values = append(values, string(v))
		}
		usage, err := s.gateway.QuotaUsage(string(args.Peek("policy")), values)
		if err != nil {
			fail(ctx, problem{Status: 404, Code: "no_quota", Detail: "There is nothing to list: " + err.Error() + "."})
			return
		}
		answer(ctx, 200, map[string]any{"usage": list(usage)})
		return
	}
	answer(ctx, 200, map[string]any{"limits": list(s.gateway.Limits())})
}

// resetLimit fills a bucket. What is asked for stands in the query or in a form, where a key that is a secret does not end up in
// anybody's log: policy, and id (as /v1/limits has it) or a key for each value that is counted by.
func (s *Server) resetLimit(ctx *fasthttp.RequestCtx) {
	form := func(name string) []string {
		var values []string
		for _, args := range []*fasthttp.Args{ctx.QueryArgs(), ctx.PostArgs()} {
			for _, v := range args.PeekMulti(name) {
				values = append(values, string(v))
			}
		}
		return values
	}
	policy, id, values := form("policy"), form("id"), form("key")
	if len(policy) != 1 || len(id) > 1 || len(id)+len(values) == 0 || len(id) == 1 && len(values) > 0 {
		fail(ctx, problem{Status: 400, Code: "bad_key", Detail: "Send policy, and either id or a key for each value that is counted by."})
		return
	}
	if len(id) == 0 {
		id = []string{""}
	}
	err := s.gateway.ResetLimit(policy[0], id[0], values)
	switch {
	case err == nil:
		answer(ctx, 200, map[string]any{"reset": true})
	case errors.Is(err, compile.ErrNoLimit):
		fail(ctx, problem{Status: 404, Code: "no_limit", Detail: "There is nothing to reset: " + err.Error() + "."})
	case errors.Is(err, limit.ErrUnknownKey):
		fail(ctx, problem{Status: 404, Code: "unknown_key", Detail: "There is nothing to reset: " + err.Error() + "."})
	case errors.Is(err, limit.ErrStoreAway):
		fail(ctx, problem{Status: 503, Code: "store_down", Detail: "Only half is done: " + err.Error() + "."})
	default:
		fail(ctx, problem{Status: 400, Code: "bad_key", Detail: "The key cannot be reset: " + err.Error() + "."})
	}
}
