package respond

import (
	"strings"

	"sluice/proxy"
)

// inHost says how variables in a host are escaped: hardly, for what results is checked as a host.
func inHost(_, _ string) *proxy.ByteSet { return &proxy.URLBytes }

// inPath says how variables in a path are escaped.
func inPath(_, variable string) *proxy.ByteSet {
	if proxy.IsCaptured(variable) || proxy.IsVariable(variable, "$request.path") || proxy.IsVariable(variable, "$request.uri") {
		return &proxy.URLBytes
	}
	return &proxy.Unreserved
}

// inQuery says how variables in a query or fragment are escaped.
func inQuery(before, variable string) *proxy.ByteSet {
	switch {
	case proxy.IsCaptured(variable):
		return &proxy.CapturedInQuery
	case proxy.IsVariable(variable, "$request.query") && (before == "" || strings.HasSuffix(before, "&")):
		return &proxy.URLBytes
	}
	return &proxy.Unreserved
}
