package compile

import (
	"slices"
	"testing"

	"sluice/control/config"
	"sluice/proxy"
	"sluice/proxy/observe"
)

// TestVariablesAgree holds the two planes to the same variables: what the configuration accepts is what templates know.
func TestVariablesAgree(t *testing.T) {
	var known []string
	for _, v := range config.Variables {
		known = append(known, v.Name)
	}
	slices.Sort(known)
	if want := proxy.Variables(); !slices.Equal(known, want) {
		t.Errorf("config knows %q, package proxy %q", known, want)
	}
	logged, want := slices.Sorted(slices.Values(config.LogVariables)), slices.Sorted(slices.Values(observe.FormatVariables()))
	if !slices.Equal(logged, want) {
		t.Errorf("config knows %q for the access log, package observe %q", logged, want)
	}
}
