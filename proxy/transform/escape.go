package transform

import (
	"strings"

	"sluice/proxy"
)

// inPath says how variables in a path are escaped. What comes from the path is normal already.
func inPath(_, variable string) *proxy.ByteSet {
	if proxy.IsCaptured(variable) || proxy.IsVariable(variable, "$request.path") {
		return nil
	}
	return &proxy.Unreserved
}

// inQuery says how variables in a query are escaped.
func inQuery(before, variable string) *proxy.ByteSet {
	switch {
	case proxy.IsCaptured(variable):
		return &proxy.CapturedInQuery
	case proxy.IsVariable(variable, "$request.query") && (before == "" || strings.HasSuffix(before, "&")):
		return nil
	}
	return &proxy.Unreserved
}
