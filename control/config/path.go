package config

import (
	"strconv"
	"strings"
)

// A path names a place in the configuration the way a reader would say it: routes.item.match, services.a.to[1].
// A name with a dot or a space in it is quoted, so that routes."a.to" is not the `to` of route a.

func joinPath(parent, key string) string {
	if key == "" || strings.ContainsFunc(key, needsQuotes) {
		key = strconv.Quote(key)
	}
	if parent == "" {
		return key
	}
	return parent + "." + key
}

func needsQuotes(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`.["\`, c) }

func indexPath(parent string, i int) string {
	return parent + "[" + strconv.Itoa(i) + "]"
}

// parentPath takes the last step off a path; "" is the parent of a top-level key.
func parentPath(path string) string {
	quoted := strings.HasSuffix(path, `"`)
	for i := len(path) - 2; i >= 0; i-- {
		switch {
		case quoted:
			// Inside "..." only an unescaped quote ends the step.
			if path[i] == '"' && (i == 0 || path[i-1] != '\\') {
				quoted = false
			}
		case path[i] == '.':
			return path[:i]
		case path[i] == '[':
			return path[:i]
		}
	}
	return ""
}
