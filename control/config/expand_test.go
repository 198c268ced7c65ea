package config

import (
	"errors"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	o := Options{
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"PORT": "8081", "EMPTY": "", "HOST": "h.example", "YAML": "a: [1, 2] # x\n- b", "DOLLAR": "${PORT}"}[name]
			return value, ok
		},
		ReadFile: func(name string) ([]byte, error) {
			switch name {
			case "conf/secret":
				return []byte("from a file\r\n"), nil
			case "/run/two":
				return []byte("two\n\n"), nil
			case "conf/big":
				return make([]byte, SecretFileBytesMax+1), nil
			}
			return nil, errors.New("no such file")
		},
	}
	parse := func(value string) (string, Problems) {
		src := "version: 1\nlisten: { web: { address: \":8080\" } }\nroutes:\n  a:\n    match: /a\n    respond:\n      text: " + value + "\n"
		c, problems := Parse("conf/sluice.yaml", []byte(src), o)
		if c == nil {
			return "", problems
		}
		_, body := c.Routes[0].Value.Respond.Content()
		return string(body), problems
	}
	f := func(value, want string) {
		t.Helper()
		got, problems := parse(value)
		if problems.HasErrors() || got != want {
			t.Errorf("%s is %q, want %q\n%s", value, got, want, problems.Error())
		}
	}
	f("${PORT}", "8081")
	f("'${PORT}'", "8081")
	f("a${PORT}b${HOST}c", "a8081bh.examplec")
	f("${NONE:-fallback}", "fallback")
	f("${EMPTY:-fallback}", "fallback")
	f("${EMPTY}", "")
	f("${NONE:-}", "")
	f("${PORT:-fallback}", "8081")
	f("$${PORT}", "${PORT}")
	f("$PORT {PORT}", "$PORT {PORT}")
	f("${DOLLAR}", "${PORT}")          // what a variable holds is not expanded again
	f("${YAML}", "a: [1, 2] # x\n- b") // and never becomes structure
	f("${file:secret}", "from a file")
	f("${file:/run/two}", "two\n")
	f("x # ${NONE}", "x")

	bad := func(value, message string) {
		t.Helper()
		got, problems := parse(value)
		if !problems.HasErrors() || !strings.Contains(problems.Error(), message) {
			t.Errorf("%s is %q with problems %q, want %q", value, got, problems.Error(), message)
		}
	}
	bad("${NONE}", "sluice.yaml:7:13: routes.a.respond.text: the environment variable NONE is not set")
	bad("${file:none}", "cannot read the secret")
	bad("${file:big}", "more than the limit of 64 KiB")
	bad("${file:}", "names no file")
	bad("${PORT", "has no closing }")
	bad("${1X}", "does not name an environment variable")
}

// TestExpandTyped checks that the field, not the text, decides the type of what was put in.
func TestExpandTyped(t *testing.T) {
	c := mustParse(t, `version: ${ONE}
listen: { web: { address: "127.0.0.1:${PORT}" } }
limits: { headers: "${N}", idle: "${N}s" }
services: { a: { to: "https://${HOST}", origin_tls: { verify: "${YES}" } } }
routes:
  a: { match: /a, to: { a: "${SHARE}" } }
  b: { match: /b, respond: { status: "${STATUS}", json: { n: "${N}", on: "${YES}", plain: 5, text: "5", none: null, list: [1.5, 007, true], "<": "&" } } }
`, env(map[string]string{"ONE": "1", "PORT": "81", "N": "50", "HOST": "h", "YES": "true", "SHARE": "100%", "STATUS": "201"}))
	if c.Listen[0].Value.Address[0].Address != "127.0.0.1:81" || c.Limits.Headers != 50 || c.Limits.Idle != 50e9 {
		t.Errorf("limits are %+v, addresses %v", c.Limits, c.Listen[0].Value.Address)
	}
	b := c.Routes[1].Value.Respond
	const want = `{"n":"50","on":"true","plain":5,"text":"5","none":null,"list":[1.5,"007",true],"<":"&"}`
	if _, body := b.Content(); b.Status != 201 || string(body) != want {
		t.Errorf("the answer is %d %s, want %s", b.Status, body, want)
	}
}
