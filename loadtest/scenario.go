package main

import (
	"fmt"
	"slices"
	"strings"

	"sluice/loadtest/origin"
)

// scenario is a situation in which the proxies are compared. A new one is an entry below; if the proxies need to be
// configured for it, With is the word that their files in peers/ look for.
type scenario struct {
	name  string
	about string // what it shows, in a few words
	path  string
	load  load // wrk with 64 connections if nil

	// with makes each peer run twice, without and with what the word stands for, to tell what that costs.
	with string
	// needs is a word for all peers of the scenario, where there is nothing to compare without it.
	needs string

	answer  string   // the body that is expected, where it is not the origin's
	status  int      // 200 if zero
	without []string // programs that cannot do it
	also    []string // further peers that are of interest here
	slow    bool     // part of the thorough run only
}

var scenarios = []scenario{
	{name: "proxy-1k", about: "1 KiB proxied", path: "/1k", also: []string{"nginx-same", "haproxy-same"}},
	{name: "proxy-100k", about: "100 KiB proxied", path: "/100k", also: []string{"nginx-64k"}},
	{name: "proxy-1m", about: "1 MiB proxied", path: "/1m", also: []string{"nginx-64k"}},
	{name: "static", about: "a fixed answer", path: "/static", answer: `{"ok":true}`},
	{name: "redirect", about: "a redirect", path: "/moved", answer: anything, status: 308},
	{name: "idle", about: "18,000 keep-alive connections that wait", path: "/1k", load: hold{connections: 18_000}},
}

// anything is the answer of a scenario that leaves it to the proxy.
const anything = "*"

// expected is the body that a request of the scenario gets.
func (s scenario) expected() string {
	if s.answer != "" {
		return s.answer
	}
	name := s.path[strings.LastIndexByte(s.path, '/')+1:]
	if size, ok := origin.Sizes[name]; ok {
		return string(origin.Body(size))
	}
	return anything
}

// unit of the cost.
func (s scenario) unit() string {
	if _, ok := s.load.(hold); ok {
		return "KiB/conn"
	}
	return "µs/req"
}

// routes are the routes of the scenario's word.
func routes(with string) []int {
	if with != "routes" {
		return nil
	}
	all := make([]int, 10_000)
	for i := range all {
		all[i] = i
	}
	return all
}

// pick finds scenarios by their names; a name ending in * stands for all that begin so.
func pick(names []string, thorough bool) ([]scenario, error) {
	var picked []scenario
	if len(names) == 0 {
		for _, s := range scenarios {
			if thorough || !s.slow {
				picked = append(picked, s)
			}
		}
		return picked, nil
	}
	for _, name := range names {
		prefix, open := strings.CutSuffix(name, "*")
		before := len(picked)
		for _, s := range scenarios {
			if (s.name == name || open && strings.HasPrefix(s.name, prefix)) && !slices.ContainsFunc(picked, func(p scenario) bool { return p.name == s.name }) {
				picked = append(picked, s)
			}
		}
		if len(picked) == before {
			return nil, fmt.Errorf("there is no scenario %q (there are %s)", name, strings.Join(scenarioNames(), ", "))
		}
	}
	return picked, nil
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}
