package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sluice/control/compile"
)

type explainCommand struct {
	Config string   `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
	Method string   `arg:"" help:"The method of the request."`
	URL    string   `arg:"" help:"Its URL, or its path alone."`
	Header []string `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"A header field of the request; may be repeated."`
	Data   string   `short:"d" placeholder:"BODY" help:"The body, for routes that look at a JSON field; Content-Type is application/json if no -H says otherwise."`
	Client string   `default:"127.0.0.1" placeholder:"IP" help:"The address of the client (${default})."`
	JSON   bool     `name:"json" help:"Write JSON, for other programs."`
}

func (explainCommand) Help() string {
	return example("Nothing is started and nothing is sent. The answer names the route and why it was taken, the routes that were passed over and why, "+
		"the policies in the order in which they run, and the service with the request as it would see it.",
		"sluice explain -c sluice.yaml GET http://localhost:8080/items/7 -H 'Accept: application/json'")
}

func (c *explainCommand) Run(t *terminal) error {
	plan, problems := planDry(c.Config)
	if len(problems) > 0 {
		plain := &terminal{} // whether stderr is a terminal nobody has asked
		t.note(strings.TrimSuffix(plain.problems(problems), "\n"))
	}
	if plan == nil {
		return errFailed
	}
	header, err := parseHeader(c.Header)
	if err != nil {
		return err
	}
	client, err := netip.ParseAddr(c.Client)
	if err != nil {
		return fmt.Errorf("--client wants an IP address, got %q", c.Client)
	}
	typed := slices.ContainsFunc(header, func(f [2]string) bool { return strings.EqualFold(f[0], "Content-Type") })
	if c.Data != "" && !typed {
		header = append(header, [2]string{"Content-Type", "application/json"})
	}
	e, err := plan.Explain(c.Method, c.URL, header, []byte(c.Data), client)
	if err != nil {
		return fmt.Errorf("no client could send this request: %w", err)
	}
	if c.JSON {
		text, err := explainJSON(e)
		if err != nil {
			return err
		}
		return t.write(text)
	}
	return t.write(t.explanation(e))
}

func parseHeader(lines []string) ([][2]string, error) {
	var header [][2]string
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) != name || name == "" {
			return nil, fmt.Errorf("-H wants 'Name: value', got %q", line)
		}
		header = append(header, [2]string{name, strings.TrimSpace(value)})
	}
	return header, nil
}

// explained is an explanation as JSON; the candidates get names of their own, because the router's type has none.
type explained struct {
	*compile.Explanation
	Candidates []candidate `json:"candidates"`
}

type candidate struct {
	Route string `json:"route"`
	Match string `json:"match"`
	Taken bool   `json:"taken"`
	Why   string `json:"why"`
}

func explainJSON(explanation *compile.Explanation) (string, error) {
	e := explained{Explanation: explanation, Candidates: []candidate{}}
	for _, c := range explanation.Candidates {
		e.Candidates = append(e.Candidates, candidate{Route: c.Route, Match: c.Pattern, Taken: c.Taken, Why: c.Why})
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return "", fmt.Errorf("cannot write the explanation: %w", err)
	}
	return b.String(), nil
}

// explanation writes one fact per line, the sentence that sums them up first.
func (t *terminal) explanation(e *compile.Explanation) string {
	var b strings.Builder
	b.WriteString(t.paint(bold, e.Outcome) + "\n\n")
	b.WriteString(t.table([]string{cyan, ""}, facts(e)))
	if len(e.Candidates) > 0 {
		b.WriteString("\n" + t.paint(bold, "Routes for this host and path, in the order in which they are tried:") + "\n")
		b.WriteString(t.table([]string{"", green, faint, ""}, candidates(e)))
	}
	return b.String()
}

func facts(e *compile.Explanation) [][]string {
	var rows [][]string
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	for _, passed := range e.Passed {
		add("passed on", passed)
	}
	add("route", e.Route)
	add("match", e.Match)
	for _, name := range slices.Sorted(maps.Keys(e.Params)) {
		add("$path."+name, e.Params[name])
	}
	for i, policy := range e.Policies {
		add("policy "+strconv.Itoa(i+1), policy)
	}
	add("client", e.Client)
	for _, asks := range e.Asks {
		add("asks", asks)
	}
	for _, condition := range e.Conditions {
		add("only if", condition)
	}
	for _, cache := range e.Caches {
		add("cached", cache)
	}
	for _, limit := range e.Doors {
		add("listener limit", limit)
	}
	for _, limit := range e.Limits {
		add("limit", limit)
	}
	add("refused by", e.RefusedBy)
	add("would be refused by", e.Reported)
	add("compressed with", e.Coding)
	add("service", e.Service)
	add("sent as", e.Upstream)
	add("host", e.Host)
	for _, field := range e.Headers {
		add("header", field[0]+": "+field[1])
	}
	if e.Status != 0 {
		add("status", strconv.Itoa(e.Status))
	}
	add("code", e.Code)
	add("allow", e.Allow)
	for _, field := range e.Response {
		add("response header", field[0]+": "+field[1])
	}
	return rows
}

func candidates(e *compile.Explanation) [][]string {
	rows := make([][]string, len(e.Candidates))
	for i, c := range e.Candidates {
		mark := " "
		if c.Taken {
			mark = ">"
		}
		rows[i] = []string{mark, c.Route, c.Pattern, c.Why}
	}
	return rows
}
