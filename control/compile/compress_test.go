package compile

import (
	"net/netip"
	"sluice/control/config"
	"strings"
	"testing"

	"sluice/proxy"
)

// TestCompress_problems: what only shows when the policies of a route are put together.
func TestCompress_problems(t *testing.T) {
	f := func(policies, use, want string) {
		t.Helper()
		_, problems := newRuntime(t).Compile(parse(t, "policies:\n"+policies+"routes:\n  r: { match: /r, use: ["+use+"], respond: {} }\n"))
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
		}
		if all := strings.Join(got, "\n"); all != want {
			t.Errorf("got %q, want %q", all, want)
		}
	}
	f("  a: { compress: {} }\n  h: { headers: { request: { remove: [Accept-Encoding] } } }\n", "a, h", "")
	f("  a: { compress: {} }\n", "a, { compress: { level: best } }",
		"test.yaml:7:24: warning: routes.r.use: a response is compressed once, and two policies of this route compress "+
			"(leave one out: skip: [...] is for those of defaults.use)")
	f("  a: { compress: { types: [text/html, pictures] } }\n", "a",
		`test.yaml:5:6: policies.a: "pictures" is no media type such as text/*, application/json or application/*+json`)
}

// TestWarnOrder looks at the order of policies.
func TestWarnOrder(t *testing.T) {
	f := func(kinds string, want string) {
		t.Helper()
		b := &builder{config: parse(t, "routes: { r: { match: /r, respond: {} } }\n")}
		all := map[string]*config.Policy{
			"headers": {Headers: new(config.Headers)}, "cache": {Cache: new(config.CachePolicy)}, "compress": {Compress: new(config.Compress)},
			"secrets": {Compress: &config.Compress{Secrets: true}},
		}
		var chain []*config.Policy
		for kind := range strings.FieldsSeq(kinds) {
			chain = append(chain, all[kind])
		}
		b.warnOrder(chain, "routes.r")
		got := b.problems.Error()
		if len(b.problems) == 0 {
			got = ""
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", kinds, got, want)
		}
		if b.problems.HasErrors() {
			t.Errorf("%s: a warning is an error", kinds)
		}
	}
	f("", "")
	f("headers cache compress", "")
	f("compress headers", "")
	f("headers compress headers cache", "compress stands before cache")
	f("secrets cache", "")
	f("compress compress", "two policies")
}

// TestCompressed: counts belong to a route, outlive reloads, and go with the policy; the bound of encoders is that of the
// configuration that was committed.
func TestCompressed(t *testing.T) {
	r := newRuntime(t)
	commit := func(yaml string) *Plan {
		p := mustCompile(t, r, yaml)
		r.Commit(p)
		return p
	}
	page := "respond: { text: \"" + strings.Repeat("the same over and over, ", 20) + "\" } }\n"
	ask := func(p *Plan, path string) string {
		t.Helper()
		e, err := p.Explain("GET", path, [][2]string{{"Accept-Encoding", "gzip"}}, nil, netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		return e.Coding + " " + headerOf(e, "Content-Encoding")
	}
	routes := "policies: { small: { compress: { min_size: 10 } } }\nroutes:\n" +
		"  a: { match: /a, use: [small], " + page + "  b: { match: /b, use: [small], " + page + "  plain: { match: /plain, " + page
	first := commit(routes)
	for path, want := range map[string]string{"/a": "gzip gzip", "/b": "gzip gzip", "/plain": " "} {
		if got := ask(first, path); got != want {
			t.Errorf("%s is compressed with %q, want %q", path, got, want)
		}
	}
	counts := r.Compressed()
	if len(counts) != 2 || counts["a"] == nil || counts["b"] == nil || counts["a"].Responses[2].Load() != 1 {
		t.Errorf("the counts are %v", counts)
	}
	second := commit("limits: { compress_memory: 1MiB }\n" + strings.Replace(routes, "b: { match: /b, use: [small],", "b: { match: /b,", 1))
	if got := ask(second, "/a"); got != "gzip " {
		t.Errorf("without memory /a is compressed with %q", got)
	}
	after := r.Compressed()
	if len(after) != 1 || after["a"] != counts["a"] || after["a"].Refused.Load() != 1 {
		t.Errorf("after a reload the counts are %v", after)
	}
	if r.EncoderBytes() != 0 {
		t.Errorf("encoders take %d bytes", r.EncoderBytes())
	}
	if got := second.compressing[second.route("a")][0].Codings(); len(got) != 3 {
		t.Errorf("the codings are %v", got)
	}
}

// route finds a route by its name.
func (p *Plan) route(name string) *proxy.Route {
	for r := range p.compressing {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func headerOf(e *Explanation, name string) string {
	for _, field := range e.Response {
		if field[0] == name {
			return field[1]
		}
	}
	return ""
}
