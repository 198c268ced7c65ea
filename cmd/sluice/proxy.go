package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sluice/control/config"
)

type proxyCommand struct {
	To     []string `required:"" placeholder:"URL" help:"Where requests go: http://host:port, https://..., or unix:/path. Several share the requests."`
	Listen string   `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Where clients connect: host:port, :port for every address, or unix:/path (${default})."`
	Admin  string   `default:"off" placeholder:"ADDR" help:"Where health and metrics are served, on a loopback address or a unix socket (${default})."`
}

func (proxyCommand) Help() string {
	return example("A reverse proxy with the defaults of a configuration file, and an access log on the standard output.",
		"sluice proxy --to http://127.0.0.1:9000 --listen :8080")
}

func (c *proxyCommand) Run(t *terminal) error {
	s := source{name: "proxy", text: []byte(c.configuration(t.color))}
	if _, problems, _ := s.load(); problems.HasErrors() {
		return c.flagError(problems)
	}
	startLog(t)
	return serve(newGateway(s), false, nil)
}

// flagError says what is wrong with the flags: nobody has the file that the problems are about.
func (c *proxyCommand) flagError(problems config.Problems) error {
	var errs []error
	for _, p := range problems {
		if p.Warning {
			continue
		}
		message := p.Message
		switch {
		case strings.Contains(message, "admin.token"):
			message = "others than this machine could connect; write 127.0.0.1:9180 or unix:/path"
		case p.Hint != "" && !strings.Contains(p.Hint, "rewrite.") && !strings.Contains(p.Hint, p.Pos.File+":"): // these need a file
			message += ": " + p.Hint
		}
		errs = append(errs, fmt.Errorf("%s: %s", c.flag(p.Path), message))
	}
	return errors.Join(errs...)
}

// flag is the flag that a value of the configuration came from, as it was written.
func (c *proxyCommand) flag(path string) string {
	switch {
	case strings.HasPrefix(path, "listen."):
		return "--listen " + c.Listen
	case strings.HasPrefix(path, "admin"):
		return "--admin " + c.Admin
	}
	for i, to := range c.To {
		// An address with a password is not repeated: output ends up in logs.
		if path == fmt.Sprintf("services.origin.to[%d]", i) && !strings.Contains(to, "@") {
			return "--to " + to
		}
	}
	return "--to"
}

// configuration is the file that the flags stand for.
func (c *proxyCommand) configuration(forPeople bool) string {
	admin := "off"
	if c.Admin != "off" {
		admin = "{ address: " + quote(c.Admin) + " }"
	}
	format := "json"
	if forPeople {
		format = quote("$client.ip $request.method $request.uri $response.status")
	}
	to := make([]string, len(c.To))
	for i, url := range c.To {
		to[i] = quote(url)
	}
	return fmt.Sprintf(`version: 1
admin: %s
log: { access: { to: stdout, format: %s } }
listen: { proxy: { address: %s } }
services: { origin: { to: [%s] } }
routes: { all: { match: "/**", to: origin } }
`, admin, format, quote(c.Listen), strings.Join(to, ", "))
}

// quote writes text as a YAML scalar that nothing is put into. JSON strings are such scalars.
func quote(text string) string {
	quoted, err := json.Marshal(strings.ReplaceAll(text, "${", "$${"))
	if err != nil {
		panic("BUG: a string cannot be written as JSON: " + err.Error())
	}
	return string(quoted)
}
