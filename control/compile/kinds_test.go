package compile

import (
	"reflect"
	"strings"
	"testing"

	"sluice/control/config"
)

// TestKinds: where the policies of each kind may stand, and what those behind them may ask. A new kind has to be put into the table, by
// whoever has thought about each word:
//
//   - guards: it refuses requests, and must not stand behind a cache;
//   - identifies: those behind it may ask who the client is, if it refuses whom it does not know;
//   - apart: caches behind it have more than one copy;
//   - reads: it wants Authorization as the client has sent it, so it must not stand behind upstream_token;
//   - verifies: upstream_token may exchange the token that it has found to be good.
func TestKinds(t *testing.T) {
	table := map[string]string{
		"addresses":                  "guards",
		"countries":                  "guards",
		"csrf":                       "guards",
		"authorize":                  "guards",
		"client_cert":                "guards identifies apart",
		"oidc":                       "guards identifies apart",
		"api_key":                    "guards identifies apart reads",
		"basic_auth":                 "guards identifies apart reads",
		"signature":                  "guards identifies apart reads",
		"jwt":                        "guards identifies apart reads verifies",
		"introspection":              "guards identifies apart reads verifies",
		"forward_auth":               "guards apart reads",
		"forward_auth with identity": "guards identifies apart reads",

		"rate_limit":       "",
		"concurrency":      "",
		"quota":            "",
		"headers":          "",
		"upstream_token":   "",
		"cache":            "",
		"compress":         "",
		"security_headers": "",
		"cookies":          "",
	}
	f := func(name string, p *config.Policy, want string) {
		t.Helper()
		if got := strings.Join(traitsOf(t, p), " "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	without := func(words string, gone ...string) string {
		for _, word := range gone {
			words = strings.ReplaceAll(words, word, "")
		}
		return strings.Join(strings.Fields(words), " ")
	}
	seen := map[string]bool{}
	judge := func(name string, p *config.Policy) {
		t.Helper()
		want, known := table[name]
		if !known {
			t.Errorf("the kind %s is not in the table", name)
		}
		seen[name] = true
		if !setMode(p, "enforce") {
			f(name, p, want)
			return
		}
		f(name, p, want)
		setMode(p, "report")
		f(name+", mode: report", p, without(want, "identifies", "verifies"))
		setMode(p, "off")
		f(name+", mode: off", p, without(want, "identifies", "verifies", "apart"))
	}
	kinds := reflect.TypeFor[config.Policy]()
	for i := range kinds.NumField() {
		if name := kinds.Field(i).Tag.Get("cfg"); name != "" {
			p := new(config.Policy)
			reflect.ValueOf(p).Elem().Field(i).Set(reflect.New(kinds.Field(i).Type.Elem()))
			judge(name, p)
		}
	}
	judge("forward_auth with identity", &config.Policy{ForwardAuth: &config.ForwardAuth{Identity: config.Text{Text: "X-User"}}})
	for name := range table {
		if !seen[name] {
			t.Errorf("there is no kind %s any more", name)
		}
	}
}

// setMode reports whether a policy has a mode.
func setMode(p *config.Policy, mode string) bool {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("cfg") == "" || v.Field(i).IsNil() {
			continue
		}
		if m := v.Field(i).Elem().FieldByName("Mode"); m.IsValid() && m.Kind() == reflect.String {
			m.SetString(mode)
			return true
		}
	}
	return false
}

// traitsOf asks everybody who judges by the kind of a policy, and wants that all agree.
func traitsOf(t *testing.T, p *config.Policy) (words []string) {
	t.Helper()
	empty := parse(t, "routes: { r: { match: /r, respond: {} } }\n")
	problems := func(before, after []*config.Policy, judge func(b *builder)) string {
		b := &builder{config: empty}
		b.at.before, b.at.after = before, after
		judge(b)
		text := ""
		for _, problem := range b.problems {
			text += problem.Message + "\n"
		}
		return text
	}
	here := []*config.Policy{p}
	say := func(word string, is bool) {
		if is {
			words = append(words, word)
		}
	}

	guards := strings.Contains(problems(nil, here, func(b *builder) { b.checkCacheOrder(nil) }), " stands behind cache: whoever asks")
	if p.Guards() != guards {
		t.Errorf("%s guards: %v, and may stand behind a cache: %v", p.Kind(), p.Guards(), !guards)
	}
	say("guards", guards)

	b := &builder{config: empty}
	b.at.before = here
	if p.Identifies() != b.identified() {
		t.Errorf("%s identifies: %v, and those behind it may ask: %v", p.Kind(), p.Identifies(), b.identified())
	}
	say("identifies", b.identified())

	apart := b.whoseCopy(new(config.CachePolicy)) != "one copy for all clients"
	told := config.Named[config.Template]{{Name: "X-Consumer", Value: config.Template{Text: "$consumer"}}}
	route := &config.Route{Use: []config.Use{{Inline: p}, {Inline: &config.Policy{Headers: &config.Headers{Request: &config.HeaderOps{Set: told}}}}}}
	nobody := strings.Contains(problems(nil, nil, func(b *builder) { b.warnUnknown(route, "routes.r") }), "names the consumer before")
	if apart == nobody {
		t.Errorf("%s tells clients apart for a cache: %v, and is said to leave the consumer empty: %v", p.Kind(), apart, nobody)
	}
	say("apart", apart)

	own, exchanges := new(config.UpstreamToken), &config.UpstreamToken{Grant: "token_exchange"}
	if own.Exchanges() || !exchanges.Exchanges() {
		t.Fatal("these are no policies with a token of their own, and one that is exchanged")
	}
	say("reads", strings.Contains(problems(nil, here, func(b *builder) { b.checkTokenOrder(own, "own") }), "stands behind upstream_token"))
	say("verifies", !strings.Contains(problems(here, nil, func(b *builder) { b.checkTokenOrder(exchanges, "exchanged") }), "no policy before it has verified one"))
	return words
}
