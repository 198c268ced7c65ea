package admin

import (
	"bytes"
	"encoding/json"

	"github.com/valyala/fasthttp"
)

// answer writes v as indented JSON: people read it in a terminal.
func answer(ctx *fasthttp.RequestCtx, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // < and > stand in patterns, and this is no page
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		panic("BUG: an answer cannot be written as JSON: " + err.Error())
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(b.Bytes())
}
